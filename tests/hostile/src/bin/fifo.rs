//! Opens a named pipe that a test has put into the tree, and waits in the host for somebody who writes to it.

fn main() {
    let path = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "/payload/pipe".to_owned());
    println!("opening {path}");
    hostile::report(format!("read {path}"), std::fs::read(&path));
}
