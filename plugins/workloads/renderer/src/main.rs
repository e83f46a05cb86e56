//! The program. Without options it is what a provider runs: scene, parameters and picture are at fixed places of the
//! package's mount points. With options it renders any scene to any file.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use lexopt::ValueExt as _;
use renderer::{Params, Scene, render};

const USAGE: &str = "\
renders one frame of a scene

usage: renderer [--scene FILE] [--output FILE] [--params FILE] [--frame N] [--width N] [--height N] [--samples N]

  --scene FILE    the scene [/golem/resource/scene.json]
  --params FILE   frame, width, height, samples and seed as JSON [/golem/work/params.json]; not read when one of
                  the options below is given
  --output FILE   the picture [/golem/output/out0000.png]
  --frame N       which frame of the turn [0]
  --width N       in pixels [480]
  --height N      in pixels [360]
  --samples N     paths for each pixel [64]
";

struct Options {
    scene: PathBuf,
    params: PathBuf,
    output: PathBuf,
    /// Parameters given on the command line; they stand in for the file.
    given: Option<Params>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let Some(options) = parse()? else {
        print!("{USAGE}");
        return Ok(());
    };
    let start = Instant::now();
    let scene = Scene::parse(&read(&options.scene)?)?;
    let params = match options.given {
        Some(params) => params,
        None => serde_json::from_slice(&read(&options.params)?).map_err(|error| {
            format!(
                "the parameter file {} is malformed: {error}",
                options.params.display()
            )
        })?,
    };
    render(&scene, &params)?.save(&options.output)?;
    println!(
        "frame {}: {} x {} pixels, {} samples, {:.1} s",
        params.frame,
        params.width,
        params.height,
        params.samples,
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn parse() -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options {
        scene: "/golem/resource/scene.json".into(),
        params: "/golem/work/params.json".into(),
        output: "/golem/output/out0000.png".into(),
        given: None,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        let lexopt::Arg::Long(name) = argument else {
            return Err(argument.unexpected());
        };
        let name = name.to_owned();
        match name.as_str() {
            "help" => return Ok(None),
            "scene" => options.scene = parser.value()?.into(),
            "params" => options.params = parser.value()?.into(),
            "output" => options.output = parser.value()?.into(),
            "frame" | "width" | "height" | "samples" => {
                let value = parser.value()?.parse()?;
                let params = options.given.get_or_insert_default();
                match name.as_str() {
                    "frame" => params.frame = value,
                    "width" => params.width = value,
                    "height" => params.height = value,
                    _ => params.samples = value,
                }
            }
            _ => return Err(lexopt::Arg::Long(&name).unexpected()),
        }
    }
    Ok(Some(options))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
