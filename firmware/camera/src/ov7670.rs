//! OmniVision OV7670, as on the common module with 18 pins.

use picovit::image::PixelFormat;

use crate::sensor::{Registers, Sensor};

/// The OV7670: 160x120, YUV 4:2:2 as `y0 u y1 v`. Brightness has its full range and comes in bytes of
/// its own, so that models of grey pictures get what the sensor saw.
///
/// `VSYNC` is high between frames, `HREF` during a row, and a byte is to be taken while `PCLK` is high.
/// With a clock of 12.5 MHz it sends at least 7 frames a second.
pub static OV7670: Sensor = Sensor {
    name: "OV7670",
    wanted: "this firmware is for an OV7670: SENSOR in its source",
    address: 0x21,
    // PID and VER.
    identity_at: [0x0a, 0x0b],
    identity: 0x7673,
    revisions: 0,
    // COM7: SCCB register reset. All zero afterwards: VGA array, YUV.
    reset: (0x12, 0x80),
    setup: &[CLOCK, PIXELS, SIZE, WINDOW, EXPOSURE, COLOUR],
    width: 160,
    height: 120,
    format: PixelFormat::Yuyv,
};

/// The clock as it comes, without PLL.
const CLOCK: &Registers = &[
    (0x11, 0x00), // CLKRC: not divided
    (0x6b, 0x0a), // DBLV: PLL bypassed, internal regulator on
];

/// Order and range of the bytes.
const PIXELS: &Registers = &[
    (0x3a, 0x04), // TSLB: with COM13[0] clear y u y v; the window is ours, not automatic
    (0x3d, 0xc0), // COM13: gamma, automatic saturation, u before v
    (0x40, 0xc0), // COM15: 0 to 255
    (0x15, 0x00), // COM10: polarities as described above
];

/// 640x480 to 160x120: averages of four by four, pixel clock to match.
const SIZE: &Registers = &[
    (0x0c, 0x04), // COM3: reduction on
    (0x3e, 0x1a), // COM14: pixel clock divided by four, scaling by hand
    (0x70, 0x3a), // SCALING_XSC: no zoom, no test picture
    (0x71, 0x35), // SCALING_YSC: the same
    (0x72, 0x22), // SCALING_DCWCTR: by four across and down
    (0x73, 0xf2), // SCALING_PCLK_DIV: by four
    (0xa2, 0x02), // SCALING_PCLK_DELAY
];

/// The part of the array that is read: columns 180 to 36 of the next row's count, rows 10 to 490.
const WINDOW: &Registers = &[
    (0x17, 0x16), // HSTART, upper bits
    (0x18, 0x04), // HSTOP, upper bits
    (0x32, 0xa4), // HREF: the lower bits of both, and the edge's place
    (0x19, 0x02), // VSTRT, upper bits
    (0x1a, 0x7a), // VSTOP, upper bits
    (0x03, 0x0a), // VREF: the lower bits of both
];

/// Exposure, gain and white balance by itself.
const EXPOSURE: &Registers = &[
    (0x13, 0xe7), // COM8: fast exposure control, any step, banding filter; gain, balance, exposure
    (0x14, 0x38), // COM9: gain up to 16
    // The filter's steps, 0x9d and 0x9e, count rows: they depend on the clock, in which boards differ,
    // and stay as they are after a reset.
    (0x3b, 0x12), // COM11: banding filter for the mains' frequency, found by itself; any exposure
    (0x24, 0x95), // AEW: brighter than this is too bright
    (0x25, 0x33), // AEB: darker than this is too dark
    (0x26, 0xe3), // VPT: where control becomes fast
];

/// Colours: the matrix from the sensor's to YUV.
const COLOUR: &Registers = &[
    (0x4f, 0x80), // MTX1 to 6
    (0x50, 0x80),
    (0x51, 0x00),
    (0x52, 0x22),
    (0x53, 0x5e),
    (0x54, 0x80),
    (0x58, 0x9e), // MTXS: their signs
    (0x41, 0x08), // COM16: gain of the white balance on
    (0xb0, 0x84), // reserved; colours are wrong with what is there after a reset
];
