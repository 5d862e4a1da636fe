//! Sizes of a program.

use std::fs;
use std::path::Path;

use object::elf::{PT_LOAD, ProgramHeader32, SHF_WRITE};
use object::read::elf::{ElfFile32, ProgramHeader as _};
use object::{Endianness, Object, ObjectSection, ObjectSymbol, SectionFlags, SectionKind};

use crate::error::Error;
use crate::flash::Part;

mod symbols;

/// Where a program's bytes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Machine code (`.text`).
    pub code: u64,
    /// Machine code of the crate `picovit` but for its pre-processing, its kernels in assembly included.
    /// What the compiler merged into the application's functions counts as the application's.
    pub engine: u64,
    /// Machine code of its pre-processing: from the frame to the input.
    pub image: u64,
    /// Machine code of the compiler's own helpers, which engine and application share: copying and
    /// filling memory, 64-bit division.
    pub helpers: u64,
    /// Everything that is stored in flash: vectors, code, constants, initial values.
    pub flash: u64,
    /// Variables in RAM: arena, buffers, state.
    pub statics: u64,
    /// RAM reserved for the stack.
    pub stack: u64,
}

impl Sizes {
    /// Reads them from a program.
    ///
    /// # Errors
    /// If the file is not a program for a 32-bit chip.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(Error::file("read", path))?;
        Self::parse(&bytes).map_err(|reason| Error::Elf { path: path.to_owned(), reason })
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let elf: ElfFile32<'_> = ElfFile32::parse(bytes).map_err(|error| error.to_string())?;
        let mut sizes = Self::default();
        for section in elf.sections() {
            let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
            if sh_flags & u64::from(object::elf::SHF_ALLOC) == 0 {
                continue;
            }
            if section.name() == Ok(".pictures") {
                continue;
            }
            if section.name() == Ok(".text") {
                sizes.code = section.size();
                let extents = symbols::extents(&elf, &section);
                sizes.engine = symbols::bytes(&extents, symbols::is_engine);
                sizes.image = symbols::bytes(&extents, symbols::is_image);
                sizes.helpers = symbols::bytes(&extents, symbols::is_helper);
            }
            if sh_flags & u64::from(SHF_WRITE) != 0 {
                sizes.statics += section.size();
            }
            if section.kind() != SectionKind::UninitializedData {
                sizes.flash += section.size();
            }
        }
        let symbol = |name: &str| {
            let found = elf.symbols().find(|symbol| symbol.name() == Ok(name));
            found.map(|symbol| symbol.address()).ok_or_else(|| format!("no symbol {name}"))
        };
        sizes.stack = symbol("_stack_start")?.saturating_sub(symbol("_stack_end")?);
        Ok(sizes)
    }
}

/// What a program puts into flash: the initial values of variables lie there, too.
///
/// # Errors
/// If the file is not a program for a 32-bit chip.
pub(crate) fn segments(path: &Path) -> Result<Vec<Part>, Error> {
    let bytes = fs::read(path).map_err(Error::file("read", path))?;
    parse_segments(&bytes).map_err(|reason| Error::Elf { path: path.to_owned(), reason })
}

fn parse_segments(bytes: &[u8]) -> Result<Vec<Part>, String> {
    let elf: ElfFile32<'_> = ElfFile32::parse(bytes).map_err(|error| error.to_string())?;
    let endian = elf.endian();
    let stored = |segment: &&ProgramHeader32<Endianness>| {
        segment.p_type(endian) == PT_LOAD && segment.p_filesz(endian) > 0
    };
    let part = |segment: &ProgramHeader32<Endianness>| {
        let content = segment.data(endian, bytes);
        let content = content.map_err(|()| "a segment lies outside the file".to_owned())?;
        Ok(Part { address: segment.p_paddr(endian), bytes: content.to_vec() })
    };
    elf.elf_program_headers().iter().filter(stored).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_refused() {
        assert!(Sizes::parse(b"not a program").is_err());
        assert!(Sizes::parse(&[]).is_err());
        assert!(parse_segments(b"not a program").is_err());
    }
}
