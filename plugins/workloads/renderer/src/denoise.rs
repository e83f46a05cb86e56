//! Takes the grain out of a frame: each pixel is averaged with its surroundings as far as they show the same thing.
//!
//! What counts as the same is told by things that are nearly free of grain, the normal and the colour of the surface,
//! and by the light itself, where a difference is only taken for real when it is large against the grain that the
//! pixel's own samples let expect. Four passes over a grid that doubles its spacing cover a wide neighbourhood with few
//! pixels (Dammertz and others, "Edge-Avoiding À-Trous Wavelet Transform", 2010; the measure of grain is that of
//! Schied and others, "Spatiotemporal Variance-Guided Filtering", 2017, for a single picture).

use crate::math::Vec3;

/// Distances between the pixels that a pass looks at.
const SPACINGS: [i32; 4] = [1, 2, 4, 8];
/// Weights of a pixel's neighbours along one axis, by distance.
const KERNEL: [f32; 3] = [3.0 / 8.0, 1.0 / 4.0, 1.0 / 16.0];
/// Differences of light up to about this many times the expected grain are taken for grain.
const TOLERANCE: f32 = 2.0;
/// Differences of colour and of normal at which two places are taken for different things.
const SAME_COLOUR: f32 = 0.04;
const SAME_NORMAL: f32 = 0.12;

/// A pixel before it is developed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pixel {
    /// The mean of its samples.
    pub(crate) light: Vec3,
    /// The variance of that mean's luminance, as if its samples did not know of each other.
    pub(crate) variance: f32,
    /// The mean colour of what it shows.
    pub(crate) colour: Vec3,
    /// The mean normal.
    pub(crate) normal: Vec3,
}

/// Takes the grain out of rows of pixels.
pub(crate) fn denoise(pixels: &mut Vec<Pixel>, width: u32) {
    let width = width as i32;
    let height = pixels.len() as i32 / width;
    for spacing in SPACINGS {
        let grid = Grid {
            pixels,
            width,
            height,
            spacing,
        };
        let smoother = (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .map(|(x, y)| grid.smooth(x, y));
        *pixels = smoother.collect();
    }
}

struct Grid<'a> {
    pixels: &'a [Pixel],
    width: i32,
    height: i32,
    spacing: i32,
}

impl Grid<'_> {
    fn at(&self, x: i32, y: i32) -> Option<&Pixel> {
        ((0..self.width).contains(&x) && (0..self.height).contains(&y))
            .then(|| &self.pixels[(y * self.width + x) as usize])
    }

    fn smooth(&self, x: i32, y: i32) -> Pixel {
        let own = self.pixels[(y * self.width + x) as usize];
        let luminance = own.light.luminance();
        let tolerated = TOLERANCE * self.grain(x, y) + 1e-5;
        let (mut light, mut variance, mut total) = (Vec3::ZERO, 0.0, 0.0);
        for down in -2..=2i32 {
            for across in -2..=2i32 {
                let Some(other) = self.at(x + across * self.spacing, y + down * self.spacing)
                else {
                    continue;
                };
                let (colour, normal) = (own.colour - other.colour, own.normal - other.normal);
                let difference = (luminance - other.light.luminance()).abs() / tolerated
                    + colour.dot(colour) / (SAME_COLOUR * SAME_COLOUR)
                    + normal.dot(normal) / (SAME_NORMAL * SAME_NORMAL);
                let kernel =
                    KERNEL[down.unsigned_abs() as usize] * KERNEL[across.unsigned_abs() as usize];
                let weight = kernel * alike(difference);
                light += other.light * weight;
                variance += other.variance * weight * weight;
                total += weight;
            }
        }
        Pixel {
            light: light / total,
            variance: variance / (total * total),
            ..own
        }
    }

    /// The expected grain around a pixel. That of a single one is itself too grainy.
    fn grain(&self, x: i32, y: i32) -> f32 {
        let (mut sum, mut total) = (0.0, 0.0);
        for down in -1..=1i32 {
            for across in -1..=1i32 {
                if let Some(pixel) = self.at(x + across, y + down) {
                    let weight = KERNEL[down.unsigned_abs() as usize]
                        * KERNEL[across.unsigned_abs() as usize];
                    sum += pixel.variance * weight;
                    total += weight;
                }
            }
        }
        (sum / total).sqrt()
    }
}

/// Falls from 1 to 0 much like an exponential.
fn alike(difference: f32) -> f32 {
    let left = (1.0 - difference * 0.25).max(0.0);
    (left * left) * (left * left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::vec3;
    use crate::sampling::hash;

    const WIDTH: u32 = 48;

    /// Two grey halves with grain, the right one twice as bright.
    fn halves(colours: [f32; 2]) -> Vec<Pixel> {
        (0..WIDTH * 32)
            .map(|index| {
                let half = usize::from(index % WIDTH >= WIDTH / 2);
                let grain = (hash(index, 1) % 1000) as f32 / 1000.0 - 0.5;
                Pixel {
                    light: Vec3::ONE * ([0.2, 0.4][half] + 0.1 * grain),
                    variance: 0.01 / 12.0,
                    colour: Vec3::ONE * colours[half],
                    normal: vec3(0.0, 1.0, 0.0),
                }
            })
            .collect()
    }

    fn errors(pixels: &[Pixel]) -> (f32, f32) {
        let errors = (0u32..).zip(pixels).map(|(index, pixel)| {
            let expected = if index % WIDTH < WIDTH / 2 { 0.2 } else { 0.4 };
            (pixel.light.x - expected).abs()
        });
        errors.fold((0.0, 0.0), |(sum, most), error| {
            (sum + error / pixels.len() as f32, f32::max(most, error))
        })
    }

    #[test]
    fn grain_goes_and_edges_stay() {
        for colours in [[0.3, 0.3], [0.2, 0.8]] {
            let mut pixels = halves(colours);
            let (mean, _) = errors(&pixels);
            denoise(&mut pixels, WIDTH);
            let (smooth_mean, smooth_most) = errors(&pixels);
            assert!(
                smooth_mean < mean / 2.5 && smooth_most < 0.03,
                "{mean} to {smooth_mean}, {smooth_most} at most"
            );
        }
    }

    #[test]
    fn a_picture_without_grain_stays_as_it_is() {
        let mut pixels = halves([0.5, 0.5]);
        for (index, pixel) in (0u32..).zip(&mut pixels) {
            pixel.light = Vec3::ONE * (index % 7) as f32;
            pixel.variance = 0.0;
        }
        let before = pixels.clone();
        denoise(&mut pixels, WIDTH);
        for (before, after) in before.iter().zip(&pixels) {
            assert!((before.light - after.light).length() < 1e-4);
        }
    }
}
