//! The work child.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use sovr_runtime::code::{Cache, CompileLimits, Purpose};
use sovr_runtime::limits::Limit;
use sovr_runtime::work::{Volume, Work, WorkEnd, WorkEvent, WorkLimits, WorkRequest};

use crate::guest::{FIRST_VOLUME, Program, component_importing, file};
use crate::run;

crate::tests!(
    output_and_exit_code_arrive,
    the_environment_is_what_was_given,
    volumes_are_read_and_written,
    a_read_only_volume_cannot_be_written,
    nothing_outside_a_volume_can_be_opened,
    a_symbolic_link_out_of_a_volume_is_refused,
    an_endless_loop_ends_at_its_deadline,
    a_loop_in_a_start_function_ends_at_its_deadline,
    a_program_that_waits_ends_at_its_deadline,
    only_a_program_that_computes_takes_processor_time,
    a_memory_bomb_ends_at_its_limit,
    a_huge_first_memory_ends_at_its_limit,
    an_output_flood_ends_at_its_limit,
    one_growing_file_ends_at_its_limit,
    a_trap_is_told,
    an_unknown_import_is_refused_by_name_and_version,
    a_killed_work_says_so_and_is_gone,
    a_process_that_vanishes_is_told,
    output_that_nobody_takes_does_not_keep_a_work_alive,
);

const LIMITS: WorkLimits = WorkLimits {
    memory: 64 << 20,
    time: Duration::from_secs(60),
    output: 1 << 20,
    file_size: 1 << 20,
};

const SHORT: WorkLimits = WorkLimits {
    time: Duration::from_millis(300),
    ..LIMITS
};

fn compile(wasm: &[u8]) -> File {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(directory.path(), [7; 32]).unwrap();
    run(cache.get_or_compile(&file(wasm), Purpose::Work, &CompileLimits::default()))
        .unwrap()
        .file
}

fn request(program: Program, volumes: &[(&Path, &str, bool)], limits: WorkLimits) -> WorkRequest {
    WorkRequest {
        code: compile(&program.wasm()),
        args: vec!["program".to_owned()],
        env: Vec::new(),
        volumes: volumes
            .iter()
            .map(|(host, guest, writable)| Volume {
                guest: (*guest).to_owned(),
                host: (*host).to_owned(),
                writable: *writable,
            })
            .collect(),
        limits,
    }
}

/// Standard output, standard error and the end.
async fn finish(mut work: Work) -> (String, String, WorkEnd) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    loop {
        match work.next().await.expect("an end comes first") {
            WorkEvent::Stdout(bytes) => stdout.extend(bytes),
            WorkEvent::Stderr(bytes) => stderr.extend(bytes),
            WorkEvent::End(end) => {
                assert_eq!(work.next().await, None);
                return (
                    String::from_utf8(stdout).unwrap(),
                    String::from_utf8(stderr).unwrap(),
                    end,
                );
            }
        }
    }
}

fn outcome(request: WorkRequest) -> (String, String, WorkEnd) {
    run(async { finish(Work::start(request).await.unwrap()).await })
}

fn end_with(program: Program, limits: WorkLimits) -> WorkEnd {
    outcome(request(program, &[], limits)).2
}

fn output_and_exit_code_arrive() {
    // WASI 0.2 has two exit codes: the adapter makes 1 of every failure.
    let program = Program::new()
        .print(1, "to stdout\n")
        .print(2, "to stderr\n")
        .exit(7);
    let (stdout, stderr, end) = outcome(request(program, &[], LIMITS));
    assert_eq!(
        (stdout.as_str(), stderr.as_str(), end),
        ("to stdout\n", "to stderr\n", WorkEnd::Exited(1))
    );
    assert_eq!(end_with(Program::new().exit(0), LIMITS), WorkEnd::Exited(0));
    assert_eq!(end_with(Program::new(), LIMITS), WorkEnd::Exited(0));
}

fn the_environment_is_what_was_given() {
    assert_eq!(
        end_with(Program::new().exit_with_environment(), LIMITS),
        WorkEnd::Exited(0)
    );
    let mut with = request(Program::new().exit_with_environment(), &[], LIMITS);
    with.env = vec![("A".to_owned(), "1".to_owned())];
    assert_eq!(outcome(with).2, WorkEnd::Exited(1));
}

