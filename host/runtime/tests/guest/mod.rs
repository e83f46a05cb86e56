//! Guests for tests, written instruction by instruction: a test says what the guest does and nothing else is in it.

use std::path::Path;
use std::sync::OnceLock;

use sovr_runtime::engine;
use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, GlobalType, ImportSection, Instruction, MemorySection,
    MemoryType, Module, RefType, StartSection, TableSection, TableType, TypeSection, ValType,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

pub(crate) use wasm_encoder::{BlockType, Instruction as I};

/// First local that a guest may use as it likes; 32 bits like the next ones.
pub(crate) const LOCAL: u32 = 0;

/// Where a guest may let the host write results.
pub(crate) const RESULT: i32 = 16;

/// Where a guest's constant data lies.
pub(crate) const DATA: i32 = 1024;

/// The call whose number is its place in [`Guest::imports`].
#[derive(Clone, Copy)]
pub(crate) struct Import {
    pub(crate) module: &'static str,
    pub(crate) name: &'static str,
    pub(crate) params: &'static [ValType],
    pub(crate) results: &'static [ValType],
}

/// A guest to build.
#[derive(Clone)]
pub(crate) struct Guest {
    /// What its world has beside that of a script: a package with the world `guest`.
    pub(crate) wit: Option<&'static str>,
    pub(crate) imports: Vec<Import>,
    /// Lies at [`DATA`].
    pub(crate) data: Vec<u8>,
    /// Pages of memory at the start.
    pub(crate) pages: u64,
    /// Sizes of tables at the start.
    pub(crate) tables: Vec<u64>,
    /// Whether the body runs when the guest is instantiated, and not when it is called.
    pub(crate) at_start: bool,
    /// What it does; leaves nothing on the stack. If it comes to its end, the guest ends well.
    pub(crate) body: Vec<Instruction<'static>>,
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            wit: None,
            imports: Vec::new(),
            data: Vec::new(),
            pages: 4,
            tables: Vec::new(),
            at_start: false,
            body: Vec::new(),
        }
    }
}

impl Guest {
    /// The component, compiled.
    pub(crate) fn code(&self) -> Vec<u8> {
        static ENGINE: OnceLock<wasmtime::Engine> = OnceLock::new();
        let engine = ENGINE.get_or_init(|| engine::new().unwrap());
        engine
            .precompile_component(&self.component())
            .expect("the guest compiles")
    }

    fn component(&self) -> Vec<u8> {
        let mut resolve = Resolve::default();
        let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        let (contract, _) = resolve.push_path(contract).unwrap();
        let world = match self.wit {
            Some(wit) => {
                let package = resolve.push_str("test.wit", wit).unwrap();
                resolve.select_world(&[package], Some("guest"))
            }
            None => resolve.select_world(&[contract], Some("script")),
        }
        .unwrap();
        let mut module = self.module();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default()
            .module(&module)
            .unwrap()
            .encode()
            .expect("the guest is a component")
    }

