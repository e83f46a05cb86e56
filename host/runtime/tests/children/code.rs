//! The cache, the examine child and the compile child.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sovr_runtime::code::{Cache, CodeError, CompileLimits, Compiled, Purpose};
use sovr_runtime::examine::{ExamineError, Kind};

use crate::guest::{Program, component_importing, file};
use crate::run;

crate::tests!(
    a_second_use_needs_no_child,
    a_tampered_entry_is_refused_and_made_anew,
    a_torn_entry_is_refused_and_made_anew,
    an_entry_under_another_name_is_refused,
    an_entry_of_another_key_is_refused,
    a_tampered_examination_is_refused_and_made_anew,
    a_directory_that_others_can_write_to_is_refused,
    a_compile_bomb_ends_at_its_deadline,
    a_compiler_that_needs_too_much_memory_ends,
    code_that_is_too_large_is_refused,
    many_can_want_the_same_code_at_once,
    a_core_module_is_no_script,
    a_core_module_with_other_imports_is_refused_by_name,
    a_core_module_without_a_program_is_refused,
    an_examination_tells_what_a_component_needs,
    an_examination_tells_what_a_module_needs,
    what_is_no_wasm_is_told_with_a_hint,
    invalid_wasm_is_refused_with_the_place,
    names_without_end_are_refused,
);

const KEY: [u8; 32] = [7; 32];

/// With these a child that is needed fails.
const NO_TIME: CompileLimits = CompileLimits {
    time: Duration::ZERO,
    memory: 1 << 30,
    code: 1 << 30,
};

struct Place {
    directory: tempfile::TempDir,
    cache: Cache,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(directory.path(), KEY).unwrap();
    Place { directory, cache }
}

impl Place {
    fn entries(&self, extension: &str) -> Vec<PathBuf> {
        entries(self.directory.path(), extension)
    }

    fn entry(&self, extension: &str) -> PathBuf {
        let [entry] = self.entries(extension).try_into().unwrap();
        entry
    }

    fn compile(&self, wasm: &[u8], limits: &CompileLimits) -> Result<Compiled, CodeError> {
        run(self
            .cache
            .get_or_compile(&file(wasm), Purpose::Work, limits))
    }
}

fn entries(directory: &Path, extension: &str) -> Vec<PathBuf> {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect()
}

fn hello() -> Vec<u8> {
    Program::new().print(1, "hello\n").wasm()
}

fn a_second_use_needs_no_child() {
    let place = place();
    assert!(
        place.compile(&hello(), &NO_TIME).unwrap_err().is_limit(),
        "an empty cache gave code"
    );
    let first = place.compile(&hello(), &CompileLimits::default()).unwrap();
    let second = place.compile(&hello(), &NO_TIME).unwrap();
    assert_eq!(first.digest, second.digest);
    assert_eq!(first.digest, sovr_capability::Digest::of(hello()));
    assert_eq!(first.examination, second.examination);
    // And in another program.
    let other = Cache::open(place.directory.path(), KEY).unwrap();
    run(other.get_or_compile(&file(&hello()), Purpose::Work, &NO_TIME)).unwrap();
    let examined = run(other.examine(&file(&hello()))).unwrap();
    assert!(
        run(other.find(examined.digest, Purpose::Work))
            .unwrap()
            .is_some()
    );
    assert_eq!(examined.size, hello().len() as u64);
    // Nothing unfinished stays behind.
    assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 2);
}

fn change(path: &Path, at: impl FnOnce(usize) -> usize) {
    let mut content = fs::read(path).unwrap();
    let at = at(content.len());
    content[at] ^= 1;
    fs::write(path, content).unwrap();
}

fn a_tampered_entry_is_refused_and_made_anew() {
    let place = place();
    place.compile(&hello(), &CompileLimits::default()).unwrap();
    let entry = place.entry("code");
    let good = fs::read(&entry).unwrap();
    // The first byte, one in the middle, the last of the code, and the seal's ends.
    let places: [fn(usize) -> usize; 5] = [
        |_| 0,
        |length| length / 2,
        |length| length - 33,
        |length| length - 32,
        |length| length - 1,
    ];
    for place_in_file in places {
        change(&entry, place_in_file);
        assert!(
            place.compile(&hello(), &NO_TIME).unwrap_err().is_limit(),
            "tampered code was given"
        );
        place.compile(&hello(), &CompileLimits::default()).unwrap();
        assert_eq!(fs::read(&entry).unwrap().len(), good.len());
        place.compile(&hello(), &NO_TIME).unwrap();
    }
}

fn a_torn_entry_is_refused_and_made_anew() {
    let place = place();
    place.compile(&hello(), &CompileLimits::default()).unwrap();
    let entry = place.entry("code");
    let good = fs::read(&entry).unwrap();
    for length in [0, 31, 32, good.len() / 2, good.len() - 1] {
        fs::write(&entry, &good[..length]).unwrap();
        assert!(
            place.compile(&hello(), &NO_TIME).unwrap_err().is_limit(),
            "{length} bytes of code were given"
        );
    }
    place.compile(&hello(), &CompileLimits::default()).unwrap();
    place.compile(&hello(), &NO_TIME).unwrap();
}

