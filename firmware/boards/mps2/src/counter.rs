//! Counts instructions with SysTick.
//!
//! Under `-icount` the emulator's clock advances by a fixed time with every instruction, so ticks
//! of the processor clock are proportional to instructions executed. How many instructions make a
//! tick is measured with a loop of known length. Instructions are not cycles.

use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::peripheral::{SCB, SYST};
use cortex_m_rt::exception;
use picovit_app::{Clock, Cost};

/// SysTick counts 24 bits.
pub const PERIOD: u64 = 1 << 24;

static WRAPS: AtomicU32 = AtomicU32::new(0);

#[exception]
fn SysTick() {
    // Nothing else writes, and no read-modify-write is needed.
    WRAPS.store(WRAPS.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// Ticks since start.
pub fn ticks() -> u64 {
    loop {
        let wraps = WRAPS.load(Ordering::SeqCst);
        let left = u64::from(SYST::get_current());
        // A wrap between the two reads, or one not yet counted, would be off by a whole period.
        if WRAPS.load(Ordering::SeqCst) == wraps && !SCB::is_pendst_pending() {
            return u64::from(wraps) * PERIOD + (PERIOD - left) % PERIOD;
        }
    }
}

/// Instructions of one iteration of [`spin`].
const SPIN_INSTRUCTIONS: u64 = 2;

/// A loop of known length.
#[allow(unsafe_code)]
fn spin(iterations: u32) {
    // SAFETY: counts a register down to zero and touches nothing else but the flags.
    unsafe {
        asm!(
            "2: subs {0}, #1",
            "bne 2b",
            inout(reg) iterations.max(1) => _,
            options(nomem, nostack)
        );
    }
}

/// A clock whose unit is the instruction.
pub struct InstructionCounter {
    calibration: Calibration,
    start: u64,
}

/// So many instructions took so many ticks.
#[derive(Clone, Copy)]
pub struct Calibration {
    /// Instructions.
    pub instructions: u64,
    /// Ticks.
    pub ticks: u64,
}

impl InstructionCounter {
    /// Starts SysTick on the processor clock and calibrates it.
    pub fn new(mut syst: SYST) -> Self {
        syst.set_clock_source(SystClkSource::Core);
        syst.set_reload(PERIOD as u32 - 1);
        syst.clear_current();
        syst.enable_interrupt();
        syst.enable_counter();

        // The difference of two lengths is free of what surrounds the loop.
        const LENGTH: u32 = 5_000_000;
        let measure = |iterations| {
            let start = ticks();
            spin(iterations);
            ticks() - start
        };
        let ticks = measure(2 * LENGTH) - measure(LENGTH);
        let instructions = u64::from(LENGTH) * SPIN_INSTRUCTIONS;
        let calibration = Calibration { instructions, ticks: ticks.max(1) };
        Self { calibration, start: 0 }
    }

    /// Instructions of so many ticks.
    #[cfg(feature = "profile")]
    pub fn instructions(&self, ticks: u64) -> u64 {
        ticks * self.calibration.instructions / self.calibration.ticks
    }

    /// The measured calibration.
    pub fn calibration(&self) -> Calibration {
        self.calibration
    }
}

impl Clock for InstructionCounter {
    fn start(&mut self) {
        self.start = ticks();
    }

    fn stop(&mut self) -> Cost {
        let Calibration { instructions, ticks: per } = self.calibration;
        Cost::Instructions((ticks() - self.start) * instructions / per)
    }
}
