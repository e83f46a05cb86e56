//! The scene file: JSON, so that one can read what a worker is sent, with the mesh as plain lists of integers, which
//! is compact enough for a few thousand triangles.
//!
//! Lengths are in units of the figure's height. `y` points up, `z` towards the viewer, and the floor is `y = 0`.
//! Colours are linear sRGB; a lamp's is its radiance.

use serde::{Deserialize, Serialize};

use crate::math::Vec3;

/// The most triangles a mesh may have, after subdivision.
const MAX_TRIANGLES: usize = 4_000_000;
/// The most lamps.
const MAX_LAMPS: usize = 16;

/// A colour, a point or a direction in the file.
pub type Triple = [f32; 3];

/// The whole file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scene {
    /// Where the scene comes from, under which licence, and how it is made.
    pub about: String,
    /// Who looks.
    pub camera: Camera,
    /// Factor on all light before it becomes a picture.
    pub exposure: f32,
    /// Light that comes from wherever nothing else is.
    pub ambient: Triple,
    /// Rectangular lamps.
    pub lamps: Vec<Lamp>,
    /// Floor and backdrop.
    pub stage: Stage,
    /// The figure.
    pub figure: Figure,
}

/// A camera with a thin lens, upright.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Camera {
    /// Where it stands.
    pub from: Triple,
    /// What is in the middle of the picture and in focus.
    pub to: Triple,
    /// Degrees from the picture's lower to its upper edge.
    pub field_of_view: f32,
    /// Radius of the lens; 0 keeps everything in focus.
    pub lens_radius: f32,
}

/// A rectangle that shines from one side.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Lamp {
    /// Its middle.
    pub at: Triple,
    /// The point it faces.
    pub towards: Triple,
    /// Width, in a level direction, and the other side.
    pub size: [f32; 2],
    /// What it sends in every direction of the side it faces.
    pub radiance: Triple,
}

/// A floor that bends up into a wall behind the figure, all in one colour, as photographers use it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Stage {
    /// The share of light it throws back.
    pub colour: Triple,
    /// How far behind the middle the floor starts to bend.
    pub depth: f32,
    /// Radius of the bend.
    pub bend: f32,
}

/// The mesh and how it looks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Figure {
    /// How far it is turned at frame 0, in degrees.
    pub start: f32,
    /// How far it turns from frame to frame, in degrees.
    pub turn: f32,
    /// How often each triangle is divided in four to round the surface.
    pub subdivisions: u32,
    /// What it is made of.
    pub glaze: Glaze,
    /// Length of one step of `positions`.
    pub step: f32,
    /// The points: x, y, z, x, y, z…
    pub positions: Vec<i32>,
    /// Three points for each triangle, counted from 0, counter-clockwise when seen from outside.
    pub triangles: Vec<u32>,
}

/// A ceramic glaze: colour under a clear, smooth coat. It runs off edges and gathers in creases.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Glaze {
    /// On flat places.
    pub colour: Triple,
    /// In creases.
    pub crease: Triple,
    /// On edges.
    pub edge: Triple,
    /// How rough the coat is, from 0, a mirror, to 1.
    pub roughness: f32,
}

/// Why a scene cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum SceneError {
    /// Not JSON, or not a scene.
    #[error("the scene file is not a scene: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A value that makes no picture.
    #[error("the scene's {what}")]
    Invalid {
        /// Which value and what is wrong with it.
        what: String,
    },
}

impl Scene {
    /// Reads a scene and checks everything that rendering relies on.
    ///
    /// # Errors
    /// [`SceneError`] says which value is wrong.
    pub fn parse(json: &[u8]) -> Result<Self, SceneError> {
        let scene: Self = serde_json::from_slice(json)?;
        scene.check().map_err(|what| SceneError::Invalid { what })?;
        Ok(scene)
    }

    fn check(&self) -> Result<(), String> {
        finite("camera.from", self.camera.from)?;
        finite("camera.to", self.camera.to)?;
        between(
            "camera.field-of-view",
            self.camera.field_of_view,
            1.0,
            150.0,
        )?;
        between("camera.lens-radius", self.camera.lens_radius, 0.0, 10.0)?;
        apart("camera", self.camera.from, self.camera.to)?;
        between("exposure", self.exposure, 1e-6, 1e6)?;
        light("ambient", self.ambient)?;
        if self.lamps.is_empty() || self.lamps.len() > MAX_LAMPS {
            return Err(format!(
                "lamps are {} in number; 1 to {MAX_LAMPS} are possible",
                self.lamps.len()
            ));
        }
        for lamp in &self.lamps {
            finite("lamps.at", lamp.at)?;
            finite("lamps.towards", lamp.towards)?;
            apart("lamp", lamp.at, lamp.towards)?;
            between("lamps.size", lamp.size[0], 1e-3, 1e3)?;
            between("lamps.size", lamp.size[1], 1e-3, 1e3)?;
            light("lamps.radiance", lamp.radiance)?;
        }
        colour("stage.colour", self.stage.colour)?;
        between("stage.depth", self.stage.depth, 0.0, 1e3)?;
        between("stage.bend", self.stage.bend, 1e-3, 1e3)?;
        self.figure.check()
    }
}

