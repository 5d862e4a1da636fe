//! Writing firmware and model to a board.

mod drive;
mod probe;
mod uf2;

use std::path::{Path, PathBuf};
use std::time::Duration;

use console::style;
use picovit_app::RegionError;

use crate::board::{self, Board, Hardware};
use crate::commands::{compile_for, stored};
use crate::error::Error;
use crate::image::Image;
use crate::model::Artifact;
use crate::output::{grouped, write};
use crate::paths::shown;
use crate::region::{self, Placed};
use crate::{BuildArgs, FlashArgs, LinkArgs, elf};

use probe::Probe;
pub(crate) use uf2::Part;

/// Builds what a board needs and writes it there.
pub(crate) fn flash(args: &FlashArgs) -> Result<(), Error> {
    let Some(name) = &args.board else {
        return Err(Error::NoBoardNamed { known: board::hardware_list() });
    };
    let build = args.build(name);
    let board = board::named(name)?;
    let hardware = board.hardware()?;
    let way = Way::find(board, hardware, args)?;
    let artifact = Artifact::find(args.model.as_deref())?;
    let region = Placed::new(&region::of(&artifact)?, board);
    let room = Room::new(board, hardware, &args.link, args.model_only)?;
    check(board, &artifact, &region, &room)?;
    if args.model_only && artifact.features(board.packing.0).contains(&"f16") {
        eprintln!(
            "{} the model computes with floats, for which firmware has code only if it was written with \
             such a model; where the board says `Model refused`, leave --model-only out",
            style("hint:").yellow()
        );
    }
    let program = match args.model_only {
        true => None,
        false => {
            let program = compile_for(board, &artifact, &build)?;
            let image = Image::read(&program, board)?;
            image.check(board)?;
            if !image.panics.is_empty() {
                let hint = style("hint:").yellow();
                eprintln!("{hint} parts of it can panic: {}", image.sources());
            }
            Some(program)
        }
    };
    match way {
        Way::File(family, path) => {
            let parts = parts(board, &region, program.as_deref())?;
            write(path, &uf2::file(&parts, family))?;
            println!("{} wrote {}", style("ok").green().bold(), shown(path));
            return Ok(());
        }
        Way::Drive(family, folder) => {
            let parts = parts(board, &region, program.as_deref())?;
            let patience = Duration::from_secs(args.wait);
            drive::copy(board, &folder, &uf2::file(&parts, family), patience)?;
            println!(
                "the boot loader has taken all of it and started the board; over USB it cannot be read \
                 back: the board itself checks the model, and shows it if something is wrong"
            );
        }
        Way::Probe(probe) => {
            // Kept: if this fails, its command can be repeated.
            let file = stored("region", "bin", region.bytes())?;
            if let Some(program) = &program {
                probe.program(program)?;
            }
            probe.bytes(&file, board.region.address)?;
            probe.reset()?;
            println!("what was written has been read back and is right; the board has started");
        }
    }
    let what = if program.is_some() { "firmware and model" } else { "model" };
    println!(
        "{} {what} on {}: {} ({} bytes at {:#010x})",
        style("ok").green().bold(),
        board.name,
        shown(&artifact.path),
        grouped(region.bytes().len() as u64),
        board.region.address
    );
    Ok(())
}

impl FlashArgs {
    /// What to build.
    fn build(&self, board: &str) -> BuildArgs {
        BuildArgs { board: board.to_owned(), model: self.model.clone(), link: self.link.clone() }
    }
}

