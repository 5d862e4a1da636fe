//! What every operation of the model takes.

use core::mem::offset_of;

use picovit::format::Header;
use picovit_app::{Clock, Cost};

use crate::built_in::MODEL;
use crate::counter::{InstructionCounter, ticks};

/// Operations of the model.
const OPS: usize = {
    let at = offset_of!(Header, op_count);
    u16::from_le_bytes([MODEL[at], MODEL[at + 1]]) as usize
};

/// A clock that remembers when every operation started, in ticks. Nothing is computed or logged
/// before the inference has ended.
pub struct Profiler {
    clock: InstructionCounter,
    picture: u64,
    start: u64,
    ops: [u64; OPS],
    end: u64,
}

impl Profiler {
    /// A profiler that reads this clock.
    pub fn new(clock: InstructionCounter) -> Self {
        Self { clock, picture: 0, start: 0, ops: [0; OPS], end: 0 }
    }

    /// A picture is about to be classified.
    pub fn picture(&mut self) {
        self.picture = ticks();
    }

    /// Logs what the last picture took. Instructions are those since the start of the inference, so
    /// that the differences of them leave nothing out.
    pub fn log(&self) {
        let after = ticks() - self.end;
        let since_start = |tick: u64| self.clock.instructions(tick - self.start);
        for (index, &tick) in self.ops.iter().enumerate() {
            defmt::println!("op index={=usize} at={=u64}", index, since_start(tick));
        }
        defmt::println!(
            "span before={=u64} inference={=u64} after={=u64}",
            self.clock.instructions(self.start - self.picture),
            since_start(self.end),
            self.clock.instructions(after)
        );
    }
}

impl Clock for Profiler {
    fn start(&mut self) {
        self.clock.start();
        self.start = ticks();
    }

    fn stop(&mut self) -> Cost {
        self.end = ticks();
        self.clock.stop()
    }

    fn op(&mut self, index: u16) {
        let now = ticks();
        if let Some(tick) = self.ops.get_mut(usize::from(index)) {
            *tick = now;
        }
    }
}
