//! The contact sheet: all frames of a job side by side.

use crate::image::checked_area;
use crate::{Image, PictureError, font};

/// A neutral dark grey, so that the frames' own colours are judged without a cast.
const GROUND: [u8; 3] = [38, 38, 40];
const INK: [u8; 3] = [176, 176, 178];

/// A frame on the sheet and what stands below it.
#[derive(Clone, Copy, Debug)]
pub struct Tile<'a> {
    /// The frame.
    pub image: &'a Image,
    /// Usually the frame's number. The font knows digits, space, `-` and `.`; other characters appear as boxes.
    pub label: &'a str,
}

/// Lays frames out in rows, in the order given, in a grid that is about as wide as it needs to be to look like a page:
/// six frames stand in two rows of three. Smaller frames are centred in cells of the largest one's size.
///
/// # Errors
/// [`PictureError::Size`] when there is no frame, or when the sheet would be above [`crate::MAX_PIXELS`].
pub fn contact_sheet(tiles: &[Tile<'_>]) -> Result<Image, PictureError> {
    let cell_width = tiles
        .iter()
        .map(|tile| tile.image.width())
        .max()
        .unwrap_or(0);
    let cell_height = tiles
        .iter()
        .map(|tile| tile.image.height())
        .max()
        .unwrap_or(0);
    // Margins and letters follow the frames' size, so that sheets of small and large frames look alike.
    let margin = (cell_width.max(cell_height) / 32).max(4);
    let scale = (cell_width / 200).max(1);
    let label_height = font::height(scale) + margin;

    let columns = tiles.len().isqrt() + usize::from(tiles.len().isqrt().pow(2) < tiles.len());
    let rows = tiles.len().div_ceil(columns.max(1));
    let width = columns as u64 * u64::from(cell_width + margin) + u64::from(margin);
    let height = rows as u64 * u64::from(cell_height + margin + label_height) + u64::from(margin);
    if tiles.is_empty() {
        return Err(PictureError::Size {
            width: 0,
            height: 0,
        });
    }
    checked_area(width, height)?;

    let mut sheet = Image::filled(width as u32, height as u32, GROUND)?;
    for (index, tile) in tiles.iter().enumerate() {
        let left = margin + (index % columns) as u32 * (cell_width + margin);
        let top = margin + (index / columns) as u32 * (cell_height + margin + label_height);
        let inset_x = (cell_width - tile.image.width()) / 2;
        let inset_y = (cell_height - tile.image.height()) / 2;
        sheet.paste(tile.image, left + inset_x, top + inset_y);
        font::write(
            &mut sheet,
            tile.label,
            left,
            top + cell_height + margin / 2,
            scale,
            INK,
        );
    }
    Ok(sheet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_frames_stand_in_two_rows_of_three() {
        let frames: Vec<Image> = (1..=6)
            .map(|n| Image::filled(64, 48, [n * 40; 3]).unwrap())
            .collect();
        let labels: Vec<String> = (0..6).map(|n| (n * 10).to_string()).collect();
        let tiles: Vec<Tile> = frames
            .iter()
            .zip(&labels)
            .map(|(image, label)| Tile { image, label })
            .collect();
        let sheet = contact_sheet(&tiles).unwrap();
        assert_eq!(
            (sheet.width(), sheet.height()),
            (3 * 68 + 4, 2 * (48 + 4 + 11) + 4)
        );
        let (second, last) = (
            sheet.pixel(4 + 68, 4),
            sheet.pixel(4 + 2 * 68 + 63, 4 + 63 + 47),
        );
        assert_eq!((second, last), (Some([80; 3]), Some([240; 3])));
        assert_eq!(sheet.pixel(0, 0), Some(GROUND));
        assert!(
            sheet.rgb().chunks(3).any(|pixel| pixel == INK),
            "labels are written"
        );
    }

    #[test]
    fn frames_of_different_sizes_are_centred() {
        let (large, small) = (
            Image::filled(64, 64, [200; 3]).unwrap(),
            Image::filled(2, 2, [100; 3]).unwrap(),
        );
        let tiles = [
            Tile {
                image: &large,
                label: "0",
            },
            Tile {
                image: &small,
                label: "1",
            },
        ];
        let sheet = contact_sheet(&tiles).unwrap();
        assert_eq!(sheet.pixel(4 + 68 + 31, 4 + 31), Some([100; 3]));
        assert_eq!(sheet.pixel(4 + 68 + 30, 4 + 30), Some(GROUND));
    }

    #[test]
    fn no_frame_and_too_many_pixels_are_errors() {
        assert!(matches!(contact_sheet(&[]), Err(PictureError::Size { .. })));
        let large = Image::filled(4096, 4096, [0; 3]).unwrap();
        let tile = Tile {
            image: &large,
            label: "",
        };
        assert!(matches!(
            contact_sheet(&[tile; 9]),
            Err(PictureError::Size { .. })
        ));
    }
}
