//! Colours: a dark ground, quiet greys, and one hue per class.

use embedded_graphics::pixelcolor::Rgb565;

pub(super) const BACKGROUND: Rgb565 = rgb(0x0B_0F14);
pub(super) const PANEL: Rgb565 = rgb(0x1A_212B);
pub(super) const TEXT: Rgb565 = rgb(0xF4_F7FA);
pub(super) const MUTED: Rgb565 = rgb(0x9A_A7B6);
pub(super) const UNSURE: Rgb565 = rgb(0x6C_7A8A);
pub(super) const RIGHT: Rgb565 = rgb(0x51_CF66);
pub(super) const WRONG: Rgb565 = rgb(0xFF_6B6B);

/// Neighbouring classes get hues far apart.
const CLASSES: [Rgb565; 12] = [
    rgb(0xFF_8787),
    rgb(0x4D_ABF7),
    rgb(0xFF_D43B),
    rgb(0x69_DB7C),
    rgb(0xDA_77F2),
    rgb(0x3B_C9DB),
    rgb(0xFF_A94D),
    rgb(0x91_A7FF),
    rgb(0xA9_E34B),
    rgb(0xF7_83AC),
    rgb(0x38_D9A9),
    rgb(0xE8_B98A),
];

/// Colour of a class.
pub(super) fn class(class: u16) -> Rgb565 {
    CLASSES[usize::from(class) % CLASSES.len()]
}

/// A colour mixed into the background, `parts` of 16.
pub(super) fn dimmed(color: Rgb565, parts: u16) -> Rgb565 {
    use embedded_graphics::pixelcolor::RgbColor;
    let mix = |a: u8, b: u8| ((u16::from(a) * parts + u16::from(b) * (16 - parts)) / 16) as u8;
    Rgb565::new(
        mix(color.r(), BACKGROUND.r()),
        mix(color.g(), BACKGROUND.g()),
        mix(color.b(), BACKGROUND.b()),
    )
}

const fn rgb(hex: u32) -> Rgb565 {
    Rgb565::new((hex >> 19) as u8 & 31, (hex >> 10) as u8 & 63, (hex >> 3) as u8 & 31)
}
