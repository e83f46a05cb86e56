//! Packing what a stranger or a guest left in a directory.

use std::fs::{self, File};
use std::io::{self, Cursor, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use sovr_capability::Digest;
use sovr_pod::Tree;
use sovr_pod::archive::{Archive, ArchiveError, Contents, Kind, Written, plan, plan_directory};
use tempfile::TempDir;
use zip::CompressionMethod;

fn contents() -> Contents {
    Contents {
        kind: Kind::Pod,
        outputs: false,
        recipe: b"{\"name\": \"render\"}".to_vec(),
        lock: None,
    }
}

fn put(root: &Path, name: &str, content: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn pod(files: &[(&str, &[u8])]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, content) in files {
        put(root.path(), name, content);
    }
    root
}

fn planned(root: &Path, contents: Contents) -> Result<Archive, ArchiveError> {
    plan(&Tree::open(root).unwrap(), contents)
}

fn names(archive: &Archive) -> Vec<&str> {
    archive
        .members()
        .iter()
        .map(|member| member.name())
        .collect()
}

fn left_out(archive: &Archive) -> Vec<&str> {
    archive
        .left_out()
        .iter()
        .map(|left| left.path.raw())
        .collect()
}

fn write(archive: &Archive) -> (Vec<u8>, Written) {
    let mut bytes = Vec::new();
    let written = archive.write(&mut bytes).unwrap();
    (bytes, written)
}

/// What stands in the list of findings.
fn findings(result: Result<Archive, ArchiveError>) -> Vec<String> {
    match result {
        Err(ArchiveError::Refused { findings, .. }) => findings
            .iter()
            .map(|finding| format!("{}: {}", finding.place.raw(), finding.what))
            .collect(),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_pod_is_packed_whole_and_sorted_with_its_directories() {
    let root = pod(&[
        ("script/main.wasm", b"\0asm"),
        ("payload/b", b"b"),
        ("payload/a/x", b"x"),
        ("payload-notes", b""),
        ("README.md", "größe".as_bytes()),
        ("recipe.json", b"what the user runs"),
        ("sovr.lock", b"with origin"),
    ]);
    fs::create_dir(root.path().join("payload/nothing")).unwrap();
    let archive = planned(
        root.path(),
        Contents {
            lock: Some(b"without".to_vec()),
            ..contents()
        },
    )
    .unwrap();
    assert_eq!(
        names(&archive),
        [
            "README.md",
            "logs/",
            "output/",
            "payload-notes",
            "payload/",
            "payload/a/",
            "payload/a/x",
            "payload/b",
            "payload/nothing/",
            "recipe.json",
            "script/",
            "script/main.wasm",
            "sovr.lock",
        ]
    );
    assert_eq!(left_out(&archive), [""; 0]);
    let (bytes, written) = write(&archive);
    assert_eq!(written.size, bytes.len() as u64);
    assert_eq!(written.sha256, Digest::of(&bytes));
    assert_eq!(archive.bytes(), 1 + 1 + 4 + 7 + 7 + 18);

    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let read = |zip: &mut zip::ZipArchive<Cursor<Vec<u8>>>, name: &str| {
        let mut text = String::new();
        zip.by_name(name)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    };
    assert_eq!(read(&mut zip, "README.md"), "größe");
    assert_eq!(read(&mut zip, "recipe.json"), "{\"name\": \"render\"}");
    assert_eq!(read(&mut zip, "sovr.lock"), "without");
    for index in 0..zip.len() {
        let entry = zip.by_index(index).unwrap();
        let mode = if entry.is_dir() { 0o040_755 } else { 0o100_644 };
        assert_eq!(entry.unix_mode(), Some(mode));
        assert_eq!(entry.last_modified().unwrap(), zip::DateTime::default());
    }
    zip.validate_header_consistency().unwrap();
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let files: Vec<(String, Vec<u8>)> = (0..40_u32)
        .map(|n| {
            let content = (0..n * 997).map(|i| ((i * i) >> 7) as u8).collect();
            (format!("payload/{}/{n}", n % 7), content)
        })
        .collect();
    let first = tempfile::tempdir().unwrap();
    for (name, content) in &files {
        put(first.path(), name, content);
    }
    let second = tempfile::tempdir().unwrap();
    for (name, content) in files.iter().rev() {
        put(second.path(), name, content);
        let file = File::open(second.path().join(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
            .unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o700))
            .unwrap();
    }
    let (first, second) = (
        write(&planned(first.path(), contents()).unwrap()),
        write(&planned(second.path(), contents()).unwrap()),
    );
    assert!(first.0 == second.0);
    assert_eq!(first.1, second.1);
}

#[test]
fn what_is_compressed_already_is_stored_as_it_is() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let picture: Vec<u8> = (0..100_000).map(|_| noise()).collect();
    let text = b"frame ".repeat(20_000);
    let root = pod(&[
        ("payload/picture", &picture),
        ("payload/icon", &picture[..1000]),
        ("payload/text", &text),
    ]);
    let (bytes, _) = write(&planned(root.path(), contents()).unwrap());
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    for (name, content, method) in [
        ("payload/picture", &picture[..], CompressionMethod::Stored),
        (
            "payload/icon",
            &picture[..1000],
            CompressionMethod::Deflated,
        ),
        ("payload/text", &text, CompressionMethod::Deflated),
    ] {
        let mut member = zip.by_name(name).unwrap();
        assert_eq!(member.compression(), method, "{name}");
        let mut read = Vec::new();
        member.read_to_end(&mut read).unwrap();
        assert!(read == content, "{name}");
    }
}

#[test]
fn links_that_a_guest_left_are_refused_all_at_once() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    let root = pod(&[("script/main.wasm", b"\0asm"), ("output/fine", b"")]);
    let at = |name: &str| root.path().join(name);
    symlink("/etc/passwd", at("output/passwd")).unwrap();
    symlink("fine", at("output/inside")).unwrap();
    symlink("/etc", at("script/etc")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    fs::hard_link(secret.path(), at("output/second")).unwrap();
    mknodat(
        CWD,
        at("output/fifo"),
        FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let _socket = UnixListener::bind(at("output/socket")).unwrap();
    let all = planned(
        root.path(),
        Contents {
            outputs: true,
            ..contents()
        },
    );
    let text = all.as_ref().unwrap_err().to_string();
    assert!(text.contains("published"), "{text}");
    let mut found = findings(all);
    found.sort();
    assert_eq!(
        found,
        [
            "dangling: is a symbolic link",
            "output/fifo: is a named pipe",
            "output/inside: is a symbolic link",
            "output/passwd: is a symbolic link",
            "output/second: has a second name (a hard link)",
            "output/socket: is a socket",
            "script/etc: is a symbolic link",
        ]
    );
    // Where results are not packed, what lies there does not matter.
    let found = findings(planned(root.path(), contents()));
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn an_area_that_is_a_link_is_refused() {
    let root = pod(&[]);
    symlink("/etc", root.path().join("payload")).unwrap();
    symlink("/etc", root.path().join("output")).unwrap();
    fs::write(root.path().join("logs"), "").unwrap();
    assert_eq!(
        findings(planned(root.path(), contents())),
        [
            "logs: is a file and a directory",
            "output: is a symbolic link",
            "payload: is a symbolic link"
        ]
    );
}

#[test]
fn a_link_in_the_place_of_the_recipe_is_not_followed() {
    let root = pod(&[]);
    for name in ["recipe.json", "sovr.lock"] {
        symlink("/etc/passwd", root.path().join(name)).unwrap();
    }
    let archive = planned(root.path(), contents()).unwrap();
    let recipe = archive
        .members()
        .iter()
        .find(|member| member.name() == "recipe.json")
        .unwrap();
    assert_eq!(recipe.size(), Some(18));
    assert_eq!(left_out(&archive), ["sovr.lock"]);
}

#[test]
fn names_that_could_not_be_unpacked_are_refused() {
    let root = pod(&[
        ("payload/scene", b""),
        ("payload/Scene", b""),
        ("payload/nul.txt", b""),
        ("payload/back\\slash", b""),
        ("payload/with\nnewline", b""),
        ("payload/ends ", b""),
        ("Output/x", b""),
    ]);
    let odd = std::ffi::OsStr::from_bytes(b"payload/\xff\xfe");
    fs::write(root.path().join(odd), "").unwrap();
    let result = planned(root.path(), contents());
    let text = result.as_ref().unwrap_err().to_string();
    assert!(text.contains("payload/with\\nnewline"), "{text}");
    let found = findings(result);
    let about = |name: &str, what: &str| {
        assert!(
            found
                .iter()
                .any(|line| line.starts_with(name) && line.contains(what)),
            "{name}: {found:#?}"
        );
    };
    about("payload/scene", "only in case");
    about("payload/nul.txt", "device");
    about("payload/back", "backslash");
    about("payload/with", "hidden");
    about("payload/ends", "space");
    about("payload/\u{fffd}", "not UTF-8");
    about("Output", "only in case");
    assert_eq!(found.len(), 7);
}

#[test]
fn too_deep_nesting_is_refused() {
    let fine = "d/".repeat(63);
    let root = pod(&[]);
    put(root.path(), &format!("payload/{fine}file"), b"");
    planned(root.path(), contents()).unwrap();
    put(root.path(), &format!("payload/{fine}d/file"), b"");
    let found = findings(planned(root.path(), contents()));
    assert_eq!(found.len(), 1);
    assert!(found[0].ends_with("is nested deeper than 64 directories"));
}

#[test]
fn too_much_is_refused() {
    let root = pod(&[]);
    put(root.path(), "payload/sparse", b"");
    let sparse = File::options()
        .write(true)
        .open(root.path().join("payload/sparse"))
        .unwrap();
    sparse.set_len(16 << 30).unwrap();
    let found = findings(planned(root.path(), contents()));
    assert!(found[0].contains("at most 17179869184"), "{found:?}");
}

#[test]
fn a_bomb_is_not_written() {
    let root = pod(&[]);
    put(root.path(), "payload/zeros", b"");
    let zeros = File::options()
        .write(true)
        .open(root.path().join("payload/zeros"))
        .unwrap();
    zeros.set_len(65 << 20).unwrap();
    let error = planned(root.path(), contents())
        .unwrap()
        .write(&mut io::sink())
        .unwrap_err();
    assert!(matches!(error, ArchiveError::Bomb { .. }), "{error}");
    zeros.set_len(60 << 20).unwrap();
    write(&planned(root.path(), contents()).unwrap());
}

#[test]
fn secrets_histories_litter_and_results_are_left_out_and_reported() {
    let root = pod(&[
        ("script/main.wasm", b"\0asm"),
        ("script/.git/config", b"x"),
        ("script/__pycache__/x.pyc", b"x"),
        ("payload/creds.json", b"x"),
        ("payload/server.KEY", b"x"),
        ("payload/external/images/1.png", b"x"),
        ("payload/external.txt", b"x"),
        ("output/frame.png", b"x"),
        ("logs/run.log", b"x"),
        ("tmp/x", b"x"),
        (".sovr-partial/x", b"x"),
        (".sovr-task.json", b"x"),
        (".env", b"x"),
        ("notes~", b"x"),
    ]);
    // What lies in a place that is left out does not matter.
    symlink("/etc/passwd", root.path().join("tmp/link")).unwrap();
    symlink("/etc/passwd", root.path().join("output/link")).unwrap();
    symlink("/etc/passwd", root.path().join("script/.git/link")).unwrap();
    let archive = planned(root.path(), contents()).unwrap();
    assert_eq!(
        names(&archive),
        [
            "logs/",
            "output/",
            "payload/",
            "payload/external.txt",
            "recipe.json",
            "script/",
            "script/main.wasm"
        ]
    );
    assert_eq!(
        left_out(&archive),
        [
            ".env",
            ".sovr-partial/",
            ".sovr-task.json",
            "logs/",
            "notes~",
            "output/",
            "payload/creds.json",
            "payload/external/",
            "payload/server.KEY",
            "script/.git/",
            "script/__pycache__/",
            "tmp/",
        ]
    );
    assert!(
        archive
            .left_out()
            .iter()
            .all(|left| left.why.starts_with("it ") || left.why.starts_with("results"))
    );
}

#[test]
fn results_are_packed_when_they_are_asked_for() {
    let root = pod(&[("output/frames/1.png", b"x"), ("logs/run.log", b"x")]);
    let archive = planned(
        root.path(),
        Contents {
            outputs: true,
            ..contents()
        },
    )
    .unwrap();
    assert_eq!(
        names(&archive),
        [
            "logs/",
            "logs/run.log",
            "output/",
            "output/frames/",
            "output/frames/1.png",
            "payload/",
            "recipe.json",
            "script/"
        ]
    );
    assert_eq!(left_out(&archive), [""; 0]);
}

#[test]
fn pods_that_a_task_forked_are_left_out_and_its_own_are_not() {
    let origin = br#"{"version": 1, "origin": {"reference": "00"}, "references": {}}"#;
    let root = pod(&[
        ("render/sovr.lock", origin),
        ("render/script/main.wasm", b"\0asm"),
        ("own/sovr.lock", br#"{"version": 1, "references": {}}"#),
        ("broken/sovr.lock", b"{"),
        ("payload/external/x", b"x"),
        ("logs/run.log", b"x"),
    ]);
    fs::create_dir(root.path().join("linked")).unwrap();
    symlink(
        root.path().join("render/sovr.lock"),
        root.path().join("linked/sovr.lock"),
    )
    .unwrap();
    let task = || Contents {
        kind: Kind::Task,
        ..contents()
    };
    assert_eq!(
        findings(planned(root.path(), task())),
        ["linked/sovr.lock: is a symbolic link"]
    );
    fs::remove_dir_all(root.path().join("linked")).unwrap();
    let archive = planned(root.path(), task()).unwrap();
    assert_eq!(
        names(&archive),
        [
            "broken/",
            "broken/sovr.lock",
            "own/",
            "own/sovr.lock",
            "payload/",
            "recipe.json"
        ]
    );
    assert_eq!(
        left_out(&archive),
        ["logs/", "payload/external/", "render/"]
    );
    // A pod is not a task.
    let archive = planned(root.path(), contents()).unwrap();
    assert!(names(&archive).contains(&"render/sovr.lock"));
}

fn shared(root: &Path, directory: &str) -> Result<Archive, ArchiveError> {
    plan_directory(&Tree::open(root).unwrap(), &directory.parse().unwrap())
}

#[test]
fn a_shared_directory_is_packed_by_itself() {
    let root = pod(&[
        ("recipe.json", b"{}"),
        ("output/results/frames/1.png", b"x"),
        ("output/results/recipe.json", b"a result of that name"),
        ("output/results/.env", b"x"),
        ("output/other", b"x"),
    ]);
    let archive = shared(root.path(), "output/results").unwrap();
    assert_eq!(names(&archive), ["frames/", "frames/1.png", "recipe.json"]);
    assert_eq!(left_out(&archive), [".env"]);
    assert_eq!(archive.bytes(), 22);
    let (bytes, _) = write(&archive);
    assert_eq!(zip::ZipArchive::new(Cursor::new(bytes)).unwrap().len(), 3);
    let archive = shared(root.path(), "output").unwrap();
    assert_eq!(names(&archive)[0], "other");
}

#[test]
fn a_directory_that_is_not_to_be_shared_is_refused() {
    let root = pod(&[("script/main.wasm", b"x"), ("output/file", b"x")]);
    symlink("/etc", root.path().join("output/link")).unwrap();
    for (directory, why) in [
        ("script", "only directories in output/ and payload/"),
        ("logs", "only directories in output/ and payload/"),
        ("output/nothing", "there is nothing"),
        ("output/file", "it is not a directory"),
        ("output/link", "symbolic link"),
        ("output/link/ssh", "symbolic link"),
    ] {
        let error = shared(root.path(), directory).unwrap_err().to_string();
        assert!(error.contains(why), "{directory}: {error}");
    }
    assert_eq!(
        findings(shared(root.path(), "output")),
        ["output/link: is a symbolic link"]
    );
}

/// Changes a pod after it was looked at, and answers why it was not written.
fn changed(change: impl FnOnce(&Path)) -> String {
    let root = pod(&[("payload/data", b"0123456789"), ("payload/more", b"x")]);
    let archive = planned(root.path(), contents()).unwrap();
    change(root.path());
    let error = archive.write(&mut io::sink()).unwrap_err();
    assert!(matches!(error, ArchiveError::Changed { .. }), "{error}");
    error.to_string()
}

#[test]
fn a_file_that_changes_while_it_is_packed_is_an_error() {
    let data = |root: &Path| root.join("payload/data");
    for (what, text) in [
        (
            "grew",
            changed(|root| fs::write(data(root), "0123456789a").unwrap()),
        ),
        (
            "became shorter",
            changed(|root| fs::write(data(root), "012345678").unwrap()),
        ),
        (
            "vanished",
            changed(|root| fs::remove_file(data(root)).unwrap()),
        ),
        (
            "vanished",
            changed(|root| fs::remove_dir_all(root.join("payload")).unwrap()),
        ),
        (
            "became a symbolic link",
            changed(|root| {
                fs::remove_file(data(root)).unwrap();
                symlink("/etc/passwd", data(root)).unwrap();
            }),
        ),
        (
            "became a symbolic link",
            changed(|root| {
                fs::rename(root.join("payload"), root.join("moved")).unwrap();
                symlink("moved", root.join("payload")).unwrap();
            }),
        ),
        (
            "got a second name",
            changed(|root| fs::hard_link(data(root), root.join("payload/third")).unwrap()),
        ),
        (
            "became something else",
            changed(|root| {
                fs::remove_file(data(root)).unwrap();
                fs::create_dir(data(root)).unwrap();
            }),
        ),
    ] {
        assert!(
            text.contains(&format!("\"payload/data\" {what}")),
            "{what}: {text}"
        );
    }
}

#[test]
fn a_file_that_is_written_to_while_it_is_packed_is_an_error() {
    /// Touches a file as soon as the archive begins to come.
    struct Touching(std::path::PathBuf);
    impl Write for Touching {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            let file = File::options().write(true).open(&self.0)?;
            file.set_modified(SystemTime::UNIX_EPOCH)?;
            Ok(buffer.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let root = pod(&[]);
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..2_000_000)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    put(root.path(), "payload/data", &noise);
    let archive = planned(root.path(), contents()).unwrap();
    let error = archive
        .write(&mut Touching(root.path().join("payload/data")))
        .unwrap_err();
    assert!(error.to_string().contains("was written to"), "{error}");
}

#[test]
fn an_archive_that_cannot_be_handed_on_is_an_error() {
    /// Takes so many bytes.
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            if self.0 < buffer.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0 -= buffer.len();
            Ok(buffer.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let root = pod(&[("payload/data", b"x")]);
    let archive = planned(root.path(), contents()).unwrap();
    let (bytes, _) = write(&archive);
    for room in [0, bytes.len() - 1] {
        let error = archive.write(&mut Full(room)).unwrap_err();
        assert!(
            matches!(&error, ArchiveError::Output(why) if why.kind() == io::ErrorKind::StorageFull),
            "{error}"
        );
    }
    archive.write(&mut Full(bytes.len())).unwrap();
}
