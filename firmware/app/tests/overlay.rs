//! The overlay on a display in memory.

use std::convert::Infallible;

use embedded_graphics::pixelcolor::Rgb565;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use picovit::Prediction;
use picovit_app::history::Entry;
use picovit_app::overlay::{Picture, draw};
use picovit_app::{Banded, Cost, Direct, History, Labels, Scene, Screen, Sink, Verdict};

/// A display that keeps its pixels.
struct Memory {
    size: Size,
    pixels: Vec<Rgb565>,
}

impl Memory {
    fn new(width: u32, height: u32) -> Self {
        let count = (width * height) as usize;
        // A colour the overlay never uses shows what was left undrawn.
        Self { size: Size::new(width, height), pixels: vec![Rgb565::MAGENTA; count] }
    }

    fn at(&self, x: u32, y: u32) -> Rgb565 {
        self.pixels[(y * self.size.width + x) as usize]
    }
}

impl OriginDimensions for Memory {
    fn size(&self) -> Size {
        self.size
    }
}

impl DrawTarget for Memory {
    type Color = Rgb565;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb565>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Infallible> {
        for Pixel(point, color) in pixels {
            if self.bounding_box().contains(point) {
                self.pixels[point.y as usize * self.size.width as usize + point.x as usize] = color;
            }
        }
        Ok(())
    }
}

/// Puts bands back together.
struct Collect(Vec<u8>);

impl Sink for Collect {
    type Error = Infallible;

    fn take(&mut self, area: &Rectangle, pixels: &[u8]) -> Result<(), Infallible> {
        let (width, rows) = (area.size.width as usize, area.size.height as usize);
        assert_eq!(pixels.len(), width * rows * 2);
        assert_eq!(area.top_left.y as usize * width * 2, self.0.len(), "bands come in order");
        self.0.extend_from_slice(pixels);
        Ok(())
    }
}

const LABELS: [&str; 4] =
    ["Bag", "T-shirt/top", "A label that is far too long for any of these screens", "x"];

struct Case {
    labels: Box<dyn Labels>,
    pixels: Vec<i8>,
    edge: usize,
    channels: usize,
    top: Vec<Prediction>,
    sure: bool,
    history: History,
}

impl Case {
    fn new(class: u16) -> Self {
        let edge = 32;
        let mut history = History::new();
        for i in 0..70u16 {
            history.push(Entry { class: (i % 9 != 0).then_some(i % 4), probability: i * 900 });
        }
        let top = [(class, 61000), (1, 4000), (3, 535)];
        Self {
            labels: Box::new(LABELS),
            pixels: (0..edge * edge).map(|i| (i % 251) as u8 as i8).collect(),
            edge,
            channels: 1,
            top: top.map(|(class, probability)| Prediction { class, probability }).to_vec(),
            sure: true,
            history,
        }
    }

    fn scene(&self) -> Scene<'_> {
        let best = self.top[0];
        Scene {
            labels: &*self.labels,
            picture: Picture {
                height: self.edge,
                width: self.edge,
                channels: self.channels,
                pixels: &self.pixels,
            },
            top: &self.top,
            verdict: if self.sure { Verdict::Sure(best) } else { Verdict::Unsure(best) },
            expected: Some(0),
            history: &self.history,
            cost: Cost::Micros(41_000),
            period: Some(126_000),
        }
    }

    fn drawn(&self, width: u32, height: u32) -> Memory {
        let mut screen = Direct(Memory::new(width, height));
        let Ok(()) = screen.show(&self.scene());
        screen.0
    }
}

#[test]
fn frames_per_second_are_shown_where_there_is_a_clock() {
    let case = Case::new(0);
    let drawn = |period, cost| {
        let mut screen = Direct(Memory::new(320, 240));
        let Ok(()) = screen.show(&Scene { period, cost, ..case.scene() });
        screen.0.pixels
    };
    let micros = Cost::Micros(41_000);
    let plain = drawn(None, micros);
    // 7.9 and 8.0 a second.
    let rates = [126_000, 125_000].map(|period| drawn(Some(period), micros));
    assert!(rates[0] != plain && rates[1] != plain && rates[0] != rates[1]);
    // No time, no rate; and instructions are no time.
    assert_eq!(drawn(Some(0), micros), plain);
    assert_eq!(drawn(Some(126_000), Cost::Unknown), drawn(None, Cost::Unknown));
}

