//! Each wall, tried from inside: this program starts itself as a confined child that attempts one thing and tells what
//! the kernel answered.

mod attempt;

use std::fs::{self, File};
use std::future::Future;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use sovr_sandbox::frame::{self, FrameError};
use sovr_sandbox::{Child, Confinement, ProcessLimits, Role, Strength, role, spawn, walls};

use attempt::{Answer, Attempt, FRAME_MAX};

/// First argument of the program in which it starts a child, tells its id and waits to be killed.
const PARENT: &str = "be-a-parent";

/// Long enough for a loaded machine; nothing waits for it when the walls hold.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    if role().is_some() {
        return attempt::child();
    }
    if std::env::args().nth(1).as_deref() == Some(PARENT) {
        return be_a_parent();
    }
    libtest_mimic::run(&Arguments::from_args(), trials()).exit_code()
}

fn trials() -> Vec<Trial> {
    let without_landlock = walls()
        .iter()
        .any(|wall| wall.name == "landlock" && wall.strength != Strength::Full);
    let mut trials = Vec::new();
    let mut landlocked = Vec::new();
    macro_rules! trial {
        ($list:ident: $($name:ident),* $(,)?) => {
            $($list.push(Trial::test(stringify!($name), || Ok::<(), Failed>($name())));)*
        };
    }
    trial!(trials:
        the_environment_is_empty,
        only_the_channel_and_the_given_files_are_open,
        given_files_arrive_in_order,
        no_network_socket_can_be_made,
        no_datagram_socket_pair_can_be_made,
        no_process_can_be_forked,
        no_program_can_be_executed,
        no_links_and_special_files_can_be_made,
        no_process_can_be_traced,
        no_signal_reaches_the_parent,
        limits_cannot_be_changed,
        threads_start_only_where_they_may,
        memory_is_never_writable_and_executable,
        memory_is_executable_only_where_guests_run,
        shared_memory_cannot_be_mapped,
        memory_ends_at_its_limit,
        address_space_ends_at_its_limit,
        a_growing_file_ends_at_its_limit,
        open_files_end_at_their_limit,
        processor_time_ends_at_its_limit,
        a_killed_child_is_gone_and_killing_again_does_nothing,
        a_dropped_child_is_killed_and_leaves_no_zombie,
        a_child_outlives_the_thread_that_asked_for_it,
        a_child_dies_with_its_parent,
        an_exit_status_is_seen_twice,
        the_first_complaints_are_kept_and_a_flood_blocks_nobody,
        an_oversized_frame_is_refused,
        a_malformed_frame_is_refused,
        a_torn_frame_is_refused,
        too_many_files_are_refused,
        a_confinement_that_cannot_be_kept_ends_the_child,
        a_child_without_a_parent_refuses,
    );
    trial!(landlocked:
        nothing_outside_the_named_directories_can_be_read,
        nothing_outside_the_named_directories_can_be_listed,
        a_readable_directory_cannot_be_changed,
        a_writable_directory_can_be_changed,
        nothing_moves_between_directories,
        a_symbolic_link_does_not_lead_out,
        a_given_file_can_be_opened_again_but_not_written,
        a_symbolic_link_is_no_directory_to_confine_to,
    );
    trials.extend(
        landlocked
            .into_iter()
            .map(|trial| trial.with_ignored_flag(without_landlock)),
    );
    trials
}

fn limits() -> ProcessLimits {
    ProcessLimits {
        data: 256 << 20,
        address_space: 64 << 30,
        file_size: 1 << 20,
        open_files: 64,
        threads: false,
        cpu: None,
    }
}

fn nothing() -> Confinement {
    Confinement {
        read: Vec::new(),
        write: Vec::new(),
        limits: limits(),
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            tokio::time::timeout(PATIENCE, future)
                .await
                .expect("it took too long")
        })
}

fn start(role: Role, confinement: &Confinement, files: Vec<OwnedFd>) -> Child {
    spawn(role, confinement, files).unwrap()
}

async fn ask(child: &mut Child, attempt: &Attempt) -> Answer {
    let mut channel = child.take_channel();
    frame::send(&mut channel, attempt, FRAME_MAX).await.unwrap();
    match frame::Reader::new(channel, FRAME_MAX).next().await {
        Ok(Some(answer)) => answer,
        other => panic!(
            "no answer: {other:?}; status {:?}; it said: {}",
            child.wait().await,
            child.diagnostics()
        ),
    }
}

