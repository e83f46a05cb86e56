//! The scene in the form that rays meet: triangles in a hierarchy, lamps beside it.

use crate::bvh::{Bvh, Ray};
use crate::material::{self, Material};
use crate::math::{Vec3, vec3};
use crate::mesh::Mesh;
use crate::scene::{Figure, Glaze, Lamp as LampFile, Scene, Stage};

/// How far to each side, and to the front, the stage reaches.
const STAGE_REACH: f32 = 40.0;
/// How high its wall is.
const STAGE_HEIGHT: f32 = 40.0;
/// Steps of the bend. Its normals are smooth, so these do not show.
const STAGE_STEPS: u32 = 48;
/// A place is fully crease or fully edge where its [`Mesh::cavity`] reaches this.
const FULL_CAVITY: f32 = 0.22;

/// Everything a path can meet.
pub(crate) struct World {
    bvh: Bvh,
    triangles: Vec<[u32; 3]>,
    normals: Vec<Vec3>,
    colours: Vec<Vec3>,
    geometric: Vec<Vec3>,
    /// Triangles before this one belong to the figure.
    figure: u32,
    alpha: f32,
    lamps: Vec<Lamp>,
    /// What comes from where nothing is.
    pub(crate) ambient: Vec3,
}

/// A place on a surface.
pub(crate) struct Surface {
    /// Distance along the ray.
    pub(crate) distance: f32,
    /// The triangle's own normal, towards the ray's origin.
    pub(crate) geometric: Vec3,
    /// The smooth normal, on the same side.
    pub(crate) normal: Vec3,
    /// What it is made of.
    pub(crate) material: Material,
}

/// A rectangular lamp.
#[derive(Debug)]
pub(crate) struct Lamp {
    corner: Vec3,
    sides: [Vec3; 2],
    normal: Vec3,
    area: f32,
    radiance: Vec3,
    /// The probability of choosing this lamp, and of choosing it or one before it.
    share: f32,
    share_up_to: f32,
}

/// A place on a lamp, seen from a point.
pub(crate) struct Glow {
    /// The direction to it.
    pub(crate) direction: Vec3,
    /// How far away it is.
    pub(crate) distance: f32,
    /// What it sends.
    pub(crate) radiance: Vec3,
    /// The density, by solid angle, with which [`World::choose_glow`] chooses that direction.
    pub(crate) density: f32,
}

impl World {
    /// The scene at one frame.
    pub(crate) fn new(scene: &Scene, frame: u32) -> Self {
        let figure = place_figure(&scene.figure, frame);
        let colours = figure
            .cavity
            .iter()
            .map(|cavity| glaze_colour(&scene.figure.glaze, *cavity));
        let (stage_positions, stage_normals, stage_triangles) = build_stage(&scene.stage);

        let count = figure.positions.len() as u32;
        let colours = colours
            .chain(stage_positions.iter().map(|_| scene.stage.colour.into()))
            .collect();
        let normals = figure.normals().into_iter().chain(stage_normals).collect();
        let positions: Vec<Vec3> = figure
            .positions
            .into_iter()
            .chain(stage_positions)
            .collect();
        let of_figure = figure.triangles.len() as u32;
        let triangles: Vec<[u32; 3]> = figure
            .triangles
            .into_iter()
            .chain(
                stage_triangles
                    .into_iter()
                    .map(|triangle| triangle.map(|point| point + count)),
            )
            .collect();
        let corners: Vec<[Vec3; 3]> = triangles
            .iter()
            .map(|triangle| triangle.map(|point| positions[point as usize]))
            .collect();
        let geometric = corners
            .iter()
            .map(|[a, b, c]| (*b - *a).cross(*c - *a).normalized())
            .collect();
        Self {
            bvh: Bvh::new(&corners),
            triangles,
            normals,
            colours,
            geometric,
            figure: of_figure,
            alpha: material::alpha(scene.figure.glaze.roughness),
            lamps: hang_lamps(&scene.lamps),
            ambient: scene.ambient.into(),
        }
    }

    /// The nearest surface along a ray.
    pub(crate) fn meet(&self, ray: &Ray) -> Option<Surface> {
        let hit = self.bvh.nearest(ray, f32::INFINITY)?;
        let [a, b, c] = self.triangles[hit.triangle as usize].map(|point| point as usize);
        let blend = |of: &[Vec3]| of[a] * (1.0 - hit.u - hit.v) + of[b] * hit.u + of[c] * hit.v;
        let mut geometric = self.geometric[hit.triangle as usize];
        let mut normal = blend(&self.normals).normalized();
        if geometric.dot(ray.direction) > 0.0 {
            geometric = -geometric;
        }
        if normal.dot(geometric) < 0.0 {
            normal = -normal;
        }
        let alpha = (hit.triangle < self.figure).then_some(self.alpha);
        let material = Material {
            colour: blend(&self.colours),
            alpha,
        };
        Some(Surface {
            distance: hit.distance,
            geometric,
            normal,
            material,
        })
    }

    /// Whether a surface lies on the way.
    pub(crate) fn is_blocked(&self, ray: &Ray, limit: f32) -> bool {
        self.bvh.is_blocked(ray, limit)
    }

    /// The nearest lamp along a ray of length 1, before a limit.
    pub(crate) fn see_glow(&self, ray: &Ray, limit: f32) -> Option<Glow> {
        let mut nearest: Option<Glow> = None;
        for lamp in &self.lamps {
            let limit = nearest.as_ref().map_or(limit, |glow| glow.distance);
            nearest = lamp.meet(ray, limit).or(nearest);
        }
        nearest
    }

