//! The boards firmware exists for.

use picovit::format::Packing;

use crate::error::Error;

/// The board that commands use unless told otherwise.
pub const DEFAULT: &str = "mps2-an386";

/// An emulated board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board {
    /// Its name, which is also QEMU's name of the machine.
    pub name: &'static str,
    /// The processor.
    pub cpu: &'static str,
    /// What the compiler calls it.
    pub target: &'static str,
    /// Instruction set extensions beyond the target's, by the compiler's names.
    pub target_features: &'static [&'static str],
    /// The order of the weights that its kernels are made for, and what `quantize --target` calls it.
    pub packing: (Packing, &'static str),
    /// The package in the firmware workspace.
    pub package: &'static str,
    /// The memory map in that package.
    pub memory: &'static str,
    /// The emulator.
    pub emulator: &'static str,
    /// Bytes of flash.
    pub flash: u64,
    /// Where the model is that is no part of the firmware.
    pub region: Region,
    /// Every instruction takes `2^icount_shift` nanoseconds of the emulator's clock.
    pub icount_shift: u32,
    /// Processor clock of the board, Hz.
    pub clock: u64,
}

/// Memory for a model that is no part of the firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Where it begins.
    pub address: u32,
    /// Its length in bytes.
    pub bytes: u32,
}

impl Board {
    /// Instructions in one tick of the processor clock, as the emulator's settings have it.
    #[must_use]
    pub fn instructions_per_tick(&self) -> f64 {
        1e9 / self.clock as f64 / f64::from(1u32 << self.icount_shift)
    }
}

/// The emulated boards.
pub const BOARDS: [Board; 5] = [
    Board {
        name: "mps2-an386",
        cpu: "Cortex-M4F",
        target: "thumbv7em-none-eabihf",
        target_features: &[],
        packing: (Packing::CortexM, "cortex-m4"),
        package: "picovit-mps2",
        memory: "mps2-an386",
        emulator: "qemu-system-arm",
        flash: 4 * 1024 * 1024,
        region: Region { address: 0x21C0_0000, bytes: 4 * 1024 * 1024 },
        icount_shift: 2,
        clock: 25_000_000,
    },
    Board {
        name: "mps2-an500",
        cpu: "Cortex-M7F",
        target: "thumbv7em-none-eabihf",
        target_features: &[],
        packing: (Packing::CortexM, "cortex-m7"),
        package: "picovit-mps2",
        memory: "mps2-an500",
        emulator: "qemu-system-arm",
        flash: 4 * 1024 * 1024,
        region: Region { address: 0x60C0_0000, bytes: 4 * 1024 * 1024 },
        icount_shift: 2,
        clock: 25_000_000,
    },
    Board {
        name: "mps2-an505",
        cpu: "Cortex-M33",
        target: "thumbv8m.main-none-eabihf",
        target_features: &["dsp"],
        packing: (Packing::CortexM, "cortex-m33"),
        package: "picovit-mps2",
        memory: "mps2-an505",
        emulator: "qemu-system-arm",
        flash: 4 * 1024 * 1024,
        region: Region { address: 0x80C0_0000, bytes: 4 * 1024 * 1024 },
        icount_shift: 1,
        clock: 20_000_000,
    },
    Board {
        name: "mps3-an547",
        cpu: "Cortex-M55",
        target: "thumbv8m.main-none-eabihf",
        target_features: &["dsp", "mve"],
        packing: (Packing::Helium, "cortex-m55"),
        package: "picovit-mps2",
        memory: "mps3-an547",
        emulator: "qemu-system-arm",
        flash: 8 * 1024 * 1024,
        region: Region { address: 0x60C0_0000, bytes: 4 * 1024 * 1024 },
        icount_shift: 2,
        clock: 32_000_000,
    },
    // No board with a Cortex-M0+ is emulated; a Cortex-M3 executes the same code, instruction by
    // instruction.
    Board {
        name: "mps2-an385",
        cpu: "Cortex-M3, code for Cortex-M0+",
        target: "thumbv6m-none-eabi",
        target_features: &[],
        packing: (Packing::Portable, "portable"),
        package: "picovit-mps2",
        memory: "mps2-an386",
        emulator: "qemu-system-arm",
        flash: 4 * 1024 * 1024,
        region: Region { address: 0x21C0_0000, bytes: 4 * 1024 * 1024 },
        icount_shift: 2,
        clock: 25_000_000,
    },
];

/// The board of this name.
///
/// # Errors
/// [`Error::UnknownBoard`], which lists the known ones.
pub fn named(name: &str) -> Result<&'static Board, Error> {
    let found = BOARDS.iter().find(|board| board.name == name);
    found.ok_or_else(|| Error::UnknownBoard { name: name.to_owned(), known: list() })
}

/// The boards, each on a line of its own.
#[must_use]
pub fn list() -> String {
    BOARDS.map(|board| format!("\n  {:12} {}, emulated", board.name, board.cpu)).concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_are_found_by_name() {
        assert_eq!(named(DEFAULT).map(|board| board.cpu).ok(), Some("Cortex-M4F"));
        let error = named("toaster").unwrap_err().to_string();
        assert!(error.contains("toaster"), "{error}");
        assert_eq!(BOARDS[0].instructions_per_tick(), 10.0);
    }
}
