//! OmniVision OV7725.

use picovit::image::PixelFormat;

use crate::sensor::{Registers, Sensor};

/// The OV7725: 160x120, YUV 4:2:2 as `y0 u y1 v`.
///
/// `VSYNC` is high between frames, `HREF` during a row, and a byte is to be taken while `PCLK` is high.
/// With a clock of 24 MHz it sends some 30 frames a second: every second pixel and row of the array is
/// read, and half of that is sent.
pub static OV7725: Sensor = Sensor {
    name: "OV7725",
    wanted: "this firmware is for an OV7725: SENSOR in its source",
    address: 0x21,
    // PID and VER.
    identity_at: [0x0a, 0x0b],
    identity: 0x7721,
    revisions: 0x000f,
    // COM7: SCCB register reset.
    reset: (0x12, 0x80),
    setup: &[CLOCK, PIXELS, WINDOW, SIZE, PROCESSING, EXPOSURE],
    width: 160,
    height: 120,
    format: PixelFormat::Yuyv,
};

/// The clock multiplied by four and divided by eight: half as many rows take half the time.
const CLOCK: &Registers = &[
    (0x0d, 0x41), // COM4: PLL by four, exposure over the whole window
    (0x11, 0x03), // CLKRC: divided by eight
];

/// What is sent: YUV of every second pixel and row, the order of its bytes, and polarities.
const PIXELS: &Registers = &[
    (0x12, 0x40), // COM7: QVGA, YUV
    (0x0c, 0x10), // COM3: y u y v
    (0x15, 0x00), // COM10: polarities as described above
    (0x3d, 0x03), // COM12: place of the analogue reference
];

/// The part of the array that is read: 320x240, placed as the data sheet has it.
const WINDOW: &Registers = &[
    (0x17, 0x3f), // HSTART
    (0x18, 0x50), // HSIZE, a quarter
    (0x19, 0x03), // VSTRT
    (0x1a, 0x78), // VSIZE, a half
    (0x32, 0x00), // HREF: the lower bits of all of them
];

/// What is made of it: 160x120, the ratio found by itself.
const SIZE: &Registers = &[
    (0x29, 0x28), // HOutSize, a quarter
    (0x2c, 0x3c), // VOutSize, a half
    (0x2a, 0x00), // EXHCH: the lower bits of both
    (0x65, 0x2f), // DSP_Ctrl2: reduction and zoom on, both ways
    (0xac, 0xff), // DSPAuto: how much by the sizes
];

/// What pixels go through. The FIFO, which is off after a reset, is what evens out the pixels that
/// reduction leaves.
const PROCESSING: &Registers = &[
    (0x64, 0xff), // DSP_Ctrl1: FIFO, colour matrix, interpolation, gamma, corrections
    (0x66, 0x00), // DSP_Ctrl3: no colour bars, nothing powered down
];

/// Exposure, gain and white balance by itself.
const EXPOSURE: &Registers = &[
    (0x13, 0xff), // COM8: everything automatic, fast, with the banding filter
    (0x24, 0x40), // AEW: brighter than this is too bright
    (0x25, 0x30), // AEB: darker than this is too dark
    (0x26, 0xa1), // VPT: where control becomes fast
];

#[cfg(test)]
mod tests {
    use super::*;

    fn register(address: u8) -> u8 {
        let mut setup = OV7725.setup.iter().flat_map(|group| group.iter());
        setup.find(|(register, _)| *register == address).unwrap().1
    }

    #[test]
    fn the_frame_is_what_the_registers_say() {
        // In quarters across and halves down, in both directions half of the window that is read.
        assert_eq!(usize::from(register(0x29)) * 4, OV7725.width);
        assert_eq!(usize::from(register(0x2c)) * 2, OV7725.height);
        assert_eq!(usize::from(register(0x18)) * 4, 2 * OV7725.width);
        assert_eq!(usize::from(register(0x1a)) * 2, 2 * OV7725.height);
        // Every second pixel is read for that, and what reduces the rest needs the FIFO.
        assert_eq!(register(0x12) & 0xc3, 0x40);
        assert_eq!(register(0x65) & 0x0f, 0x0f);
        assert_eq!(register(0x64) & 0x80, 0x80);
    }
}