fn attempt_with(
    role: Role,
    confinement: &Confinement,
    files: Vec<OwnedFd>,
    attempt: Attempt,
) -> Answer {
    run(async { ask(&mut start(role, confinement, files), &attempt).await })
}

fn attempt(attempt: Attempt) -> Answer {
    attempt_with(Role::Work, &nothing(), Vec::new(), attempt)
}

/// What the wall of system calls answers.
const NO_SUCH_CALL: Answer = Err(libc::ENOSYS);

fn the_environment_is_empty() {
    assert!(
        std::env::vars().count() > 0,
        "the parent's environment shows nothing"
    );
    assert_eq!(attempt(Attempt::CountEnvironment), Ok(0));
}

fn only_the_channel_and_the_given_files_are_open() {
    // A descriptor that would be inherited.
    let stray = File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&stray, rustix::io::FdFlags::empty()).unwrap();
    let file = || OwnedFd::from(File::open("/dev/null").unwrap());
    let standard = 3;
    let channel = 1;
    assert_eq!(attempt(Attempt::CountDescriptors), Ok(standard + channel));
    let two = attempt_with(
        Role::Work,
        &nothing(),
        vec![file(), file()],
        Attempt::CountDescriptors,
    );
    assert_eq!(two, Ok(standard + channel + 2));
    drop(stray);
}

fn given_files_arrive_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for content in ["a", "bb", "ccc"] {
        let path = directory.path().join(content);
        fs::write(&path, content).unwrap();
        files.push(OwnedFd::from(File::open(path).unwrap()));
    }
    assert_eq!(
        attempt_with(Role::Work, &nothing(), files, Attempt::MeasureGivenFiles),
        Ok(0x01_02_03)
    );
}

fn no_network_socket_can_be_made() {
    for family in [
        libc::AF_INET,
        libc::AF_INET6,
        libc::AF_UNIX,
        libc::AF_NETLINK,
        libc::AF_PACKET,
    ] {
        assert_eq!(
            attempt(Attempt::Socket { family }),
            NO_SUCH_CALL,
            "family {family}"
        );
    }
}

fn no_datagram_socket_pair_can_be_made() {
    assert_eq!(
        attempt(Attempt::SocketPair {
            kind: libc::SOCK_DGRAM
        }),
        NO_SUCH_CALL
    );
    assert_eq!(
        attempt(Attempt::SocketPair {
            kind: libc::SOCK_SEQPACKET
        }),
        NO_SUCH_CALL
    );
    // tokio's signal handling needs this one.
    assert_eq!(
        attempt(Attempt::SocketPair {
            kind: libc::SOCK_STREAM
        }),
        Ok(0)
    );
}

fn no_process_can_be_forked() {
    assert_eq!(attempt(Attempt::Fork), NO_SUCH_CALL);
    assert_eq!(
        attempt(Attempt::Clone {
            flags: libc::SIGCHLD as u64
        }),
        NO_SUCH_CALL
    );
    assert_eq!(
        attempt(Attempt::Clone {
            flags: (libc::CLONE_NEWUSER | libc::SIGCHLD) as u64
        }),
        NO_SUCH_CALL
    );
}

fn no_program_can_be_executed() {
    assert_eq!(attempt(Attempt::Execute), NO_SUCH_CALL);
}

fn no_process_can_be_traced() {
    assert_eq!(attempt(Attempt::TraceParent), NO_SUCH_CALL);
}

fn no_signal_reaches_the_parent() {
    assert_eq!(attempt(Attempt::SignalParent), NO_SUCH_CALL);
}

fn limits_cannot_be_changed() {
    assert_eq!(attempt(Attempt::RaiseLimit), NO_SUCH_CALL);
}

fn threads_start_only_where_they_may() {
    let mut with = nothing();
    with.limits.threads = true;
    assert_eq!(
        attempt_with(Role::Work, &with, Vec::new(), Attempt::StartThread),
        Ok(0)
    );
    assert!(attempt(Attempt::StartThread).is_err());
}

fn memory_is_never_writable_and_executable() {
    for role in [Role::Runner, Role::Compile] {
        let both = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let map = Attempt::Map {
            protection: both,
            flags: libc::MAP_PRIVATE,
            size: 4096,
        };
        assert_eq!(
            attempt_with(role, &nothing(), Vec::new(), map),
            NO_SUCH_CALL,
            "{role}"
        );
        let protect = Attempt::Protect { protection: both };
        assert_eq!(
            attempt_with(role, &nothing(), Vec::new(), protect),
            NO_SUCH_CALL,
            "{role}"
        );
    }
}

