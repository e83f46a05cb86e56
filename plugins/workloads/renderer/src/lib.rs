//! A path tracer for one studio shot: a glazed figure on a curved backdrop, lit by rectangular lamps.
//!
//! It exists so that a pod has real work to hand out: a scene file that every worker gets once, a few parameters per
//! frame, seconds of computing, and a picture to look at. Compiled to WebAssembly it is the render pod's package;
//! compiled for the machine it is the yardstick of benches and the source of reference pictures.
//!
//! A frame depends on its scene and parameters alone. Only `f32` arithmetic that IEEE 754 fixes to the last bit is
//! used, with sines and powers from portable code, so native and sandboxed frames are the same picture.

pub mod bvh;
mod denoise;
mod film;
mod frame;
mod material;
pub mod math;
pub mod mesh;
pub mod params;
mod path;
pub mod sampling;
pub mod scene;
mod world;

pub use frame::{RenderError, render};
pub use params::Params;
pub use scene::Scene;
