//! Guests in the real runner child: each does one thing that a stranger's script might do, and the test looks at it
//! from outside.

mod guest;
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use sovr_capability::{Limits, Size, Span};
use sovr_runtime::bindings::errors::Error;
use sovr_runtime::limits::Limit;
use sovr_runtime::run::{self, Ended, Event, RunRequest};
use sovr_runtime::wire::{BarChange, Call, Note, Reply};
use wasm_encoder::{HeapType, MemArg, ValType};

use guest::{BlockType, DATA, Guest, I, LOCAL, RESULT, assert_result, forever, imports, times};
use support::{LATE, PATIENCE, Pod, Told, block_on, limits, no_call, see_to_the_end};

fn main() -> ExitCode {
    if let Some(role) = sovr_sandbox::role() {
        return sovr_runtime::child(role);
    }
    libtest_mimic::run(&Arguments::from_args(), trials()).exit_code()
}

fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    macro_rules! trial {
        ($($name:ident),* $(,)?) => {
            $(trials.push(Trial::test(stringify!($name), || { $name(); Ok::<(), Failed>(()) }));)*
        };
    }
    trial!(
        a_guest_prints_and_ends_well,
        output_is_neutralised,
        exit_codes_arrive,
        a_trap_is_told_with_where_it_was,
        an_endless_loop_ends_at_its_deadline,
        a_guest_that_waits_ends_at_its_deadline,
        a_guest_that_waits_for_the_broker_ends_at_its_deadline,
        a_guest_that_the_kernel_holds_ends_at_its_deadline,
        a_loop_in_the_start_function_ends_at_its_deadline,
        a_memory_bomb_ends_at_its_limit,
        a_guest_that_starts_too_large_ends_at_its_limit,
        a_table_bomb_ends_at_its_limit,
        too_many_tables_are_refused,
        recursion_ends_at_the_stack_limit,
        an_output_flood_ends_at_its_limit,
        who_prints_fast_waits,
        a_log_flood_is_dropped_and_counted,
        a_handles_flood_ends_at_its_limit,
        a_files_flood_ends_at_its_limit,
        files_over_the_limit_count_although_the_guest_ended_well,
        one_growing_file_stops_at_its_limit,
        two_growing_files_end_at_their_limit,
        unlinked_files_count_while_they_are_open,
        too_many_random_bytes_are_refused,
        too_much_data_in_one_call_is_refused,
        data_beyond_a_frame_is_an_error_of_the_call,
        calls_reach_the_broker_and_their_answers_the_guest,
        bars_are_told_and_thinned_out,
        an_unknown_import_is_refused_by_name,
        sockets_may_be_imported_and_trap_when_called,
        cancel_stops_a_guest_where_it_stands,
        what_is_no_code_is_broken,
    );
    trials
}

async fn run_to_the_end(
    request: RunRequest,
    answer: impl FnMut(&Call) -> Option<Result<Reply, Error>>,
) -> Told {
    let mut runner = run::start(request).expect("the runner starts");
    tokio::time::timeout(PATIENCE, see_to_the_end(&mut runner, answer))
        .await
        .expect("the run comes to an end")
}

/// The time of a guest counts from a moment before the event that tells of it arrives.
const EARLY: Duration = Duration::from_millis(100);

fn told_with(guest: &Guest, limits: Limits) -> Told {
    let pod = Pod::new();
    block_on(run_to_the_end(pod.request(&guest.code(), limits), no_call))
}

fn told(guest: &Guest) -> Told {
    told_with(guest, limits())
}

fn ended_by(told: &Told) -> Limit {
    match &told.end.ended {
        Ended::Limit { limit, .. } => *limit,
        other => panic!("ended as {other:?}"),
    }
}

/// Prints `DATA..DATA + length`; the imports must begin with one that gets the stream, and `WRITE`.
fn print(length: i32) -> Vec<I<'static>> {
    vec![
        I::Call(0),
        I::I32Const(DATA),
        I::I32Const(length),
        I::I32Const(RESULT),
        I::Call(1),
    ]
}

fn printing(text: &[u8]) -> Guest {
    Guest {
        imports: vec![imports::GET_STDOUT, imports::WRITE],
        data: text.to_vec(),
        body: print(text.len() as i32),
        ..Guest::default()
    }
}