fn memory_is_executable_only_where_guests_run() {
    for (role, expected) in [
        (Role::Runner, Ok(0)),
        (Role::Work, Ok(0)),
        (Role::Compile, NO_SUCH_CALL),
        (Role::Examine, NO_SUCH_CALL),
        (Role::Unpack, NO_SUCH_CALL),
    ] {
        let executable = Attempt::Protect {
            protection: libc::PROT_READ | libc::PROT_EXEC,
        };
        assert_eq!(
            attempt_with(role, &nothing(), Vec::new(), executable),
            expected,
            "{role}"
        );
    }
}

fn shared_memory_cannot_be_mapped() {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    for (flags, expected) in [
        (libc::MAP_PRIVATE, Ok(0)),
        (libc::MAP_SHARED, NO_SUCH_CALL),
        (libc::MAP_SHARED_VALIDATE, NO_SUCH_CALL),
    ] {
        assert_eq!(
            attempt(Attempt::Map {
                protection,
                flags,
                size: 4096
            }),
            expected,
            "{flags}"
        );
    }
    assert_eq!(attempt(Attempt::MemoryFile), NO_SUCH_CALL);
}

fn memory_ends_at_its_limit() {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let map = |size| {
        attempt(Attempt::Map {
            protection,
            flags: libc::MAP_PRIVATE,
            size,
        })
    };
    assert_eq!(map(limits().data / 2), Ok(0));
    assert_eq!(map(limits().data), Err(libc::ENOMEM));
}

fn address_space_ends_at_its_limit() {
    let map = |size| {
        attempt(Attempt::Map {
            protection: libc::PROT_NONE,
            flags: libc::MAP_PRIVATE,
            size,
        })
    };
    assert_eq!(map(limits().address_space / 2), Ok(0));
    assert_eq!(map(limits().address_space), Err(libc::ENOMEM));
}

fn a_growing_file_ends_at_its_limit() {
    let file = tempfile::tempfile().unwrap();
    let given = vec![file.try_clone().unwrap().into()];
    assert_eq!(
        attempt_with(Role::Work, &nothing(), given, Attempt::GrowGivenFile),
        Err(libc::EFBIG)
    );
    assert_eq!(file.metadata().unwrap().len(), limits().file_size);
}

fn open_files_end_at_their_limit() {
    let file = vec![OwnedFd::from(File::open("/dev/null").unwrap())];
    let more = attempt_with(Role::Work, &nothing(), file, Attempt::DuplicateWithoutEnd);
    // Beside the standard three, the channel and the file itself.
    assert_eq!(more, Ok(limits().open_files - 5));
}

fn processor_time_ends_at_its_limit() {
    let mut confinement = nothing();
    confinement.limits.cpu = Some(Duration::from_millis(500));
    run(async {
        let mut child = start(Role::Work, &confinement, Vec::new());
        let mut channel = child.take_channel();
        frame::send(&mut channel, &Attempt::Spin, FRAME_MAX)
            .await
            .unwrap();
        let status = child.wait().await.unwrap();
        assert_eq!(
            status.signal(),
            Some(libc::SIGKILL),
            "{status}; {}",
            child.diagnostics()
        );
    });
}

fn nothing_outside_the_named_directories_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("inside"), "").unwrap();
    let confinement = Confinement {
        read: vec![directory.path().join("inside")],
        ..nothing()
    };
    let read = |path: &Path| {
        attempt_with(
            Role::Work,
            &confinement,
            Vec::new(),
            Attempt::Read(path.to_owned()),
        )
    };
    assert_eq!(read(&directory.path().join("inside")), Ok(0));
    fs::write(directory.path().join("outside"), "").unwrap();
    let own_program = std::env::current_exe().unwrap();
    for path in [
        Path::new("/etc/passwd"),
        Path::new("/proc/self/environ"),
        Path::new("/dev/null"),
        &own_program,
        &directory.path().join("outside"),
        &directory.path().join("inside/../outside"),
    ] {
        let errno = read(path).unwrap_err();
        assert!(
            [libc::EACCES, libc::ENOTDIR].contains(&errno),
            "{}: {errno}",
            path.display()
        );
    }
}

