//! Somebody at a terminal who reads and types.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::ptr::{null, null_mut};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::place::Place;

/// Longer than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A person at a terminal.
pub(crate) struct Person {
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
    child: Child,
}

impl Person {
    /// Starts the program with standard input and standard error on a terminal.
    pub(crate) fn at(place: &Place, words: &[&str]) -> Person {
        Person::at_command(&mut place.command(words))
    }

    pub(crate) fn at_command(command: &mut Command) -> Person {
        let (controller, terminal) = pseudoterminal();
        let child = command
            .env("TERM", "xterm")
            .stdin(terminal.try_clone().unwrap())
            .stderr(terminal)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let keyboard = controller;
        let mut eyes = keyboard.try_clone().unwrap();
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            // Reading fails once the program has ended and the terminal is closed.
            while let Ok(read) = eyes.read(&mut chunk) {
                if read == 0 || sender.send(chunk[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        Person {
            keyboard,
            screen,
            seen: String::new(),
            child,
        }
    }

    pub(crate) fn wait_for(&mut self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen.contains(words) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(chunk) = self.screen.recv_timeout(left) else {
                panic!("`{words}` did not appear; seen: {}", self.seen);
            };
            self.seen.push_str(&String::from_utf8_lossy(&chunk));
        }
    }

    /// Waits for a question and answers it.
    pub(crate) fn answers(&mut self, question: &str, answer: &str) {
        self.wait_for(question);
        // The question may come again.
        self.seen.clear();
        self.types(&format!("{answer}\n"));
    }

    pub(crate) fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Whether the terminal shows what is typed.
    pub(crate) fn sees_what_is_typed(&self) -> bool {
        let settings = rustix::termios::tcgetattr(&self.keyboard).unwrap();
        settings
            .local_modes
            .contains(rustix::termios::LocalModes::ECHO)
    }

    /// The exit code, what was on the screen, and standard output.
    pub(crate) fn leaves(mut self) -> (Option<i32>, String, String) {
        let mut stdout = self.child.stdout.take().unwrap();
        let stdout = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text)
        });
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            while let Ok(chunk) = self.screen.recv_timeout(Duration::from_millis(50)) {
                self.seen.push_str(&String::from_utf8_lossy(&chunk));
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "does not end; seen: {}",
                self.seen
            );
        };
        (
            status.code(),
            std::mem::take(&mut self.seen),
            stdout.join().unwrap().unwrap(),
        )
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        // It has ended, unless a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The two ends of a terminal: the person's and the program's.
fn pseudoterminal() -> (File, File) {
    let (mut controller, mut terminal) = (-1, -1);
    // SAFETY: both are places for a descriptor; name, settings and size are left out, which null says.
    let failed =
        unsafe { libc::openpty(&mut controller, &mut terminal, null_mut(), null(), null()) };
    assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the call has just made both descriptors, and nobody else owns them.
    unsafe {
        (
            File::from(OwnedFd::from_raw_fd(controller)),
            File::from(OwnedFd::from_raw_fd(terminal)),
        )
    }
}
