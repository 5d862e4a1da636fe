//! The boards firmware exists for.

use picovit::format::Packing;

use crate::error::Error;

/// The board that commands use unless told otherwise.
pub const DEFAULT: &str = "mps2-an386";

/// RAM that firmware is linked for unless told otherwise, in KB.
pub const RAM_KB: u32 = 128;
/// How much of it is the stack on which the model runs, likewise.
pub const STACK_KB: u32 = 8;

/// A board, emulated or real.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board {
    /// Its name; QEMU's name of the machine where it is emulated.
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
    /// Bytes of flash that the firmware has.
    pub flash: u64,
    /// Where the model is that is no part of the firmware.
    pub region: Region,
    /// What there is of it.
    pub kind: Kind,
}

/// An emulated board, or one that can be touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An emulated one.
    Emulated(Emulation),
    /// A real one.
    Hardware(Hardware),
}

/// How a board is emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emulation {
    /// The emulator.
    pub emulator: &'static str,
    /// Every instruction takes `2^icount_shift` nanoseconds of the emulator's clock.
    pub icount_shift: u32,
    /// Processor clock of the board, Hz.
    pub clock: u64,
}

impl Emulation {
    /// Instructions in one tick of the processor clock, as the emulator's settings have it.
    #[must_use]
    pub fn instructions_per_tick(&self) -> f64 {
        1e9 / self.clock as f64 / f64::from(1u32 << self.icount_shift)
    }
}

/// How a board is flashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// What probe-rs calls the chip.
    pub chip: &'static str,
    /// The drive that its boot loader offers, if it has one.
    pub drive: Option<Drive>,
    /// The stack of a second processor core, if the firmware uses one.
    pub second: Option<SecondStack>,
    /// Interrupts that others can interrupt, by the names of their handlers: levels of the same
    /// priority, the lowest first. All other exceptions are a level above these.
    pub levels: &'static [&'static [&'static str]],
    /// Working memory that the firmware has for a model, in KB, with [`RAM_KB`] and [`STACK_KB`].
    pub arena_kb: u32,
    /// The most RAM that it can be linked for, in KB.
    pub ram_kb: u32,
}

impl Hardware {
    /// Working memory for a model, in KB, with so much RAM and stack: more of the one is more for the
    /// model, more of the other is taken from it.
    #[must_use]
    pub const fn arena_kb(&self, ram: u32, stack: u32) -> u32 {
        (self.arena_kb + ram + STACK_KB).saturating_sub(RAM_KB + stack)
    }
}

/// The stack of a second core: a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondStack {
    /// The function that the core begins with.
    pub entry: &'static str,
    /// What the variable's name ends with.
    pub variable: &'static str,
}

/// A boot loader that takes UF2 files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drive {
    /// What its `INFO_UF2.TXT` calls the board.
    pub board: &'static str,
    /// Family of its UF2 files.
    pub family: u32,
    /// How a person starts it.
    pub start: &'static str,
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
    /// How it is emulated.
    ///
    /// # Errors
    /// [`Error::NotEmulated`].
    pub fn emulation(&self) -> Result<&Emulation, Error> {
        match &self.kind {
            Kind::Emulated(emulation) => Ok(emulation),
            Kind::Hardware(_) => Err(Error::NotEmulated { board: self.name, known: list() }),
        }
    }

    /// How it is flashed.
    ///
    /// # Errors
    /// [`Error::NoHardware`].
    pub fn hardware(&self) -> Result<&Hardware, Error> {
        match &self.kind {
            Kind::Hardware(hardware) => Ok(hardware),
            Kind::Emulated(_) => {
                Err(Error::NoHardware { board: self.name, known: hardware_list() })
            }
        }
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
        flash: 4 * 1024 * 1024,
        region: Region { address: 0x21C0_0000, bytes: 4 * 1024 * 1024 },
        kind: emulated(2, 25_000_000),
    },
    Board {
        name: "mps2-an500",
        cpu: "Cortex-M7F",
        target: "thumbv7em-none-eabihf",
        target_features: &[],
        packing: (Packing::CortexM, "cortex-m7"),
        package: "picovit-mps2",
        memory: "mps2-an500",
        flash: 4 * 1024 * 1024,
        region: Region { address: 0x60C0_0000, bytes: 4 * 1024 * 1024 },
        kind: emulated(2, 25_000_000),
    },
    Board {
        name: "mps2-an505",
        cpu: "Cortex-M33",
        target: "thumbv8m.main-none-eabihf",
        target_features: &["dsp"],
        packing: (Packing::CortexM, "cortex-m33"),
        package: "picovit-mps2",
        memory: "mps2-an505",
        flash: 4 * 1024 * 1024,
        region: Region { address: 0x80C0_0000, bytes: 4 * 1024 * 1024 },
        kind: emulated(1, 20_000_000),
    },
    Board {
        name: "mps3-an547",
        cpu: "Cortex-M55",
        target: "thumbv8m.main-none-eabihf",
        target_features: &["dsp", "mve"],
        packing: (Packing::Helium, "cortex-m55"),
        package: "picovit-mps2",
        memory: "mps3-an547",
        flash: 8 * 1024 * 1024,
        region: Region { address: 0x60C0_0000, bytes: 4 * 1024 * 1024 },
        kind: emulated(2, 32_000_000),
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
        flash: 4 * 1024 * 1024,
        region: Region { address: 0x21C0_0000, bytes: 4 * 1024 * 1024 },
        kind: emulated(2, 25_000_000),
    },
];