impl Figure {
    fn check(&self) -> Result<(), String> {
        between("figure.start", self.start, -1e6, 1e6)?;
        between("figure.turn", self.turn, -360.0, 360.0)?;
        colour("figure.glaze.colour", self.glaze.colour)?;
        colour("figure.glaze.crease", self.glaze.crease)?;
        colour("figure.glaze.edge", self.glaze.edge)?;
        between("figure.glaze.roughness", self.glaze.roughness, 0.0, 1.0)?;
        between("figure.step", self.step, 1e-9, 1e3)?;
        if self.subdivisions > 4 {
            return Err(format!(
                "figure.subdivisions is {}; 0 to 4 are possible",
                self.subdivisions
            ));
        }
        let [points, triangles] = [
            ("positions", self.positions.len()),
            ("triangles", self.triangles.len()),
        ]
        .map(|(name, length)| {
            if length % 3 == 0 {
                Ok(length / 3)
            } else {
                Err(format!("figure.{name} does not consist of threes"))
            }
        });
        let (points, triangles) = (points?, triangles?);
        if triangles << (2 * self.subdivisions) > MAX_TRIANGLES {
            return Err(format!(
                "figure has {triangles} triangles, subdivided {} times; at most {MAX_TRIANGLES} may come of it",
                self.subdivisions
            ));
        }
        match self
            .triangles
            .iter()
            .find(|index| **index as usize >= points)
        {
            Some(index) => Err(format!("figure.triangles names point {index} of {points}")),
            None => Ok(()),
        }
    }
}

fn finite(name: &str, value: Triple) -> Result<(), String> {
    if value.iter().all(|part| part.abs() <= 1e6) {
        Ok(())
    } else {
        Err(format!(
            "{name} is {value:?}; every part must be between -1e6 and 1e6"
        ))
    }
}

fn apart(name: &str, a: Triple, b: Triple) -> Result<(), String> {
    if (Vec3::from(a) - Vec3::from(b)).length() > 1e-3 {
        Ok(())
    } else {
        Err(format!("{name} stands where it looks, at {a:?}"))
    }
}

fn colour(name: &str, value: Triple) -> Result<(), String> {
    value
        .iter()
        .try_for_each(|part| between(name, *part, 0.0, 1.0))
}

fn light(name: &str, value: Triple) -> Result<(), String> {
    value
        .iter()
        .try_for_each(|part| between(name, *part, 0.0, 1e6))
}

fn between(name: &str, value: f32, least: f32, most: f32) -> Result<(), String> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(format!("{name} is {value}; {least} to {most} are possible"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    const BUNNY: &[u8] = include_bytes!("../../../../templates/pods/render/payload/scene.json");

    pub(crate) fn bunny() -> Scene {
        Scene::parse(BUNNY).unwrap()
    }

    #[test]
    fn the_bunny_is_whole() {
        let figure = bunny().figure;
        assert_eq!(
            (figure.positions.len() / 3, figure.triangles.len() / 3),
            (1839, 3674)
        );
        let heights = || figure.positions.iter().skip(1).step_by(3);
        assert_eq!(
            (heights().min(), heights().max()),
            (Some(&0), Some(&10_000))
        );
    }

    #[test]
    fn values_that_make_no_picture_are_told() {
        let cases: [(&str, Value, &str); 11] = [
            (
                "/camera/from",
                json!([0.0, 0.47, 0.0]),
                "camera stands where it looks",
            ),
            (
                "/camera/field-of-view",
                json!(0.0),
                "camera.field-of-view is 0",
            ),
            ("/camera/from/1", json!(1e30), "camera.from"),
            ("/exposure", json!(-1.0), "exposure is -1"),
            ("/lamps", json!([]), "lamps are 0"),
            ("/lamps/0/size/1", json!(0.0), "lamps.size is 0"),
            ("/stage/colour/0", json!(1.5), "stage.colour is 1.5"),
            ("/figure/subdivisions", json!(5), "figure.subdivisions is 5"),
            (
                "/figure/triangles/7",
                json!(1839),
                "figure.triangles names point 1839 of 1839",
            ),
            (
                "/figure/positions",
                json!([1, 2, 3, 4]),
                "figure.positions does not consist of threes",
            ),
            ("/figure/glaze/roughness", json!(null), "null"),
        ];
        for (place, value, expected) in cases {
            let mut scene: Value = serde_json::from_slice(BUNNY).unwrap();
            *scene.pointer_mut(place).unwrap() = value;
            let message = Scene::parse(scene.to_string().as_bytes())
                .unwrap_err()
                .to_string();
            assert!(message.contains(expected), "{place}: {message}");
        }
        assert!(
            Scene::parse(b"{}")
                .unwrap_err()
                .to_string()
                .contains("about")
        );
    }

    #[test]
    fn subdivision_cannot_fill_the_memory() {
        let mut scene = bunny();
        scene.figure.subdivisions = 4;
        scene.figure.triangles = scene.figure.triangles.repeat(5);
        let message = scene.check().unwrap_err();
        assert!(message.contains("at most 4000000"), "{message}");
    }
}