fn a_guest_prints_and_ends_well() {
    let mut guest = printing(b"hello\n");
    let told = told(&guest);
    assert_eq!(told.end.ended, Ended::Completed);
    assert_eq!(
        (told.stdout.as_str(), told.stderr.as_str()),
        ("hello\n", "")
    );
    assert!(
        told.end.peak_memory.is_some_and(|peak| peak > 1 << 20),
        "{:?}",
        told.end.peak_memory
    );
    guest.imports[0] = imports::GET_STDERR;
    let told = self::told(&guest);
    assert_eq!(
        (told.stdout.as_str(), told.stderr.as_str()),
        ("", "hello\n")
    );
}

fn output_is_neutralised() {
    let told = told(&printing(
        "\u{1b}]0;owned\u{7} \u{202e}gpj.exe\u{200b}\r\nok\n".as_bytes(),
    ));
    assert_eq!(
        told.stdout,
        "\\u{1b}]0;owned\\u{7} \\u{202e}gpj.exe\\u{200b}\nok\n"
    );
}

fn exit_codes_arrive() {
    for (code, ended) in [(0, Ended::Completed), (1, Ended::Failed { code: 1 })] {
        let body = vec![I::I32Const(code), I::Call(0)];
        let guest = Guest {
            imports: vec![imports::EXIT],
            body,
            ..Guest::default()
        };
        assert_eq!(told(&guest).end.ended, ended);
    }
}

fn a_trap_is_told_with_where_it_was() {
    let told = told(&Guest {
        body: vec![I::Unreachable],
        ..Guest::default()
    });
    let Ended::Trapped { reason, backtrace } = told.end.ended else {
        panic!("{told:?}")
    };
    assert!(reason.raw().contains("unreachable"), "{reason:?}");
    assert!(!backtrace.is_empty());
}

/// Runs a guest that must be gone soon after its deadline of one second, and not before.
fn overdue(guest: &Guest) -> Told {
    let time = Span::seconds(1);
    let told = told_with(guest, Limits { time, ..limits() });
    assert_eq!(ended_by(&told), Limit::Time);
    let late = (told.took + EARLY)
        .checked_sub(time.duration())
        .expect("not before its time");
    assert!(late < LATE, "{late:?}");
    told
}

fn an_endless_loop_ends_at_its_deadline() {
    let endless = Guest {
        body: forever(&[]),
        ..Guest::default()
    };
    // A guest that computes is told where it was, unless a busy machine takes so long that it must be killed.
    let told_where = (0..5).any(|_| match overdue(&endless).end.ended {
        Ended::Limit { backtrace, .. } => !backtrace.is_empty(),
        _ => false,
    });
    assert!(told_where, "never");
}

fn a_guest_that_waits_ends_at_its_deadline() {
    let body = vec![I::I64Const(i64::MAX), I::Call(0), I::Call(1)];
    overdue(&Guest {
        imports: vec![imports::SUBSCRIBE, imports::BLOCK],
        body,
        ..Guest::default()
    });
}

fn a_guest_that_waits_for_the_broker_ends_at_its_deadline() {
    let body = vec![I::I32Const(RESULT), I::Call(0)];
    let guest = Guest {
        imports: vec![imports::PODS],
        body,
        ..Guest::default()
    };
    let pod = Pod::new();
    let request = pod.request(
        &guest.code(),
        Limits {
            time: Span::seconds(1),
            ..limits()
        },
    );
    let told = block_on(run_to_the_end(request, |_| None));
    assert_eq!(ended_by(&told), Limit::Time);
    assert!(told.took < Duration::from_secs(1) + LATE, "{:?}", told.took);
}

fn a_guest_that_the_kernel_holds_ends_at_its_deadline() {
    // Nobody will ever open the other end, so opening this one never returns.
    let pod = Pod::new();
    let fifo = pod.path("output/a");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let guest = filing(&[open(DATA, 1, 0, READ), vec![I::Drop]].concat());
    let request = pod.request(
        &guest.code(),
        Limits {
            time: Span::seconds(1),
            ..limits()
        },
    );
    let told = block_on(run_to_the_end(request, no_call));
    assert_eq!(
        told.end.ended,
        Ended::Limit {
            limit: Limit::Time,
            backtrace: Vec::new()
        }
    );
    assert!(told.took < Duration::from_secs(1) + LATE, "{:?}", told.took);
}

