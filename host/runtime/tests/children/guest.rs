//! Guests, made by hand: core modules of WASI preview 1, and components without a program.

use std::fs::File;
use std::io::Write as _;

use wasm_encoder::{
    CodeSection, Component, ComponentImportSection, ComponentTypeRef, ComponentTypeSection,
    ConstExpr, DataSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    ImportSection, InstanceType, InstructionSink, MemArg, MemorySection, MemoryType, Module,
    PrimitiveValType, ProducersField, ProducersSection, StartSection, TypeSection, ValType,
};

/// What guests import from preview 1, and where. `_start` follows.
const IMPORTS: &[(&str, &[ValType], &[ValType])] = {
    use ValType::{I32, I64};
    &[
        ("fd_write", &[I32, I32, I32, I32], &[I32]),
        ("fd_read", &[I32, I32, I32, I32], &[I32]),
        (
            "path_open",
            &[I32, I32, I32, I32, I32, I64, I64, I32, I32],
            &[I32],
        ),
        ("proc_exit", &[I32], &[]),
        ("poll_oneoff", &[I32, I32, I32, I32], &[I32]),
        ("environ_sizes_get", &[I32, I32], &[I32]),
    ]
};
const FD_WRITE: u32 = 0;
const FD_READ: u32 = 1;
const PATH_OPEN: u32 = 2;
const PROC_EXIT: u32 = 3;
const POLL_ONEOFF: u32 = 4;
const ENVIRON_SIZES: u32 = 5;

/// Where in memory: a buffer's address and length, a count, an opened file, a subscription, and texts.
const VECTOR: i32 = 0;
const COUNT: i32 = 8;
const OPENED: i32 = 12;
const SUBSCRIPTION: i32 = 64;
const TEXTS: i32 = 1024;
const BUFFER: i32 = 32 << 10;

/// Descriptor of the first volume; the others follow.
pub(crate) const FIRST_VOLUME: i32 = 3;

/// A core module that is being written.
pub(crate) struct Program {
    texts: Vec<u8>,
    start: Function,
    /// Runs before `_start`, while the module is instantiated.
    before: Option<Function>,
    pages: u64,
    foreign_import: bool,
    export: &'static str,
}

fn word(offset: i32) -> MemArg {
    MemArg {
        offset: u64::from(offset.unsigned_abs()),
        align: 2,
        memory_index: 0,
    }
}

impl Program {
    pub(crate) fn new() -> Self {
        Self {
            texts: Vec::new(),
            start: Function::new([]),
            before: None,
            pages: 1,
            foreign_import: false,
            export: "_start",
        }
    }

