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

/// A region in the memory of this machine.
pub(crate) struct Placed(Aligned);

impl Placed {
    /// A copy of a region's bytes.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(Aligned::copy(bytes))
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_ref()
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
        boot(&mut app, self.bytes(), &supported, arena.as_mut(), Settings::default())
            .map(|app| *app.model())
    }
}

/// The region of an artifact, or that in a file, whatever is in it.
pub(crate) fn find(artifact: &Artifact, file: Option<&Path>) -> Result<Placed, Error> {
    let bytes = match file {
        Some(path) => std::fs::read(path).map_err(Error::file("read", path))?,
        None => of(artifact)?,
    };
    Ok(Placed::new(&bytes))
}