fn volumes_are_read_and_written() {
    let (resource, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(resource.path().join("scene"), "a bunny").unwrap();
    let program = Program::new().print_file(FIRST_VOLUME, "scene").write_file(
        FIRST_VOLUME + 1,
        "out0000.png",
        "a picture",
    );
    let volumes = [
        (resource.path(), "/golem/resource", false),
        (work.path(), "/golem/work", true),
    ];
    let (stdout, _, end) = outcome(request(program, &volumes, LIMITS));
    assert_eq!((stdout.as_str(), end), ("a bunny", WorkEnd::Exited(0)));
    assert_eq!(
        fs::read(work.path().join("out0000.png")).unwrap(),
        b"a picture"
    );
}

fn a_read_only_volume_cannot_be_written() {
    let volume = tempfile::tempdir().unwrap();
    fs::write(volume.path().join("scene"), "a bunny").unwrap();
    for path in ["scene", "new"] {
        let program = Program::new().write_file(FIRST_VOLUME, path, "x");
        let (_, _, end) = outcome(request(
            program,
            &[(volume.path(), "/golem/resource", false)],
            LIMITS,
        ));
        assert_eq!(end, WorkEnd::Exited(1), "{path}");
    }
    assert_eq!(fs::read(volume.path().join("scene")).unwrap(), b"a bunny");
    assert_eq!(fs::read_dir(volume.path()).unwrap().count(), 1);
}

fn nothing_outside_a_volume_can_be_opened() {
    let parent = tempfile::tempdir().unwrap();
    let volume = parent.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(parent.path().join("secret"), "secret").unwrap();
    for path in [
        "../secret",
        "/etc/passwd",
        "a/../../secret",
        "/golem/work/../../../etc/passwd",
    ] {
        let program = Program::new().print_file(FIRST_VOLUME, path);
        let (stdout, _, end) = outcome(request(program, &[(&volume, "/golem/work", true)], LIMITS));
        assert_eq!(stdout, "", "{path}");
        assert!(end == WorkEnd::Exited(1), "{path}: {end:?}");
    }
    let program = Program::new().write_file(FIRST_VOLUME, "../new", "x");
    assert_eq!(
        outcome(request(program, &[(&volume, "/golem/work", true)], LIMITS)).2,
        WorkEnd::Exited(1)
    );
    assert!(!parent.path().join("new").exists());
}

fn a_symbolic_link_out_of_a_volume_is_refused() {
    let volume = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/etc/passwd", volume.path().join("link")).unwrap();
    let program = Program::new().print_file(FIRST_VOLUME, "link");
    let (stdout, _, end) = outcome(request(
        program,
        &[(volume.path(), "/golem/work", true)],
        LIMITS,
    ));
    assert_eq!(stdout, "");
    assert_eq!(end, WorkEnd::Exited(1));
}

/// The work ends because of its time, and not much later.
fn ends_in_time(program: Program) {
    let request = request(program, &[], SHORT);
    run(async {
        let work = Work::start(request).await.unwrap();
        let since = Instant::now();
        assert_eq!(finish(work).await.2, WorkEnd::Limit(Limit::Time));
        let took = since.elapsed();
        assert!(took >= SHORT.time, "{took:?}");
        assert!(took < SHORT.time + Duration::from_secs(1), "{took:?}");
    });
}

fn an_endless_loop_ends_at_its_deadline() {
    ends_in_time(Program::new().loop_for_ever());
}

fn a_loop_in_a_start_function_ends_at_its_deadline() {
    ends_in_time(Program::new().loop_before_start());
}

fn a_program_that_waits_ends_at_its_deadline() {
    ends_in_time(Program::new().sleep());
}

fn only_a_program_that_computes_takes_processor_time() {
    let limits = WorkLimits {
        time: Duration::from_secs(1),
        ..LIMITS
    };
    let taken = |program| {
        let request = request(program, &[], limits);
        run(async {
            let work = Work::start(request).await.unwrap();
            let meter = work.meter();
            assert_eq!(finish(work).await.2, WorkEnd::Limit(Limit::Time));
            meter.time()
        })
    };
    // It has to be loaded, too.
    let waiting = taken(Program::new().sleep());
    assert!(waiting < limits.time / 2, "{waiting:?}");
    let computing = taken(Program::new().loop_for_ever());
    assert!(computing > waiting, "{computing:?} and {waiting:?}");
}

fn a_memory_bomb_ends_at_its_limit() {
    assert_eq!(
        end_with(Program::new().fill_memory(), LIMITS),
        WorkEnd::Limit(Limit::Memory)
    );
}

fn a_huge_first_memory_ends_at_its_limit() {
    assert_eq!(
        end_with(Program::new().with_memory(65_536), LIMITS),
        WorkEnd::Limit(Limit::Memory)
    );
}

fn an_output_flood_ends_at_its_limit() {
    let (stdout, _, end) = outcome(request(Program::new().flood(), &[], LIMITS));
    assert_eq!(end, WorkEnd::Limit(Limit::Log));
    assert_eq!(stdout.len() as u64, LIMITS.output);
}

fn one_growing_file_ends_at_its_limit() {
    let volume = tempfile::tempdir().unwrap();
    let limits = WorkLimits {
        file_size: 100,
        ..LIMITS
    };
    let program = Program::new()
        .write_file(FIRST_VOLUME, "small", &"x".repeat(100))
        .print(1, "small is written\n");
    let program = program
        .write_file(FIRST_VOLUME, "large", &"x".repeat(101))
        .write_file(FIRST_VOLUME, "more", "x");
    let (stdout, _, end) = outcome(request(
        program,
        &[(volume.path(), "/golem/work", true)],
        limits,
    ));
    assert_eq!(stdout, "small is written\n");
    assert!(matches!(end, WorkEnd::Exited(_)), "{end:?}");
    assert_eq!(
        fs::metadata(volume.path().join("small")).unwrap().len(),
        100
    );
    assert!(fs::metadata(volume.path().join("large")).unwrap().len() <= 100);
}

fn a_trap_is_told() {
    let WorkEnd::Trapped(reason) = end_with(Program::new().trap(), LIMITS) else {
        panic!("it did not trap")
    };
    assert!(reason.raw().contains("unreachable"), "{reason:?}");
}

fn an_unknown_import_is_refused_by_name_and_version() {
    let request = WorkRequest {
        code: compile(&component_importing("acme:games/chess@1.2.3")),
        ..request(Program::new(), &[], LIMITS)
    };
    let WorkEnd::Refused(reason) = outcome(request).2 else {
        panic!("it was not refused")
    };
    assert!(
        reason.raw().contains("acme:games/chess@1.2.3"),
        "{reason:?}"
    );
}

fn a_killed_work_says_so_and_is_gone() {
    let request = request(
        Program::new().print(1, "here\n").loop_for_ever(),
        &[],
        LIMITS,
    );
    run(async {
        let mut work = Work::start(request).await.unwrap();
        assert_eq!(
            work.next().await,
            Some(WorkEvent::Stdout(b"here\n".to_vec()))
        );
        let process = format!("/proc/{}", work.id());
        assert!(Path::new(&process).exists());
        work.kill();
        let since = Instant::now();
        assert_eq!(work.next().await, Some(WorkEvent::End(WorkEnd::Killed)));
        assert!(!Path::new(&process).exists());
        assert!(
            since.elapsed() < Duration::from_millis(500),
            "{:?}",
            since.elapsed()
        );
        assert_eq!(work.next().await, None);
    });
}

fn a_process_that_vanishes_is_told() {
    let request = request(
        Program::new().print(1, "here\n").loop_for_ever(),
        &[],
        LIMITS,
    );
    run(async {
        let mut work = Work::start(request).await.unwrap();
        assert_eq!(
            work.next().await,
            Some(WorkEvent::Stdout(b"here\n".to_vec()))
        );
        let process = rustix::process::Pid::from_raw(work.id().cast_signed()).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
        let Some(WorkEvent::End(WorkEnd::Broken(reason))) = work.next().await else {
            panic!("it went on")
        };
        assert!(
            reason
                .raw()
                .contains("its process ended (signal: 9 (SIGKILL))"),
            "{reason:?}"
        );
    });
}

fn output_that_nobody_takes_does_not_keep_a_work_alive() {
    let request = request(
        Program::new().flood(),
        &[],
        WorkLimits {
            output: u64::MAX,
            ..SHORT
        },
    );
    run(async {
        let mut work = Work::start(request).await.unwrap();
        assert!(matches!(work.next().await, Some(WorkEvent::Stdout(_))));
        // The program is stuck in a system call now, where no epoch reaches it.
        tokio::time::sleep(SHORT.time * 2).await;
        let since = Instant::now();
        while !matches!(work.next().await, Some(WorkEvent::End(_))) {}
        assert!(
            since.elapsed() < Duration::from_secs(1),
            "{:?}",
            since.elapsed()
        );
    });
}