fn an_entry_under_another_name_is_refused() {
    let place = place();
    let other = Program::new().exit(3).wasm();
    place.compile(&hello(), &CompileLimits::default()).unwrap();
    let hello_entry = place.entry("code");
    place.compile(&other, &CompileLimits::default()).unwrap();
    let other_entry = place
        .entries("code")
        .into_iter()
        .find(|path| *path != hello_entry)
        .unwrap();
    fs::copy(&hello_entry, &other_entry).unwrap();
    assert!(
        place.compile(&other, &NO_TIME).unwrap_err().is_limit(),
        "the code of another program was given"
    );
    place.compile(&hello(), &NO_TIME).unwrap();
}

fn an_entry_of_another_key_is_refused() {
    let place = place();
    place.compile(&hello(), &CompileLimits::default()).unwrap();
    let other = Cache::open(place.directory.path(), [8; 32]).unwrap();
    let error = run(other.get_or_compile(&file(&hello()), Purpose::Work, &NO_TIME)).unwrap_err();
    assert!(error.is_limit(), "{error}");
}

fn a_tampered_examination_is_refused_and_made_anew() {
    let place = place();
    // A component that would pass for a module if its examination could be changed.
    let component = component_importing("acme:games/chess@1.2.3");
    let examined = run(place.cache.examine(&file(&component))).unwrap();
    let entry = place.entry("examination");
    change(&entry, |_| 0);
    let again = run(place.cache.examine(&file(&component))).unwrap();
    assert_eq!(again.examination, examined.examination);
    assert_eq!(again.examination.kind, Kind::Component);
    assert!(
        run(place.cache.find(again.digest, Purpose::Script))
            .unwrap()
            .is_none()
    );
}

fn a_directory_that_others_can_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = Cache::open(directory.path(), KEY).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("others may write to it; take that right away with `chmod go-w`"),
        "{error}"
    );
}

fn a_compile_bomb_ends_at_its_deadline() {
    let place = place();
    let bomb = Program::new().with_locals(49_000).wasm();
    assert!(bomb.len() < 2 << 20, "{} bytes", bomb.len());
    let limits = CompileLimits {
        time: Duration::from_secs(2),
        ..CompileLimits::default()
    };
    let before = resident();
    run(place.cache.examine(&file(&bomb))).unwrap();
    let since = Instant::now();
    let error = place.compile(&bomb, &limits).unwrap_err();
    let took = since.elapsed();
    assert!(error.is_limit(), "{error}");
    assert_eq!(
        error.to_string(),
        "compiling was stopped: it took longer than the 2s it was given"
    );
    assert!(took < limits.time + Duration::from_millis(500), "{took:?}");
    let grown = resident().saturating_sub(before);
    assert!(grown < 32 << 20, "this process grew by {grown} bytes");
    assert!(place.entries("code").is_empty());
}

/// Bytes of memory this process holds.
fn resident() -> u64 {
    let pages: u64 = fs::read_to_string("/proc/self/statm")
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    pages * 4096
}

fn a_compiler_that_needs_too_much_memory_ends() {
    let place = place();
    let bomb = Program::new().with_locals(20_000).wasm();
    let limits = CompileLimits {
        memory: 24 << 20,
        ..CompileLimits::default()
    };
    let error = place.compile(&bomb, &limits).unwrap_err();
    assert_eq!(
        error.to_string(),
        "compiling was stopped: it took more than the 24 MiB of memory it was given"
    );
    assert!(error.is_limit());
}

fn code_that_is_too_large_is_refused() {
    let place = place();
    let limits = CompileLimits {
        code: 4096,
        ..CompileLimits::default()
    };
    let error = place.compile(&hello(), &limits).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("compiling was stopped: the native code has more than 4096 bytes"),
        "{error}"
    );
    assert!(error.is_limit());
    assert!(place.entries("code").is_empty());
}

fn many_can_want_the_same_code_at_once() {
    let place = place();
    let wasm = file(&hello());
    let limits = CompileLimits::default();
    let one = || place.cache.get_or_compile(&wasm, Purpose::Work, &limits);
    let all = run(futures::future::join_all([one(), one(), one(), one()]));
    for compiled in all {
        assert_eq!(
            compiled.unwrap().digest,
            sovr_capability::Digest::of(hello())
        );
    }
    assert_eq!(place.entries("code").len(), 1);
}