fn nothing_outside_the_named_directories_can_be_listed() {
    let directory = tempfile::tempdir().unwrap();
    let confinement = Confinement {
        read: vec![directory.path().to_owned()],
        ..nothing()
    };
    let list = |path: &Path| {
        attempt_with(
            Role::Work,
            &confinement,
            Vec::new(),
            Attempt::List(path.to_owned()),
        )
    };
    assert_eq!(list(directory.path()), Ok(0));
    assert_eq!(list(Path::new("/")), Err(libc::EACCES));
    assert_eq!(list(directory.path().parent().unwrap()), Err(libc::EACCES));
}

fn a_readable_directory_cannot_be_changed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "content").unwrap();
    fs::create_dir(directory.path().join("empty")).unwrap();
    let confinement = Confinement {
        read: vec![directory.path().to_owned()],
        ..nothing()
    };
    for change in [
        Attempt::Write(file.clone()),
        Attempt::Truncate(file.clone()),
        Attempt::Remove(file.clone()),
        Attempt::Write(directory.path().join("new")),
        Attempt::MakeDirectory(directory.path().join("new")),
        Attempt::RemoveDirectory(directory.path().join("empty")),
        Attempt::Rename(file.clone(), directory.path().join("other")),
    ] {
        let answer = attempt_with(Role::Work, &confinement, Vec::new(), change.clone());
        assert_eq!(answer, Err(libc::EACCES), "{change:?}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"content");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

fn a_writable_directory_can_be_changed() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("old"), "content").unwrap();
    let confinement = Confinement {
        write: vec![directory.path().to_owned()],
        ..nothing()
    };
    for change in [
        Attempt::Write(at("file")),
        Attempt::Read(at("file")),
        Attempt::Truncate(at("old")),
        Attempt::Rename(at("old"), at("new")),
        Attempt::Remove(at("new")),
        Attempt::MakeDirectory(at("directory")),
        Attempt::RemoveDirectory(at("directory")),
    ] {
        assert_eq!(
            attempt_with(Role::Work, &confinement, Vec::new(), change.clone()),
            Ok(0),
            "{change:?}"
        );
    }
}

fn no_links_and_special_files_can_be_made() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let confinement = Confinement {
        write: vec![directory.path().to_owned()],
        ..nothing()
    };
    fs::write(at("file"), "content").unwrap();
    for special in [
        Attempt::SymbolicLink("/etc/passwd".into(), at("link")),
        Attempt::HardLink(at("file"), at("link")),
        Attempt::Fifo(at("fifo")),
    ] {
        assert_eq!(
            attempt_with(Role::Work, &confinement, Vec::new(), special.clone()),
            NO_SUCH_CALL,
            "{special:?}"
        );
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

fn nothing_moves_between_directories() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("payload")).unwrap();
    fs::create_dir(at("output")).unwrap();
    fs::write(at("payload/secret"), "content").unwrap();
    fs::write(at("output/own"), "content").unwrap();
    let confinement = Confinement {
        read: vec![at("payload")],
        write: vec![at("output")],
        ..nothing()
    };
    for change in [
        Attempt::Rename(at("payload/secret"), at("output/secret")),
        Attempt::Rename(at("output/own"), at("payload/own")),
        Attempt::Rename(at("output/own"), at("own")),
    ] {
        let errno = attempt_with(Role::Work, &confinement, Vec::new(), change.clone()).unwrap_err();
        assert!(
            [libc::EACCES, libc::EXDEV].contains(&errno),
            "{change:?}: {errno}"
        );
    }
}

fn a_symbolic_link_does_not_lead_out() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
    let confinement = Confinement {
        write: vec![directory.path().to_owned()],
        ..nothing()
    };
    assert_eq!(
        attempt_with(
            Role::Work,
            &confinement,
            Vec::new(),
            Attempt::Read(link.clone())
        ),
        Err(libc::EACCES)
    );
    assert_eq!(
        attempt_with(Role::Work, &confinement, Vec::new(), Attempt::Write(link)),
        Err(libc::EACCES)
    );
}

