//! Prints without end, with sequences that drive a terminal. The argument says where: `stdout`, `stderr` or `log`.

use std::io::Write;

const ESCAPES: &str = "\x1b[2J\x1b]0;EVIL\x07\u{202e}\u{200b}\x08\r";

fn main() {
    let line = format!("{ESCAPES}{}\n", "flood ".repeat(100));
    match std::env::args().nth(1).as_deref() {
        Some("log") => loop {
            sovr::info!(field = ESCAPES; "{line}");
        },
        Some("stderr") => flood(std::io::stderr(), &line),
        _ => flood(std::io::stdout(), &line),
    }
}

fn flood(mut stream: impl Write, line: &str) {
    while stream.write_all(line.as_bytes()).is_ok() {}
}
