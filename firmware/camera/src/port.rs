//! Reading the port with a PIO state machine.
//!
//! It waits for the end of `VSYNC`, which is high between frames, and takes a byte with every rising
//! edge of `PCLK` at which `HREF` is high, until it has those of a frame. `HREF` is looked at in the
//! middle of a byte, not at its edge: it changes together with `PCLK`, and either may come first. A frame
//! that was disturbed ends with bytes of the next one at worst; the one after starts at its beginning.

use pio::{Program, RP2040_MAX_PROGRAM_SIZE, pio_asm};

#[cfg(test)]
mod simulation;

/// Wires of the port, pins in a row: eight of data, low bit first, then those below.
pub const WIRES: usize = 11;
/// Place of the pixel clock.
pub const PCLK: usize = 8;
/// Place of what is high during a row; the program's `jmp pin` looks there.
pub const HREF: usize = 9;
/// Place of what is high between frames.
pub const VSYNC: usize = 10;

const _: () = assert!(PCLK == 8 && HREF == 9 && VSYNC == 10, "the numbers in the program");

/// The program. It pushes a byte at a time: eight bits, shifted in from the right, pushed by themselves.
/// Before it takes the first, it wants [`count`].
#[must_use]
pub fn program() -> Program<RP2040_MAX_PROGRAM_SIZE> {
    pio_asm!(
        "    pull block",
        ".wrap_target",
        "    mov x, osr",
        "    wait 1 pin 10",
        "    wait 0 pin 10",
        "edge:",
        "    wait 0 pin 8",
        "    wait 1 pin 8",
        "    jmp pin take",
        "    jmp edge",
        "take:",
        "    in pins, 8",
        "    jmp x-- edge",
        ".wrap",
    )
    .program
}

/// What the program is told of frames of so many bytes.
#[must_use]
pub const fn count(frame_bytes: usize) -> u32 {
    (frame_bytes as u32).wrapping_sub(1)
}
