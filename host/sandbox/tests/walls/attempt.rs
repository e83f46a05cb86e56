//! What a confined child tries.

use std::ffi::{CString, c_void};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sovr_sandbox::{Entered, enter, frame};

pub(crate) const FRAME_MAX: usize = 64 * 1024;

/// Exit code of a child that could not be confined.
pub(crate) const REFUSED: i32 = 3;

/// Exit code of a child that was given nothing to try.
pub(crate) const NOTHING_TO_DO: i32 = 4;

/// A number that depends on the attempt, or what the kernel answered.
pub(crate) type Answer = Result<u64, i32>;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Attempt {
    CountEnvironment,
    CountDescriptors,
    /// Sizes of the given files, each in one byte of the answer.
    MeasureGivenFiles,
    ReadGivenFile,
    ReopenGivenFile {
        write: bool,
    },
    GrowGivenFile,
    DuplicateWithoutEnd,
    Read(PathBuf),
    List(PathBuf),
    Write(PathBuf),
    Truncate(PathBuf),
    Remove(PathBuf),
    MakeDirectory(PathBuf),
    RemoveDirectory(PathBuf),
    Rename(PathBuf, PathBuf),
    HardLink(PathBuf, PathBuf),
    SymbolicLink(PathBuf, PathBuf),
    Fifo(PathBuf),
    Socket {
        family: i32,
    },
    SocketPair {
        kind: i32,
    },
    Fork,
    Clone {
        flags: u64,
    },
    Execute,
    TraceParent,
    SignalParent,
    RaiseLimit,
    StartThread,
    Map {
        protection: i32,
        flags: i32,
        size: u64,
    },
    Protect {
        protection: i32,
    },
    MemoryFile,
    Spin,
    Sleep,
    Complain {
        bytes: usize,
    },
    SendRaw(Vec<u8>),
}

pub(crate) fn child() -> ExitCode {
    let Entered {
        mut channel, files, ..
    } = match enter() {
        Ok(entered) => entered,
        Err(error) => {
            eprintln!("{error}");
            return exit_code(REFUSED);
        }
    };
    let Some(attempt) = frame::read::<Attempt>(&mut channel, FRAME_MAX).unwrap() else {
        return exit_code(NOTHING_TO_DO);
    };
    if let Attempt::SendRaw(bytes) = attempt {
        channel.write_all(&bytes).unwrap();
        return ExitCode::SUCCESS;
    }
    let answer: Answer = attempt
        .make(&files)
        .map_err(|error| error.raw_os_error().unwrap_or(-1));
    frame::write(&mut channel, &answer, FRAME_MAX).unwrap();
    ExitCode::SUCCESS
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap())
}

fn done(result: io::Result<()>) -> io::Result<u64> {
    result.map(|()| 0)
}

