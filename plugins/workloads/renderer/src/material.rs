//! How surfaces throw light back: dull, or dull under a clear coat.
//!
//! Directions are in the coordinates of the surface, where the normal is `z`, and point away from it. Only the outer
//! side exists.

use std::f32::consts::{FRAC_1_PI, PI};

use crate::math::{Vec3, vec3};
use crate::sampling::cosine_hemisphere;

/// What a coat reflects of light that falls straight onto it: glass and glazes have an index of about 1.5.
const STRAIGHT: f32 = 0.04;
/// The mean of [`fresnel`] over all directions: what the coat sends back into the body from inside and outside.
const MEAN: f32 = STRAIGHT + (1.0 - STRAIGHT) / 21.0;
/// The smallest width of the highlights. A perfect mirror would reflect lamps that no sample hits.
const LEAST_ALPHA: f32 = 1e-3;

/// A surface at one place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Material {
    /// The share of light that the body throws back.
    pub(crate) colour: Vec3,
    /// The square of the coat's roughness, if there is a coat.
    pub(crate) alpha: Option<f32>,
}

/// A direction chosen for a path to go on.
pub(crate) struct Bounce {
    /// Where to.
    pub(crate) direction: Vec3,
    /// Reflected share times cosine, divided by the density.
    pub(crate) weight: Vec3,
    /// Density of that choice by solid angle.
    pub(crate) density: f32,
}

impl Material {
    /// The reflected share for a pair of directions times the cosine of the incoming one, and the density with which
    /// [`Material::bounce`] chooses it.
    pub(crate) fn evaluate(&self, out: Vec3, into: Vec3) -> (Vec3, f32) {
        if out.z <= 0.0 || into.z <= 0.0 {
            return (Vec3::ZERO, 0.0);
        }
        let dull = self.colour * FRAC_1_PI;
        let Some(alpha) = self.alpha else {
            return (dull * into.z, into.z * FRAC_1_PI);
        };
        let through = (1.0 - fresnel(out.z)) * (1.0 - fresnel(into.z)) / (1.0 - MEAN);
        let half = (out + into).normalized();
        let facets = facet_density(half, alpha);
        let (unseen_out, unseen_into) = (unseen(out, alpha), unseen(into, alpha));
        let reflected =
            fresnel(out.dot(half)) * facets / (4.0 * out.z * (1.0 + unseen_out + unseen_into));
        let coat = facets / (4.0 * out.z * (1.0 + unseen_out));
        let share = self.coat_share(out);
        let density = share * coat + (1.0 - share) * into.z * FRAC_1_PI;
        (dull * (through * into.z) + Vec3::ONE * reflected, density)
    }

    /// Chooses a direction by three numbers in [0, 1), or none when the path ends here.
    pub(crate) fn bounce(&self, out: Vec3, choice: f32, place: (f32, f32)) -> Option<Bounce> {
        let direction = match self.alpha {
            Some(alpha) if choice < self.coat_share(out) => {
                let facet = visible_facet(out, alpha, place);
                facet * (2.0 * out.dot(facet)) - out
            }
            _ => cosine_hemisphere(place),
        };
        let (reflected, density) = self.evaluate(out, direction);
        (density > 0.0).then(|| Bounce {
            direction,
            weight: reflected / density,
            density,
        })
    }

    /// The probability of going on by reflection at the coat: its share of what is reflected, roughly, but enough to
    /// find lamps in it.
    fn coat_share(&self, out: Vec3) -> f32 {
        let coat = fresnel(out.z);
        let body = self.colour.luminance() * (1.0 - coat);
        (coat / (coat + body).max(1e-6)).clamp(0.15, 0.9)
    }
}

/// What a coat reflects at an angle with this cosine, after Schlick.
fn fresnel(cosine: f32) -> f32 {
    let away = (1.0 - cosine).clamp(0.0, 1.0);
    let square = away * away;
    STRAIGHT + (1.0 - STRAIGHT) * square * square * away
}

/// The width of a coat's highlights for a roughness as painters use it.
pub(crate) fn alpha(roughness: f32) -> f32 {
    (roughness * roughness).max(LEAST_ALPHA)
}