fn a_loop_in_the_start_function_ends_at_its_deadline() {
    overdue(&Guest {
        at_start: true,
        body: forever(&[]),
        ..Guest::default()
    });
}

fn a_memory_bomb_ends_at_its_limit() {
    // Grows by a page until refused, then for ever.
    let body = forever(&[I::I32Const(1), I::MemoryGrow(0), I::Drop]);
    let told = told(&Guest {
        body,
        ..Guest::default()
    });
    assert_eq!(ended_by(&told), Limit::Memory);
    let peak = told.end.peak_memory.unwrap();
    assert!(peak < (2 * limits().memory.as_bytes()), "{peak}");

    // Touches what it got: the process's memory really is bounded.
    let touch = MemArg {
        offset: 0,
        align: 0,
        memory_index: 0,
    };
    let body = forever(&[
        I::I32Const(1),
        I::MemoryGrow(0),
        I::LocalTee(LOCAL),
        I::I32Const(-1),
        I::I32Eq,
        I::If(BlockType::Empty),
        I::Unreachable,
        I::End,
        I::LocalGet(LOCAL),
        I::I32Const(16),
        I::I32Shl,
        I::I32Const(1),
        I::I32Store8(touch),
    ]);
    let told = self::told(&Guest {
        body,
        ..Guest::default()
    });
    assert_eq!(ended_by(&told), Limit::Memory);
    let peak = told.end.peak_memory.unwrap();
    assert!(peak < limits().memory.as_bytes() + (64 << 20), "{peak}");
}

fn a_guest_that_starts_too_large_ends_at_its_limit() {
    assert_eq!(
        ended_by(&told(&Guest {
            pages: 65_536,
            ..Guest::default()
        })),
        Limit::Memory
    );
    assert_eq!(
        ended_by(&told(&Guest {
            tables: vec![10_000_000],
            ..Guest::default()
        })),
        Limit::Memory
    );
}

fn a_table_bomb_ends_at_its_limit() {
    let body = forever(&[
        I::RefNull(HeapType::FUNC),
        I::I32Const(1 << 20),
        I::TableGrow(0),
        I::Drop,
    ]);
    assert_eq!(
        ended_by(&told(&Guest {
            tables: vec![0],
            body,
            ..Guest::default()
        })),
        Limit::Memory
    );
}

fn too_many_tables_are_refused() {
    assert_eq!(
        ended_by(&told(&Guest {
            tables: vec![0; 100],
            ..Guest::default()
        })),
        Limit::Objects
    );
}

fn recursion_ends_at_the_stack_limit() {
    // The body's own number is that of the first function that is not imported.
    assert_eq!(
        ended_by(&told(&Guest {
            body: vec![I::Call(0)],
            ..Guest::default()
        })),
        Limit::Stack
    );
}

fn an_output_flood_ends_at_its_limit() {
    let mut guest = printing(&[b'x'; 4096]);
    guest.body = forever(&print(4096));
    let told = told(&guest);
    assert_eq!(ended_by(&told), Limit::Log);
    assert_eq!(
        told.stdout.len() as u64,
        limits().log.as_bytes(),
        "what fits is told"
    );
}

fn who_prints_fast_waits() {
    const LINES: i32 = 256;
    let mut guest = printing(&[b'x'; 4096]);
    guest.body = times(LINES, &print(4096));
    let told = told_with(
        &guest,
        Limits {
            log: Size::mib(2),
            ..limits()
        },
    );
    assert_eq!(told.end.ended, Ended::Completed);
    assert_eq!(told.stdout.len(), 1 << 20);
    // A quarter of it at once, and the rest at 4 MiB in a second.
    assert!(told.took > Duration::from_millis(150), "{:?}", told.took);
}

