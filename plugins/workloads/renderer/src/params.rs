//! What the script says about one frame, and the bounds within which it may say it.

use serde::{Deserialize, Serialize};

/// The most samples of a pixel: beyond this a picture does not get better to the eye, only slower.
pub const MAX_SAMPLES: u32 = 1 << 16;

/// The most pixels of a frame. Each takes some 80 bytes until the frame is done, and a guest has 4 GiB at the very most.
pub const MAX_PIXELS: u64 = 16 << 20;

/// The parameter file: JSON, unknown keys refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Which frame of the turn, from 0.
    pub frame: u32,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Paths traced for each pixel. Powers of two spread most evenly.
    pub samples: u32,
    /// Chooses the random numbers. The same seed gives the same noise.
    #[serde(default)]
    pub seed: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            frame: 0,
            width: 480,
            height: 360,
            samples: 32,
            seed: 0,
        }
    }
}
