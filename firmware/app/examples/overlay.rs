//! Draws the overlay for a made-up answer and writes it as a PNG:
//!
//! ```text
//! cargo run --example overlay -- [WIDTHxHEIGHT [FILE.png [32x32-GREY.raw]]]
//! ```
//!
//! A file whose name contains `unsure` shows an unsure answer; `notice-empty`, `notice-damaged`,
//! `notice-version`, `notice-target`, `notice-arena` and `notice-self-test` show what a board says
//! whose model region is so, `notice-camera` and `notice-silent` one without a camera or without
//! frames.

use std::error::Error;
use std::fs::{self, File};
use std::io::BufWriter;

use embedded_graphics::geometry::Size;
use embedded_graphics::primitives::Rectangle;
use picovit::Prediction;
use picovit::format::Packing;
use picovit_app::history::Entry;
use picovit_app::overlay::Picture;
use picovit_app::{
    Banded, CameraError, Cost, History, Notice, RegionError, Scene, Screen, Sink, Verdict,
};

const LABELS: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// Collects the bands of a screen as RGB.
#[derive(Default)]
struct Collect(Vec<u8>);

impl Sink for Collect {
    type Error = std::convert::Infallible;

    fn take(&mut self, _: &Rectangle, pixels: &[u8]) -> Result<(), Self::Error> {
        for pixel in pixels.chunks_exact(2) {
            let value = u16::from_be_bytes([pixel[0], pixel[1]]);
            let [r, g, b] = [value >> 11, value >> 5 & 63, value & 31].map(u32::from);
            self.0.extend([r * 255 / 31, g * 255 / 63, b * 255 / 31].map(|value| value as u8));
        }
        Ok(())
    }
}

/// The notice that a file's name asks for.
fn notice(path: &str) -> Option<Notice> {
    let (_, kind) = path.rsplit_once("notice-")?;
    let kind = kind.split('.').next()?;
    let camera = match kind {
        "camera" => Some(CameraError::SetUp {
            reason: "camera does not answer",
            remedy: "check supply, clock (XCLK), SDA and SCL",
        }),
        "silent" => Some(CameraError::Silent),
        _ => None,
    };
    if let Some(error) = &camera {
        return Some(Notice::from(error));
    }
    let error = match kind {
        "empty" => RegionError::Empty,
        "damaged" => RegionError::Checksum,
        "version" => RegionError::Version { found: 2 },
        "target" => RegionError::WrongTarget { found: Packing::Helium, wanted: Packing::CortexM },
        "arena" => RegionError::ArenaTooSmall { needs: 65_536, has: 49_152 },
        "self-test" => RegionError::SelfTest { differing: 7, classes: 10 },
        _ => return None,
    };
    Some(Notice::from(&error))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let screen = args.next().unwrap_or_else(|| "320x240".into());
    let (width, height) = screen.split_once('x').ok_or("the size is WIDTHxHEIGHT")?;
    let size = Size::new(width.parse()?, height.parse()?);
    let path = args.next().unwrap_or_else(|| "overlay.png".into());
    let pixels: Vec<i8> = match args.next() {
        Some(raw) => fs::read(raw)?.iter().map(|&pixel| (i16::from(pixel) - 128) as i8).collect(),
        None => (0..32 * 32).map(|i| (i % 32 * 4 + i / 32 * 4 - 128) as i8).collect(),
    };
    let unsure = path.contains("unsure");

    let mut history = History::new();
    let mut class = 0;
    for i in 0..64u16 {
        class = if i % 7 == 0 { (class + 3) % 10 } else { class };
        let sure = i % 13 != 5;
        let probability = if sure { 60000 - i * 317 % 20000 } else { 25000 };
        history.push(Entry { class: sure.then_some(class), probability });
    }
    let prediction =
        |class, percent: u32| Prediction { class, probability: (percent * 65535 / 100) as u16 };
    let top = if unsure {
        [prediction(6, 41), prediction(0, 35), prediction(2, 18)]
    } else {
        [prediction(9, 94), prediction(7, 5), prediction(5, 1)]
    };
    let verdict = if unsure { Verdict::Unsure(top[0]) } else { Verdict::Sure(top[0]) };
    let scene = Scene {
        labels: &LABELS,
        picture: Picture { height: 32, width: 32, channels: 1, pixels: &pixels },
        top: &top,
        verdict,
        expected: Some(if unsure { 0 } else { 9 }),
        history: &history,
        cost: Cost::Instructions(104_234_567),
        period: None,
    };

    let mut buffer = vec![0; size.width as usize * 2 * 16];
    let mut screen = Banded::new(size, &mut buffer, Collect::default());
    let Ok(()) = match notice(&path) {
        Some(notice) => screen.show_notice(&notice),
        None => screen.show(&scene),
    };
    let file = BufWriter::new(File::create(&path)?);
    let mut encoder = png::Encoder::new(file, size.width, size.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header()?.write_image_data(&screen.sink_mut().0)?;
    println!("{path}");
    Ok(())
}
