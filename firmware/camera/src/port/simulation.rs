//! The program beside a camera, cycle by cycle.

extern crate std;

use std::vec::Vec;

use pio::{
    InSource, Instruction, InstructionOperands, JmpCondition, MovDestination, MovOperation,
    MovSource, WaitSource,
};

use super::{HREF, PCLK, VSYNC, count, program};

/// Cycles from a pin to the program.
const SYNCHRONIZER: usize = 2;

/// A state machine: as much of one as the program uses, and nothing else.
struct Machine {
    code: Vec<Instruction>,
    wrap: (u8, u8),
    at: u8,
    x: u32,
    osr: u32,
    told: u32,
    delayed: [u32; SYNCHRONIZER],
    bytes: Vec<u8>,
}

impl Machine {
    fn new(frame_bytes: usize) -> Self {
        let program = program();
        let code = program.code.iter();
        let code = code.map(|&word| Instruction::decode(word, program.side_set).unwrap());
        Self {
            code: code.collect(),
            wrap: (program.wrap.source, program.wrap.target),
            at: 0,
            x: 0,
            osr: 0,
            told: count(frame_bytes),
            delayed: [0; SYNCHRONIZER],
            bytes: Vec::new(),
        }
    }

    /// A cycle of the system's clock with these levels on the pins.
    fn cycle(&mut self, pins: u32) {
        let seen = self.delayed[0];
        self.delayed.rotate_left(1);
        self.delayed[SYNCHRONIZER - 1] = pins;
        let high = |pin: usize| seen >> pin & 1 == 1;

        let Instruction { operands, delay, .. } = self.code[usize::from(self.at)];
        assert_eq!(delay, 0);
        let next = if self.at == self.wrap.0 { self.wrap.1 } else { self.at + 1 };
        self.at = match operands {
            InstructionOperands::PULL { block: true, .. } => {
                self.osr = self.told;
                next
            }
            InstructionOperands::MOV {
                destination: MovDestination::X,
                op: MovOperation::None,
                source: MovSource::OSR,
            } => {
                self.x = self.osr;
                next
            }
            InstructionOperands::WAIT { polarity, source: WaitSource::PIN, index, .. } => {
                if high(index.into()) == (polarity == 1) { next } else { self.at }
            }
            InstructionOperands::IN { source: InSource::PINS, bit_count: 8 } => {
                self.bytes.push(seen as u8);
                next
            }
            InstructionOperands::JMP { condition, address } => {
                let jump = match condition {
                    JmpCondition::Always => true,
                    JmpCondition::PinHigh => high(HREF),
                    JmpCondition::XDecNonZero => {
                        let before = self.x;
                        self.x = before.wrapping_sub(1);
                        before != 0
                    }
                    other => panic!("{other:?}"),
                };
                if jump { address } else { next }
            }
            other => panic!("{other:?}"),
        };
    }
}

/// A camera.
#[derive(Clone, Copy)]
struct Camera {
    width: usize,
    rows: usize,
    /// Cycles of the system's clock in half a period of `PCLK`.
    half: usize,
    /// Cycles by which `HREF` and data come after the falling edge of `PCLK`; before it, if negative.
    skew: isize,
}

const QQVGA_LIKE: Camera = Camera { width: 16, rows: 5, half: 24, skew: 0 };

impl Camera {
    fn frame_bytes(&self) -> usize {
        self.width * self.rows
    }

    /// The byte at a place of a frame.
    fn byte(frame: usize, row: usize, column: usize) -> u8 {
        (frame * 89 + row * 31 + column * 7 + 1) as u8
    }

    fn frame(&self, frame: usize) -> Vec<u8> {
        let places = (0..self.rows).flat_map(|row| (0..self.width).map(move |x| (row, x)));
        places.map(|(row, x)| Self::byte(frame, row, x)).collect()
    }

