//! Renders the frames of a scene on many providers and lays them out on a contact sheet.
//!
//! Each worker gets the scene once. Each frame sends a few parameters, runs the renderer and fetches one picture,
//! which is looked at before it is accepted: a provider that returns something else does not get away with it.

mod options;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use options::Options;
use picture::{Image, Tile, contact_sheet};
use serde::Serialize;
use sovr::{Bar, Executor, Outcome, Steps, Task};

const PACKAGE: &str = "renderer";
const PROGRAM: &str = "/golem/entrypoints/render";
const SCENE: (&str, &str) = ("payload/scene.json", "/golem/resource/scene.json");
const PARAMS: &str = "/golem/work/params.json";
const PICTURE: &str = "/golem/output/out0000.png";
const SHEET: &str = "output/contact-sheet.png";

/// About as large as a sheet may become; frames are shrunk to fit on it.
const SHEET_PIXELS: f64 = 16e6;

/// For the first frame of each worker.
const FIRST_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// For each further frame of [`USUAL_PATHS`] or fewer; larger ones get more in proportion.
const TIMEOUT: Duration = Duration::from_secs(60);
/// 400 by 300 pixels, 100 paths for each.
const USUAL_PATHS: f64 = 400.0 * 300.0 * 100.0;
/// Workers that are expected to start at the same time.
const WORKERS: usize = 3;

/// What the renderer reads.
#[derive(Serialize)]
struct Params {
    frame: u32,
    width: u32,
    height: u32,
    samples: u32,
}

fn main() -> ExitCode {
    sovr::main(|| match Options::parse(lexopt::Parser::from_env())? {
        Some(options) => run(&options),
        None => {
            print!("{}", options::USAGE);
            Ok(())
        }
    })
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let frames = &options.frames;
    remove_former(frames)?;
    let executor = Executor::builder(PACKAGE)
        .timeout(job_timeout(frames.len()))
        .open()?;
    executor.on_worker_start(Steps::new().send_file(SCENE.0, SCENE.1))?;
    let mut frame_of = BTreeMap::new();
    for (index, &frame) in frames.iter().enumerate() {
        let timeout = if index < WORKERS {
            FIRST_TIMEOUT
        } else {
            frame_timeout(options)
        };
        let task =
            Task::new(format!("frame {frame}"), frame_steps(options, frame)?).timeout(timeout);
        frame_of.insert(executor.submit(task)?, frame);
    }

    let bar = Bar::new("frames", Some(frames.len() as u64));
    let mut pictures = BTreeMap::new();
    let mut failed = 0;
    while let Some(outcome) = executor.next()? {
        let Some(&frame) = frame_of.get(&outcome.task) else {
            continue;
        };
        let provider = outcome.provider_name();
        if let Err(failure) = &outcome.results {
            sovr::error!(frame = frame, provider = provider; "frame {frame} is missing: {failure}");
            failed += 1;
            bar.advance(1);
            continue;
        }
        match examine(options, frame) {
            Ok(picture) => {
                executor.accept(&outcome)?;
                report(&bar, frame, &outcome);
                pictures.insert(frame, picture.shrunk(shrinking(options)));
                bar.advance(1);
            }
            Err(reason) => {
                sovr::warn!(frame = frame, provider = provider; "frame {frame} from {provider} is refused: {reason}");
                executor.retry(&outcome, &reason.to_string())?;
            }
        }
    }
    executor.close()?;

    if failed > 0 {
        return Err(format!("{failed} of {} frames are missing", frames.len()).into());
    }
    bar.finish();
    save_sheet(&pictures)?;
    println!(
        "{} frames in output/, all of them on {SHEET}",
        pictures.len()
    );
    Ok(())
}

/// Removes what an earlier run left, so that nothing old stands among the new when frames are missing in the end.
fn remove_former(frames: &[u32]) -> Result<(), Box<dyn Error>> {
    for path in frames
        .iter()
        .copied()
        .map(output_of)
        .chain([SHEET.to_owned()])
    {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(format!("cannot remove the former {path}: {error}").into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Three minutes and two for each frame, but not less than six nor more than thirty.
fn job_timeout(frames: usize) -> Duration {
    Duration::from_secs(60 * (3 + 2 * frames as u64).clamp(6, 30))
}

fn frame_timeout(options: &Options) -> Duration {
    let share = (options.paths() / USUAL_PATHS).max(1.0);
    TIMEOUT.mul_f64(share).min(FIRST_TIMEOUT)
}

fn frame_steps(options: &Options, frame: u32) -> Result<Steps, Box<dyn Error>> {
    let params = Params {
        frame,
        width: options.width,
        height: options.height,
        samples: options.samples,
    };
    Ok(Steps::new()
        .send_json(PARAMS, &params)?
        .run(PROGRAM, &[])
        .download_file(PICTURE, output_of(frame)))
}

fn output_of(frame: u32) -> String {
    format!("output/output_{frame}.png")
}

/// Reads a frame back and answers it when it is a picture of the size that was asked for.
fn examine(options: &Options, frame: u32) -> Result<Image, Box<dyn Error>> {
    let picture = Image::load(Path::new(&output_of(frame)))?;
    if (picture.width(), picture.height()) == (options.width, options.height) {
        Ok(picture)
    } else {
        let (width, height) = (picture.width(), picture.height());
        Err(format!(
            "it is {width} x {height} pixels instead of {} x {}",
            options.width, options.height
        )
        .into())
    }
}

fn report(bar: &Bar, frame: u32, outcome: &Outcome) {
    let (provider, seconds) = (outcome.provider_name(), outcome.running_time.as_secs_f64());
    sovr::info!(frame = frame, provider = provider, seconds = seconds, cost = outcome.cost;
        "frame {frame} from {provider}");
    bar.message(&format!("frame {frame} from {provider}, {seconds:.1} s"));
}

/// By how much a frame is shrunk for the sheet.
fn shrinking(options: &Options) -> u32 {
    let pixels = f64::from(options.width) * f64::from(options.height) * options.frames.len() as f64;
    (pixels / SHEET_PIXELS).sqrt().ceil() as u32
}

fn save_sheet(pictures: &BTreeMap<u32, Image>) -> Result<(), Box<dyn Error>> {
    let labels: Vec<String> = pictures.keys().map(u32::to_string).collect();
    let tiles: Vec<Tile<'_>> = pictures
        .values()
        .zip(&labels)
        .map(|(image, label)| Tile { image, label })
        .collect();
    Ok(contact_sheet(&tiles)?.save(Path::new(SHEET))?)
}
