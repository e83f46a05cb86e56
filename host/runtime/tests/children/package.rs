//! The unpack child and hostile archives.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::Path;

use sovr_runtime::package::{Access, Manifest, PackageError, PackageLimits, Refusal, unpack};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::guest::file;
use crate::run;

crate::tests!(
    a_package_is_unpacked,
    a_name_that_leads_out_is_refused,
    a_symbolic_link_is_refused,
    a_device_is_refused,
    names_that_are_one_are_refused,
    a_name_that_is_not_utf_8_is_refused,
    a_bomb_is_refused_by_what_comes_out,
    a_lie_about_the_size_is_no_way_around,
    too_many_entries_are_refused,
    entries_that_share_bytes_are_refused,
    a_damaged_entry_is_refused,
    what_is_no_archive_is_refused,
    a_package_without_a_manifest_is_refused,
    a_manifest_that_names_what_is_not_there_is_refused,
    a_directory_that_is_not_empty_is_refused,
    nothing_is_executable,
);

const MANIFEST: &str = r#"{"id": "x", "name": "hello", "entry-points": [{"id": "hello", "wasm-path": "bin/hello.wasm"}],
    "mount-points": [{"rw": "golem/work"}]}"#;

const DEFAULT: PackageLimits = PackageLimits {
    size: 1 << 20,
    entries: 100,
};

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)
}

