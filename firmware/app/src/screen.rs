//! Ways to bring a scene to a display: directly, or in bands through a small buffer.

use core::convert::Infallible;

use embedded_graphics::Pixel;
use embedded_graphics::geometry::{Dimensions, Point, Size};
use embedded_graphics::pixelcolor::Rgb565;
use embedded_graphics::pixelcolor::raw::{RawData, RawU16};
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

use crate::overlay::notice::{self, Notice};
use crate::overlay::{self, Scene};

/// Bytes of one pixel on the wire: RGB565, high byte first, as display controllers take it.
pub const PIXEL_BYTES: usize = 2;

/// Something a scene or a notice can be shown on.
pub trait Screen {
    /// What can go wrong.
    type Error;

    /// Shows a scene.
    ///
    /// # Errors
    /// Whatever the display meets.
    fn show(&mut self, scene: &Scene<'_>) -> Result<(), Self::Error>;

    /// Shows a notice.
    ///
    /// # Errors
    /// Whatever the display meets.
    fn show_notice(&mut self, notice: &Notice) -> Result<(), Self::Error>;
}

/// A display that is drawn on directly.
#[derive(Clone, Debug)]
pub struct Direct<D>(pub D);

impl<D: DrawTarget<Color = Rgb565>> Screen for Direct<D> {
    type Error = D::Error;

    fn show(&mut self, scene: &Scene<'_>) -> Result<(), Self::Error> {
        let size = self.0.bounding_box().size;
        overlay::draw(scene, size, &mut self.0)
    }

    fn show_notice(&mut self, notice: &Notice) -> Result<(), Self::Error> {
        let size = self.0.bounding_box().size;
        notice::draw(notice, size, &mut self.0)
    }
}

/// Takes finished bands.
pub trait Sink {
    /// What can go wrong.
    type Error;

    /// Takes the pixels of `area`, which spans the width of the screen: row by row, each pixel
    /// two bytes, high byte first. Bands come from top to bottom.
    ///
    /// # Errors
    /// Whatever the sink meets.
    fn take(&mut self, area: &Rectangle, pixels: &[u8]) -> Result<(), Self::Error>;
}

/// Writes bands to a display that takes pixels one after the other, as the drivers of SPI displays do.
///
/// ```
/// use embedded_graphics::{mock_display::MockDisplay, pixelcolor::Rgb565, prelude::*};
/// use embedded_graphics::primitives::Rectangle;
/// use picovit_app::{Blit, Sink as _};
///
/// let mut display = Blit(MockDisplay::<Rgb565>::new());
/// let area = Rectangle::new(Point::new(0, 3), Size::new(2, 1));
/// display.take(&area, &[0xf8, 0x00, 0x00, 0x1f])?;
/// assert_eq!(display.0.get_pixel(Point::new(0, 3)), Some(Rgb565::RED));
/// assert_eq!(display.0.get_pixel(Point::new(1, 3)), Some(Rgb565::BLUE));
/// # Ok::<(), core::convert::Infallible>(())
/// ```
#[derive(Clone, Debug)]
pub struct Blit<D>(pub D);

impl<D: DrawTarget<Color = Rgb565>> Sink for Blit<D> {
    type Error = D::Error;

    fn take(&mut self, area: &Rectangle, pixels: &[u8]) -> Result<(), Self::Error> {
        let (pixels, _) = pixels.as_chunks::<PIXEL_BYTES>();
        let colors = pixels.iter().map(|&pixel| RawU16::new(u16::from_be_bytes(pixel)).into());
        self.0.fill_contiguous(area, colors)
    }
}

/// Draws the scene band by band into a small buffer and hands every band to a [`Sink`].
///
/// A 320x240 picture takes 150 KB; bands of 16 rows take 10 KB, do not flicker, and go to the
/// display in one transfer each.
#[derive(Debug)]
pub struct Banded<'b, S> {
    size: Size,
    buffer: &'b mut [u8],
    sink: S,
}

impl<'b, S: Sink> Banded<'b, S> {
    /// A screen of this size; `buffer` holds at least one row.
    ///
    /// # Panics
    /// If the buffer holds less than one row.
    pub fn new(size: Size, buffer: &'b mut [u8], sink: S) -> Self {
        assert!(
            size.width > 0 && buffer.len() >= size.width as usize * PIXEL_BYTES,
            "the band buffer holds less than one row"
        );
        Self { size, buffer, sink }
    }

    /// The sink.
    pub fn sink_mut(&mut self) -> &mut S {
        &mut self.sink
    }