/// How bytes get to a board.
enum Way<'a> {
    /// Not at all: a file for a boot loader of this family.
    File(u32, &'a Path),
    /// By a boot loader's drive.
    Drive(u32, PathBuf),
    /// By a debug probe.
    Probe(Probe<'a>),
}

impl<'a> Way<'a> {
    /// Makes sure that it is there before anything slow is done for it.
    fn find(
        board: &'static Board,
        hardware: &'static Hardware,
        args: &'a FlashArgs,
    ) -> Result<Self, Error> {
        match (&hardware.drive, &args.uf2) {
            (Some(drive), Some(path)) => Ok(Self::File(drive.family, path)),
            (Some(drive), None) if !args.probe => {
                let folder = drive::find(board, drive, args.drive.as_deref())?;
                Ok(Self::Drive(drive.family, folder))
            }
            (None, Some(_)) => Err(no_boot_loader(board)),
            (None, None) if args.drive.is_some() => Err(no_boot_loader(board)),
            _ => {
                let chip = args.chip.as_deref().unwrap_or(hardware.chip);
                Ok(Self::Probe(Probe::find(board, chip)?))
            }
        }
    }
}

fn no_boot_loader(board: &Board) -> Error {
    Error::NoBoard {
        board: board.name,
        reason: "it has no boot loader that takes UF2 files".to_owned(),
        help: "leave --uf2 and --drive out: it is flashed with a debug probe".to_owned(),
    }
}

/// What goes where.
fn parts(
    board: &'static Board,
    region: &Placed,
    program: Option<&Path>,
) -> Result<Vec<Part>, Error> {
    let mut parts = program.map_or(Ok(Vec::new()), elf::segments)?;
    parts.push(Part { address: board.region.address, bytes: region.bytes().to_vec() });
    Ok(parts)
}

/// The working memory that firmware has.
struct Room {
    /// Bytes for the model.
    arena: usize,
    /// KB of RAM that it is linked for.
    ram: u32,
    /// KB that it can be linked for.
    most: u32,
    /// Whether the firmware on the board stays as it is.
    stays: bool,
}

impl Room {
    /// That of firmware which is linked like this.
    fn new(
        board: &'static Board,
        hardware: &Hardware,
        link: &LinkArgs,
        stays: bool,
    ) -> Result<Self, Error> {
        let arena = link.arena_kb(board)?.unwrap_or_default() as usize * 1024;
        Ok(Self { arena, ram: link.ram, most: hardware.ram_kb, stays })
    }

    /// What to do where a model needs so many bytes.
    fn help(&self, needs: usize, target: &str) -> String {
        let has = self.arena;
        let quantize = format!("cargo tools quantize --target {target} --arena-budget {has}");
        let ram = self.ram as usize + needs.saturating_sub(has).div_ceil(1024);
        match (ram <= self.most as usize, self.stays) {
            (false, _) => quantize,
            (true, false) => format!("{quantize}; or give the firmware more RAM: --ram {ram}"),
            (true, true) => {
                format!(
                    "{quantize}; or write firmware with more RAM: --ram {ram}, without --model-only"
                )
            }
        }
    }
}

/// Refuses what [`flash`] would not write to a board: this model, or firmware that is linked like this.
pub(crate) fn judge(
    board: &'static Board,
    artifact: &Artifact,
    link: &LinkArgs,
    image: &Image,
) -> Result<(), Error> {
    let region = Placed::new(&region::of(artifact)?, board);
    check(board, artifact, &region, &Room::new(board, board.hardware()?, link, false)?)?;
    image.check(board)
}

/// Does on this machine what the board does with a model before its first frame: what would be refused
/// there is not written.
fn check(
    board: &'static Board,
    artifact: &Artifact,
    region: &Placed,
    room: &Room,
) -> Result<(), Error> {
    let unfit = |reason: String, help: String| Error::Unfit {
        path: PathBuf::from(shown(&artifact.path)),
        board: board.name,
        reason,
        help,
    };
    let (needs, has) = (region.bytes().len(), board.region.bytes as usize);
    if needs > has {
        let reason =
            format!("it takes {} bytes of flash, there are {}", grouped(needs as u64), has);
        return Err(unfit(reason, "take a smaller model".to_owned()));
    }
    let Err(error) = region.boot(board, room.arena) else { return Ok(()) };
    let target = board.packing.1;
    let help = match error {
        RegionError::WrongTarget { .. } => {
            format!("quantize it for this board: cargo tools quantize --target {target}")
        }
        RegionError::ArenaTooSmall { needs, .. } => room.help(needs, target),
        _ => "take another model".to_owned(),
    };
    let reason = match error {
        RegionError::WrongTarget { found, wanted } => {
            format!("it is packed for {}, the chip's kernels take {}", found.name(), wanted.name())
        }
        RegionError::ArenaTooSmall { needs, has } => {
            format!("it needs an arena of {needs} bytes, the firmware has {has}")
        }
        error => error.to_string(),
    };
    Err(unfit(reason, help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_ram_is_offered_where_the_chip_has_it() {
        let room = |stays| Room { arena: 32 * 1024, ram: 128, most: 512, stays };
        let help = room(false).help(43 * 1024 + 1, "cortex-m33");
        let expected = "cargo tools quantize --target cortex-m33 --arena-budget 32768; or give the \
                        firmware more RAM: --ram 140";
        assert_eq!(help, expected);
        let help = room(true).help(43 * 1024, "cortex-m33");
        assert!(help.ends_with("--ram 139, without --model-only"), "{help}");
        for stays in [false, true] {
            let more_than_there_is = room(stays).help(512 * 1024, "cortex-m33");
            assert!(!more_than_there_is.contains("--ram"), "{more_than_there_is}");
            let room = Room { arena: 96 * 1024, ram: 128, most: 128, stays };
            let help = room.help(97 * 1024, "cortex-m7");
            assert_eq!(help, "cargo tools quantize --target cortex-m7 --arena-budget 98304");
        }
    }
}
