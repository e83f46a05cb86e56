//! Lets the host do it: names files out of the tree in calls that the host carries out with its own rights.
//! Arguments are further files to have copied, by the host's absolute path.

use hostile::{preopened, report};
use sovr::transfer::{Place, copy};

const UP: &str = "../../../../../../../../../../../..";

fn main() {
    std::fs::write("/output/mine", "evil").expect("/output is writable");
    for source in sources() {
        attempt(&source, "output/loot");
    }
    for destination in [
        "recipe.json",
        "payload/new",
        "script/new.wasm",
        "output/../recipe.json",
        "output/../../escaped",
        "/var/tmp/escaped",
        "output",
        "output/mine/below-a-file",
    ] {
        attempt("output/mine", destination);
    }
}

/// Files that are no business of a pod's: beside it, above it, and behind links of its own making.
fn sources() -> Vec<String> {
    let mut targets = vec!["/etc/passwd".to_owned()];
    targets.extend(std::env::args().skip(1));
    let mut sources: Vec<String> = [
        "recipe.json",
        "/recipe.json",
        "payload/../recipe.json",
        "output",
        "",
        ".",
    ]
    .map(str::to_owned)
    .into();
    for (number, target) in targets.iter().enumerate() {
        sources.extend([
            target.clone(),
            format!("payload/{UP}{target}"),
            format!("{UP}{target}"),
        ]);
        let link = format!("link{number}");
        if preopened("/output")
            .symlink_at(&format!("{UP}{target}"), &link)
            .is_ok()
        {
            sources.push(format!("output/{link}"));
        }
    }
    sources
}

fn attempt(source: &str, destination: &str) {
    let copied = copy(&Place::workspace(source), &Place::workspace(destination));
    report(format!("have {source:?} copied to {destination:?}"), copied);
}