    fn module(&self) -> Vec<u8> {
        let mut types = TypeSection::new();
        let mut imports = ImportSection::new();
        for (number, import) in self.imports.iter().enumerate() {
            types.ty().function(
                import.params.iter().copied(),
                import.results.iter().copied(),
            );
            imports.import(
                import.module,
                import.name,
                EntityType::Function(number as u32),
            );
        }
        let own = self.imports.len() as u32;
        types.ty().function([], []);
        types.ty().function([], [ValType::I32]);
        types.ty().function([ValType::I32; 4], [ValType::I32]);
        let (body, run, realloc) = (own, own + 1, own + 2);

        let mut functions = FunctionSection::new();
        for kind in [body, run, realloc] {
            functions.function(kind);
        }
        let mut tables = TableSection::new();
        for &minimum in &self.tables {
            tables.table(TableType {
                element_type: RefType::FUNCREF,
                minimum,
                maximum: None,
                table64: false,
                shared: false,
            });
        }
        let mut memories = MemorySection::new();
        let memory = MemoryType {
            minimum: self.pages,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        };
        memories.memory(memory);
        let mut globals = GlobalSection::new();
        let free = GlobalType {
            val_type: ValType::I32,
            mutable: true,
            shared: false,
        };
        globals.global(free, &ConstExpr::i32_const(DATA + self.data.len() as i32));
        let mut exports = ExportSection::new();
        exports.export("memory", ExportKind::Memory, 0);
        exports.export("cabi_realloc", ExportKind::Func, realloc);
        exports.export("wasi:cli/run@0.2.12#run", ExportKind::Func, run);

        let function = |locals: &[(u32, ValType)], body: &[Instruction<'_>]| {
            let mut function = Function::new(locals.iter().copied());
            body.iter().for_each(|instruction| {
                function.instruction(instruction);
            });
            function.instruction(&I::End);
            function
        };
        let mut code = CodeSection::new();
        code.function(&function(&[(8, ValType::I32)], &self.body));
        let call: &[I<'_>] = if self.at_start { &[] } else { &[I::Call(body)] };
        code.function(&function(&[], &[call, &[I::I32Const(0)]].concat()));
        // Memory is handed out from the end of the data on and never given back; the third parameter is the alignment.
        code.function(&function(
            &[],
            &[
                I::GlobalGet(0),
                I::LocalGet(2),
                I::I32Add,
                I::I32Const(1),
                I::I32Sub,
                I::I32Const(0),
                I::LocalGet(2),
                I::I32Sub,
                I::I32And,
                I::LocalTee(1),
                I::LocalGet(3),
                I::I32Add,
                I::GlobalSet(0),
                I::LocalGet(1),
            ],
        ));
        let mut data = DataSection::new();
        data.active(0, &ConstExpr::i32_const(DATA), self.data.iter().copied());

        let mut module = Module::new();
        module
            .section(&types)
            .section(&imports)
            .section(&functions)
            .section(&tables)
            .section(&memories);
        module.section(&globals).section(&exports);
        if self.at_start {
            module.section(&StartSection {
                function_index: body,
            });
        }
        module.section(&code).section(&data);
        module.finish()
    }
}

/// A loop for ever around `body`.
pub(crate) fn forever(body: &[I<'static>]) -> Vec<I<'static>> {
    [&[I::Loop(BlockType::Empty)], body, &[I::Br(0), I::End]].concat()
}

/// A loop around `body`, so many times. Uses the last of the guest's locals to count.
pub(crate) fn times(count: i32, body: &[I<'static>]) -> Vec<I<'static>> {
    const COUNTER: u32 = 7;
    [
        &[I::Loop(BlockType::Empty)],
        body,
        &[
            I::LocalGet(COUNTER),
            I::I32Const(1),
            I::I32Add,
            I::LocalTee(COUNTER),
            I::I32Const(count),
            I::I32LtU,
            I::BrIf(0),
            I::End,
        ],
    ]
    .concat()
}

/// Traps unless the 32 bits at [`RESULT`] are `value`: the tag of a result, or the first word of a list.
pub(crate) fn assert_result(value: i32) -> Vec<I<'static>> {
    let load = wasm_encoder::MemArg {
        offset: 0,
        align: 0,
        memory_index: 0,
    };
    vec![
        I::I32Const(RESULT),
        I::I32Load8U(load),
        I::I32Const(value),
        I::I32Ne,
        I::If(BlockType::Empty),
        I::Unreachable,
        I::End,
    ]
}

/// Calls of WASI and of the contract in the form in which a guest imports them.
pub(crate) mod imports {
    use super::Import;
    use wasm_encoder::ValType::{I32, I64};

    pub(crate) const GET_STDOUT: Import = Import {
        module: "wasi:cli/stdout@0.2.12",
        name: "get-stdout",
        params: &[],
        results: &[I32],
    };
    pub(crate) const GET_STDERR: Import = Import {
        module: "wasi:cli/stderr@0.2.12",
        name: "get-stderr",
        params: &[],
        results: &[I32],
    };
    pub(crate) const WRITE: Import = Import {
        module: "wasi:io/streams@0.2.12",
        name: "[method]output-stream.blocking-write-and-flush",
        params: &[I32, I32, I32, I32],
        results: &[],
    };
    pub(crate) const EXIT: Import = Import {
        module: "wasi:cli/exit@0.2.12",
        name: "exit",
        params: &[I32],
        results: &[],
    };
    pub(crate) const RANDOM_BYTES: Import = Import {
        module: "wasi:random/random@0.2.12",
        name: "get-random-bytes",
        params: &[I64, I32],
        results: &[],
    };
    pub(crate) const SUBSCRIBE: Import = Import {
        module: "wasi:clocks/monotonic-clock@0.2.12",
        name: "subscribe-duration",
        params: &[I64],
        results: &[I32],
    };
    pub(crate) const BLOCK: Import = Import {
        module: "wasi:io/poll@0.2.12",
        name: "[method]pollable.block",
        params: &[I32],
        results: &[],
    };
    pub(crate) const LOG: Import = Import {
        module: "sovr:pod/log@0.1.0",
        name: "log",
        params: &[I32, I32, I32, I32, I32],
        results: &[],
    };
    pub(crate) const PODS: Import = Import {
        module: "sovr:pod/dfs@0.1.0",
        name: "pods",
        params: &[I32],
        results: &[],
    };
    pub(crate) const DFS_WRITE: Import = Import {
        module: "sovr:pod/dfs@0.1.0",
        name: "write",
        params: &[I32, I32, I32, I32, I32, I32, I32],
        results: &[],
    };
    pub(crate) const BAR: Import = Import {
        module: "sovr:pod/progress@0.1.0",
        name: "[constructor]bar",
        params: &[I32, I32, I32, I64],
        results: &[I32],
    };
    pub(crate) const ADVANCE: Import = Import {
        module: "sovr:pod/progress@0.1.0",
        name: "[method]bar.advance",
        params: &[I32, I64],
        results: &[],
    };
    pub(crate) const FINISH: Import = Import {
        module: "sovr:pod/progress@0.1.0",
        name: "[method]bar.finish",
        params: &[I32],
        results: &[],
    };
    pub(crate) const GET_DIRECTORIES: Import = Import {
        module: "wasi:filesystem/preopens@0.2.12",
        name: "get-directories",
        params: &[I32],
        results: &[],
    };
    pub(crate) const OPEN_AT: Import = Import {
        module: "wasi:filesystem/types@0.2.12",
        name: "[method]descriptor.open-at",
        params: &[I32; 7],
        results: &[],
    };
    pub(crate) const FILE_WRITE: Import = Import {
        module: "wasi:filesystem/types@0.2.12",
        name: "[method]descriptor.write",
        params: &[I32, I32, I32, I64, I32],
        results: &[],
    };
    pub(crate) const UNLINK: Import = Import {
        module: "wasi:filesystem/types@0.2.12",
        name: "[method]descriptor.unlink-file-at",
        params: &[I32, I32, I32, I32],
        results: &[],
    };
    pub(crate) const DROP_FILE: Import = Import {
        module: "wasi:filesystem/types@0.2.12",
        name: "[resource-drop]descriptor",
        params: &[I32],
        results: &[],
    };
    pub(crate) const INSTANCE_NETWORK: Import = Import {
        module: "wasi:sockets/instance-network@0.2.12",
        name: "instance-network",
        params: &[],
        results: &[I32],
    };
    pub(crate) const CREATE_TCP_SOCKET: Import = Import {
        module: "wasi:sockets/tcp-create-socket@0.2.12",
        name: "create-tcp-socket",
        params: &[I32, I32],
        results: &[],
    };
    pub(crate) const TCP_SUBSCRIBE: Import = Import {
        module: "wasi:sockets/tcp@0.2.12",
        name: "[method]tcp-socket.subscribe",
        params: &[I32],
        results: &[I32],
    };
}
