//! Takes the exit status of killed children nobody waits for, so that they do not stay behind as zombies.
//!
//! On a thread of its own, because a process that is killed while the kernel works for it ends only when that work
//! does, and nobody should wait for it in a destructor.

use std::process::Child;
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Waits for a child that was killed.
pub(crate) fn reap(mut child: Child) {
    static REAPER: Mutex<Option<Sender<Child>>> = Mutex::new(None);
    // Mostly it is gone already.
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    let mut reaper = REAPER.lock().unwrap_or_else(PoisonError::into_inner);
    if reaper.is_none() {
        *reaper = start();
    }
    // Without the thread the zombie stays until the program ends, which is all that is lost.
    if let Some(sender) = &*reaper {
        drop(sender.send(child));
    }
}

fn start() -> Option<Sender<Child>> {
    let (sender, children) = mpsc::channel::<Child>();
    thread::Builder::new()
        .name("child-reaper".into())
        .spawn(move || {
            for mut child in children {
                drop(child.wait());
            }
        })
        .ok()?;
    Some(sender)
}
