//! From light to the numbers of a picture file.

use crate::math::{Vec3, vec3};

/// An 8-bit sRGB colour for an amount of light, where 1 is what a white wall in full light gives.
pub(crate) fn develop(light: Vec3) -> [u8; 3] {
    let toned = tone(light);
    toned
        .to_array()
        .map(|part| (encode(part) * 255.0 + 0.5) as u8)
}

/// Bends the range of light into that of a screen as film does: a soft foot, a nearly straight middle, a long
/// shoulder. Bright colours lose saturation on the way to white instead of changing hue.
fn tone(light: Vec3) -> Vec3 {
    let peak = light.max_part().max(1e-6);
    let excess = (peak - 0.6).max(0.0);
    let pale = excess / (excess + 6.0);
    let grey = light.luminance();
    let light = light.mix(vec3(grey, grey, grey), pale);
    Vec3::from(light.to_array().map(curve))
}

/// The curve that Narkowicz fitted to the reference rendering of ACES.
fn curve(x: f32) -> f32 {
    let x = x.clamp(0.0, 1e4);
    ((x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14)).clamp(0.0, 1.0)
}

/// The transfer function of sRGB.
fn encode(linear: f32) -> f32 {
    if linear <= 0.003_130_8 {
        12.92 * linear
    } else {
        1.055 * libm::powf(linear, 1.0 / 2.4) - 0.055
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_light_is_never_darker() {
        let greys: Vec<u8> = (0..4000)
            .map(|step| develop(Vec3::ONE * (step as f32 * 0.002))[0])
            .collect();
        assert!(greys.is_sorted() && greys[0] == 0 && greys[3999] >= 250);
    }

    #[test]
    fn bright_colours_turn_pale() {
        let saturation = |light: Vec3| {
            let [red, _, blue] = develop(light).map(f32::from);
            (red - blue) / red
        };
        let colour = vec3(1.0, 0.5, 0.2);
        assert!(saturation(colour * 0.2) > 0.5 && saturation(colour * 20.0) < 0.2);
    }

    #[test]
    fn what_is_no_light_is_still_a_colour() {
        for light in [f32::INFINITY, f32::NAN, -1.0, f32::MAX] {
            develop(Vec3::ONE * light);
        }
        assert_eq!(develop(Vec3::ONE * -1.0), [0; 3]);
        assert_eq!(develop(Vec3::ONE * 1e6), [255; 3]);
    }
}
