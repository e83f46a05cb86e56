//! One frame: a camera, a grid of pixels, and the average of many paths through each.

use picture::Image;

use crate::bvh::Ray;
use crate::denoise::{Pixel, denoise};
use crate::film::develop;
use crate::math::{Vec3, vec3};
use crate::params::{MAX_PIXELS, MAX_SAMPLES, Params};
use crate::path::{Trace, trace};
use crate::sampling::{Sampler, disc, hash, tent};
use crate::scene::Scene;
use crate::world::World;

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// No path, or too many.
    #[error("{0} samples are asked for; 1 to {MAX_SAMPLES} are possible")]
    Samples(u32),
    /// A frame that would not fit into memory.
    #[error(
        "a frame of {width} x {height} pixels is asked for; {MAX_PIXELS} pixels at most are possible"
    )]
    Pixels {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// A size that no picture can have.
    #[error(transparent)]
    Picture(#[from] picture::PictureError),
}

/// Renders one frame.
///
/// # Errors
/// When the parameters are out of bounds.
pub fn render(scene: &Scene, params: &Params) -> Result<Image, RenderError> {
    if params.samples == 0 || params.samples > MAX_SAMPLES {
        return Err(RenderError::Samples(params.samples));
    }
    let (width, height) = (params.width, params.height);
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(RenderError::Pixels { width, height });
    }
    let mut image = Image::filled(width, height, [0; 3])?;
    let world = World::new(scene, params.frame);
    let lens = Lens::new(scene, params);
    let places = || (0..params.height).flat_map(|y| (0..params.width).map(move |x| (x, y)));
    let mut pixels = places()
        .map(|(x, y)| expose(&world, &lens, params, x, y))
        .collect();
    denoise(&mut pixels, params.width);
    for ((x, y), pixel) in places().zip(pixels) {
        image.set_pixel(x, y, develop(pixel.light * scene.exposure));
    }
    Ok(image)
}

/// The mean of the paths through one pixel.
fn expose(world: &World, lens: &Lens, params: &Params, x: u32, y: u32) -> Pixel {
    let seed = hash(hash(params.seed, params.frame), y * params.width + x);
    let (mut sum, mut squares) = (Trace::default(), 0.0);
    for index in 0..params.samples {
        let mut sampler = Sampler::new(seed, index);
        let ray = lens.ray(x, y, &mut sampler);
        let trace = trace(world, ray, &mut sampler);
        if trace.light.is_finite() {
            sum.light += trace.light;
            sum.colour += trace.colour;
            sum.normal += trace.normal;
            squares += trace.light.luminance() * trace.light.luminance();
        }
    }
    let share = 1.0 / params.samples as f32;
    let light = sum.light * share;
    let spread = (squares * share - light.luminance() * light.luminance()).max(0.0);
    Pixel {
        light,
        variance: spread * share,
        colour: sum.colour * share,
        normal: sum.normal * share,
    }
}

/// Where the rays of a pixel start and where they go.
struct Lens {
    from: Vec3,
    /// To the right and up on the lens, with the length of its radius.
    right: Vec3,
    up: Vec3,
    /// From the camera to the picture's upper left corner on the plane in focus.
    corner: Vec3,
    /// From pixel to pixel on that plane, to the right and down.
    step: [Vec3; 2],
}

impl Lens {
    fn new(scene: &Scene, params: &Params) -> Self {
        let camera = &scene.camera;
        let from = Vec3::from(camera.from);
        let ahead = Vec3::from(camera.to) - from;
        let right = ahead.cross(vec3(0.0, 1.0, 0.0)).normalized();
        // A camera that looks straight down has no upright of its own.
        let right = if right == Vec3::ZERO {
            vec3(1.0, 0.0, 0.0)
        } else {
            right
        };
        let up = right.cross(ahead).normalized();
        let pixel = 2.0 * ahead.length() * libm::tanf(camera.field_of_view.to_radians() * 0.5)
            / params.height as f32;
        let (across, down) = (right * pixel, up * -pixel);
        Self {
            from,
            right: right * camera.lens_radius,
            up: up * camera.lens_radius,
            corner: ahead
                - across * (params.width as f32 * 0.5)
                - down * (params.height as f32 * 0.5),
            step: [across, down],
        }
    }

    fn ray(&self, x: u32, y: u32, sampler: &mut Sampler) -> Ray {
        let ((u, v), on_lens) = (sampler.pair(), disc(sampler.pair()));
        let (x, y) = (x as f32 + 0.5 + tent(u), y as f32 + 0.5 + tent(v));
        let aside = self.right * on_lens.0 + self.up * on_lens.1;
        let direction = self.corner + self.step[0] * x + self.step[1] * y - aside;
        Ray {
            origin: self.from + aside,
            direction: direction.normalized(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::tests::bunny;

    const SMALL: Params = Params {
        frame: 0,
        width: 32,
        height: 24,
        samples: 4,
        seed: 0,
    };

    #[test]
    fn equal_parameters_give_equal_pictures_and_others_do_not() {
        let scene = bunny();
        let first = render(&scene, &SMALL).unwrap();
        assert_eq!(render(&scene, &SMALL).unwrap(), first);
        let other_seed = render(&scene, &Params { seed: 1, ..SMALL })
            .unwrap()
            .difference(&first)
            .unwrap();
        let other_frame = render(&scene, &Params { frame: 10, ..SMALL })
            .unwrap()
            .difference(&first)
            .unwrap();
        assert!(
            other_seed.mean > 0.0 && other_frame.mean > 2.0 * other_seed.mean,
            "{other_seed:?}, {other_frame:?}"
        );
    }

    #[test]
    fn a_whole_turn_gives_the_same_view() {
        let scene = bunny();
        let views = [0, 60, 600_000_000].map(|frame| World::new(&scene, frame));
        let lens = Lens::new(&scene, &SMALL);
        for place in 0..SMALL.width * SMALL.height {
            let ray = lens.ray(
                place % SMALL.width,
                place / SMALL.width,
                &mut Sampler::new(0, 0),
            );
            let distances = views
                .each_ref()
                .map(|world| world.meet(&ray).map(|surface| surface.distance));
            assert!(
                distances.iter().all(|distance| *distance == distances[0]),
                "{distances:?}"
            );
        }
    }

    /// A white floor and wall under a white sky and a lamp of its brightness everywhere look like the sky.
    #[test]
    fn no_light_is_lost_in_a_white_room() {
        let mut scene = bunny();
        scene.ambient = [0.5; 3];
        scene.lamps.truncate(1);
        scene.lamps[0].radiance = [0.5; 3];
        scene.stage.colour = [1.0; 3];
        let glaze = &mut scene.figure.glaze;
        (glaze.colour, glaze.crease, glaze.edge) = ([1.0; 3], [1.0; 3], [1.0; 3]);
        let (world, lens) = (World::new(&scene, 0), Lens::new(&scene, &SMALL));
        let params = Params {
            samples: 64,
            ..SMALL
        };
        let middle = expose(&world, &lens, &params, 2, 20).light;
        assert!((0.40..=0.51).contains(&middle.x), "{middle:?}");
    }

    #[test]
    fn parameters_out_of_bounds_are_told() {
        let scene = bunny();
        let message = |params| render(&scene, &params).unwrap_err().to_string();
        assert!(
            message(Params {
                samples: 0,
                ..SMALL
            })
            .contains("0 samples")
        );
        assert!(message(Params { width: 0, ..SMALL }).contains("0 x 24"));
        assert!(
            message(Params {
                width: 1 << 20,
                height: 1 << 20,
                ..SMALL
            })
            .contains("at most are possible")
        );
    }
}