/// Density of facets with this normal, after Trowbridge and Reitz.
fn facet_density(half: Vec3, alpha: f32) -> f32 {
    let square = alpha * alpha;
    // The sine is taken from the small parts: with 1 - z * z nothing would be left of it in a narrow highlight.
    let spread = (half.x * half.x + half.y * half.y) + half.z * half.z * square;
    square / (PI * spread * spread)
}

/// Smith's measure of how much of the facets is hidden from a direction.
fn unseen(direction: Vec3, alpha: f32) -> f32 {
    let slope =
        (direction.x * direction.x + direction.y * direction.y) / (direction.z * direction.z);
    ((1.0 + alpha * alpha * slope).sqrt() - 1.0) * 0.5
}

/// The normal of a facet, chosen as often as it is seen from a direction: reflections off the unit ball fill a cap of
/// it evenly (Dupuy and Benyoub, "Sampling Visible GGX Normals with Spherical Caps", 2023).
fn visible_facet(out: Vec3, alpha: f32, (u, v): (f32, f32)) -> Vec3 {
    let stretched = vec3(out.x * alpha, out.y * alpha, out.z).normalized();
    let (sine, cosine) = libm::sincosf(2.0 * PI * u);
    let z = (1.0 - v) * (1.0 + stretched.z) - stretched.z;
    let radius = (1.0 - z * z).max(0.0).sqrt();
    let half = vec3(radius * cosine, radius * sine, z) + stretched;
    vec3(half.x * alpha, half.y * alpha, half.z.max(0.0)).normalized()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Sampler;

    const MATERIALS: [Material; 4] = [
        Material {
            colour: vec3(0.8, 0.5, 0.2),
            alpha: None,
        },
        Material {
            colour: vec3(0.8, 0.5, 0.2),
            alpha: Some(0.3),
        },
        Material {
            colour: Vec3::ZERO,
            alpha: Some(0.05),
        },
        Material {
            colour: Vec3::ONE,
            alpha: Some(0.5),
        },
    ];

    fn directions() -> impl Iterator<Item = Vec3> {
        (0..8).map(|index| cosine_hemisphere(Sampler::new(1, index).pair()))
    }

    #[test]
    fn no_surface_gives_back_more_light_than_it_gets() {
        for material in MATERIALS {
            for out in directions() {
                let count = 4096;
                let mut sum = Vec3::ZERO;
                for index in 0..count {
                    let mut sampler = Sampler::new(2, index);
                    let ((choice, _), place) = (sampler.pair(), sampler.pair());
                    if let Some(bounce) = material.bounce(out, choice, place) {
                        assert!(bounce.weight.is_finite() && bounce.direction.z > 0.0);
                        sum += bounce.weight / count as f32;
                    }
                }
                assert!(sum.max_part() < 1.02, "{material:?} gives {sum:?}");
            }
        }
    }

    #[test]
    fn light_may_travel_both_ways() {
        for material in MATERIALS {
            for (a, b) in directions().zip(directions().skip(3)) {
                let (there, back) = (
                    material.evaluate(a, b).0 / b.z,
                    material.evaluate(b, a).0 / a.z,
                );
                assert!(
                    (there - back).length() < 1e-3 * (1.0 + there.length()),
                    "{material:?}: {there:?}, {back:?}"
                );
            }
        }
    }

    /// Choosing by density and choosing evenly give the same integral.
    #[test]
    fn bounces_are_as_dense_as_they_say() {
        for material in &MATERIALS[..2] {
            for out in directions() {
                let count = 1 << 14;
                let (mut even, mut chosen) = (0.0, 0.0);
                for index in 0..count {
                    let mut sampler = Sampler::new(9, index);
                    let ((choice, _), place) = (sampler.pair(), sampler.pair());
                    let (sine, cosine) = libm::sincosf(2.0 * PI * place.0);
                    let radius = (1.0 - place.1 * place.1).sqrt();
                    let into = vec3(radius * cosine, radius * sine, place.1);
                    even += material.evaluate(out, into).0.x * 2.0 * PI / count as f32;
                    chosen += material
                        .bounce(out, choice, place)
                        .map_or(0.0, |bounce| bounce.weight.x)
                        / count as f32;
                }
                assert!(
                    (even - chosen).abs() < 0.02,
                    "{material:?}: {even} evenly, {chosen} by density"
                );
            }
        }
    }
}