/// An archive that is fine, and what else `add` puts into it.
fn archive(add: impl FnOnce(&mut ZipWriter<Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    put(&mut zip, "manifest.json", MANIFEST.as_bytes());
    put(&mut zip, "bin/hello.wasm", b"\0asm");
    add(&mut zip);
    zip.finish().unwrap().into_inner()
}

fn put(zip: &mut ZipWriter<Cursor<Vec<u8>>>, name: &str, content: &[u8]) {
    zip.start_file(name, options()).unwrap();
    zip.write_all(content).unwrap();
}

fn unpack_into(
    directory: &Path,
    package: &[u8],
    limits: PackageLimits,
) -> Result<Manifest, PackageError> {
    run(unpack(file(package), directory, limits))
}

/// The refusal, after checking that nothing came out of the directory.
fn refusal(package: &[u8]) -> Refusal {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("package");
    fs::create_dir(&directory).unwrap();
    let refused = match unpack_into(&directory, package, DEFAULT) {
        Err(PackageError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    refused
}

/// Puts another name of the same length into the archive, wherever it stands.
fn rename(mut package: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut found = 0;
    for at in 0..=package.len() - from.len() {
        if package[at..].starts_with(from) {
            package[at..at + from.len()].copy_from_slice(to);
            found += 1;
        }
    }
    assert_eq!(
        found, 2,
        "a name stands before the data and in the directory"
    );
    package
}

fn a_package_is_unpacked() {
    let directory = tempfile::tempdir().unwrap();
    let package = archive(|zip| {
        zip.add_directory("empty", options()).unwrap();
        put(zip, "deep/er/file", &[7; 100_000]);
    });
    let manifest = unpack_into(directory.path(), &package, DEFAULT).unwrap();
    assert_eq!(
        manifest.entry_point("hello").unwrap().wasm_path,
        "bin/hello.wasm"
    );
    assert_eq!(
        (
            manifest.mount_points[0].path.as_str(),
            manifest.mount_points[0].access
        ),
        ("/golem/work", Access::ReadWrite)
    );
    assert_eq!(
        fs::read(directory.path().join("bin/hello.wasm")).unwrap(),
        b"\0asm"
    );
    assert_eq!(
        fs::read(directory.path().join("deep/er/file")).unwrap(),
        [7; 100_000]
    );
    assert!(directory.path().join("empty").is_dir());
}

fn a_name_that_leads_out_is_refused() {
    for name in [
        "../evil",
        "a/../../evil",
        "/etc/evil",
        "./evil",
        "a//evil",
        "..",
        "..\\evil",
        "C:\\evil",
        "a\nb",
        "a\u{1b}[2J",
    ] {
        let safe = "S".repeat(name.len());
        let package = rename(
            archive(|zip| put(zip, &safe, b"evil")),
            safe.as_bytes(),
            name.as_bytes(),
        );
        let refusal = refusal(&package);
        assert!(
            matches!(refusal, Refusal::Entry { .. }),
            "{name}: {refusal:?}"
        );
        assert!(!refusal.to_string().contains(['\n', '\u{1b}']), "{refusal}");
    }
    assert_eq!(
        refusal(&rename(
            archive(|zip| put(zip, "SS/evil", b"evil")),
            b"SS/evil",
            b"../evil"
        ))
        .to_string(),
        "the entry \"../evil\" has \".\" or \"..\" in its path"
    );
}

fn a_symbolic_link_is_refused() {
    let package = archive(|zip| {
        zip.add_symlink("link", "/etc", options()).unwrap();
        put(zip, "link/evil", b"evil");
    });
    assert_eq!(
        refusal(&package).to_string(),
        "the entry \"link\" is neither a plain file nor a directory, such as a symbolic link"
    );
}

fn a_device_is_refused() {
    // The upper half of the external attributes is the Unix mode, as it stands in the directory of the archive.
    let package = archive(|zip| {
        zip.start_file("device", options().unix_permissions(0o644))
            .unwrap();
        zip.write_all(b"x").unwrap();
    });
    let regular = (0o100_644_u32 << 16).to_le_bytes();
    for kind in [0o020_000_u32, 0o060_000, 0o010_000, 0o140_000, 0o120_000] {
        let changed = ((kind | 0o644) << 16).to_le_bytes();
        let mut package = package.clone();
        let at = package
            .windows(4)
            .rposition(|window| window == regular)
            .unwrap();
        package[at..at + 4].copy_from_slice(&changed);
        assert!(
            matches!(refusal(&package), Refusal::Entry { .. }),
            "{kind:o}"
        );
    }
}

fn names_that_are_one_are_refused() {
    let with = |name: &str| {
        let safe = "S".repeat(name.len());
        let package = archive(|zip| {
            put(zip, "scene", b"first");
            put(zip, &safe, b"second");
        });
        refusal(&rename(package, safe.as_bytes(), name.as_bytes())).to_string()
    };
    assert_eq!(
        with("scene"),
        "it is not a zip archive that can be read: two entries have the same name"
    );
    assert_eq!(
        with("bin/HELLO.wasm"),
        "the entry \"bin/HELLO.wasm\" differs from another entry only in case, or is a file and a directory"
    );
    assert_eq!(
        with("scene/x"),
        "the entry \"scene/x\" lies beneath a file of the archive"
    );
}

fn a_name_that_is_not_utf_8_is_refused() {
    let package = rename(
        archive(|zip| put(zip, "SSSS", b"x")),
        b"SSSS",
        b"a\xff\xfeb",
    );
    assert!(
        refusal(&package)
            .to_string()
            .contains("has a name that is not UTF-8")
    );
}

fn a_bomb_is_refused_by_what_comes_out() {
    let package = archive(|zip| {
        zip.start_file("zeros", options()).unwrap();
        for _ in 0..64 {
            zip.write_all(&[0; 1 << 20]).unwrap();
        }
    });
    assert!(package.len() < 100_000, "{} bytes", package.len());
    assert_eq!(refusal(&package), Refusal::Size { most: DEFAULT.size });
    // Many small ones count together.
    let package = archive(|zip| {
        for number in 0..50 {
            put(zip, &format!("zeros-{number}"), &[0; 50_000]);
        }
    });
    assert_eq!(refusal(&package), Refusal::Size { most: DEFAULT.size });
}

fn a_lie_about_the_size_is_no_way_around() {
    let size = 8_u32 << 20;
    let package = archive(|zip| put(zip, "zeros", &vec![0; size as usize]));
    let mut lying = package.clone();
    for at in 0..lying.len() - 4 {
        if lying[at..at + 4] == size.to_le_bytes() {
            lying[at..at + 4].copy_from_slice(&10_u32.to_le_bytes());
        }
    }
    assert_ne!(lying, package);
    let refusal = refusal(&lying);
    assert!(
        matches!(
            refusal,
            Refusal::Size { .. } | Refusal::Entry { .. } | Refusal::Archive(_)
        ),
        "{refusal:?}"
    );
}

fn too_many_entries_are_refused() {
    let package = archive(|zip| {
        for number in 0..DEFAULT.entries {
            put(zip, &format!("file-{number}"), b"");
        }
    });
    assert_eq!(
        refusal(&package),
        Refusal::Entries {
            entries: DEFAULT.entries + 2,
            most: DEFAULT.entries
        }
    );
}

fn entries_that_share_bytes_are_refused() {
    // The second entry's place in the directory is made that of the first.
    let package = archive(|zip| {
        put(zip, "first", &[1; 1000]);
        put(zip, "other", &[1; 1000]);
    });
    let directory_entry = |name: &[u8]| {
        let at = package
            .windows(name.len())
            .rposition(|window| window == name)
            .unwrap();
        // The name comes 46 bytes after the entry's beginning, the place of its data 4 bytes before the name.
        at - 4
    };
    let (first, other) = (directory_entry(b"first"), directory_entry(b"other"));
    let mut overlapping = package.clone();
    overlapping.copy_within(first..first + 4, other);
    let refusal = refusal(&overlapping);
    assert_eq!(
        refusal,
        Refusal::Archive("entries share their bytes".into())
    );
}

fn a_damaged_entry_is_refused() {
    let content: Vec<u8> = (0..5000_u32)
        .map(|number| ((number * number) >> 3) as u8)
        .collect();
    let mut package = archive(|zip| put(zip, "data", &content));
    let at = package
        .windows(4)
        .position(|window| window == b"data")
        .unwrap()
        + 1000;
    package[at] ^= 0xff;
    let refusal = refusal(&package).to_string();
    assert!(
        refusal.starts_with("the entry \"data\" cannot be unpacked: "),
        "{refusal}"
    );
}

fn what_is_no_archive_is_refused() {
    for package in [&b""[..], b"PK\x03\x04", b"hello", &archive(|_| ())[..100]] {
        assert!(matches!(refusal(package), Refusal::Archive(_)));
    }
}

fn a_package_without_a_manifest_is_refused() {
    let package = rename(archive(|_| ()), b"manifest.json", b"manifest.jsox");
    assert_eq!(
        refusal(&package).to_string(),
        "its manifest.json is missing; it must lie at the top of the archive"
    );
}

fn a_manifest_that_names_what_is_not_there_is_refused() {
    let package = rename(archive(|_| ()), b"bin/hello.wasm", b"bin/other.wasm");
    assert_eq!(
        refusal(&package).to_string(),
        "its manifest.json names the module \"bin/hello.wasm\", which is not in the package"
    );
}

fn a_directory_that_is_not_empty_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("old"), "old").unwrap();
    let error = unpack_into(directory.path(), &archive(|_| ()), DEFAULT).unwrap_err();
    assert!(error.to_string().ends_with("it is not empty"), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

fn nothing_is_executable() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let package = archive(|zip| {
        zip.start_file("tool", options().unix_permissions(0o4755))
            .unwrap();
        zip.write_all(b"#!/bin/sh").unwrap();
    });
    unpack_into(directory.path(), &package, DEFAULT).unwrap();
    let mode = fs::metadata(directory.path().join("tool"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7111, 0, "{mode:o}");
}
