//! Writes to a file until it gets no more or has written as much as an argument says, in MiB; to several files in
//! turn if a second argument says so.

use std::fs::File;
use std::io::Write as _;

const MIB: usize = 1 << 20;

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .map(|argument| argument.parse().expect("a number"));
    let enough: usize = arguments.next().unwrap_or(16 * 1024);
    let count: usize = arguments.next().unwrap_or(1);

    let block = vec![b'x'; MIB];
    let mut files: Vec<File> = (0..count)
        .map(|number| {
            File::create(format!("/output/growing{number}")).expect("/output is writable")
        })
        .collect();
    for written in 0..enough {
        if let Err(error) = files[written % count].write_all(&block) {
            println!("held: after {written} MiB: {error}");
            return;
        }
    }
    println!("EVIL: wrote {enough} MiB");
}
