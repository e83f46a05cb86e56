//! A pod of a task that wants the pods after it to work on something else than their users think, or that fails where
//! it hurts. Its arguments are instructions, carried out in order: `write PATH TEXT`, `list`, `show PATH`,
//! `link TARGET NAME` (in the output), `fail`.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use hostile::{preopened, report};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    while let Some(instruction) = words.next() {
        let mut word = || words.next().expect("the instruction has all its words");
        match instruction.as_str() {
            "write" => {
                let (path, text) = (word(), word());
                if let Some(parent) = Path::new(&path).parent() {
                    fs::create_dir_all(parent).expect("the output is writable");
                }
                fs::write(&path, text).expect("the output is writable");
            }
            "list" => list(Path::new("payload/external")),
            "show" => {
                let path = word();
                let text = fs::read_to_string(&path);
                println!("{path}: {}", text.unwrap_or_else(|error| error.to_string()));
            }
            "link" => {
                let (target, name) = (word(), word());
                let linked = preopened("/output").symlink_at(&target, &name);
                report(format!("link output/{name} to {target}"), linked);
            }
            "fail" => return ExitCode::FAILURE,
            other => panic!("there is no instruction {other:?}"),
        }
    }
    ExitCode::SUCCESS
}

fn list(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            list(&path);
        } else {
            let text = fs::read_to_string(&path).unwrap_or_default();
            println!("{}: {text}", path.display());
        }
    }
}
