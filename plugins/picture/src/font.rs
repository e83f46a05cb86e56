//! A bitmap font just large enough to number frames: digits and a little punctuation in 5 by 7 dots.

use crate::Image;

const GLYPH_WIDTH: u32 = 5;
const GLYPH_HEIGHT: u32 = 7;
/// From one glyph's left edge to the next one's.
const ADVANCE: u32 = GLYPH_WIDTH + 1;

/// Each row is five bits, the leftmost dot the highest. Characters that are not here are drawn as a hollow box.
const GLYPHS: &[(char, [u8; GLYPH_HEIGHT as usize])] = &[
    (
        '0',
        [
            0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110,
        ],
    ),
    (
        '1',
        [
            0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110,
        ],
    ),
    (
        '2',
        [
            0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111,
        ],
    ),
    (
        '3',
        [
            0b01110, 0b10001, 0b00001, 0b00110, 0b00001, 0b10001, 0b01110,
        ],
    ),
    (
        '4',
        [
            0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010,
        ],
    ),
    (
        '5',
        [
            0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110,
        ],
    ),
    (
        '6',
        [
            0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110,
        ],
    ),
    (
        '7',
        [
            0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000,
        ],
    ),
    (
        '8',
        [
            0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110,
        ],
    ),
    (
        '9',
        [
            0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100,
        ],
    ),
    (' ', [0; 7]),
    ('-', [0, 0, 0, 0b01110, 0, 0, 0]),
    ('.', [0, 0, 0, 0, 0, 0b01100, 0b01100]),
];
const UNKNOWN: [u8; GLYPH_HEIGHT as usize] = [
    0b11111, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b11111,
];

/// Height of a line of text at a scale, in pixels.
pub(crate) fn height(scale: u32) -> u32 {
    GLYPH_HEIGHT * scale
}

/// Writes text with its top left corner at a place, each dot a square of `scale` pixels.
pub(crate) fn write(
    picture: &mut Image,
    text: &str,
    left: u32,
    top: u32,
    scale: u32,
    colour: [u8; 3],
) {
    for (position, character) in (0u32..).zip(text.chars()) {
        let glyph = GLYPHS
            .iter()
            .find(|(known, _)| *known == character)
            .map_or(UNKNOWN, |(_, rows)| *rows);
        for y in 0..GLYPH_HEIGHT * scale {
            for x in 0..GLYPH_WIDTH * scale {
                if glyph[(y / scale) as usize] >> (GLYPH_WIDTH - 1 - x / scale) & 1 == 1 {
                    picture.set_pixel(left + position * ADVANCE * scale + x, top + y, colour);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digit_is_drawn_as_its_dots() {
        let mut picture = Image::filled(20, 16, [0; 3]).unwrap();
        write(&mut picture, "71", 0, 0, 1, [255; 3]);
        let row = |y| {
            (0..11)
                .map(|x| {
                    if picture.pixel(x, y) == Some([255; 3]) {
                        '#'
                    } else {
                        '.'
                    }
                })
                .collect::<String>()
        };
        assert_eq!(
            (0..7).map(row).collect::<Vec<_>>(),
            [
                "#####...#..",
                "....#..##..",
                "...#....#..",
                "..#.....#..",
                ".#......#..",
                ".#......#..",
                ".#.....###.",
            ]
        );
    }

    #[test]
    fn text_that_runs_out_of_the_picture_is_cut_off() {
        let mut picture = Image::filled(8, 8, [0; 3]).unwrap();
        write(&mut picture, "a long label \u{202e}", 4, 4, 3, [255; 3]);
        assert_eq!(picture.rgb().len(), 8 * 8 * 3);
    }
}
