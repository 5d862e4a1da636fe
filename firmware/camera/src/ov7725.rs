//! OmniVision OV7725.

use picovit::image::PixelFormat;

use crate::sensor::{Registers, Sensor};

/// The OV7725: 160x120, YUV 4:2:2 as `y0 u y1 v`.
///
/// `VSYNC` is high between frames, `HREF` during a row, and a byte is to be taken while `PCLK` is high.
/// With a clock of 24 MHz it sends some 30 frames a second.
pub static OV7725: Sensor = Sensor {
    name: "OV7725",
    wanted: "this firmware is for an OV7725: SENSOR in its source",
    address: 0x21,
    // PID and VER.
    identity_at: [0x0a, 0x0b],
    identity: 0x7721,
    // COM7: SCCB register reset.
    reset: (0x12, 0x80),
    setup: &[CLOCK, PIXELS, WINDOW, SIZE, EXPOSURE],
    width: 160,
    height: 120,
    format: PixelFormat::Yuyv,
};

/// The clock multiplied by four and divided by four.
const CLOCK: &Registers = &[
    (0x0d, 0x41), // COM4: PLL by four, exposure over the whole window
    (0x11, 0x01), // CLKRC: divided by four
];

/// Order of the bytes and polarities.
const PIXELS: &Registers = &[
    (0x0c, 0x10), // COM3: y u y v
    (0x15, 0x00), // COM10: polarities as described above
    (0x3d, 0x03), // COM12: place of the analogue reference
];

/// The part of the array that is read: 640x480.
const WINDOW: &Registers = &[
    (0x17, 0x22), // HSTART
    (0x18, 0xa4), // HSIZE, a quarter
    (0x19, 0x07), // VSTRT
    (0x1a, 0xf0), // VSIZE, a half
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

/// Exposure, gain and white balance by itself.
const EXPOSURE: &Registers = &[
    (0x13, 0xff), // COM8: everything automatic, fast, with the banding filter
    (0x24, 0x40), // AEW: brighter than this is too bright
    (0x25, 0x30), // AEB: darker than this is too dark
    (0x26, 0xa1), // VPT: where control becomes fast
];