fn a_log_flood_is_dropped_and_counted() {
    const LINES: i32 = 50_000;
    let (level, length, no_fields) = (I::I32Const(2), I::I32Const(10), I::I32Const(0));
    let line = [
        level,
        I::I32Const(DATA),
        length,
        no_fields.clone(),
        no_fields,
        I::Call(0),
    ];
    let guest = Guest {
        imports: vec![imports::LOG],
        data: b"0123456789".to_vec(),
        body: times(LINES, &line),
        ..Guest::default()
    };
    let told = told_with(
        &guest,
        Limits {
            log: Size::mib(16),
            ..limits()
        },
    );
    assert_eq!(told.end.ended, Ended::Completed);
    let (mut lines, mut dropped) = (0, 0);
    for note in told.notes {
        match note {
            Note::Log { message, .. } => {
                assert_eq!(message.raw(), "0123456789");
                lines += 1;
            }
            Note::LogDropped { lines } => dropped += lines,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        lines + dropped,
        LINES as u64,
        "no line is lost without being counted"
    );
    assert!((1000..4000).contains(&lines), "{lines} lines came through");
}

fn a_handles_flood_ends_at_its_limit() {
    let body = forever(&[I::I64Const(i64::MAX), I::Call(0), I::Drop]);
    let pollables = Guest {
        imports: vec![imports::SUBSCRIBE],
        body,
        ..Guest::default()
    };
    assert_eq!(ended_by(&told(&pollables)), Limit::Handles);
    // Each call gives handles for all directories anew.
    let body = forever(&[I::I32Const(RESULT), I::Call(0)]);
    let descriptors = Guest {
        imports: vec![imports::GET_DIRECTORIES],
        body,
        pages: 64,
        ..Guest::default()
    };
    assert_eq!(ended_by(&told(&descriptors)), Limit::Handles);
    // A resource of the guest's own costs the host a handle and nothing else.
    let own = Guest {
        wit: Some(
            "package test:resources;
             interface things { resource thing; }
             world guest { include sovr:pod/script@0.1.0; export things; }",
        ),
        imports: vec![guest::Import {
            module: "[export]test:resources/things",
            name: "[resource-new]thing",
            params: &[ValType::I32],
            results: &[ValType::I32],
        }],
        body: times(5000, &[I::I32Const(1), I::Call(0), I::Drop]),
        ..Guest::default()
    };
    assert_eq!(ended_by(&told(&own)), Limit::Handles);
}

const DIRECTORIES: u32 = 0;
const OPEN_AT: u32 = 1;
const FILE_WRITE: u32 = 2;
const UNLINK: u32 = 3;
const DROP_FILE: u32 = 4;

/// A guest that may use files. Its first local is the descriptor of `/output`.
fn filing(body: &[I<'static>]) -> Guest {
    // The list of directories: of each its descriptor, and address and length of its name.
    const OUTPUT: u64 = 2 * 12;
    let output = MemArg {
        offset: OUTPUT,
        align: 2,
        memory_index: 0,
    };
    let mut whole = vec![I::I32Const(RESULT), I::Call(DIRECTORIES)];
    whole.extend(load(0));
    whole.extend([I::I32Load(output), I::LocalSet(LOCAL)]);
    whole.extend_from_slice(body);
    Guest {
        imports: vec![
            imports::GET_DIRECTORIES,
            imports::OPEN_AT,
            imports::FILE_WRITE,
            imports::UNLINK,
            imports::DROP_FILE,
        ],
        data: b"ab".to_vec(),
        body: whole,
        ..Guest::default()
    }
}

/// Loads a word of the last call's result.
fn load(offset: u64) -> [I<'static>; 2] {
    [
        I::I32Const(RESULT),
        I::I32Load(MemArg {
            offset,
            align: 2,
            memory_index: 0,
        }),
    ]
}

const CREATE: i32 = 1;
const READ: i32 = 1;
const READ_AND_WRITE: i32 = 3;

/// Makes the file whose name is the letters at `name`. Its descriptor is left on the stack.
fn create(name: i32, letters: i32) -> Vec<I<'static>> {
    open(name, letters, CREATE, READ_AND_WRITE)
}

fn open(name: i32, letters: i32, how: i32, rights: i32) -> Vec<I<'static>> {
    let [result, descriptor] = load(4);
    vec![
        I::LocalGet(LOCAL),
        I::I32Const(0),
        I::I32Const(name),
        I::I32Const(letters),
        I::I32Const(how),
        I::I32Const(rights),
        I::I32Const(RESULT),
        I::Call(OPEN_AT),
        result,
        descriptor,
    ]
}