    /// A place on one of the lamps, by three numbers in [0, 1); none when that lamp faces away.
    pub(crate) fn choose_glow(&self, from: Vec3, choice: f32, (u, v): (f32, f32)) -> Option<Glow> {
        let lamp = self.lamps.iter().find(|lamp| choice < lamp.share_up_to)?;
        let to = lamp.corner + lamp.sides[0] * u + lamp.sides[1] * v - from;
        let distance = to.length();
        let direction = to / distance;
        lamp.glow(direction, distance)
    }
}

impl Lamp {
    fn meet(&self, ray: &Ray, limit: f32) -> Option<Glow> {
        let along = ray.direction.dot(self.normal);
        let distance = (self.corner - ray.origin).dot(self.normal) / along;
        if !(distance > 0.0 && distance < limit) {
            return None;
        }
        let place = ray.origin + ray.direction * distance - self.corner;
        let inside = self
            .sides
            .iter()
            .all(|side| (0.0..=side.dot(*side)).contains(&place.dot(*side)));
        if inside {
            self.glow(ray.direction, distance)
        } else {
            None
        }
    }

    fn glow(&self, direction: Vec3, distance: f32) -> Option<Glow> {
        let cosine = -direction.dot(self.normal);
        let density = self.share * distance * distance / (cosine * self.area);
        (cosine > 1e-4).then_some(Glow {
            direction,
            distance,
            radiance: self.radiance,
            density,
        })
    }
}

fn hang_lamps(files: &[LampFile]) -> Vec<Lamp> {
    let power = |file: &LampFile| {
        Vec3::from(file.radiance).luminance().max(1e-6) * file.size[0] * file.size[1]
    };
    let total: f32 = files.iter().map(power).sum();
    let mut up_to = 0.0;
    let mut lamps: Vec<Lamp> = files
        .iter()
        .map(|file| {
            let at = Vec3::from(file.at);
            let normal = (Vec3::from(file.towards) - at).normalized();
            let level = vec3(normal.z, 0.0, -normal.x).normalized();
            // A lamp that hangs straight above has no level side of its own.
            let level = if level == Vec3::ZERO {
                vec3(1.0, 0.0, 0.0)
            } else {
                level
            };
            let sides = [level * file.size[0], normal.cross(level) * file.size[1]];
            up_to += power(file) / total;
            Lamp {
                corner: at - (sides[0] + sides[1]) * 0.5,
                sides,
                normal,
                area: file.size[0] * file.size[1],
                radiance: file.radiance.into(),
                share: power(file) / total,
                share_up_to: up_to,
            }
        })
        .collect();
    if let Some(last) = lamps.last_mut() {
        // Sums of rounded numbers may stay below 1.
        last.share_up_to = 1.0;
    }
    lamps
}

fn place_figure(figure: &Figure, frame: u32) -> Mesh {
    // Whole turns are taken off first: what is left is exact, and so is its sine.
    let degrees = libm::fmod(
        f64::from(figure.start) + f64::from(figure.turn) * f64::from(frame),
        360.0,
    );
    let turn = libm::sincosf(degrees.to_radians() as f32);
    let positions = figure
        .positions
        .chunks_exact(3)
        .map(|point| vec3(point[0] as f32, point[1] as f32, point[2] as f32) * figure.step)
        .map(|point| point.turned(turn))
        .collect();
    let triangles = figure
        .triangles
        .chunks_exact(3)
        .map(|triangle| [triangle[0], triangle[1], triangle[2]])
        .collect();
    (0..figure.subdivisions).fold(Mesh::new(positions, triangles), |mesh, _| mesh.subdivided())
}

fn glaze_colour(glaze: &Glaze, cavity: f32) -> Vec3 {
    let amount = (cavity.abs() / FULL_CAVITY).min(1.0);
    let smooth = amount * amount * (3.0 - 2.0 * amount);
    let towards = if cavity > 0.0 {
        glaze.crease
    } else {
        glaze.edge
    };
    Vec3::from(glaze.colour).mix(towards.into(), smooth)
}

/// Points, normals and triangles of the stage: a profile from the front of the floor to the top of the wall, drawn
/// out sideways.
fn build_stage(stage: &Stage) -> (Vec<Vec3>, Vec<Vec3>, Vec<[u32; 3]>) {
    let mut profile = vec![(STAGE_REACH, 0.0, (0.0, 1.0))];
    for step in 0..=STAGE_STEPS {
        let (sine, cosine) =
            libm::sincosf(std::f32::consts::FRAC_PI_2 * step as f32 / STAGE_STEPS as f32);
        profile.push((
            -stage.depth - stage.bend * sine,
            stage.bend * (1.0 - cosine),
            (sine, cosine),
        ));
    }
    profile.push((
        -stage.depth - stage.bend,
        stage.bend + STAGE_HEIGHT,
        (1.0, 0.0),
    ));

    let positions = profile
        .iter()
        .flat_map(|&(z, y, _)| [vec3(-STAGE_REACH, y, z), vec3(STAGE_REACH, y, z)])
        .collect();
    let normals = profile
        .iter()
        .flat_map(|&(_, _, (z, y))| [vec3(0.0, y, z); 2])
        .collect();
    let triangles = (0..profile.len() as u32 - 1)
        .map(|strip| strip * 2)
        .flat_map(|left| [[left, left + 1, left + 3], [left, left + 3, left + 2]])
        .collect();
    (positions, normals, triangles)
}
