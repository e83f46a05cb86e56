//! How far two pictures differ.

use crate::{Image, PictureError};

/// A difference in steps of 8-bit channels, from 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The mean over all channels of all pixels.
    pub mean: f64,
    /// That of the channel that differs most.
    pub max: u8,
}

impl Image {
    /// Compares with another picture of the same size.
    ///
    /// # Errors
    /// [`PictureError::Sizes`] when the sizes are not the same.
    pub fn difference(&self, other: &Self) -> Result<Difference, PictureError> {
        let sizes = [self, other].map(|picture| (picture.width(), picture.height()));
        if sizes[0] != sizes[1] {
            return Err(PictureError::Sizes {
                first: sizes[0],
                second: sizes[1],
            });
        }
        let steps = || {
            self.rgb()
                .iter()
                .zip(other.rgb())
                .map(|(a, b)| a.abs_diff(*b))
        };
        let sum: u64 = steps().map(u64::from).sum();
        Ok(Difference {
            mean: sum as f64 / self.rgb().len() as f64,
            max: steps().max().unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_maximum() {
        let grey = Image::filled(4, 2, [100; 3]).unwrap();
        let mut spotted = grey.clone();
        spotted.set_pixel(1, 1, [106, 100, 76]);
        assert_eq!(
            grey.difference(&grey).unwrap(),
            Difference { mean: 0.0, max: 0 }
        );
        assert_eq!(
            grey.difference(&spotted).unwrap(),
            Difference {
                mean: 30.0 / 24.0,
                max: 24
            }
        );
    }

    #[test]
    fn pictures_of_different_sizes_cannot_be_compared() {
        let (a, b) = (
            Image::filled(4, 2, [0; 3]).unwrap(),
            Image::filled(2, 4, [0; 3]).unwrap(),
        );
        let message = a.difference(&b).unwrap_err().to_string();
        assert!(
            message.contains("4 x 2") && message.contains("2 x 4"),
            "{message}"
        );
    }
}
