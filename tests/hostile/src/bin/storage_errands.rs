//! Works on storage pods, its own and those that it was not given. Its arguments are instructions, carried out in order;
//! each prints a line with what came of it, which for a test to judge.
//!
//! `pods`, `make POD`, `directory POD PATH`, `write POD PATH TEXT`, `read POD PATH`, `list POD PATH`,
//! `remove POD PATH`, `share POD`, `receive REFERENCE` (whose name then stands for `received`),
//! `store FILE POD PATH`, `fetch POD PATH FILE`.

use sovr::Error;
use sovr::dfs::{self, Entry, Kind, StoragePod};
use sovr::transfer::{Place, copy};

/// What a script reads at once.
const MOST: u64 = 1 << 20;
const RECEIVED: &str = "received";

fn main() {
    let mut received = String::new();
    let mut words = std::env::args().skip(1);
    while let Some(instruction) = words.next() {
        match carry_out(&instruction, &mut words, &mut received) {
            Ok(told) => println!("{instruction}: {told}"),
            Err(error) => println!("{instruction}: held: {error}"),
        }
    }
}

fn carry_out(
    instruction: &str,
    words: &mut impl Iterator<Item = String>,
    received: &mut String,
) -> Result<String, Error> {
    let mut word = || words.next().expect("the instruction has all its words");
    let named = |name: String| match name.as_str() {
        RECEIVED => received.clone(),
        _ => name,
    };
    match instruction {
        "pods" => {
            let pods = dfs::pods()?;
            return Ok(pods
                .iter()
                .map(StoragePod::name)
                .collect::<Vec<_>>()
                .join(" "));
        }
        "receive" => {
            let pod = dfs::receive(&word())?;
            *received = pod.name().to_owned();
            return Ok(String::new());
        }
        "store" => {
            let (file, pod, path) = (word(), word(), word());
            let receipt = copy(&Place::workspace(file), &Place::dfs(pod, path))?;
            return Ok(receipt.bytes.to_string());
        }
        _ => {}
    }
    let name = named(word());
    let pod = StoragePod::named(&name);
    let done = |()| "done".to_owned();
    match instruction {
        "make" => pod.create().map(done),
        "directory" => pod.make_directory(&word()).map(done),
        "write" => pod.write(&word(), word().as_bytes()).map(done),
        "read" => {
            let content = pod.read(&word(), MOST)?;
            Ok(String::from_utf8_lossy(&content).into_owned())
        }
        "list" => {
            let entries = pod.list(&word())?;
            Ok(entries.iter().map(shown).collect::<Vec<_>>().join(" "))
        }
        "remove" => pod.remove(&word()).map(done),
        "share" => pod.share(),
        "fetch" => {
            let (path, file) = (word(), word());
            let receipt = copy(&Place::dfs(name, path), &Place::workspace(file))?;
            Ok(receipt.bytes.to_string())
        }
        other => panic!("there is no instruction {other:?}"),
    }
}

fn shown(entry: &Entry) -> String {
    match entry.kind {
        Kind::File => format!("{}={}", entry.name, entry.size),
        Kind::Directory => format!("{}/", entry.name),
    }
}