    fn code(&mut self) -> InstructionSink<'_> {
        self.start.instructions()
    }

    /// Text in memory: where and how long.
    fn text(&mut self, text: &str) -> (i32, i32) {
        let at = TEXTS + i32::try_from(self.texts.len()).unwrap();
        self.texts.extend_from_slice(text.as_bytes());
        (at, i32::try_from(text.len()).unwrap())
    }

    /// Exits with the error that is on the stack, if it is one.
    fn check(&mut self) {
        self.code().i32_store(word(COUNT + 8));
        self.code()
            .i32_const(0)
            .i32_load(word(COUNT + 8))
            .if_(wasm_encoder::BlockType::Empty)
            .i32_const(0)
            .i32_load(word(COUNT + 8))
            .call(PROC_EXIT)
            .end();
    }

    fn vector(&mut self, at: i32, length: i32) {
        self.code()
            .i32_const(0)
            .i32_const(at)
            .i32_store(word(VECTOR))
            .i32_const(0)
            .i32_const(length)
            .i32_store(word(VECTOR + 4));
    }

    pub(crate) fn print(mut self, descriptor: i32, text: &str) -> Self {
        let (at, length) = self.text(text);
        self.vector(at, length);
        self.code()
            .i32_const(0)
            .i32_const(descriptor)
            .i32_const(VECTOR)
            .i32_const(1)
            .i32_const(COUNT)
            .call(FD_WRITE);
        self.check();
        self
    }

    /// Prints the same again and again.
    pub(crate) fn flood(mut self) -> Self {
        self.vector(TEXTS, 4096);
        self.code()
            .loop_(wasm_encoder::BlockType::Empty)
            .i32_const(1)
            .i32_const(VECTOR)
            .i32_const(1)
            .i32_const(COUNT)
            .call(FD_WRITE)
            .drop()
            .br(0)
            .end();
        self
    }

    /// Opens a file beneath a volume; exits with the error if that fails.
    fn open(mut self, volume: i32, path: &str, flags: i32, rights: i64) -> Self {
        let (at, length) = self.text(path);
        self.code()
            .i32_const(0)
            .i32_const(volume)
            .i32_const(0)
            .i32_const(at)
            .i32_const(length)
            .i32_const(flags)
            .i64_const(rights)
            .i64_const(rights)
            .i32_const(0)
            .i32_const(OPENED)
            .call(PATH_OPEN);
        self.check();
        self
    }

    /// Creates or truncates a file and writes into it.
    pub(crate) fn write_file(self, volume: i32, path: &str, content: &str) -> Self {
        const CREATE_AND_TRUNCATE: i32 = 1 | 8;
        const WRITE: i64 = 1 << 6;
        let mut program = self.open(volume, path, CREATE_AND_TRUNCATE, WRITE);
        let (at, length) = program.text(content);
        program.vector(at, length);
        program
            .code()
            .i32_const(0)
            .i32_const(0)
            .i32_load(word(OPENED))
            .i32_const(VECTOR)
            .i32_const(1)
            .i32_const(COUNT)
            .call(FD_WRITE);
        program.check();
        program
    }

    /// Prints the first bytes of a file.
    pub(crate) fn print_file(self, volume: i32, path: &str) -> Self {
        const READ: i64 = 1 << 1;
        let mut program = self.open(volume, path, 0, READ);
        program.vector(BUFFER, 1024);
        program
            .code()
            .i32_const(0)
            .i32_const(0)
            .i32_load(word(OPENED))
            .i32_const(VECTOR)
            .i32_const(1)
            .i32_const(COUNT)
            .call(FD_READ);
        program.check();
        program
            .code()
            .i32_const(0)
            .i32_const(0)
            .i32_load(word(COUNT))
            .i32_store(word(VECTOR + 4))
            .i32_const(1)
            .i32_const(VECTOR)
            .i32_const(1)
            .i32_const(COUNT)
            .call(FD_WRITE)
            .drop();
        program
    }

    /// Fails if there are environment variables.
    pub(crate) fn exit_with_environment(mut self) -> Self {
        self.code()
            .i32_const(COUNT)
            .i32_const(OPENED)
            .call(ENVIRON_SIZES)
            .drop()
            .i32_const(0)
            .i32_load(word(COUNT))
            .call(PROC_EXIT);
        self
    }

    pub(crate) fn exit(mut self, code: i32) -> Self {
        self.code().i32_const(code).call(PROC_EXIT);
        self
    }

    pub(crate) fn trap(mut self) -> Self {
        self.code().unreachable();
        self
    }

    pub(crate) fn loop_for_ever(mut self) -> Self {
        self.code()
            .loop_(wasm_encoder::BlockType::Empty)
            .br(0)
            .end();
        self
    }

    /// Waits for an hour.
    pub(crate) fn sleep(mut self) -> Self {
        // A subscription to the monotonic clock: kind at 8, clock at 16, timeout at 24.
        let doubleword = |offset: i32| MemArg {
            offset: u64::from(offset.unsigned_abs()),
            align: 3,
            memory_index: 0,
        };
        self.code()
            .i32_const(0)
            .i32_const(1)
            .i32_store(word(SUBSCRIPTION + 16))
            .i32_const(0)
            .i64_const(3_600_000_000_000)
            .i64_store(doubleword(SUBSCRIPTION + 24))
            .i32_const(SUBSCRIPTION)
            .i32_const(BUFFER)
            .i32_const(1)
            .i32_const(COUNT)
            .call(POLL_ONEOFF)
            .drop();
        self
    }

    /// Grows its memory until it gets no more, and traps then, as allocators do.
    pub(crate) fn fill_memory(mut self) -> Self {
        self.code()
            .loop_(wasm_encoder::BlockType::Empty)
            .i32_const(16)
            .memory_grow(0)
            .i32_const(-1)
            .i32_ne()
            .br_if(0)
            .end()
            .unreachable();
        self
    }

    /// Loops in the function that runs when the module is instantiated.
    pub(crate) fn loop_before_start(mut self) -> Self {
        let mut before = Function::new([]);
        before
            .instructions()
            .loop_(wasm_encoder::BlockType::Empty)
            .br(0)
            .end()
            .end();
        self.before = Some(before);
        self
    }

    /// A start function of this many locals, all of them alive all the time: small to write and long to compile.
    pub(crate) fn with_locals(mut self, count: u32) -> Self {
        let mut before = Function::new([(count, ValType::I32)]);
        let mut code = before.instructions();
        for local in 0..count {
            // From different places, so that they are not found to be the same.
            let place = MemArg {
                offset: u64::from(local) * 4,
                align: 2,
                memory_index: 0,
            };
            code.i32_const(0).i32_load(place).local_set(local);
        }
        // Each branch is a place to which all the others are carried.
        for local in 0..count {
            code.local_get(local)
                .if_(wasm_encoder::BlockType::Empty)
                .end();
        }
        code.i32_const(0);
        for local in 0..count {
            code.local_get(local).i32_add();
        }
        code.drop().end();
        self.before = Some(before);
        self
    }

    pub(crate) fn with_memory(mut self, pages: u64) -> Self {
        self.pages = pages;
        self
    }

    pub(crate) fn importing_from_elsewhere(mut self) -> Self {
        self.foreign_import = true;
        self
    }

    pub(crate) fn without_start(mut self) -> Self {
        self.export = "other";
        self
    }

    pub(crate) fn wasm(mut self) -> Vec<u8> {
        self.code().end();
        let mut types = TypeSection::new();
        let mut imports = ImportSection::new();
        for (index, (name, parameters, results)) in IMPORTS.iter().enumerate() {
            types
                .ty()
                .function(parameters.iter().copied(), results.iter().copied());
            imports.import(
                "wasi_snapshot_preview1",
                name,
                EntityType::Function(u32::try_from(index).unwrap()),
            );
        }
        let nothing = types.len();
        types.ty().function([], []);
        if self.foreign_import {
            imports.import("env", "launch", EntityType::Function(nothing));
        }
        let start = imports.len();
        let mut functions = FunctionSection::new();
        let mut code = CodeSection::new();
        functions.function(nothing);
        code.function(&self.start);
        if let Some(before) = &self.before {
            functions.function(nothing);
            code.function(before);
        }
        let mut memories = MemorySection::new();
        memories.memory(MemoryType {
            minimum: self.pages,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        let mut exports = ExportSection::new();
        exports.export("memory", ExportKind::Memory, 0);
        exports.export(self.export, ExportKind::Func, start);
        let mut data = DataSection::new();
        data.active(0, &ConstExpr::i32_const(TEXTS), self.texts.iter().copied());

        let mut module = Module::new();
        module
            .section(&types)
            .section(&imports)
            .section(&functions)
            .section(&memories)
            .section(&exports);
        if self.before.is_some() {
            module.section(&StartSection {
                function_index: start + 1,
            });
        }
        module.section(&code).section(&data).section(&producers());
        module.finish()
    }
}

fn producers() -> ProducersSection {
    let mut producers = ProducersSection::new();
    let mut languages = ProducersField::new();
    languages.value("by hand", "1");
    producers.field("language", &languages);
    producers
}

/// A component that imports `interface` with one function, and does nothing.
pub(crate) fn component_importing(interface: &str) -> Vec<u8> {
    let mut instance = InstanceType::new();
    instance
        .ty()
        .function()
        .params([("n", PrimitiveValType::U32)])
        .result(None);
    instance.export("go", ComponentTypeRef::Func(0));
    let mut types = ComponentTypeSection::new();
    types.instance(&instance);
    let mut imports = ComponentImportSection::new();
    imports.import(interface, ComponentTypeRef::Instance(0));
    let mut component = Component::new();
    component
        .section(&types)
        .section(&imports)
        .section(&producers());
    component.finish()
}

/// A file with this content.
pub(crate) fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}