#[test]
fn bands_of_any_height_give_the_same_picture() {
    for class in 0..5 {
        let case = Case::new(class);
        for (width, height) in [(320, 240), (240, 240), (160, 128), (240, 135)] {
            let whole: Vec<u8> = case
                .drawn(width, height)
                .pixels
                .iter()
                .flat_map(|color| color.to_be_bytes())
                .collect();
            for rows in [1, 7, 16, 64, 1000] {
                let mut buffer = vec![0; (width * rows * 2) as usize];
                let size = Size::new(width, height);
                let mut screen = Banded::new(size, &mut buffer, Collect(Vec::new()));
                let Ok(()) = screen.show(&case.scene());
                let banded = &screen.sink_mut().0;
                let differing = banded.iter().zip(&whole).position(|(a, b)| a != b);
                let place = differing.map(|at| (at as u32 / 2 % width, at as u32 / 2 / width));
                assert_eq!(place, None, "{width}x{height}, class {class}, bands of {rows}");
            }
        }
    }
}

#[test]
fn every_pixel_is_drawn() {
    for size in [(320, 240), (240, 240), (128, 128), (64, 48), (8, 8), (1, 1)] {
        let memory = Case::new(0).drawn(size.0, size.1);
        assert!(!memory.pixels.contains(&Rgb565::MAGENTA), "{size:?}");
    }
}

#[test]
fn the_picture_is_what_the_network_sees() {
    let mut case = Case::new(0);
    let (scale, margin) = (4, 8);
    let memory = case.drawn(320, 240);
    for (x, y) in [(0, 0), (31, 0), (0, 31), (31, 31), (9, 17)] {
        let grey = (i16::from(case.pixels[y * 32 + x]) + 128) as u16;
        let color = memory.at(margin + x as u32 * scale + 1, margin + y as u32 * scale + 2);
        assert_eq!(u16::from(color.r()), (grey * 31 + 127) / 255, "at {x}, {y}");
    }
    case.channels = 3;
    case.pixels = [-128, 127, -128].repeat(32 * 32);
    assert_eq!(case.drawn(320, 240).at(70, 70), Rgb565::GREEN);
}

#[test]
fn an_unsure_answer_looks_different_and_hides_the_label() {
    let mut case = Case::new(1);
    let sure = case.drawn(240, 240);
    case.sure = false;
    let unsure = case.drawn(240, 240);
    assert!(sure.pixels != unsure.pixels);
    // Without the label in the headline, the class does not matter for the headline's first line.
    case.top[0].class = 3;
    let other = case.drawn(240, 240);
    let headline = |memory: &Memory| {
        (8..34)
            .flat_map(|y| (140..232).map(move |x| (x, y)))
            .map(|(x, y)| memory.at(x, y))
            .collect()
    };
    let (unsure, other): (Vec<_>, Vec<_>) = (headline(&unsure), headline(&other));
    assert!(unsure == other);
    assert!(headline(&sure) != unsure);
}

#[test]
fn a_long_label_stays_in_its_column() {
    let (short, long) = (Case::new(3).drawn(240, 240), Case::new(2).drawn(240, 240));
    // The margins right of the headline and around the bars stay empty.
    let background = short.at(239, 0);
    for y in 0..200 {
        for x in 233..240 {
            assert_eq!(long.at(x, y), background, "at {x}, {y}");
        }
    }
}

#[test]
fn classes_without_a_label_and_empty_results_are_drawn_too() {
    let mut case = Case::new(999);
    case.drawn(320, 240);
    case.labels = Box::new([]);
    case.history = History::new();
    case.top.truncate(1);
    case.drawn(320, 240);
    case.pixels.clear();
    let mut memory = Memory::new(240, 240);
    let Ok(()) = draw(&case.scene(), Size::new(240, 240), &mut memory);
}
