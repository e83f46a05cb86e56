//! The picture itself: 8 bits per channel, sRGB, rows from top to bottom.

use crate::PictureError;

/// The largest area of a picture. 64 million pixels are 192 MB, which still fits into a guest's memory; a frame or a
/// sheet of frames is far below.
pub const MAX_PIXELS: u64 = 64 << 20;

/// An 8-bit RGB picture in the sRGB colour space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Image {
    /// A picture of one colour.
    ///
    /// # Errors
    /// [`PictureError::Size`] when a side is zero or the area is above [`MAX_PIXELS`].
    pub fn filled(width: u32, height: u32, colour: [u8; 3]) -> Result<Self, PictureError> {
        let pixels = checked_area(u64::from(width), u64::from(height))?;
        Ok(Self {
            width,
            height,
            rgb: colour.repeat(pixels),
        })
    }

    /// A picture from its bytes: red, green, blue, row by row from the top.
    ///
    /// # Errors
    /// [`PictureError::Size`] as for [`Image::filled`], [`PictureError::Length`] when the bytes do not match it.
    pub fn from_rgb(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self, PictureError> {
        let expected = checked_area(u64::from(width), u64::from(height))? * 3;
        if rgb.len() != expected {
            return Err(PictureError::Length {
                expected,
                found: rgb.len(),
            });
        }
        Ok(Self { width, height, rgb })
    }

    /// Width in pixels.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The bytes, three per pixel, row by row from the top.
    #[must_use]
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The colour at a place, or nothing outside the picture.
    #[must_use]
    pub fn pixel(&self, x: u32, y: u32) -> Option<[u8; 3]> {
        let at = self.offset(x, y)?;
        Some([self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]])
    }

    /// Sets the colour at a place; outside the picture nothing happens.
    pub fn set_pixel(&mut self, x: u32, y: u32, colour: [u8; 3]) {
        if let Some(at) = self.offset(x, y) {
            self.rgb[at..at + 3].copy_from_slice(&colour);
        }
    }

    /// Copies another picture onto this one with its top left corner at a place; what falls outside is cut off.
    pub fn paste(&mut self, picture: &Image, left: u32, top: u32) {
        let columns = picture.width.min(self.width.saturating_sub(left));
        let rows = picture.height.min(self.height.saturating_sub(top));
        if columns == 0 {
            return;
        }
        let bytes = columns as usize * 3;
        for row in 0..rows {
            let from = (row as usize * picture.width as usize) * 3;
            let to = ((top + row) as usize * self.width as usize + left as usize) * 3;
            self.rgb[to..to + bytes].copy_from_slice(&picture.rgb[from..from + bytes]);
        }
    }

    /// This picture with both sides divided by a factor, rounded up: each pixel is the mean of a square of them. A
    /// factor of 0 counts as 1.
    #[must_use]
    pub fn shrunk(&self, factor: u32) -> Self {
        let factor = factor.max(1);
        let (width, height) = (self.width.div_ceil(factor), self.height.div_ceil(factor));
        let rgb = (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .flat_map(|(x, y)| self.mean(x * factor, y * factor, factor))
            .collect();
        Self { width, height, rgb }
    }

    /// The mean colour of a square, of which at least the first pixel is within the picture.
    fn mean(&self, left: u32, top: u32, side: u32) -> [u8; 3] {
        let rows = top..top.saturating_add(side).min(self.height);
        let columns = left..left.saturating_add(side).min(self.width);
        let count = u64::from(rows.end - rows.start) * u64::from(columns.end - columns.start);
        let mut sums = [0u64; 3];
        for pixel in rows.flat_map(|y| columns.clone().filter_map(move |x| self.pixel(x, y))) {
            sums.iter_mut()
                .zip(pixel)
                .for_each(|(sum, channel)| *sum += u64::from(channel));
        }
        sums.map(|sum| ((sum + count / 2) / count) as u8)
    }

    fn offset(&self, x: u32, y: u32) -> Option<usize> {
        (x < self.width && y < self.height)
            .then(|| (y as usize * self.width as usize + x as usize) * 3)
    }
}

/// The number of pixels of a picture of this size, when it may exist.
pub(crate) fn checked_area(width: u64, height: u64) -> Result<usize, PictureError> {
    match width.checked_mul(height) {
        Some(area) if area > 0 && area <= MAX_PIXELS => Ok(area as usize),
        _ => Err(PictureError::Size { width, height }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bounded() {
        assert!(matches!(
            Image::filled(0, 5, [0; 3]),
            Err(PictureError::Size { .. })
        ));
        assert!(matches!(
            Image::filled(u32::MAX, u32::MAX, [0; 3]),
            Err(PictureError::Size { .. })
        ));
        assert!(matches!(
            Image::filled(8193, 8192, [0; 3]),
            Err(PictureError::Size { .. })
        ));
        assert!(matches!(
            Image::from_rgb(2, 2, vec![0; 11]),
            Err(PictureError::Length {
                expected: 12,
                found: 11
            })
        ));
    }

    #[test]
    fn shrinking_takes_means_and_keeps_the_rest_of_the_edge() {
        let mut picture = Image::filled(5, 3, [10; 3]).unwrap();
        picture.set_pixel(0, 0, [50, 90, 11]);
        picture.set_pixel(4, 2, [255, 0, 1]);
        let small = picture.shrunk(2);
        assert_eq!((small.width(), small.height()), (3, 2));
        assert_eq!(small.pixel(0, 0), Some([20, 30, 10]));
        assert_eq!(small.pixel(2, 1), Some([255, 0, 1]));
        assert_eq!(small.pixel(1, 1), Some([10; 3]));
        assert_eq!(picture.shrunk(0), picture);
        assert_eq!(picture.shrunk(u32::MAX).rgb().len(), 3);
    }

    #[test]
    fn pasting_cuts_off_what_falls_outside() {
        let mut ground = Image::filled(4, 3, [0; 3]).unwrap();
        let stamp = Image::filled(3, 3, [9; 3]).unwrap();
        ground.paste(&stamp, 2, 1);
        ground.paste(&stamp, 7, 0);
        let lit: Vec<bool> = ground
            .rgb()
            .chunks(3)
            .map(|pixel| pixel == [9; 3])
            .collect();
        let expected = [
            [false, false, false, false],
            [false, false, true, true],
            [false, false, true, true],
        ];
        assert_eq!(lit, expected.concat());
        assert_eq!(ground.pixel(4, 0), None);
    }
}