/// Writes page after page to the file whose descriptor is on the stack, until that fails.
fn grow() -> Vec<I<'static>> {
    const FILE: u32 = LOCAL + 1;
    const PAGE: u32 = LOCAL + 2;
    const PAGE_SIZE: i32 = 1 << 16;
    let [result, is_error] = load(0);
    vec![
        I::LocalSet(FILE),
        I::I32Const(0),
        I::LocalSet(PAGE),
        I::Loop(BlockType::Empty),
        I::LocalGet(FILE),
        I::I32Const(DATA),
        I::I32Const(PAGE_SIZE),
        I::LocalGet(PAGE),
        I::I64ExtendI32U,
        I::I32Const(RESULT),
        I::Call(FILE_WRITE),
        I::LocalGet(PAGE),
        I::I32Const(PAGE_SIZE),
        I::I32Add,
        I::LocalSet(PAGE),
        result,
        is_error,
        I::I32Const(0xff),
        I::I32And,
        I::I32Eqz,
        I::BrIf(0),
        I::End,
    ]
}

/// Makes another file each time.
fn create_another() -> Vec<I<'static>> {
    const COUNT: u32 = LOCAL + 3;
    const LETTERS: i32 = 4;
    let mut flood = Vec::new();
    for letter in 0..LETTERS {
        flood.extend([
            I::I32Const(DATA + letter),
            I::LocalGet(COUNT),
            I::I32Const(4 * letter),
            I::I32ShrU,
            I::I32Const(15),
            I::I32And,
            I::I32Const('a' as i32),
            I::I32Add,
            I::I32Store8(MemArg {
                offset: 0,
                align: 0,
                memory_index: 0,
            }),
        ]);
    }
    flood.extend(create(DATA, LETTERS));
    flood.extend([
        I::Call(DROP_FILE),
        I::LocalGet(COUNT),
        I::I32Const(1),
        I::I32Add,
        I::LocalSet(COUNT),
    ]);
    flood
}

fn a_files_flood_ends_at_its_limit() {
    let pod = Pod::new();
    let flood = filing(&forever(&create_another()));
    let told = block_on(run_to_the_end(
        pod.request(&flood.code(), limits()),
        no_call,
    ));
    assert_eq!(ended_by(&told), Limit::Files);
    let files = std::fs::read_dir(pod.path("output")).unwrap().count() as u64;
    assert!(files > limits().files);
    assert!(told.took < LATE, "{files} files in {:?}", told.took);
}

fn files_over_the_limit_count_although_the_guest_ended_well() {
    let few_too_many = limits().files as i32 + 1;
    let guest = filing(&times(few_too_many, &create_another()));
    assert_eq!(ended_by(&told(&guest)), Limit::Files);
    let guest = filing(&times(few_too_many - 1, &create_another()));
    assert_eq!(told(&guest).end.ended, Ended::Completed);
}

fn one_growing_file_stops_at_its_limit() {
    let pod = Pod::new();
    let guest = filing(&[create(DATA, 1), grow()].concat());
    let told = block_on(run_to_the_end(
        pod.request(&guest.code(), limits()),
        no_call,
    ));
    assert_eq!(
        told.end.ended,
        Ended::Completed,
        "the guest is told of an error and goes on"
    );
    assert_eq!(
        std::fs::metadata(pod.path("output/a")).unwrap().len(),
        limits().output.as_bytes()
    );
}

fn two_growing_files_end_at_their_limit() {
    let both = [create(DATA, 1), grow(), create(DATA + 1, 1), grow()].concat();
    // Whether it goes on or ends before it is noticed.
    for body in [both.clone(), [both, forever(&[])].concat()] {
        assert_eq!(ended_by(&told(&filing(&body))), Limit::Output);
    }
}

fn unlinked_files_count_while_they_are_open() {
    let unlink = |name| {
        vec![
            I::LocalGet(LOCAL),
            I::I32Const(name),
            I::I32Const(1),
            I::I32Const(RESULT),
            I::Call(UNLINK),
        ]
    };
    let body = [
        create(DATA, 1),
        unlink(DATA),
        grow(),
        create(DATA + 1, 1),
        unlink(DATA + 1),
        grow(),
        forever(&[]),
    ];
    assert_eq!(ended_by(&told(&filing(&body.concat()))), Limit::Output);
}

