//! Guests that no compiler would make, written by hand. Each is a complete component that exports `wasi:cli/run`.

use wasm_encoder::{
    Alias, BlockType, CanonicalFunctionSection, CodeSection, Component, ComponentAliasSection,
    ComponentExportKind, ComponentExportSection, ComponentInstanceSection, ComponentTypeSection,
    ComponentValType, ExportKind, ExportSection, Function, FunctionSection, InstanceSection,
    MemorySection, MemoryType, Module, ModuleArg, ModuleSection, StartSection, TypeSection,
    ValType,
};

/// Loops while it is being instantiated, before `run` could be called.
pub fn loop_in_start() -> Vec<u8> {
    let mut start = Function::new([]);
    let mut code = start.instructions();
    code.loop_(BlockType::Empty).br(0).end().end();
    component(&module(&[start], Some(0), None))
}

/// One function whose many locals are all alive across two loops: a megabyte of wasm that takes a quarter of an hour
/// to compile.
pub fn compile_bomb(locals: u32) -> Vec<u8> {
    let mut bomb = Function::new([(locals, ValType::I64)]);
    let mut code = bomb.instructions();
    for _ in 0..2 {
        code.loop_(BlockType::Empty);
        for local in 0..locals {
            // Each becomes the sum of itself and its neighbour, so none can be dropped or shared.
            code.local_get(local)
                .local_get((local + 1) % locals)
                .i64_add()
                .local_set(local);
        }
        code.local_get(0).i64_eqz().br_if(0).end();
    }
    code.end();
    component(&module(&[bomb], None, None))
}

/// A module whose memory is as large as a memory can be from its beginning.
pub fn huge_memory() -> Vec<u8> {
    component(&module(&[], None, Some(65_536)))
}

/// Something every host runs: `run` answers success at once.
pub fn nothing() -> Vec<u8> {
    component(&module(&[], None, None))
}

/// A module with these functions of no parameters and results, and after them `run`.
fn module(functions: &[Function], start: Option<u32>, memory_pages: Option<u64>) -> Module {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    types.ty().function([], [ValType::I32]);
    let (mut declared, mut code, mut exports) = (
        FunctionSection::new(),
        CodeSection::new(),
        ExportSection::new(),
    );
    for function in functions {
        declared.function(0);
        code.function(function);
    }
    declared.function(1);
    let mut run = Function::new([]);
    run.instructions().i32_const(0).end();
    code.function(&run);
    exports.export("run", ExportKind::Func, functions.len() as u32);

    let mut module = Module::new();
    module.section(&types).section(&declared);
    if let Some(minimum) = memory_pages {
        let mut memories = MemorySection::new();
        memories.memory(MemoryType {
            minimum,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        module.section(&memories);
    }
    module.section(&exports);
    if let Some(function_index) = start {
        module.section(&StartSection { function_index });
    }
    module.section(&code);
    module
}

/// Wraps a module whose export `run` answers 0 for success.
fn component(module: &Module) -> Vec<u8> {
    // Each index space below has one item, so every index is 0, except that types have two.
    let (result_type, run_type) = (0, 1);
    let mut component = Component::new();
    component.section(&ModuleSection(module));
    let mut instances = InstanceSection::new();
    instances.instantiate(0, std::iter::empty::<(&str, ModuleArg)>());
    component.section(&instances);
    let mut aliases = ComponentAliasSection::new();
    aliases.alias(Alias::CoreInstanceExport {
        instance: 0,
        kind: ExportKind::Func,
        name: "run",
    });
    component.section(&aliases);
    let mut types = ComponentTypeSection::new();
    types.defined_type().result(None, None);
    types
        .function()
        .params(std::iter::empty::<(&str, ComponentValType)>())
        .result(Some(ComponentValType::Type(result_type)));
    component.section(&types);
    let mut functions = CanonicalFunctionSection::new();
    functions.lift(0, run_type, []);
    component.section(&functions);
    let mut interface = ComponentInstanceSection::new();
    interface.export_items([("run", ComponentExportKind::Func, 0)]);
    component.section(&interface);
    let mut exports = ComponentExportSection::new();
    exports.export(
        "wasi:cli/run@0.2.12",
        ComponentExportKind::Instance,
        0,
        None,
    );
    component.section(&exports);
    component.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest that is refused as malformed would test nothing.
    #[test]
    fn all_are_valid_components() {
        for (name, guest) in [
            ("loop_in_start", loop_in_start()),
            ("compile_bomb", compile_bomb(49_000)),
            ("huge_memory", huge_memory()),
            ("nothing", nothing()),
        ] {
            wasmparser::validate(&guest).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
