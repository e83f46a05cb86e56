//! Light along one path: from the camera from surface to surface, asking at each of them for one place on a lamp.
//!
//! A lamp is found in two ways, by choosing a place on it and by running into it. Both are weighed by how likely each
//! was to find it (Veach's balance heuristic), which keeps wide dull highlights and narrow ones free of noise alike.

use crate::bvh::Ray;
use crate::math::{Basis, Vec3};
use crate::sampling::Sampler;
use crate::world::World;

/// Surfaces on a path, at most.
const MAX_BOUNCES: u32 = 6;
/// From here on dim paths end early, by chance.
const SURE_BOUNCES: u32 = 2;
/// How far off a surface a path starts again, so that it does not meet the same place.
const LIFT: f32 = 2e-4;
/// The most that a path may bring, by way of one surface and of more. Brighter parts of a picture are white anyway, but
/// one such path among many would show as a speck or as a step along an edge.
const MAX_DIRECT: f32 = 8.0;
const MAX_INDIRECT: f32 = 4.0;
/// The least width of highlights that are only seen by way of another surface. Sharper ones would throw bright
/// patterns that no path finds on purpose.
const BLUR: f32 = 0.3;

/// What a path brought, and what it met first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trace {
    /// The light.
    pub(crate) light: Vec3,
    /// Colour of the first surface; that of lamps and of nothing is black.
    pub(crate) colour: Vec3,
    /// Its normal.
    pub(crate) normal: Vec3,
}

/// Follows a ray whose direction has length 1.
pub(crate) fn trace(world: &World, mut ray: Ray, sampler: &mut Sampler) -> Trace {
    let mut trace = Trace::default();
    let light = &mut trace.light;
    let mut throughput = Vec3::ONE;
    // The density with which the last surface chose the ray; the camera chooses without doubt.
    let mut chosen: Option<f32> = None;

    for bounce in 0..MAX_BOUNCES {
        let surface = world.meet(&ray);
        let limit = surface
            .as_ref()
            .map_or(f32::INFINITY, |surface| surface.distance);
        if let Some(glow) = world.see_glow(&ray, limit) {
            let weight = chosen.map_or(1.0, |density| density / (density + glow.density));
            *light += bounded(throughput * glow.radiance * weight, bounce > 1);
            break;
        }
        let Some(mut surface) = surface else {
            *light += throughput * world.ambient;
            break;
        };
        if bounce == 0 {
            (trace.colour, trace.normal) = (surface.material.colour, surface.normal);
        } else {
            surface.material.alpha = surface.material.alpha.map(|alpha| alpha.max(BLUR));
        }

        let basis = Basis::around(surface.normal);
        let out = basis.to_local(-ray.direction);
        let origin = ray.origin + ray.direction * surface.distance + surface.geometric * LIFT;
        let ((lamp, kind), on_lamp, place) = (sampler.pair(), sampler.pair(), sampler.pair());

        if let Some(glow) = world.choose_glow(origin, lamp, on_lamp)
            && surface.geometric.dot(glow.direction) > 0.0
        {
            let (reflected, density) = surface
                .material
                .evaluate(out, basis.to_local(glow.direction));
            let towards = Ray {
                origin,
                direction: glow.direction,
            };
            if density > 0.0 && !world.is_blocked(&towards, glow.distance - LIFT) {
                let brought = throughput * reflected * glow.radiance / (glow.density + density);
                *light += bounded(brought, bounce > 0);
            }
        }

        let Some(next) = surface.material.bounce(out, kind, place) else {
            break;
        };
        let direction = basis.to_world(next.direction);
        if surface.geometric.dot(direction) <= 0.0 {
            break;
        }
        throughput *= next.weight;
        if bounce >= SURE_BOUNCES {
            let survival = throughput.max_part().min(0.95);
            if sampler.one() >= survival {
                break;
            }
            throughput = throughput / survival;
        }
        chosen = Some(next.density);
        ray = Ray { origin, direction };
    }
    trace
}

fn bounded(light: Vec3, is_indirect: bool) -> Vec3 {
    let bound = if is_indirect {
        MAX_INDIRECT
    } else {
        MAX_DIRECT
    };
    let most = light.max_part();
    if most > bound {
        light * (bound / most)
    } else {
        light
    }
}