    /// Draws band by band with what knows how.
    #[inline(always)]
    fn bands(
        &mut self,
        draw: impl Fn(Size, &mut Band<'_>) -> Result<(), Infallible>,
    ) -> Result<(), S::Error> {
        let row_bytes = self.size.width as usize * PIXEL_BYTES;
        // `new` has checked that there is one at least.
        let band_rows = self.buffer.len().checked_div(row_bytes).unwrap_or(0).max(1) as u32;
        let mut top = 0;
        while top < self.size.height {
            let rows = band_rows.min(self.size.height - top);
            let area = Rectangle::new(Point::new(0, top as i32), Size::new(self.size.width, rows));
            let bytes = rows as usize * row_bytes;
            let pixels = self.buffer.get_mut(..bytes).unwrap_or_default();
            let mut band = Band { area, pixels };
            let Ok(()) = draw(self.size, &mut band);
            self.sink.take(&area, band.pixels)?;
            top += rows;
        }
        Ok(())
    }
}

impl<S: Sink> Screen for Banded<'_, S> {
    type Error = S::Error;

    fn show(&mut self, scene: &Scene<'_>) -> Result<(), Self::Error> {
        self.bands(|size, band| overlay::draw(scene, size, band))
    }

    fn show_notice(&mut self, notice: &Notice) -> Result<(), Self::Error> {
        self.bands(|size, band| notice::draw(notice, size, band))
    }
}

/// Some rows of a screen in memory; what lies outside is not drawn.
struct Band<'b> {
    area: Rectangle,
    pixels: &'b mut [u8],
}

impl Band<'_> {
    /// The bytes of the pixels from `left` to `right` (exclusive) of screen row `y`, all inside.
    fn row(&mut self, y: i32, left: i32, right: i32) -> &mut [u8] {
        let start = (y - self.area.top_left.y) as usize * self.area.size.width as usize;
        let (from, to) = (start + left as usize, start + right as usize);
        self.pixels.get_mut(from * PIXEL_BYTES..to * PIXEL_BYTES).unwrap_or_default()
    }
}

fn bytes(color: Rgb565) -> [u8; PIXEL_BYTES] {
    RawU16::from(color).into_inner().to_be_bytes()
}

impl Dimensions for Band<'_> {
    fn bounding_box(&self) -> Rectangle {
        self.area
    }
}

impl DrawTarget for Band<'_> {
    type Color = Rgb565;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb565>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Infallible> {
        for Pixel(point, color) in pixels {
            if self.area.contains(point) {
                let pixel = self.row(point.y, point.x, point.x + 1);
                pixel.iter_mut().zip(bytes(color)).for_each(|(place, byte)| *place = byte);
            }
        }
        Ok(())
    }

    fn fill_solid(&mut self, area: &Rectangle, color: Rgb565) -> Result<(), Infallible> {
        let area = area.intersection(&self.area);
        let columns = area.columns();
        for y in area.rows() {
            let (pixels, _) = self.row(y, columns.start, columns.end).as_chunks_mut();
            pixels.fill(bytes(color));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use embedded_graphics::mock_display::MockDisplay;

    use super::*;

    #[test]
    fn a_band_clips_like_a_display() {
        // The same drawing on a display and in bands of three rows.
        fn paint<D: DrawTarget<Color = Rgb565>>(target: &mut D) -> Result<(), D::Error> {
            target.fill_solid(&Rectangle::new(Point::new(1, 2), Size::new(5, 4)), Rgb565::RED)?;
            target.fill_solid(&Rectangle::new(Point::new(4, 4), Size::new(2, 3)), Rgb565::BLUE)?;
            target.draw_iter((0..8).map(|i| Pixel(Point::new(i, i), Rgb565::new(1, 2, 3))))
        }
        let mut whole = MockDisplay::new();
        whole.set_allow_overdraw(true);
        paint(&mut whole).unwrap();
        for top in [0, 3, 6] {
            let mut pixels = [0; 8 * 3 * PIXEL_BYTES];
            let area = Rectangle::new(Point::new(0, top), Size::new(8, 3));
            paint(&mut Band { area, pixels: &mut pixels }).unwrap();
            for (i, pixel) in pixels.chunks(PIXEL_BYTES).enumerate() {
                let point = Point::new(i as i32 % 8, top + i as i32 / 8);
                let expected = whole.get_pixel(point).map_or([0; 2], bytes);
                assert_eq!(pixel, expected, "{point:?}");
            }
        }
    }
}