    /// The levels of data, `HREF` and `VSYNC`, a value for every period of `PCLK`.
    fn periods(&self, frame: usize, rows: usize) -> Vec<u32> {
        // Between rows the data wires have whatever they have.
        let idle = 0xa5;
        let mut periods = Vec::new();
        periods.extend(std::iter::repeat_n(idle | 1 << VSYNC, 3 * self.width));
        periods.extend(std::iter::repeat_n(idle, 2 * self.width));
        for row in 0..rows {
            let bytes = (0..self.width).map(|x| u32::from(Self::byte(frame, row, x)) | 1 << HREF);
            periods.extend(bytes);
            periods.extend(std::iter::repeat_n(idle, self.width / 2));
        }
        periods.extend(std::iter::repeat_n(idle, self.width));
        periods
    }

    /// Shows a machine so many rows of each frame, from somewhere in the first on.
    fn show(&self, machine: &mut Machine, start: usize, rows: &[usize]) {
        let frames = rows.iter().enumerate();
        let periods: Vec<u32> =
            frames.flat_map(|(frame, &rows)| self.periods(frame, rows)).skip(start).collect();
        let period = 2 * self.half;
        for cycle in 0..periods.len() * period {
            // `PCLK` falls where a period begins and rises in the middle.
            let clock = u32::from(cycle % period >= self.half) << PCLK;
            let shifted = cycle.saturating_add_signed(-self.skew) / period;
            let levels = periods[shifted.min(periods.len() - 1)];
            machine.cycle(levels | clock);
        }
    }

    fn read(&self, start: usize, rows: &[usize]) -> Vec<u8> {
        let mut machine = Machine::new(self.frame_bytes());
        self.show(&mut machine, start, rows);
        machine.bytes
    }
}

#[test]
fn frames_are_read_from_their_first_byte_to_their_last() {
    let camera = QQVGA_LIKE;
    let expected = [camera.frame(0), camera.frame(1), camera.frame(2)].concat();
    assert_eq!(camera.read(0, &[5, 5, 5]), expected);
}

#[test]
fn a_frame_that_has_begun_is_let_go() {
    let camera = QQVGA_LIKE;
    let vsync = 3 * camera.width;
    for start in vsync + 1..camera.periods(0, camera.rows).len() {
        assert_eq!(camera.read(start, &[5, 5]), camera.frame(1), "from {start}");
    }
}

#[test]
fn it_does_not_matter_whether_the_clock_or_the_row_changes_first() {
    for skew in -8..=8 {
        let camera = Camera { skew, ..QQVGA_LIKE };
        let expected = [camera.frame(0), camera.frame(1)].concat();
        assert_eq!(camera.read(0, &[5, 5]), expected, "{skew} cycles");
    }
}

#[test]
fn the_clock_may_be_as_fast_as_the_sensor_has_it() {
    // At 150 MHz, six cycles are a pixel clock of 12.5 MHz: four times what the sensor sends.
    for half in [6, 7, 12, 100] {
        let camera = Camera { half, ..QQVGA_LIKE };
        assert_eq!(camera.read(0, &[5]), camera.frame(0), "{half} cycles");
    }
}

#[test]
fn a_row_that_is_lost_costs_two_frames_and_no_more() {
    let camera = QQVGA_LIKE;
    let bytes = camera.read(0, &[5, 4, 5, 5]);
    let frames: Vec<&[u8]> = bytes.chunks(camera.frame_bytes()).collect();
    assert_eq!(frames[0], camera.frame(0));
    assert_ne!(frames[1], camera.frame(1));
    assert_eq!(frames.last().copied(), Some(&camera.frame(3)[..]));
    assert_eq!(frames.len(), 3);
}

#[test]
fn rows_too_many_are_left_out() {
    let camera = QQVGA_LIKE;
    let expected = [camera.frame(0), camera.frame(1)].concat();
    assert_eq!(camera.read(0, &[7, 7]), expected);
}
