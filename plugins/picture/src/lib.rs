//! RGB pictures as the render pod needs them: the renderer saves one per frame, the pod's script lays them out on
//! a contact sheet, and tests compare them with others.
//!
//! A picture's size is bounded wherever one comes into being, because frames arrive from providers that nobody
//! vouches for: a PNG file of a few hundred bytes may promise gigabytes of pixels.

mod difference;
mod file;
mod font;
mod image;
mod sheet;

pub use difference::Difference;
pub use image::{Image, MAX_PIXELS};
pub use sheet::{Tile, contact_sheet};

/// Why a picture could not be made, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PictureError {
    /// A side is zero or the whole exceeds [`MAX_PIXELS`].
    #[error(
        "a picture of {width} x {height} pixels is refused: both sides must be at least 1 and the area at most {MAX_PIXELS} pixels"
    )]
    Size {
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
    },
    /// The bytes handed over do not fill the picture.
    #[error(
        "{found} bytes do not fill a picture that needs {expected}: three bytes per pixel, rows without padding"
    )]
    Length {
        /// Bytes that the size asks for.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// Pictures that are to be compared have different sizes.
    #[error("a picture of {} x {} pixels cannot be compared with one of {} x {}", first.0, first.1, second.0, second.1)]
    Sizes {
        /// Width and height of the first.
        first: (u32, u32),
        /// Width and height of the second.
        second: (u32, u32),
    },
    /// Not a PNG file, a damaged one, or one of a kind that is not 8-bit colour or grey.
    #[error("the PNG data cannot be decoded: {reason}")]
    Decode {
        /// What the decoder says.
        reason: String,
    },
    /// The encoder gave up.
    #[error("the picture cannot be encoded as PNG: {reason}")]
    Encode {
        /// What the encoder says.
        reason: String,
    },
    /// The file system refused.
    #[error("cannot {action} picture {path}: {source}")]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// The path as given.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
}