fn called(result: i64) -> io::Result<u64> {
    u64::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

impl Attempt {
    fn make(self, files: &[File]) -> io::Result<u64> {
        match self {
            Attempt::CountEnvironment => Ok(std::env::vars_os().count() as u64),
            Attempt::CountDescriptors => {
                // SAFETY: only asks for flags.
                let open = |fd: i32| unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0;
                Ok((0..1024).filter(|fd| open(*fd)).count() as u64)
            }
            Attempt::MeasureGivenFiles => files
                .iter()
                .try_fold(0, |sum, file| Ok(sum << 8 | file.metadata()?.len())),
            Attempt::ReadGivenFile => {
                let mut content = Vec::new();
                (&files[0]).read_to_end(&mut content)?;
                Ok(content.len() as u64)
            }
            Attempt::ReopenGivenFile { write } => {
                let path = format!("/proc/self/fd/{}", files[0].as_raw_fd());
                let mut content = Vec::new();
                OpenOptions::new()
                    .read(!write)
                    .write(write)
                    .open(path)?
                    .read_to_end(&mut content)?;
                Ok(content.len() as u64)
            }
            Attempt::GrowGivenFile => loop {
                (&files[0]).write_all(&[0; 10_000])?;
            },
            Attempt::DuplicateWithoutEnd => {
                let mut copies = Vec::new();
                loop {
                    match files[0].try_clone() {
                        Ok(copy) => copies.push(copy),
                        Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {
                            return Ok(copies.len() as u64);
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            Attempt::Read(path) => fs::read(path).map(|_| 0),
            Attempt::List(path) => fs::read_dir(path).map(|_| 0),
            Attempt::Write(path) => done(fs::write(path, "x")),
            Attempt::Truncate(path) => {
                // SAFETY: the path ends with a zero byte.
                match unsafe { libc::truncate(c_path(&path).as_ptr(), 0) } {
                    0 => Ok(0),
                    // The call by path is not on the list; through a descriptor it needs the right to write.
                    _ => done(OpenOptions::new().write(true).open(path)?.set_len(0)),
                }
            }
            Attempt::Remove(path) => done(fs::remove_file(path)),
            Attempt::MakeDirectory(path) => done(fs::create_dir(path)),
            Attempt::RemoveDirectory(path) => done(fs::remove_dir(path)),
            Attempt::Rename(from, to) => done(fs::rename(from, to)),
            Attempt::HardLink(from, to) => done(fs::hard_link(from, to)),
            Attempt::SymbolicLink(to, at) => done(std::os::unix::fs::symlink(to, at)),
            // SAFETY: the path ends with a zero byte.
            Attempt::Fifo(path) => called(i64::from(unsafe {
                libc::mkfifo(c_path(&path).as_ptr(), 0o600)
            })),
            // SAFETY: numbers only.
            Attempt::Socket { family } => called(i64::from(unsafe {
                libc::socket(family, libc::SOCK_DGRAM, 0)
            })),
            Attempt::SocketPair { kind } => {
                let mut pair = [0; 2];
                // SAFETY: the array has room for two descriptors.
                called(i64::from(unsafe {
                    libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr())
                }))
            }
            // SAFETY: a child that came to be would answer like this process and end, which fails the test.
            Attempt::Fork => called(i64::from(unsafe { libc::fork() })),
            Attempt::Clone { flags } => {
                // SAFETY: as for `fork`: no stack is given, so a child would go on with a copy of this one.
                called(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })
            }
            Attempt::Execute => Err(std::os::unix::process::CommandExt::exec(
                &mut std::process::Command::new("/bin/true"),
            )),
            Attempt::TraceParent => {
                // SAFETY: attaching touches no memory of this process.
                called(unsafe { libc::ptrace(libc::PTRACE_SEIZE, libc::getppid(), 0, 0) })
            }
            // SAFETY: signal 0 only asks whether one could be sent.
            Attempt::SignalParent => called(i64::from(unsafe { libc::kill(libc::getppid(), 0) })),
            Attempt::RaiseLimit => {
                let limit = libc::rlimit {
                    rlim_cur: 1 << 40,
                    rlim_max: 1 << 40,
                };
                // SAFETY: the limit lives until the call returns.
                called(i64::from(unsafe {
                    libc::setrlimit(libc::RLIMIT_FSIZE, &limit)
                }))
            }
            Attempt::StartThread => std::thread::Builder::new().spawn(|| ()).map(|thread| {
                thread.join().unwrap();
                0
            }),
            Attempt::Map {
                protection,
                flags,
                size,
            } => map(protection, flags, usize::try_from(size).unwrap()).map(|_| 0),
            Attempt::Protect { protection } => {
                let page = map(libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE, 4096)?;
                // SAFETY: the page was just mapped and nothing lies in it.
                called(i64::from(unsafe { libc::mprotect(page, 4096, protection) }))
            }
            // SAFETY: the name ends with a zero byte.
            Attempt::MemoryFile => called(i64::from(unsafe {
                libc::memfd_create(c"memory".as_ptr(), 0)
            })),
            Attempt::Spin => loop {
                std::hint::spin_loop();
            },
            Attempt::Sleep => {
                std::thread::sleep(Duration::from_secs(3600));
                Ok(0)
            }
            Attempt::Complain { bytes } => {
                let mut stderr = io::stderr();
                stderr.write_all(b"first of all")?;
                let mut left = bytes;
                while left > 0 {
                    left = left.saturating_sub(4096);
                    // Fails when nobody reads; that is the point.
                    drop(stderr.write(&[b'.'; 4096]));
                }
                Ok(0)
            }
            Attempt::SendRaw(_) => unreachable!("sent before"),
        }
    }
}

fn map(protection: i32, flags: i32, size: usize) -> io::Result<*mut c_void> {
    // SAFETY: a new anonymous mapping at a place of the kernel's choice.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size,
            protection,
            flags | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        Err(io::Error::last_os_error())
    } else {
        Ok(address)
    }
}
