//! What the pod `render` is to have made in the end.

use picture::{Image, Tile, contact_sheet};

use crate::paths;
use crate::pod::Pod;

/// Small pictures, as the references are: the same work in less time.
pub const SMALL: [&str; 6] = ["--width", "96", "--height", "72", "--samples", "16"];
/// The frames that its recipe asks for.
pub const FRAMES: [u32; 6] = [0, 10, 20, 30, 40, 50];

/// All frames are there, in `output/`.
#[track_caller]
pub fn expect_frames(pod: &Pod) {
    for frame in FRAMES {
        expect_frame(pod, frame);
    }
}

/// A frame is there, and is the picture it should be.
#[track_caller]
pub fn expect_frame(pod: &Pod, frame: u32) {
    expect_picture(frame, &load(pod, &name(frame)));
}

/// This is the frame. Providers on other machines may round the last bit of a function of theirs differently, which
/// turns single paths of light; so single pixels may be off, and the whole may not.
#[track_caller]
pub fn expect_picture(frame: u32, rendered: &Image) {
    /// Mean difference of a channel that no eye sees, in steps of 255.
    const TOLERANCE: f64 = 1.0;
    let name = name(frame);
    let reference = Image::load(&paths::reference(&name)).unwrap();
    let size = |image: &Image| (image.width(), image.height());
    assert_eq!(size(rendered), size(&reference), "{name}");
    let difference: u64 = std::iter::zip(rendered.rgb(), reference.rgb())
        .map(|(a, b)| u64::from(a.abs_diff(*b)))
        .sum();
    let mean = difference as f64 / reference.rgb().len() as f64;
    assert!(
        mean <= TOLERANCE,
        "{name} differs from its reference by {mean:.2} on average"
    );
}

/// The contact sheet is the one that these frames make, each with its number.
#[track_caller]
pub fn expect_contact_sheet(pod: &Pod) {
    let frames: Vec<(Image, String)> = FRAMES
        .iter()
        .map(|frame| (load(pod, &name(*frame)), frame.to_string()))
        .collect();
    let tiles: Vec<Tile<'_>> = frames
        .iter()
        .map(|(image, label)| Tile { image, label })
        .collect();
    assert!(
        load(pod, "contact-sheet.png") == contact_sheet(&tiles).unwrap(),
        "the contact sheet is another"
    );
}

fn name(frame: u32) -> String {
    format!("output_{frame}.png")
}

fn load(pod: &Pod, name: &str) -> Image {
    Image::load(&pod.join("output").join(name)).unwrap()
}