fn a_core_module_is_no_script() {
    let place = place();
    let error = run(place.cache.get_or_compile(
        &file(&hello()),
        Purpose::Script,
        &CompileLimits::default(),
    ))
    .unwrap_err();
    assert!(matches!(error, CodeError::NotAComponent), "{error}");
    // Nor when it was compiled for something else.
    place.compile(&hello(), &CompileLimits::default()).unwrap();
    let error = run(place
        .cache
        .get_or_compile(&file(&hello()), Purpose::Script, &NO_TIME))
    .unwrap_err();
    assert!(matches!(error, CodeError::NotAComponent), "{error}");
}

fn a_core_module_with_other_imports_is_refused_by_name() {
    let error = place()
        .compile(
            &Program::new().importing_from_elsewhere().wasm(),
            &CompileLimits::default(),
        )
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "this core module cannot be made into a component: it imports from \"env\", and only wasi_snapshot_preview1 \
         is offered to core modules"
    );
}

fn a_core_module_without_a_program_is_refused() {
    let error = place()
        .compile(
            &Program::new().without_start().wasm(),
            &CompileLimits::default(),
        )
        .unwrap_err();
    assert!(
        error.to_string().contains("it exports no \"_start\""),
        "{error}"
    );
}

fn an_examination_tells_what_a_component_needs() {
    let place = place();
    let examined = run(place
        .cache
        .examine(&file(&component_importing("acme:games/chess@1.2.3"))))
    .unwrap();
    let [import] = &examined.examination.imports[..] else {
        panic!("{examined:?}")
    };
    assert_eq!(examined.examination.kind, Kind::Component);
    assert_eq!(import.name.raw(), "acme:games/chess");
    assert_eq!(import.version.as_ref().unwrap().raw(), "1.2.3");
    let [producer] = &examined.examination.producers[..] else {
        panic!("{examined:?}")
    };
    assert_eq!(
        [
            producer.field.raw(),
            producer.name.raw(),
            producer.version.raw()
        ],
        ["language", "by hand", "1"]
    );
    let found = run(place.cache.find(examined.digest, Purpose::Script));
    assert!(found.unwrap().is_none());
}

fn an_examination_tells_what_a_module_needs() {
    let examined = run(place().cache.examine(&file(&hello()))).unwrap();
    assert_eq!(examined.examination.kind, Kind::Module);
    let names = |names: &[sovr_runtime::examine::Name]| {
        names
            .iter()
            .map(|name| name.name.raw().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(&examined.examination.imports),
        ["wasi_snapshot_preview1"]
    );
    assert_eq!(names(&examined.examination.exports), ["memory", "_start"]);
}

fn what_is_no_wasm_is_told_with_a_hint() {
    let place = place();
    for (content, hint) in [
        (&b""[..], "; it is empty"),
        (
            b"(component)",
            "; it looks like the text format. Convert it with `wasm-tools parse`",
        ),
        (
            b"\x7fELF\x02\x01\x01",
            "; it is native code, which is never taken from a pod. Ship the wasm it was made from",
        ),
        (b"PK\x03\x04", "; it is a zip archive"),
        (
            b"#!/bin/sh",
            "; it is a script for an interpreter, which is not run. Build it as a component",
        ),
        (b"hello", ""),
        (b"\0as", ""),
    ] {
        let error = run(place.cache.examine(&file(content))).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("this is not WebAssembly in its binary form{hint}")
        );
    }
    assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 0);
}

fn invalid_wasm_is_refused_with_the_place() {
    let place = place();
    let whole = hello();
    for wasm in [
        &whole[..whole.len() / 2],
        b"\0asm\x01\0\0\0\xff",
        b"\0asm\x63\0\0\0",
    ] {
        let error = run(place.cache.examine(&file(wasm))).unwrap_err();
        assert!(matches!(error, ExamineError::Invalid(_)), "{error}");
        assert!(error.to_string().contains("at offset 0x"), "{error}");
    }
    // Wrong only inside of a function.
    let mut wasm = wasm_encoder::Module::new();
    let mut types = wasm_encoder::TypeSection::new();
    types.ty().function([], []);
    let mut functions = wasm_encoder::FunctionSection::new();
    functions.function(0);
    let mut code = wasm_encoder::CodeSection::new();
    let mut body = wasm_encoder::Function::new([]);
    body.instructions().i32_const(1).end();
    code.function(&body);
    wasm.section(&types).section(&functions).section(&code);
    let error = run(place.cache.examine(&file(&wasm.finish()))).unwrap_err();
    assert!(matches!(error, ExamineError::Invalid(_)), "{error}");
}

fn names_without_end_are_refused() {
    let mut wasm = wasm_encoder::Module::new();
    let mut types = wasm_encoder::TypeSection::new();
    types.ty().function([], []);
    let mut imports = wasm_encoder::ImportSection::new();
    for number in 0..10_000 {
        imports.import(
            &format!("module-{number}"),
            "f",
            wasm_encoder::EntityType::Function(0),
        );
    }
    wasm.section(&types).section(&imports);
    let error = run(place().cache.examine(&file(&wasm.finish()))).unwrap_err();
    assert!(matches!(error, ExamineError::Limit(_)), "{error}");
}