fn a_given_file_can_be_opened_again_but_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("code");
    fs::write(&path, "native").unwrap();
    let given = || vec![OwnedFd::from(File::open(&path).unwrap())];
    assert_eq!(
        attempt_with(
            Role::Runner,
            &nothing(),
            given(),
            Attempt::ReopenGivenFile { write: false }
        ),
        Ok(6)
    );
    let written = attempt_with(
        Role::Runner,
        &nothing(),
        given(),
        Attempt::ReopenGivenFile { write: true },
    );
    assert_eq!(written, Err(libc::EACCES));
    // Its neighbours stay out of reach.
    let by_path = attempt_with(
        Role::Runner,
        &nothing(),
        given(),
        Attempt::List(directory.path().to_owned()),
    );
    assert_eq!(by_path, Err(libc::EACCES));
    // An entry of a cache may be replaced meanwhile.
    let removed = given();
    fs::remove_file(&path).unwrap();
    assert_eq!(
        attempt_with(
            Role::Runner,
            &nothing(),
            removed,
            Attempt::ReopenGivenFile { write: false }
        ),
        Ok(6)
    );
    // A file of memory, as compilers get.
    let memory = rustix::fs::memfd_create("wasm", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::io::write(&memory, b"wasm").unwrap();
    rustix::fs::seek(&memory, rustix::fs::SeekFrom::Start(0)).unwrap();
    assert_eq!(
        attempt_with(
            Role::Compile,
            &nothing(),
            vec![memory],
            Attempt::ReadGivenFile
        ),
        Ok(4)
    );
}

fn a_symbolic_link_is_no_directory_to_confine_to() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("output");
    std::os::unix::fs::symlink("/etc", &link).unwrap();
    refuses(
        &Confinement {
            write: vec![link],
            ..nothing()
        },
        "neither a directory nor a regular file",
    );
}

fn a_confinement_that_cannot_be_kept_ends_the_child() {
    refuses(
        &Confinement {
            read: vec!["/no/such/directory".into()],
            ..nothing()
        },
        "/no/such/directory",
    );
}

/// The child ends without reading what waits for it, and says why.
fn refuses(confinement: &Confinement, reason: &str) {
    run(async {
        let mut child = start(Role::Work, confinement, Vec::new());
        let mut channel = child.take_channel();
        drop(frame::send(&mut channel, &Attempt::CountEnvironment, FRAME_MAX).await);
        let answer = frame::Reader::new(channel, FRAME_MAX)
            .next::<Answer>()
            .await;
        assert!(
            matches!(answer, Ok(None) | Err(FrameError::Closed)),
            "{answer:?}"
        );
        assert_eq!(child.wait().await.unwrap().code(), Some(attempt::REFUSED));
        assert!(
            child.diagnostics().contains(reason),
            "{}",
            child.diagnostics()
        );
    });
}

fn a_killed_child_is_gone_and_killing_again_does_nothing() {
    run(async {
        let mut child = start(Role::Work, &nothing(), Vec::new());
        let mut channel = child.take_channel();
        frame::send(&mut channel, &Attempt::Sleep, FRAME_MAX)
            .await
            .unwrap();
        child.kill();
        child.kill();
        assert_eq!(child.wait().await.unwrap().signal(), Some(libc::SIGKILL));
        assert!(!Path::new(&format!("/proc/{}", child.id())).exists());
        child.kill();
        assert_eq!(child.wait().await.unwrap().signal(), Some(libc::SIGKILL));
    });
}

