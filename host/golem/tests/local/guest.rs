//! A WASI package for the tests: programs of a few instructions, as core modules of preview 1.

use std::io::{Cursor, Write};

use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, ImportSection, Instruction as I, MemArg, MemorySection, MemoryType, Module,
    TypeSection, ValType,
};

const MODULE: &str = "wasi_snapshot_preview1";

// Imported functions, in this order.
const FD_WRITE: u32 = 0;
const FD_READ: u32 = 1;
const PATH_OPEN: u32 = 2;
const PROC_EXIT: u32 = 3;

// Where things lie in memory.
const IOVEC: i32 = 0;
const COUNT: i32 = 8;
const FD: i32 = 16;
const DATA: i32 = 1024;
const BUFFER: i32 = 8192;
const BUFFER_LENGTH: i32 = 4096;

/// The first directory that a program is given: the package's only mount point.
const WORK: i32 = 3;

/// The package's only mount point.
pub(crate) const MOUNT: &str = "/golem/work";

/// Programs:
/// - `print` prints `hello`;
/// - `fail` prints `sorry` to standard error and exits with code 1;
/// - `hang` computes for ever;
/// - `toil` computes for a good part of a second;
/// - `cat` prints the file `/golem/work/file`;
/// - `make` makes the file `/golem/work/out` with the text `a picture`;
/// - `hoard` makes twenty files of 32 KiB and then computes for ever.
pub(crate) fn package() -> Vec<u8> {
    let programs = [
        ("print", module(b"hello\n", &write(&[I::I32Const(1)], 6))),
        (
            "fail",
            module(b"sorry\n", &[write(&[I::I32Const(2)], 6), exit(1)].concat()),
        ),
        (
            "hang",
            module(
                b"",
                &[I::Loop(wasm_encoder::BlockType::Empty), I::Br(0), I::End],
            ),
        ),
        ("toil", module(b"", &toil())),
        ("cat", module(b"file", &cat(4))),
        ("make", module(b"a pictureout", &make(9, 3))),
        ("hoard", module(b"A", &hoard())),
    ];
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    let entries: Vec<_> = programs
        .iter()
        .map(|(id, _)| serde_json::json!({ "id": id, "wasm-path": format!("{id}.wasm") }))
        .collect();
    let manifest = serde_json::json!({
        "id": "test", "name": "test", "entry-points": entries, "mount-points": [{ "rw": "golem/work" }]
    });
    archive.start_file("manifest.json", options).unwrap();
    archive.write_all(manifest.to_string().as_bytes()).unwrap();
    for (id, wasm) in programs {
        archive.start_file(format!("{id}.wasm"), options).unwrap();
        archive.write_all(&wasm).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn store(address: i32, value: &[I<'static>]) -> Vec<I<'static>> {
    let memarg = MemArg {
        offset: 0,
        align: 2,
        memory_index: 0,
    };
    let mut code = vec![I::I32Const(address)];
    code.extend_from_slice(value);
    code.push(I::I32Store(memarg));
    code
}

fn load(address: i32) -> Vec<I<'static>> {
    let memarg = MemArg {
        offset: 0,
        align: 2,
        memory_index: 0,
    };
    vec![I::I32Const(address), I::I32Load(memarg)]
}

/// A call that traps if it answers an error.
fn call(function: u32, arguments: &[Vec<I<'static>>]) -> Vec<I<'static>> {
    let mut code = arguments.concat();
    code.extend([
        I::Call(function),
        I::If(wasm_encoder::BlockType::Empty),
        I::Unreachable,
        I::End,
    ]);
    code
}

fn constants(values: &[i32]) -> Vec<I<'static>> {
    values.iter().map(|value| I::I32Const(*value)).collect()
}

/// Moves what [`IOVEC`] describes.
fn move_data(function: u32, fd: &[I<'static>]) -> Vec<I<'static>> {
    call(function, &[fd.to_vec(), constants(&[IOVEC, 1, COUNT])])
}

fn describe(start: i32, length: &[I<'static>]) -> Vec<I<'static>> {
    [store(IOVEC, &constants(&[start])), store(IOVEC + 4, length)].concat()
}

/// Writes the first bytes of the data.
fn write(fd: &[I<'static>], length: i32) -> Vec<I<'static>> {
    [
        describe(DATA, &constants(&[length])),
        move_data(FD_WRITE, fd),
    ]
    .concat()
}

fn open(path: i32, length: i32, oflags: i32, rights: i64) -> Vec<I<'static>> {
    let rights = vec![I::I64Const(rights), I::I64Const(0)];
    call(
        PATH_OPEN,
        &[
            constants(&[WORK, 0, path, length, oflags]),
            rights,
            constants(&[0, FD]),
        ],
    )
}

fn exit(code: i32) -> Vec<I<'static>> {
    vec![I::I32Const(code), I::Call(PROC_EXIT)]
}

/// Counts down in memory, so that no compiler can leave it out.
fn toil() -> Vec<I<'static>> {
    const ROUNDS: i32 = 200_000_000;
    let less = [load(BUFFER), vec![I::I32Const(1), I::I32Sub]].concat();
    [
        store(BUFFER, &constants(&[ROUNDS])),
        vec![I::Loop(wasm_encoder::BlockType::Empty)],
        store(BUFFER, &less),
        load(BUFFER),
        vec![I::BrIf(0), I::End],
    ]
    .concat()
}

fn cat(path: i32) -> Vec<I<'static>> {
    const RIGHT_TO_READ: i64 = 2;
    [
        open(DATA, path, 0, RIGHT_TO_READ),
        describe(BUFFER, &constants(&[BUFFER_LENGTH])),
        move_data(FD_READ, &load(FD)),
        describe(BUFFER, &load(COUNT)),
        move_data(FD_WRITE, &[I::I32Const(1)]),
    ]
    .concat()
}

/// The data is the content, followed by the path.
fn make(content: i32, path: i32) -> Vec<I<'static>> {
    const CREATE_AND_TRUNCATE: i32 = 9;
    const RIGHT_TO_WRITE: i64 = 64;
    [
        open(DATA + content, path, CREATE_AND_TRUNCATE, RIGHT_TO_WRITE),
        write(&load(FD), content),
    ]
    .concat()
}

/// The data is the name of the next file.
fn hoard() -> Vec<I<'static>> {
    const CREATE_AND_TRUNCATE: i32 = 9;
    const RIGHT_TO_WRITE: i64 = 64;
    const LAST: i32 = 'A' as i32 + 20;
    let next = [load(DATA), vec![I::I32Const(1), I::I32Add]].concat();
    [
        vec![I::Loop(wasm_encoder::BlockType::Empty)],
        load(DATA),
        vec![
            I::I32Const(LAST),
            I::I32LtU,
            I::If(wasm_encoder::BlockType::Empty),
        ],
        open(DATA, 1, CREATE_AND_TRUNCATE, RIGHT_TO_WRITE),
        describe(BUFFER, &constants(&[32 << 10])),
        move_data(FD_WRITE, &load(FD)),
        store(DATA, &next),
        vec![I::End, I::Br(0), I::End],
    ]
    .concat()
}

fn module(data: &[u8], body: &[I<'static>]) -> Vec<u8> {
    use ValType::{I32, I64};
    let mut types = TypeSection::new();
    types.ty().function([I32; 4], [I32]);
    types
        .ty()
        .function([I32, I32, I32, I32, I32, I64, I64, I32, I32], [I32]);
    types.ty().function([I32], []);
    types.ty().function([], []);
    let mut imports = ImportSection::new();
    for (name, index) in [
        ("fd_write", 0),
        ("fd_read", 0),
        ("path_open", 1),
        ("proc_exit", 2),
    ] {
        imports.import(MODULE, name, EntityType::Function(index));
    }
    let mut functions = FunctionSection::new();
    functions.function(3);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("_start", ExportKind::Func, 4);
    let mut start = Function::new([]);
    for instruction in body {
        start.instruction(instruction);
    }
    start.instruction(&I::End);
    let mut code = CodeSection::new();
    code.function(&start);
    let mut segments = DataSection::new();
    segments.active(0, &ConstExpr::i32_const(DATA), data.iter().copied());
    let mut module = Module::new();
    module
        .section(&types)
        .section(&imports)
        .section(&functions)
        .section(&memories)
        .section(&exports)
        .section(&code)
        .section(&segments);
    module.finish()
}
