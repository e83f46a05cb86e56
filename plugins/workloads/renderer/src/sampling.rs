//! Numbers to integrate with: for each pixel and each decision along a path an Owen-scrambled Sobol sequence, so that
//! a few dozen samples spread as evenly as they can, and how points of the unit square become directions.
//!
//! Every decision takes a fresh pair of dimensions from the same two-dimensional sequence, in an order and a
//! scrambling of its own (Burley, "Practical Hash-based Owen Scrambling", 2020). Nothing depends on the order in which
//! pixels are rendered.

use crate::math::{Vec3, vec3};

/// A hash of two words in which every bit of the input reaches every bit of the result.
#[must_use]
#[inline]
pub fn hash(a: u32, b: u32) -> u32 {
    let mut x = a ^ b.wrapping_mul(0x9e37_79b9).rotate_left(15);
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// The numbers of one sample of one pixel.
#[derive(Clone, Debug)]
pub struct Sampler {
    seed: u32,
    index: u32,
    dimension: u32,
}

impl Sampler {
    /// The numbers of sample `index` of the pixel that `seed` stands for.
    #[must_use]
    #[inline]
    pub fn new(seed: u32, index: u32) -> Self {
        Self {
            seed,
            index,
            dimension: 0,
        }
    }

    /// The next number in [0, 1).
    #[inline]
    pub fn one(&mut self) -> f32 {
        self.pair().0
    }

    /// The next point of the unit square.
    #[inline]
    pub fn pair(&mut self) -> (f32, f32) {
        let seed = hash(self.seed, self.dimension);
        self.dimension += 1;
        let index = scramble_reversed(self.index.reverse_bits(), seed).reverse_bits();
        let x = scramble_reversed(index, hash(seed, 1)).reverse_bits();
        let y = scramble_reversed(sobol_reversed(index), hash(seed, 2)).reverse_bits();
        (to_unit(x), to_unit(y))
    }
}

/// Owen's scrambling of a number whose bits are in reverse order, by a hash in which each bit only depends on lower
/// ones (Laine and Karras; the constants are Vegdahl's).
#[inline]
fn scramble_reversed(mut x: u32, seed: u32) -> u32 {
    x ^= x.wrapping_mul(0x3d20_adea);
    x = x.wrapping_add(seed);
    x = x.wrapping_mul((seed >> 16) | 1);
    x ^= x.wrapping_mul(0x0552_6c56);
    x ^ x.wrapping_mul(0x53a2_2864)
}

/// The second dimension of the Sobol sequence with its bits in reverse order. Its matrix is Pascal's triangle modulo
/// two, a tensor power of a two by two matrix, so five steps do instead of one for each bit.
#[inline]
fn sobol_reversed(index: u32) -> u32 {
    let mut x = index;
    x ^= (x >> 1) & 0x5555_5555;
    x ^= (x >> 2) & 0x3333_3333;
    x ^= (x >> 4) & 0x0f0f_0f0f;
    x ^= (x >> 8) & 0x00ff_00ff;
    x ^ ((x >> 16) & 0x0000_ffff)
}

/// The upper 24 bits as a number in [0, 1): all that an `f32` holds without rounding up to 1.
#[inline]
fn to_unit(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// A direction of the upper half space with a density of cos / pi.
#[must_use]
#[inline]
pub fn cosine_hemisphere((u, v): (f32, f32)) -> Vec3 {
    let (x, y) = disc((u, v));
    vec3(x, y, (1.0 - x * x - y * y).max(0.0).sqrt())
}

/// A point of the unit disc, evenly, after Shirley and Chiu: neighbours in the square stay neighbours.
#[must_use]
#[inline]
pub fn disc((u, v): (f32, f32)) -> (f32, f32) {
    use std::f32::consts::FRAC_PI_4;
    let (a, b) = (2.0 * u - 1.0, 2.0 * v - 1.0);
    if a == 0.0 && b == 0.0 {
        (0.0, 0.0)
    } else if a.abs() > b.abs() {
        let (sine, cosine) = libm::sincosf(FRAC_PI_4 * (b / a));
        (a * cosine, a * sine)
    } else {
        let (sine, cosine) = libm::sincosf(FRAC_PI_4 * (a / b));
        (b * sine, b * cosine)
    }
}

/// The distance from a pixel's centre at which a sample is taken, distributed like a tent of two pixels' width: the
/// average of the samples is then the filtered pixel.
#[must_use]
#[inline]
pub fn tent(u: f32) -> f32 {
    if u < 0.5 {
        (2.0 * u).sqrt() - 1.0
    } else {
        1.0 - (2.0 - 2.0 * u).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sobol_by_direction_numbers(index: u32) -> u32 {
        let (mut result, mut direction) = (0, 1u32 << 31);
        for bit in 0..32 {
            if index >> bit & 1 == 1 {
                result ^= direction;
            }
            direction ^= direction >> 1;
        }
        result
    }

    #[test]
    fn sobol_in_five_steps_is_sobol() {
        for index in (0..4096).chain([u32::MAX, 0x1234_5678, 0x8000_0001]) {
            assert_eq!(
                sobol_reversed(index).reverse_bits(),
                sobol_by_direction_numbers(index),
                "{index}"
            );
        }
    }

    /// Every way to cut the square into 64 equal boxes finds one of 64 samples in each of them.
    #[test]
    fn samples_are_stratified_in_every_elementary_box() {
        for seed in 0..8 {
            let points: Vec<_> = (0..64)
                .map(|index| Sampler::new(seed, index).pair())
                .collect();
            for log_columns in 0..=6 {
                let (columns, rows) = (1usize << log_columns, 64usize >> log_columns);
                let mut hits = [0; 64];
                for (u, v) in &points {
                    hits[(u * columns as f32) as usize * rows + (v * rows as f32) as usize] += 1;
                }
                assert_eq!(hits, [1; 64], "seed {seed}, {columns} columns");
            }
        }
    }

    #[test]
    fn dimensions_are_not_correlated() {
        let mut product = 0.0;
        for index in 0..1024 {
            let mut sampler = Sampler::new(7, index);
            let (a, _) = sampler.pair();
            let (b, _) = sampler.pair();
            product += f64::from(a - 0.5) * f64::from(b - 0.5) / 1024.0;
        }
        assert!(product.abs() < 0.01, "{product}");
    }

    #[test]
    fn hemisphere_has_the_density_it_promises() {
        let count = 4096;
        let mean: f32 = (0..count)
            .map(|index| cosine_hemisphere(Sampler::new(3, index).pair()))
            .inspect(|direction| assert!((direction.length() - 1.0).abs() < 1e-5))
            .map(|direction| direction.z / count as f32)
            .sum();
        // The mean of the cosine under the density cos / pi is 2/3.
        assert!((mean - 2.0 / 3.0).abs() < 1e-3, "{mean}");
    }
}