/// The boards that can be touched.
pub const HARDWARE: [Board; 2] = [
    Board {
        name: "pico2",
        cpu: "Cortex-M33 (RP2350)",
        target: "thumbv8m.main-none-eabihf",
        target_features: &["dsp"],
        packing: (Packing::CortexM, "cortex-m33"),
        package: "picovit-pico2",
        memory: "pico2",
        flash: 1024 * 1024,
        region: Region { address: 0x1010_0000, bytes: 3 * 1024 * 1024 },
        kind: Kind::Hardware(Hardware {
            chip: "RP235x",
            drive: Some(Drive {
                board: "RP2350",
                // rp2350-arm-s. Without a table of partitions its addresses are those of the flash,
                // so that it serves for the model, too.
                family: 0xe48b_ff59,
                start: "hold BOOTSEL while plugging the USB cable in",
            }),
            second: Some(SecondStack {
                entry: "embassy_rp::multicore::spawn_core1::core1_startup",
                variable: "__cortex_m_rt_main_trampoline::STACK",
            }),
            // The HAL gives DMA and pins less than the timer and core 1's interrupt.
            levels: &[&["DMA_IRQ_0", "IO_IRQ_BANK0"]],
            arena_kb: 32,
            ram_kb: 512,
        }),
    },
    Board {
        name: "stm32h7",
        cpu: "Cortex-M7 (STM32H743)",
        target: "thumbv7em-none-eabihf",
        target_features: &[],
        packing: (Packing::CortexM, "cortex-m7"),
        package: "picovit-stm32h7",
        memory: "stm32h7",
        flash: 512 * 1024,
        region: Region { address: 0x0808_0000, bytes: 1536 * 1024 },
        kind: Kind::Hardware(Hardware {
            chip: "STM32H743ZITx",
            drive: None,
            second: None,
            // The camera's task; the HAL's own interrupts have the highest priority.
            levels: &[&["UART4"]],
            arena_kb: 96,
            // DTCM.
            ram_kb: 128,
        }),
    },
];

/// All boards.
pub fn all() -> impl Iterator<Item = &'static Board> {
    static EMULATED: [Board; 5] = BOARDS;
    static REAL: [Board; 2] = HARDWARE;
    EMULATED.iter().chain(&REAL)
}

/// QEMU with the time of an instruction and the clock of the board, Hz.
const fn emulated(icount_shift: u32, clock: u64) -> Kind {
    Kind::Emulated(Emulation { emulator: "qemu-system-arm", icount_shift, clock })
}

/// The board of this name.
///
/// # Errors
/// [`Error::UnknownBoard`], which lists the known ones.
pub fn named(name: &str) -> Result<&'static Board, Error> {
    let found = all().find(|board| board.name == name);
    found.ok_or_else(|| Error::UnknownBoard { name: name.to_owned(), known: list() })
}

/// The boards, each on a line of its own.
#[must_use]
pub fn list() -> String {
    lines(all())
}

/// Those of them that can be flashed.
pub(crate) fn hardware_list() -> String {
    lines(all().filter(|board| matches!(board.kind, Kind::Hardware(_))))
}

fn lines(boards: impl Iterator<Item = &'static Board>) -> String {
    let line = |board: &Board| {
        let emulated = match board.kind {
            Kind::Emulated(_) => ", emulated",
            Kind::Hardware(_) => "",
        };
        format!("\n  {:12} {}{emulated}", board.name, board.cpu)
    };
    boards.map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::root;

    fn error_of(name: &str, of: fn(&Board) -> Result<(), Error>) -> String {
        of(named(name).unwrap()).unwrap_err().to_string()
    }

    /// Whoever builds a board's package without this tool gets the same.
    #[test]
    fn boards_have_the_working_memory_that_their_packages_have() {
        for board in HARDWARE {
            let hardware = board.hardware().unwrap();
            let path = root().join("firmware/boards").join(board.name).join("build.rs");
            let source = std::fs::read_to_string(path).unwrap();
            for (name, value) in
                [("RAM_KB", RAM_KB), ("STACK_KB", STACK_KB), ("ARENA_KB", hardware.arena_kb)]
            {
                let line = format!("const {name}: u32 = {value};");
                assert!(source.contains(&line), "{}: {line}", board.name);
            }
        }
    }

    #[test]
    fn a_stack_is_taken_from_the_model_and_more_ram_given_to_it() {
        let pico2 = named("pico2").unwrap().hardware().unwrap();
        assert_eq!(pico2.arena_kb(128, 8), 32);
        assert_eq!(pico2.arena_kb(128, 9), 31);
        assert_eq!(pico2.arena_kb(144, 8), 48);
        assert_eq!(pico2.arena_kb(144, 18), 38);
        assert_eq!(pico2.arena_kb(64, 8), 0);
    }

    /// What is written to the same flash must not overlap.
    #[test]
    fn firmware_and_model_lie_apart() {
        for board in HARDWARE {
            let region = board.region;
            assert!(region.address.is_multiple_of(128 * 1024), "{}", board.name);
            assert!(u64::from(region.address & 0x00ff_ffff) >= board.flash, "{}", board.name);
        }
    }

    #[test]
    fn boards_are_found_by_name() {
        assert_eq!(named(DEFAULT).map(|board| board.cpu).ok(), Some("Cortex-M4F"));
        let error = named("toaster").unwrap_err().to_string();
        assert!(error.contains("toaster"), "{error}");
        assert_eq!(BOARDS[0].emulation().unwrap().instructions_per_tick(), 10.0);
        assert!(
            error_of("pico2", |board| board.emulation().map(|_| ())).contains("cargo firmware")
        );
        assert!(error_of(DEFAULT, |board| board.hardware().map(|_| ())).contains("emulated"));
        let touched = hardware_list();
        assert!(touched.contains("pico2") && touched.contains("stm32h7"), "{touched}");
        assert!(!touched.contains("mps"), "{touched}");
    }
}
