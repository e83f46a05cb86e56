//! PNG files.

use crate::image::checked_area;
use crate::{Image, PictureError};
use std::io::{Cursor, Read as _};
use std::path::Path;

/// The largest file that is read: a picture of the largest area that does not compress at all, and some.
const MAX_FILE: u64 = crate::MAX_PIXELS * 3 + (1 << 20);

impl Image {
    /// Decodes an 8-bit (or shallower) grey or colour PNG. Transparency is dropped, not blended.
    ///
    /// # Errors
    /// [`PictureError::Decode`] for anything else and for damaged data, [`PictureError::Size`] before any memory is
    /// taken for a picture that is too large.
    pub fn decode(png: &[u8]) -> Result<Self, PictureError> {
        let undecodable = |error: png::DecodingError| PictureError::Decode {
            reason: error.to_string(),
        };
        let mut decoder = png::Decoder::new(Cursor::new(png));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let header = decoder.read_header_info().map_err(undecodable)?;
        let (width, height) = (header.width, header.height);
        let pixels = checked_area(u64::from(width), u64::from(height))?;
        let mut reader = decoder.read_info().map_err(undecodable)?;
        let channels = reader.output_color_type().0.samples();
        let mut data = vec![0; pixels * channels];
        reader.next_frame(&mut data).map_err(undecodable)?;
        let rgb = match channels {
            3 => data,
            4 => data
                .chunks_exact(4)
                .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
                .collect(),
            _ => data
                .chunks_exact(channels)
                .flat_map(|pixel| [pixel[0]; 3])
                .collect(),
        };
        Self::from_rgb(width, height, rgb)
    }

    /// Encodes the picture as an 8-bit RGB PNG that declares sRGB. The same picture always gives the same bytes.
    ///
    /// # Errors
    /// [`PictureError::Encode`] when the encoder fails.
    pub fn encode(&self) -> Result<Vec<u8>, PictureError> {
        let unencodable = |error: png::EncodingError| PictureError::Encode {
            reason: error.to_string(),
        };
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width(), self.height());
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Balanced);
        encoder.set_source_srgb(png::SrgbRenderingIntent::Perceptual);
        let mut writer = encoder.write_header().map_err(unencodable)?;
        writer.write_image_data(self.rgb()).map_err(unencodable)?;
        writer.finish().map_err(unencodable)?;
        Ok(bytes)
    }

    /// Reads a PNG file.
    ///
    /// # Errors
    /// [`PictureError::File`] when it cannot be read, otherwise as [`Image::decode`].
    pub fn load(path: &Path) -> Result<Self, PictureError> {
        let failed = |source| PictureError::File {
            action: "read",
            path: path.display().to_string(),
            source,
        };
        let file = std::fs::File::open(path).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        Self::decode(&bytes)
    }

    /// Writes a PNG file, replacing what was there.
    ///
    /// # Errors
    /// [`PictureError::Encode`], or [`PictureError::File`] when it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), PictureError> {
        let bytes = self.encode()?;
        std::fs::write(path, bytes).map_err(|source| PictureError::File {
            action: "write",
            path: path.display().to_string(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradient(width: u32, height: u32) -> Image {
        let rgb = (0..height).flat_map(|y| {
            (0..width).flat_map(move |x| [(x * 3) as u8, (y * 5) as u8, (x ^ y) as u8])
        });
        Image::from_rgb(width, height, rgb.collect()).unwrap()
    }

    #[test]
    fn png_round_trip() {
        let picture = gradient(67, 41);
        let bytes = picture.encode().unwrap();
        assert_eq!(Image::decode(&bytes).unwrap(), picture);
        assert_eq!(
            picture.encode().unwrap(),
            bytes,
            "the same picture gives the same bytes"
        );
    }

    #[test]
    fn other_colour_types_become_rgb() {
        let cases = [
            (png::ColorType::Grayscale, vec![10, 20], [[10; 3], [20; 3]]),
            (
                png::ColorType::GrayscaleAlpha,
                vec![10, 0, 20, 255],
                [[10; 3], [20; 3]],
            ),
            (
                png::ColorType::Rgba,
                vec![1, 2, 3, 0, 4, 5, 6, 255],
                [[1, 2, 3], [4, 5, 6]],
            ),
        ];
        for (colour, data, expected) in cases {
            let mut bytes = Vec::new();
            let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
            encoder.set_color(colour);
            encoder
                .write_header()
                .unwrap()
                .write_image_data(&data)
                .unwrap();
            assert_eq!(
                Image::decode(&bytes).unwrap().rgb(),
                expected.concat(),
                "{colour:?}"
            );
        }
    }

    #[test]
    fn damaged_files_are_refused() {
        let good = gradient(32, 32).encode().unwrap();
        assert!(matches!(
            Image::decode(b""),
            Err(PictureError::Decode { .. })
        ));
        assert!(matches!(
            Image::decode(b"GIF89a"),
            Err(PictureError::Decode { .. })
        ));
        assert!(matches!(
            Image::decode(&good[..good.len() / 2]),
            Err(PictureError::Decode { .. })
        ));
        let mut flipped = good.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0xff;
        assert!(matches!(
            Image::decode(&flipped),
            Err(PictureError::Decode { .. })
        ));
    }

    #[test]
    fn a_header_that_promises_too_much_is_refused() {
        let mut bytes = Vec::new();
        png::Encoder::new(&mut bytes, 60_000, 60_000)
            .write_header()
            .unwrap();
        assert!(matches!(
            Image::decode(&bytes),
            Err(PictureError::Size {
                width: 60_000,
                height: 60_000
            })
        ));
    }

    #[test]
    fn files() {
        let path = std::env::temp_dir().join(format!("picture-test-{}.png", std::process::id()));
        let picture = gradient(5, 4);
        picture.save(&path).unwrap();
        assert_eq!(Image::load(&path).unwrap(), picture);
        std::fs::remove_file(&path).unwrap();
        let missing = Image::load(&path).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read picture"), "{missing}");
    }
}
