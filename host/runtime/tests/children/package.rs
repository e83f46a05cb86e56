//! WASI packages. What no archive may hold is tested in `archive`.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::Path;

use sovr_runtime::archive::{ArchiveError, Refusal};
use sovr_runtime::package::{Access, Manifest, PackageError, PackageLimits, unpack};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::guest::file;
use crate::run;

crate::tests!(
    a_package_is_unpacked,
    a_package_is_checked_like_any_archive,
    a_package_is_held_to_its_own_limits,
    a_package_without_a_manifest_is_refused,
    a_manifest_that_is_too_long_is_refused,
    a_manifest_that_names_what_is_not_there_is_refused,
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

/// What a package is refused for.
fn refusal(package: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    unpack_into(directory.path(), package, DEFAULT)
        .unwrap_err()
        .to_string()
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

fn a_package_is_checked_like_any_archive() {
    let package = archive(|zip| {
        zip.add_symlink("link", "/etc", options()).unwrap();
        put(zip, "link/evil", b"evil");
    });
    assert_eq!(
        refusal(&package),
        "the package cannot be used: the archive is refused: the entry \"link\" is neither a plain file nor a directory, such as a symbolic link"
    );
}

fn a_package_is_held_to_its_own_limits() {
    let refused = |package: &[u8]| {
        let directory = tempfile::tempdir().unwrap();
        match unpack_into(directory.path(), package, DEFAULT) {
            Err(PackageError::Archive(ArchiveError::Refused(refusal))) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    };
    let many = archive(|zip| {
        for number in 0..DEFAULT.entries {
            put(zip, &format!("file-{number}"), b"");
        }
    });
    assert_eq!(
        refused(&many),
        Refusal::Entries {
            entries: DEFAULT.entries + 2,
            most: DEFAULT.entries
        }
    );
    let large = archive(|zip| put(zip, "zeros", &vec![0; DEFAULT.size as usize + 1]));
    assert_eq!(refused(&large), Refusal::Size { most: DEFAULT.size });
}

/// An archive with this instead of the manifest.
fn with_manifest(name: &str, content: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    put(&mut zip, name, content);
    zip.finish().unwrap().into_inner()
}

fn a_package_without_a_manifest_is_refused() {
    for name in ["manifest.jsox", "deeper/manifest.json"] {
        assert_eq!(
            refusal(&with_manifest(name, MANIFEST.as_bytes())),
            "the package is refused: its manifest.json is missing; it must lie at the top of the archive"
        );
    }
}

fn a_manifest_that_is_too_long_is_refused() {
    let package = with_manifest("manifest.json", &[b' '; 1 << 20]);
    assert!(refusal(&package).contains("cannot be read"));
    let directory = tempfile::tempdir().unwrap();
    let limits = PackageLimits {
        size: 2 << 20,
        ..DEFAULT
    };
    let package = with_manifest("manifest.json", &[b' '; (1 << 20) + 1]);
    let error = unpack_into(directory.path(), &package, limits).unwrap_err();
    assert!(
        error.to_string().ends_with("is longer than 1048576 bytes"),
        "{error}"
    );
}

fn a_manifest_that_names_what_is_not_there_is_refused() {
    assert_eq!(
        refusal(&with_manifest("manifest.json", MANIFEST.as_bytes())),
        "the package is refused: its manifest.json names the module \"bin/hello.wasm\", which is not in the package"
    );
}