fn too_many_random_bytes_are_refused() {
    let asking = |bytes| {
        let body = vec![I::I64Const(bytes), I::I32Const(RESULT), I::Call(0)];
        told(&Guest {
            imports: vec![imports::RANDOM_BYTES],
            body,
            pages: 32,
            ..Guest::default()
        })
    };
    assert_eq!(asking(1 << 20).end.ended, Ended::Completed);
    assert_eq!(ended_by(&asking((1 << 20) + 1)), Limit::Random);
    assert_eq!(ended_by(&asking(-1)), Limit::Random);
}

/// Writes `length` bytes into a file of the DFS.
fn dfs_write(length: i32) -> Vec<I<'static>> {
    let name = [I::I32Const(DATA), I::I32Const(1)];
    [
        &name,
        &name,
        &[
            I::I32Const(DATA),
            I::I32Const(length),
            I::I32Const(RESULT),
            I::Call(0),
        ][..],
    ]
    .concat()
}

fn too_much_data_in_one_call_is_refused() {
    let guest = Guest {
        imports: vec![imports::DFS_WRITE],
        body: dfs_write(17 << 20),
        pages: 300,
        ..Guest::default()
    };
    assert_eq!(ended_by(&told(&guest)), Limit::CallSize);
}

fn data_beyond_a_frame_is_an_error_of_the_call() {
    const INVALID: i32 = 1;
    let tag_of_error = MemArg {
        offset: 4,
        align: 0,
        memory_index: 0,
    };
    let check = [
        I::I32Const(RESULT),
        I::I32Load8U(tag_of_error),
        I::I32Const(INVALID),
        I::I32Ne,
        I::If(BlockType::Empty),
        I::Unreachable,
        I::End,
    ];
    let body = [&dfs_write(3 << 20)[..], &assert_result(1), &check].concat();
    let guest = Guest {
        imports: vec![imports::DFS_WRITE],
        body,
        pages: 300,
        ..Guest::default()
    };
    assert_eq!(told(&guest).end.ended, Ended::Completed);
}

fn calls_reach_the_broker_and_their_answers_the_guest() {
    let body = |tag| [&[I::I32Const(RESULT), I::Call(0)][..], &assert_result(tag)].concat();
    let pods = |tag| Guest {
        imports: vec![imports::PODS],
        body: body(tag),
        ..Guest::default()
    };
    let answers = [
        (0, Ok(Reply::Names(vec!["one".into(), "two".into()]))),
        (1, Err(Error::Cancelled)),
        // Too large for a frame: becomes an error instead of a hanging guest.
        (1, Ok(Reply::Names(vec!["x".repeat(1 << 20); 20]))),
    ];
    for (tag, answer) in answers {
        let pod = Pod::new();
        let request = pod.request(&pods(tag).code(), limits());
        let told = block_on(run_to_the_end(request, |_| Some(answer.clone())));
        assert_eq!(told.end.ended, Ended::Completed, "{answer:?}");
        assert!(matches!(told.calls[..], [Call::Pods]));
    }
    // An answer of the wrong kind is a fault of the host, not of the guest.
    let pod = Pod::new();
    let request = pod.request(&pods(0).code(), limits());
    let told = block_on(run_to_the_end(request, |_| Some(Ok(Reply::Task(1)))));
    assert!(
        matches!(told.end.ended, Ended::Broken { .. }),
        "{:?}",
        told.end
    );
}

fn bars_are_told_and_thinned_out() {
    const STEPS: i32 = 100_000;
    let open = [
        I::I32Const(DATA),
        I::I32Const(5),
        I::I32Const(1),
        I::I64Const(STEPS.into()),
        I::Call(0),
    ];
    let body = [
        &open[..],
        &[I::LocalSet(LOCAL)],
        &times(STEPS, &[I::LocalGet(LOCAL), I::I64Const(1), I::Call(1)]),
        &[I::LocalGet(LOCAL), I::Call(2)],
    ]
    .concat();
    let guest = Guest {
        imports: vec![imports::BAR, imports::ADVANCE, imports::FINISH],
        data: b"steps".to_vec(),
        body,
        ..Guest::default()
    };
    let told = told(&guest);
    assert_eq!(told.end.ended, Ended::Completed);
    let changes: Vec<BarChange> = told
        .notes
        .into_iter()
        .map(|note| match note {
            Note::Bar { bar: 1, change } => change,
            other => panic!("{other:?}"),
        })
        .collect();
    let [
        BarChange::Opened {
            label,
            total: Some(100_000),
        },
        positions @ ..,
        BarChange::Finished,
    ] = &changes[..]
    else {
        panic!("{changes:?}");
    };
    assert_eq!(label.raw(), "steps");
    assert!(
        matches!(positions.last(), Some(BarChange::Position(100_000))),
        "{positions:?}"
    );
    assert!(
        positions.len() < 1000,
        "{} positions were sent",
        positions.len()
    );
}

