//! Where the parts go.

use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::primitives::Rectangle;

use super::Picture;
use crate::app::TOP;

/// Height of one confidence bar with its label.
const BAR_HEIGHT: u32 = 18;
/// Height of the history strip.
const STRIP_HEIGHT: u32 = 26;
/// Screens lower than this go without a history.
const LOW: u32 = 200;

/// Rectangles of a screen: picture and headline side by side, bars below, history at the foot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// What the network sees.
    pub picture: Rectangle,
    /// Label and numbers.
    pub headline: Rectangle,
    /// History.
    pub strip: Rectangle,
    bars: Rectangle,
}

impl Layout {
    pub(super) fn new(screen: Size, picture: &Picture<'_>) -> Self {
        let margin = if screen.width.min(screen.height) >= 200 { 8 } else { 4 };
        let inner = screen.width.saturating_sub(2 * margin);
        let strip_height = if screen.height >= LOW { STRIP_HEIGHT } else { 0 };
        let gaps = if strip_height > 0 { 4 } else { 3 };
        let below = TOP as u32 * BAR_HEIGHT + strip_height + gaps * margin;
        let room = screen.height.saturating_sub(below);
        // The picture takes at most three fifths of the width, in whole multiples of its pixels.
        let size = scaled(picture, Size::new(inner * 3 / 5, room));
        let picture = Rectangle::new(Point::new_equal(margin as i32), size);
        let top = margin + room + margin;

        let left = margin + size.width + margin;
        let headline = Rectangle::new(
            Point::new(left as i32, margin as i32),
            Size::new(screen.width.saturating_sub(left + margin), room),
        );
        let bars = Rectangle::new(
            Point::new(margin as i32, top as i32),
            Size::new(inner, TOP as u32 * BAR_HEIGHT),
        );
        let strip = Rectangle::new(
            Point::new(margin as i32, (top + bars.size.height + margin) as i32),
            Size::new(inner, strip_height),
        );
        Self { picture: centre_vertically(picture, room), headline, strip, bars }
    }

    /// Place of one confidence bar.
    pub(super) fn bar(&self, row: usize) -> Option<Rectangle> {
        (row < TOP).then(|| {
            let offset = Point::new(0, (row as u32 * BAR_HEIGHT) as i32);
            Rectangle::new(self.bars.top_left + offset, Size::new(self.bars.size.width, BAR_HEIGHT))
        })
    }
}

fn centre_vertically(area: Rectangle, room: u32) -> Rectangle {
    let offset = room.saturating_sub(area.size.height) / 2;
    Rectangle::new(area.top_left + Size::new(0, offset), area.size)
}

/// Largest size for the picture within the room: a whole multiple if it fits at all, else reduced
/// in proportion.
fn scaled(picture: &Picture<'_>, room: Size) -> Size {
    let (width, height) = (picture.width.max(1) as u32, picture.height.max(1) as u32);
    let scale = (room.width / width).min(room.height / height);
    if scale > 0 {
        return Size::new(width * scale, height * scale);
    }
    if width * room.height > height * room.width {
        Size::new(room.width, height * room.width / width)
    } else {
        Size::new(width * room.height / height, room.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(screen: Size, height: usize, width: usize) -> Layout {
        Layout::new(screen, &Picture { height, width, channels: 1, pixels: &[] })
    }

    #[test]
    fn parts_stay_on_the_screen_and_apart() {
        for screen in [(320, 240), (240, 240), (240, 320), (240, 135), (160, 128), (480, 320)] {
            for picture in [(32, 32), (28, 28), (64, 96), (160, 160), (224, 224)] {
                let screen = Size::from(screen);
                let layout = layout(screen, picture.0, picture.1);
                let all = Rectangle::new(Point::zero(), screen);
                let mut parts = [layout.picture, layout.headline, layout.strip].to_vec();
                parts.extend((0..TOP).filter_map(|row| layout.bar(row)));
                parts.retain(|part| !part.is_zero_sized()); // no history on low screens
                for (i, part) in parts.iter().enumerate() {
                    assert_eq!(part.intersection(&all), *part, "{screen:?} {picture:?} {i}");
                    for other in &parts[..i] {
                        assert!(part.intersection(other).is_zero_sized(), "{screen:?} {picture:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn pixels_are_enlarged_by_whole_numbers() {
        assert_eq!(layout(Size::new(320, 240), 32, 32).picture.size, Size::new(128, 128));
        assert_eq!(layout(Size::new(240, 240), 32, 32).picture.size, Size::new(128, 128));
    }
}
