//! Notices on a display in memory.

use std::convert::Infallible;

use embedded_graphics::geometry::Size;
use embedded_graphics::primitives::Rectangle;
use picovit::format::Packing;
use picovit_app::{Banded, Notice, RegionError, Screen, Sink};

/// Puts bands back together.
#[derive(Default)]
struct Collect(Vec<u8>);

impl Sink for Collect {
    type Error = Infallible;

    fn take(&mut self, _: &Rectangle, pixels: &[u8]) -> Result<(), Infallible> {
        self.0.extend_from_slice(pixels);
        Ok(())
    }
}

/// What a screen shows, in bands of so many rows; it begins full of a colour of no notice.
fn drawn(notice: &Notice, (width, height): (u32, u32), rows: u32) -> Vec<[u8; 2]> {
    let mut buffer = [0xf8, 0x1f].repeat((width * rows) as usize);
    let mut screen = Banded::new(Size::new(width, height), &mut buffer, Collect::default());
    let Ok(()) = screen.show_notice(notice);
    screen.sink_mut().0.as_chunks().0.to_vec()
}

/// One of each.
fn errors() -> [RegionError; 13] {
    [
        RegionError::Empty,
        RegionError::Magic,
        RegionError::Version { found: 65535 },
        RegionError::Length,
        RegionError::Checksum,
        RegionError::Model(picovit::Error::Version { found: 65535 }),
        RegionError::Model(picovit::Error::Format { found: 255 }),
        RegionError::Model(picovit::Error::Unsupported { index: 65535 }),
        RegionError::Model(picovit::Error::Header),
        RegionError::WrongTarget { found: Packing::Helium, wanted: Packing::CortexM },
        RegionError::TooManyClasses { classes: 65535, room: 10000 },
        RegionError::ArenaTooSmall { needs: 10_000_000, has: 1_000_000 },
        RegionError::SelfTest { differing: 65535, classes: 65535 },
    ]
}

const SIZES: [(u32, u32); 6] =
    [(160, 128), (128, 160), (240, 135), (240, 240), (320, 240), (480, 320)];

#[test]
fn every_error_has_a_notice_of_its_own_with_a_remedy() {
    let mut seen = Vec::new();
    for error in errors() {
        let notice = Notice::from(&error);
        assert!(notice.title().len() <= 16, "{notice:?}");
        assert!(!notice.reason().is_empty() && !notice.remedy().is_empty(), "{notice:?}");
        // Nothing was cut off: that would be a sentence without its end.
        assert!(notice.reason().len() < 80 && notice.remedy().len() < 80, "{notice:?}");
        assert!(!seen.contains(&notice), "{notice:?}");
        seen.push(notice);
    }
}

#[test]
fn bands_of_any_height_give_the_same_notice() {
    for error in errors() {
        let notice = Notice::from(&error);
        for size in SIZES {
            let whole = drawn(&notice, size, size.1);
            assert_eq!(whole.len(), (size.0 * size.1) as usize);
            assert!(!whole.contains(&[0xf8, 0x1f]), "{error}: not all of {size:?} is drawn");
            for rows in [1, 7, 16] {
                assert!(drawn(&notice, size, rows) == whole, "{error}: {size:?}, {rows} rows");
            }
        }
    }
}

#[test]
fn a_notice_keeps_clear_of_the_edges() {
    for error in errors() {
        for (width, height) in SIZES {
            let pixels = drawn(&Notice::from(&error), (width, height), height);
            let ground = pixels[0];
            let margin = if width.min(height) >= 200 { 7 } else { 3 };
            let drawn = |x: u32, y: u32| pixels[(y * width + x) as usize] != ground;
            for y in 0..height {
                for x in (0..margin).chain(width - margin..width) {
                    assert!(!drawn(x, y), "{error}: {width}x{height} at {x}, {y}");
                }
            }
            for y in (0..margin).chain(height - margin + 1..height) {
                let x = (0..width).find(|&x| drawn(x, y));
                assert_eq!(x, None, "{error}: {width}x{height} at row {y}");
            }
        }
    }
}