fn an_unknown_import_is_refused_by_name() {
    let guest = Guest {
        wit: Some(
            "package other:host@9.1.0;
             interface thing { call: func(); }
             world guest { include sovr:pod/script@0.1.0; import thing; }",
        ),
        imports: vec![guest::Import {
            module: "other:host/thing@9.1.0",
            name: "call",
            params: &[],
            results: &[],
        }],
        body: vec![I::Call(0)],
        ..Guest::default()
    };
    let told = told(&guest);
    let Ended::Refused { reason } = told.end.ended else {
        panic!("{told:?}")
    };
    assert!(
        reason.raw().contains("other:host/thing@9.1.0"),
        "{reason:?}"
    );
    assert_eq!(told.end.time, Duration::ZERO, "the guest never ran");
}

fn sockets_may_be_imported_and_trap_when_called() {
    let guest = |body| Guest {
        wit: Some(
            "package test:sockets;
             world guest {
                 include sovr:pod/script@0.1.0;
                 import wasi:sockets/instance-network@0.2.12;
                 import wasi:sockets/tcp-create-socket@0.2.12;
             }",
        ),
        // The last shows that a resource of wasi:io inside sockets is the one of wasi:io.
        imports: vec![
            imports::INSTANCE_NETWORK,
            imports::CREATE_TCP_SOCKET,
            imports::TCP_SUBSCRIBE,
            imports::BLOCK,
        ],
        body,
        ..Guest::default()
    };
    let uncalled = vec![
        I::I32Const(0),
        I::If(BlockType::Empty),
        I::I32Const(0),
        I::Call(2),
        I::Call(3),
        I::I32Const(0),
        I::I32Const(RESULT),
        I::Call(1),
        I::End,
    ];
    assert_eq!(told(&guest(uncalled)).end.ended, Ended::Completed);
    let told = told(&guest(vec![I::Call(0), I::Drop]));
    let Ended::Trapped { reason, .. } = told.end.ended else {
        panic!("{told:?}")
    };
    assert!(
        reason.raw().contains("wasi:sockets/instance-network"),
        "{reason:?}"
    );
}

fn cancel_stops_a_guest_where_it_stands() {
    let endless = Guest {
        body: forever(&[]),
        ..Guest::default()
    };
    let body = vec![I::I64Const(i64::MAX), I::Call(0), I::Call(1)];
    let waiting = Guest {
        imports: vec![imports::SUBSCRIBE, imports::BLOCK],
        body,
        ..Guest::default()
    };
    for guest in [endless, waiting] {
        let pod = Pod::new();
        block_on(async {
            let mut runner = run::start(pod.request(&guest.code(), limits())).unwrap();
            assert!(matches!(runner.next().await, Some(Event::Ready)));
            tokio::time::sleep(Duration::from_millis(50)).await;
            let asked = Instant::now();
            runner.control().cancel();
            let told = see_to_the_end(&mut runner, no_call).await;
            assert_eq!(told.end.ended, Ended::Cancelled);
            assert!(asked.elapsed() < LATE, "{:?}", asked.elapsed());
        });
    }
}

fn what_is_no_code_is_broken() {
    let pod = Pod::new();
    let request = pod.request(
        b"\0asm\x0d\0\x01\0",
        Limits {
            output: Size::kib(1),
            ..limits()
        },
    );
    let told = block_on(run_to_the_end(request, no_call));
    assert!(
        matches!(told.end.ended, Ended::Broken { .. }),
        "{:?}",
        told.end
    );
}