fn a_dropped_child_is_killed_and_leaves_no_zombie() {
    run(async {
        let mut child = start(Role::Work, &nothing(), Vec::new());
        let mut channel = child.take_channel();
        frame::send(&mut channel, &Attempt::Sleep, FRAME_MAX)
            .await
            .unwrap();
        let process = format!("/proc/{}", child.id());
        assert!(Path::new(&process).exists());
        drop(child);
        let since = Instant::now();
        while Path::new(&process).exists() {
            assert!(since.elapsed() < PATIENCE, "the process is still there");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
}

fn a_child_outlives_the_thread_that_asked_for_it() {
    run(async {
        let mut child = tokio::task::spawn_blocking(|| start(Role::Work, &nothing(), Vec::new()))
            .await
            .unwrap();
        let runtime = tokio::runtime::Handle::current();
        let other = std::thread::spawn(move || {
            let _inside = runtime.enter();
            start(Role::Work, &nothing(), Vec::new())
        });
        let mut other = other.join().unwrap();
        assert_eq!(ask(&mut child, &Attempt::CountEnvironment).await, Ok(0));
        assert_eq!(ask(&mut other, &Attempt::CountEnvironment).await, Ok(0));
    });
}

fn be_a_parent() -> ExitCode {
    run(async {
        let mut child = start(Role::Work, &nothing(), Vec::new());
        let mut channel = child.take_channel();
        frame::send(&mut channel, &Attempt::Sleep, FRAME_MAX)
            .await
            .unwrap();
        // So that its walls are up.
        println!("{}", child.id());
        std::future::pending::<()>().await;
    });
    ExitCode::FAILURE
}

fn a_child_dies_with_its_parent() {
    let mut parent = Command::new(std::env::current_exe().unwrap());
    let mut parent = parent
        .arg(PARENT)
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut id = String::new();
    let mut output = parent.stdout.take().unwrap();
    while !id.ends_with('\n') {
        let mut byte = [0];
        output.read_exact(&mut byte).unwrap();
        id.push(char::from(byte[0]));
    }
    let child = Pid::from_raw(id.trim().parse().unwrap()).unwrap();
    let child = pidfd_open(child, PidfdFlags::empty()).unwrap();
    let ended_within = |time: Duration| {
        let time = Timespec::try_from(time).unwrap();
        poll(&mut [PollFd::new(&child, PollFlags::IN)], Some(&time)).unwrap() == 1
    };
    assert!(!ended_within(Duration::from_millis(100)));
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(ended_within(PATIENCE));
}

fn an_exit_status_is_seen_twice() {
    run(async {
        let mut child = start(Role::Work, &nothing(), Vec::new());
        // Without an attempt it ends.
        drop(child.take_channel());
        assert_eq!(
            child.wait().await.unwrap().code(),
            Some(attempt::NOTHING_TO_DO)
        );
        assert_eq!(
            child.wait().await.unwrap().code(),
            Some(attempt::NOTHING_TO_DO)
        );
    });
}

fn the_first_complaints_are_kept_and_a_flood_blocks_nobody() {
    run(async {
        let mut child = start(Role::Work, &nothing(), Vec::new());
        assert_eq!(
            ask(&mut child, &Attempt::Complain { bytes: 4 << 20 }).await,
            Ok(0)
        );
        let diagnostics = child.diagnostics();
        assert!(diagnostics.starts_with("first of all"), "{diagnostics}");
        assert_eq!(diagnostics.len(), 8 << 10);
    });
}

fn answer_to_raw(bytes: Vec<u8>) -> FrameError {
    run(async {
        let mut child = start(Role::Work, &nothing(), Vec::new());
        let mut channel = child.take_channel();
        frame::send(&mut channel, &Attempt::SendRaw(bytes), FRAME_MAX)
            .await
            .unwrap();
        frame::Reader::new(channel, FRAME_MAX)
            .next::<Answer>()
            .await
            .unwrap_err()
    })
}

fn an_oversized_frame_is_refused() {
    let error = answer_to_raw(u32::MAX.to_le_bytes().to_vec());
    assert!(matches!(error, FrameError::TooLarge { .. }), "{error}");
}

fn a_malformed_frame_is_refused() {
    let mut bytes = 8_u32.to_le_bytes().to_vec();
    bytes.extend([0xff; 8]);
    let error = answer_to_raw(bytes);
    assert!(matches!(error, FrameError::Malformed(_)), "{error}");
}

fn a_torn_frame_is_refused() {
    let mut bytes = 8_u32.to_le_bytes().to_vec();
    bytes.extend([0xff; 3]);
    let error = answer_to_raw(bytes);
    assert!(matches!(error, FrameError::Closed), "{error}");
}

fn too_many_files_are_refused() {
    run(async {
        let files = (0..17)
            .map(|_| OwnedFd::from(File::open("/dev/null").unwrap()))
            .collect();
        let error = spawn(Role::Work, &nothing(), files).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot start a confined process for the role \"work\": 17 files were given and at most 16 can be"
        );
    });
}

fn a_child_without_a_parent_refuses() {
    // Started by hand, as a person could: no orders come.
    let output = Command::new(std::env::current_exe().unwrap())
        .arg0("sovr-child")
        .arg("work")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(attempt::REFUSED));
    // And with the right orders, but from a parent that is not its own.
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let letter = (1_u32, 0_u32, nothing());
    frame::write(&mut &ours, &letter, FRAME_MAX).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .arg0("sovr-child")
        .arg("work")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(attempt::REFUSED));
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        complaint.contains("the parent of this process has ended"),
        "{complaint}"
    );
    drop(ours);
}
