//! What the compiler's notes for debuggers say about places in the code.

use std::rc::Rc;

use gimli::{EndianRcSlice, LittleEndian, SectionId};
use object::read::elf::ElfFile32;
use object::{Object, ObjectSection};

use super::names::readable;

type Reader = EndianRcSlice<LittleEndian>;

/// Which functions were merged where.
pub(super) struct Lines(addr2line::Context<Reader>);

impl Lines {
    /// Reads the notes; a program without has no merged functions as far as this knows.
    pub(super) fn read(elf: &ElfFile32<'_>) -> Result<Self, String> {
        let section = |id: SectionId| -> Result<Reader, gimli::Error> {
            let section = elf.section_by_name(id.name());
            let bytes = section.and_then(|section| section.data().ok()).unwrap_or_default();
            Ok(EndianRcSlice::new(Rc::from(bytes), LittleEndian))
        };
        let dwarf = gimli::Dwarf::load(section).map_err(|error| error.to_string())?;
        addr2line::Context::from_dwarf(dwarf).map(Self).map_err(|error| error.to_string())
    }

    /// Those of a program without any.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        let section = |_: SectionId| -> Result<Reader, gimli::Error> {
            Ok(EndianRcSlice::new(Rc::from([]), LittleEndian))
        };
        let dwarf = gimli::Dwarf::load(section).unwrap();
        Self(addr2line::Context::from_dwarf(dwarf).unwrap())
    }

    /// Whether an instruction is of a line of the source. One that does the work of several has none.
    pub(super) fn has(&self, address: u32) -> bool {
        let location = self.0.find_location(u64::from(address));
        location.is_ok_and(|location| {
            location.and_then(|found| found.line).is_some_and(|line| line > 0)
        })
    }

    /// Names of the functions that an instruction belongs to, the one that was merged into the others
    /// first.
    pub(super) fn functions(&self, address: u32) -> Vec<String> {
        let frames = self.0.find_frames(u64::from(address)).skip_all_loads();
        let Ok(mut frames) = frames else { return Vec::new() };
        let mut names = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            let name = frame.function.and_then(|name| Some(name.raw_name().ok()?.into_owned()));
            names.extend(name.map(|name| readable(&name)));
        }
        names
    }
}
