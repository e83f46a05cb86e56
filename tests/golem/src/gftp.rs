//! What stands in for the program `gftp`, through which yapapi moves files: `gftp server`, which answers JSON-RPC on its
//! standard input and output, a line each.
//!
//! The test program itself is started again under that name, so nothing more must be built. Files lie where yapapi says
//! and are served on the bus that `GSB_URL` names.

use std::fs::{self, File};
use std::io::{self, BufRead, Write};
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};
use sha3::Sha3_256;

use crate::files::{Served, hash_of};

const NAME: &str = "gftp";
const BUS: &str = "GSB_URL";
/// From this version of the original on, yapapi takes its files back by `close`.
const VERSION: &str = "0.7.3 (a stand-in for tests)";
/// Longest line that is read. A request has a few paths.
const LONGEST: u64 = 1024 * 1024;
/// Bytes of a name at which a file is received.
const RANDOM: usize = 32;
const METHOD_NOT_FOUND: i32 = -32601;
const FAILED: i32 = -32000;

/// Whether this program was started as `gftp`.
pub(crate) fn is_wanted() -> bool {
    let name = std::env::args_os().next();
    name.is_some_and(|name| Path::new(&name).file_name() == Some(NAME.as_ref()))
}

/// Makes `gftp` in a directory that somebody then has in the search path.
pub(crate) fn install(directory: &Path) -> io::Result<()> {
    symlink(std::env::current_exe()?, directory.join(NAME))
}

/// Serves until there is nothing more to read, or it is told to end.
pub(crate) fn serve() -> io::Result<()> {
    let url = std::env::var(BUS).map_err(io::Error::other)?;
    let served = Served::open(&url)?;
    let (input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut input = io::Read::take(input, LONGEST);
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        let request: Value = serde_json::from_str(&line)?;
        let method = request["method"].as_str().unwrap_or_default();
        let mut answer = json!({ "jsonrpc": "2.0", "id": request["id"] });
        match answer_to(method, &request["params"], &served) {
            Ok(Some(result)) => answer["result"] = result,
            Ok(None) => {
                answer["error"] = json!({ "code": METHOD_NOT_FOUND, "message": "no such method" });
            }
            Err(error) => {
                answer["error"] = json!({ "code": FAILED, "message": error.to_string() });
            }
        }
        writeln!(output, "{answer}")?;
        output.flush()?;
        if method == "shutdown" {
            break;
        }
        line.clear();
        input.set_limit(LONGEST);
    }
    Ok(())
}

/// Nothing for a method that is unknown.
fn answer_to(method: &str, params: &Value, served: &Served) -> io::Result<Option<Value>> {
    let texts = |key: &str| params[key].as_array().into_iter().flatten();
    let result = match method {
        "version" => json!(VERSION),
        "publish" => texts("files")
            .map(|file| publish(file, served))
            .collect::<io::Result<_>>()?,
        "receive" => receive(&params["output_file"], served)?,
        "close" => texts("urls")
            .map(|url| close(url, served))
            .collect::<io::Result<_>>()?,
        "shutdown" => json!("ok"),
        _ => return Ok(None),
    };
    Ok(Some(result))
}

/// A file that is there has its hash for a name, by which whoever fetches it can see that it has arrived whole.
fn publish(file: &Value, served: &Served) -> io::Result<Value> {
    let path = Path::new(text(file)?);
    let url = served.add(&hash_of::<Sha3_256>(path)?, path)?;
    Ok(json!({ "file": file, "url": url }))
}

fn receive(file: &Value, served: &Served) -> io::Result<Value> {
    let path = Path::new(text(file)?);
    File::create(path)?;
    let mut name = [0; RANDOM];
    getrandom::fill(&mut name).map_err(io::Error::other)?;
    // One digit more than a hash has, as the original's names have.
    let url = served.add(&format!("r{}", hex::encode(name)), &fs::canonicalize(path)?)?;
    Ok(json!({ "file": file, "url": url }))
}

fn close(url: &Value, served: &Served) -> io::Result<Value> {
    let was_there = served.remove(text(url)?)?;
    Ok(json!(if was_there { "ok" } else { "error" }))
}

fn text(value: &Value) -> io::Result<&str> {
    let text = value.as_str();
    text.ok_or_else(|| io::Error::other(format!("{value} is no text")))
}
