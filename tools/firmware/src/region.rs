//! The model region of a board: the artifact, a picture and the logits that the host has for it.

use std::path::Path;

use picovit::image::{Frame, fit};
use picovit::{Engine, Model};
use picovit_app::region::{self, CLASSES};
use picovit_app::{App, Clip, RegionError, RegionHeader, Settings, WINDOW, boot};

use crate::aligned::Aligned;
use crate::board::Board;
use crate::error::Error;
use crate::model::Artifact;
use crate::pictures;

/// Makes the region of an artifact, with a picture for the self-test.
///
/// # Errors
/// If the artifact is not valid or the picture is none.
pub fn build(artifact: &[u8], frame: &Frame<'_>) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let artifact = Aligned::copy(artifact);
    let artifact = artifact.as_ref();
    let model = Model::parse(artifact)?;
    let mut arena = Aligned::zeroed(model.arena_bytes());
    let mut engine = Engine::new(&model, arena.as_mut())?;
    fit(frame, model.height(), model.width(), model.channels(), engine.input())?;
    let mut self_test: Vec<u8> = bytemuck::cast_slice(engine.input()).to_vec();
    self_test.extend(engine.run().iter().flat_map(|logit| logit.to_le_bytes()));

    let header = RegionHeader::new(artifact.len(), self_test.len());
    let header = header.ok_or("an artifact of more than 4 GB is too long for a region")?;
    let mut bytes = header.to_bytes().to_vec();
    for (start, part) in [(header.artifact, artifact), (header.self_test, &self_test)] {
        bytes.resize(start as usize, 0);
        bytes.extend_from_slice(part);
    }
    let sum = region::checksum(&bytes).to_le_bytes();
    bytes[region::HEADER_BYTES - sum.len()..region::HEADER_BYTES].copy_from_slice(&sum);
    Ok(bytes)
}

/// The region of an artifact with the first of the shipped test pictures.
pub(crate) fn of(artifact: &Artifact) -> Result<Vec<u8>, Error> {
    let clip = pictures::clip(&pictures::shipped(), 1, false)?;
    let clip = Clip::parse(&clip);
    let shot = clip.as_ref().ok().and_then(|clip| clip.get(0));
    let frame = shot.ok_or("no picture".into()).map(|shot| shot.frame);
    frame.and_then(|frame| build(artifact.bytes(), &frame)).map_err(
        |error: Box<dyn std::error::Error>| Error::Model {
            path: artifact.path.clone(),
            reason: error.to_string(),
        },
    )
}

/// A region in the memory of this machine: all that a board has for it, erased behind what is there.
pub(crate) struct Placed {
    memory: Aligned,
    length: usize,
}

impl Placed {
    /// A copy of a region's bytes. Those of one that is too long for the board are all there.
    pub(crate) fn new(bytes: &[u8], board: &Board) -> Self {
        let mut memory = Aligned::zeroed(bytes.len().max(board.region.bytes as usize));
        let (start, behind) = memory.as_mut().split_at_mut(bytes.len());
        start.copy_from_slice(bytes);
        // As flash has it.
        behind.fill(0xff);
        Self { memory, length: bytes.len() }
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory()[..self.length]
    }

    /// All memory that the board looks at.
    pub(crate) fn memory(&self) -> &[u8] {
        self.memory.as_ref()
    }

    /// What a board with so much working memory does with it before its first frame: the model, or why
    /// it shows a notice.
    ///
    /// # Errors
    /// As [`boot`].
    pub(crate) fn boot(&self, board: &Board, arena: usize) -> Result<Model<'_>, RegionError> {
        let mut arena = Aligned::zeroed(arena);
        let mut app: Option<App<'_, '_, CLASSES, WINDOW>> = None;
        let supported = [board.packing.0];
        boot(&mut app, self.memory(), &supported, arena.as_mut(), Settings::default())
            .map(|app| *app.model())
    }
}

/// The region of an artifact, or that in a file, whatever is in it.
pub(crate) fn find(
    board: &'static Board,
    artifact: &Artifact,
    file: Option<&Path>,
) -> Result<Placed, Error> {
    let bytes = match file {
        Some(path) => std::fs::read(path).map_err(Error::file("read", path))?,
        None => of(artifact)?,
    };
    let (length, room) = (bytes.len(), board.region.bytes);
    if length > room as usize {
        return Err(Error::Unfit {
            path: file.unwrap_or(&artifact.path).to_owned(),
            board: board.name,
            reason: format!("{length} bytes do not go into the {room} that it has for a model"),
            help: "take a smaller one".to_owned(),
        });
    }
    Ok(Placed::new(&bytes, board))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::named;

    /// Whatever is in a file, also nothing: the host looks at as many bytes as the board does.
    #[test]
    fn a_short_file_is_memory_that_is_erased_behind_it() {
        let board = named("mps2-an386").unwrap();
        let boot = |bytes: &[u8]| {
            let placed = Placed::new(bytes, board);
            assert_eq!(placed.memory().len(), board.region.bytes as usize);
            assert_eq!(placed.bytes(), bytes);
            placed.boot(board, region::ARENA_BYTES).map(|_| ()).unwrap_err()
        };
        assert_eq!(boot(&[]), RegionError::Empty);
        assert_eq!(boot(&[0xff; 20]), RegionError::Empty);
        assert_eq!(boot(&[0]), RegionError::Magic);
        assert_eq!(boot(b"twenty bytes of text"), RegionError::Magic);
        assert_eq!(boot(&region::MAGIC), RegionError::Version { found: 0xffff });
    }
}
