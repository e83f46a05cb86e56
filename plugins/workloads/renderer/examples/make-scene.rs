//! Makes the render pod's scene: the Stanford bunny as a glazed figure in a photographer's studio.
//!
//! ```sh
//! npm pack bunny@1.0.1 && tar -xzf bunny-1.0.1.tgz
//! cargo run --release -p renderer --example make-scene -- package/index.js > ../templates/pods/render/payload/scene.json
//! ```

use std::error::Error;

use renderer::scene::{Camera, Figure, Glaze, Lamp, Scene, Stage};

const ABOUT: &str = "The Stanford bunny, scanned by Greg Turk and Marc Levoy in 1994, from the Stanford 3D Scanning \
    Repository, in the reduced form of the npm package bunny 1.0.1 (Mikola Lysenko; public domain). Scaled to a \
    height of 1 and rounded to ten-thousandths. Made by plugins/workloads/renderer/examples/make-scene.rs.";

/// Steps of the integer coordinates in the figure's height.
const STEPS: f64 = 10_000.0;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("usage: make-scene PATH-TO-INDEX.JS > SCENE.JSON")?;
    let source =
        std::fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let positions: Vec<[f64; 3]> = export(&source, "positions")?;
    let triangles: Vec<[u32; 3]> = export(&source, "cells")?;

    let heights = || positions.iter().map(|point| point[1]);
    let (low, high) = (
        heights().fold(f64::INFINITY, f64::min),
        heights().fold(f64::NEG_INFINITY, f64::max),
    );
    let steps = STEPS / (high - low);
    let positions: Vec<i32> = positions
        .iter()
        .flat_map(|&[x, y, z]| [x, y - low, z].map(|part| (part * steps).round() as i32))
        .collect();

    // The lists would take a line for each number; they are put into the rest, which is printed to be read.
    let rest = serde_json::to_string_pretty(&studio())?;
    let file = rest
        .replace(
            "\"positions\": []",
            &format!("\"positions\": {}", serde_json::to_string(&positions)?),
        )
        .replace(
            "\"triangles\": []",
            &format!(
                "\"triangles\": {}",
                serde_json::to_string(&triangles.concat())?
            ),
        );
    Scene::parse(file.as_bytes())?;
    println!("{file}");
    Ok(())
}

/// One exported list of the package's only file, which assigns two of them.
fn export<T: serde::de::DeserializeOwned>(
    source: &str,
    name: &str,
) -> Result<Vec<T>, Box<dyn Error>> {
    let missing = || format!("the file assigns no list to {name:?}");
    let (_, list) = source
        .split_once(&format!("exports.{name}="))
        .ok_or_else(missing)?;
    let end = list.find("]]").ok_or_else(missing)? + 2;
    Ok(serde_json::from_str(&list[..end])?)
}

fn studio() -> Scene {
    Scene {
        about: ABOUT.to_owned(),
        camera: Camera {
            from: [0.0, 1.35, 5.4],
            to: [0.0, 0.47, 0.0],
            field_of_view: 14.5,
            lens_radius: 0.03,
        },
        exposure: 1.0,
        ambient: [0.05, 0.06, 0.075],
        lamps: vec![
            // A soft one from the left, and a tall one from behind that draws a warm edge.
            Lamp {
                at: [-2.0, 2.6, 1.9],
                towards: [0.0, 0.4, 0.0],
                size: [1.3, 1.3],
                radiance: [15.0, 14.0, 12.4],
            },
            Lamp {
                at: [2.2, 1.6, -1.2],
                towards: [0.0, 0.55, 0.0],
                size: [0.5, 1.6],
                radiance: [16.0, 11.5, 7.5],
            },
        ],
        stage: Stage {
            colour: [0.68, 0.23, 0.14],
            depth: 1.8,
            bend: 2.0,
        },
        figure: Figure {
            start: 35.0,
            turn: 6.0,
            subdivisions: 2,
            glaze: Glaze {
                colour: [0.17, 0.49, 0.43],
                crease: [0.01, 0.11, 0.14],
                edge: [0.80, 0.84, 0.74],
                roughness: 0.12,
            },
            step: (1.0 / STEPS) as f32,
            positions: Vec::new(),
            triangles: Vec::new(),
        },
    }
}
