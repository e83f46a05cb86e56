//! Lays out the pictures that another pod made on one sheet.
//!
//! The pictures are those beneath `payload/external`: the output of a pod that shares it, named in the recipe by its
//! reference, or of the pod before this one in a task. The sheet itself goes to the output, so a further pod can use it.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use picture::{Image, Tile, contact_sheet};

const PICTURES: &str = "payload/external";
const SHEET: &str = "output/contact-sheet.png";

/// Sheets of pods before this one are no pictures of theirs.
const SHEETS: &str = "contact-sheet.png";

/// About as large as a sheet may become; pictures are shrunk to fit on it.
const SHEET_PIXELS: f64 = 16e6;

fn main() -> ExitCode {
    sovr::main(run)
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut paths = Vec::new();
    collect(Path::new(PICTURES), &mut paths)?;
    paths.sort_by_key(|path| (number(path), path.clone()));
    let mut pictures = Vec::new();
    for path in &paths {
        let picture = Image::load(path).map_err(|error| format!("{}: {error}", path.display()))?;
        pictures.push((label(path), picture));
    }
    if pictures.is_empty() {
        return Err(format!("there is no picture beneath {PICTURES}").into());
    }
    let pixels: f64 = pictures
        .iter()
        .map(|(_, picture)| f64::from(picture.width()) * f64::from(picture.height()))
        .sum();
    let factor = (pixels / SHEET_PIXELS).sqrt().ceil().max(1.0) as u32;
    for (_, picture) in &mut pictures {
        *picture = picture.shrunk(factor);
    }
    let tiles: Vec<Tile<'_>> = pictures
        .iter()
        .map(|(label, image)| Tile { image, label })
        .collect();
    contact_sheet(&tiles)?.save(Path::new(SHEET))?;
    println!("{} pictures on {SHEET}", tiles.len());
    Ok(())
}

/// All pictures beneath a directory.
fn collect(directory: &Path, paths: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    let entries = fs::read_dir(directory)
        .map_err(|error| format!("cannot list {}: {error}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            collect(&path, paths)?;
        } else if path.extension().is_some_and(|end| end == "png") && !path.ends_with(SHEETS) {
            paths.push(path);
        }
    }
    Ok(())
}

/// The last number in a file's name, by which frames follow each other.
fn number(path: &Path) -> Option<u64> {
    label(path).parse().ok()
}

/// The last number in a file's name as it stands there; empty if there is none.
fn label(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let end = stem.trim_end_matches(|c: char| !c.is_ascii_digit());
    let begin = end.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    end[begin..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_follow_each_other_by_the_number_in_their_names() {
        for (name, expected) in [
            ("payload/external/output_50.png", "50"),
            ("out0007.png", "0007"),
            ("7-left.png", "7"),
            ("portrait.png", ""),
        ] {
            assert_eq!(label(Path::new(name)), expected);
        }
        assert!(number(Path::new("f9.png")) < number(Path::new("f10.png")));
    }
}
