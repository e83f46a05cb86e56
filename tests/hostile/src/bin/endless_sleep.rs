//! Never ends, waiting in the host all the time: what stops a loop in the guest does not reach it there.

use std::thread::sleep;
use std::time::Duration;

fn main() {
    println!("sleeping");
    loop {
        sleep(Duration::from_secs(1 << 30));
    }
}
