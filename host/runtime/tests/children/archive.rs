//! The unpack child and hostile archives.

use std::fs;
use std::io::{Cursor, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use sovr_pod::archive::{Contents, Kind, plan};
use sovr_runtime::archive::{
    ArchiveError, ArchiveLimits, MEMBER_MAX, Refusal, Unpacked, read_member, unpack,
};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::guest::file;
use crate::run;

crate::tests!(
    an_archive_is_unpacked,
    an_archive_of_the_original_client_is_unpacked,
    an_archive_written_in_odd_ways_is_unpacked,
    an_archive_in_an_archive_is_a_file,
    an_empty_archive_is_unpacked,
    a_name_that_leads_out_is_refused,
    a_name_that_leads_out_elsewhere_is_refused,
    a_name_with_hidden_characters_is_refused,
    a_name_that_is_too_long_is_refused,
    a_name_that_is_not_utf_8_is_refused,
    names_that_are_one_are_refused,
    a_file_that_is_a_directory_is_refused,
    a_name_that_is_there_twice_is_refused,
    a_second_name_before_the_data_is_refused,
    a_second_name_in_other_letters_is_refused,
    a_symbolic_link_is_refused,
    a_link_in_the_disguise_of_another_system_is_refused,
    a_device_is_refused,
    a_setuid_bit_is_refused,
    an_encrypted_entry_is_refused,
    an_odd_compression_is_refused,
    a_directory_with_content_is_refused,
    entries_that_share_bytes_are_refused,
    an_entry_that_reaches_into_the_directory_is_refused,
    an_entry_that_is_not_there_is_refused,
    too_many_entries_are_refused,
    too_deep_nesting_is_refused,
    a_bomb_is_refused_by_what_comes_out,
    a_bomb_is_refused_by_its_ratio,
    a_bomb_that_says_what_it_is_is_refused_before_anything_is_written,
    a_lie_about_the_size_is_no_way_around,
    a_damaged_entry_is_refused,
    what_is_no_archive_is_refused,
    a_directory_that_is_not_empty_is_refused,
    nothing_is_executable,
    a_refusal_cannot_speak_to_the_terminal,
    what_a_pod_is_packed_into_is_unpacked_again,
    a_member_is_read,
    a_member_that_is_not_there_is_none,
    a_member_that_is_too_large_is_refused,
    a_member_that_is_a_link_is_refused,
    a_member_that_is_there_twice_is_refused,
);

const LIMITS: ArchiveLimits = ArchiveLimits {
    size: 1 << 20,
    entries: 100,
    depth: 8,
    ratio: 2000,
    time: Duration::from_secs(60),
};

const REGULAR: u32 = 0o100_644;
const DIRECTORY: u32 = 0o040_755;

/// One entry of an archive, whatever a library would say of it.
#[derive(Clone)]
struct Entry {
    name: Vec<u8>,
    /// What stands before the data.
    local_name: Vec<u8>,
    content: Vec<u8>,
    /// Unix mode.
    mode: u32,
    system: u8,
    flags: u16,
    method: u16,
    /// As the archive says.
    size: u32,
    extra: Vec<u8>,
    /// Puts the entry where another one begins.
    offset: Option<u32>,
}

fn entry(name: impl AsRef<[u8]>, content: &[u8]) -> Entry {
    let name = name.as_ref().to_vec();
    let mode = if name.ends_with(b"/") {
        DIRECTORY
    } else {
        REGULAR
    };
    Entry {
        local_name: name.clone(),
        name,
        content: content.to_vec(),
        mode,
        system: 3,
        flags: 0x800,
        method: 0,
        size: content.len() as u32,
        extra: Vec::new(),
        offset: None,
    }
}

/// An archive with a plain file, these entries, and another plain file.
fn build(entries: &[Entry]) -> Vec<u8> {
    let mut all = vec![entry("first", b"first")];
    all.extend_from_slice(entries);
    all.push(entry("last", b"last"));
    build_only(&all)
}

fn build_only(entries: &[Entry]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let offset = entry.offset.unwrap_or(archive.len() as u32);
        let [name, local_name, extra] = [&entry.name, &entry.local_name, &entry.extra]
            .map(|bytes| (bytes.len() as u16).to_le_bytes());
        let mut common = Vec::new();
        common.extend(entry.flags.to_le_bytes());
        common.extend(entry.method.to_le_bytes());
        common.extend([0, 0, 0x21, 0]);
        common.extend(checksum(&entry.content).to_le_bytes());
        common.extend((entry.content.len() as u32).to_le_bytes());
        common.extend(entry.size.to_le_bytes());

        archive.extend(b"PK\x03\x04\x14\0");
        archive.extend(&common);
        archive.extend(local_name);
        archive.extend(extra);
        archive.extend(&entry.local_name);
        archive.extend(&entry.extra);
        archive.extend(&entry.content);

        directory.extend(b"PK\x01\x02\x14");
        directory.extend([entry.system, 0x14, 0]);
        directory.extend(&common);
        directory.extend(name);
        directory.extend(extra);
        directory.extend([0; 6]);
        directory.extend((entry.mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(&entry.name);
        directory.extend(&entry.extra);
    }
    let start = archive.len() as u32;
    let count = (entries.len() as u16).to_le_bytes();
    archive.extend(&directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend(count);
    archive.extend(count);
    archive.extend((directory.len() as u32).to_le_bytes());
    archive.extend(start.to_le_bytes());
    archive.extend([0, 0]);
    archive
}

/// CRC-32.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

/// An archive as the library writes it.
fn written(add: impl FnOnce(&mut ZipWriter<Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    add(&mut zip);
    zip.finish().unwrap().into_inner()
}

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)
}

fn put(zip: &mut ZipWriter<Cursor<Vec<u8>>>, name: &str, content: &[u8]) {
    zip.start_file(name, options()).unwrap();
    zip.write_all(content).unwrap();
}

fn unpack_into(
    directory: &Path,
    archive: &[u8],
    limits: &ArchiveLimits,
) -> Result<Unpacked, ArchiveError> {
    run(unpack(file(archive), directory, limits))
}

/// The refusal, and how many things were written; after checking that nothing came out of the directory.
fn refused(archive: &[u8], limits: &ArchiveLimits) -> (Refusal, usize) {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("directory");
    fs::create_dir(&directory).unwrap();
    let refusal = match unpack_into(&directory, archive, limits) {
        Err(ArchiveError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    (refusal, fs::read_dir(&directory).unwrap().count())
}

/// The refusal of an archive that is refused before anything is written.
fn refusal(archive: &[u8]) -> Refusal {
    let (refusal, written) = refused(archive, &LIMITS);
    assert_eq!(written, 0, "{refusal}");
    refusal
}

/// What is wrong with an archive because of this entry, which must be named.
fn reason(entries: &[Entry], name: &[u8]) -> String {
    match refusal(&build(entries)) {
        Refusal::Entry {
            name: found,
            reason,
        } => {
            assert_eq!(found.raw(), String::from_utf8_lossy(name), "{reason}");
            reason
        }
        other => panic!("no entry is named: {other:?}"),
    }
}

fn an_archive_is_unpacked() {
    let directory = tempfile::tempdir().unwrap();
    let archive = build(&[
        entry("empty/", b""),
        entry("deep/er/file", &[7; 100_000]),
        entry("deep/", b""),
        entry("payload/Größe (1).txt", b"x"),
    ]);
    let begun = SystemTime::now() - Duration::from_secs(10);
    let unpacked = unpack_into(directory.path(), &archive, &LIMITS).unwrap();
    assert_eq!(
        unpacked,
        Unpacked {
            files: 4,
            directories: 4,
            bytes: 100_010
        }
    );
    let file = directory.path().join("deep/er/file");
    assert_eq!(fs::read(&file).unwrap(), [7; 100_000]);
    assert!(fs::metadata(&file).unwrap().modified().unwrap() > begun);
    assert!(directory.path().join("empty").is_dir());
    assert!(directory.path().join("payload/Größe (1).txt").is_file());
}

/// Made by `shutil.make_archive` of Python 3.11 from a pod's directory.
fn an_archive_of_the_original_client_is_unpacked() {
    let directory = tempfile::tempdir().unwrap();
    let archive = include_bytes!("../fixtures/make_archive.zip");
    let unpacked = unpack_into(directory.path(), archive, &LIMITS).unwrap();
    assert_eq!((unpacked.files, unpacked.directories), (4, 5));
    for name in ["script", "payload/images", "output", "logs"] {
        assert!(directory.path().join(name).is_dir(), "{name}");
    }
    assert_eq!(
        fs::read(directory.path().join("payload/images/Größe.txt")).unwrap(),
        "grey\n".repeat(2000).as_bytes()
    );
    let recipe = run(read_member(file(archive), "recipe.json", 1000)).unwrap();
    assert!(recipe.unwrap().starts_with(b"{\"name\": \"render\""));
}

/// Made by `zipfile` of Python 3.11: to a pipe, so that sizes come after the data; one with 64 bits; one stored; a
/// directory and a file without a mode, from another system.
fn an_archive_written_in_odd_ways_is_unpacked() {
    let directory = tempfile::tempdir().unwrap();
    let archive = include_bytes!("../fixtures/zipfile.zip");
    let unpacked = unpack_into(directory.path(), archive, &LIMITS).unwrap();
    assert_eq!((unpacked.files, unpacked.directories), (4, 1));
    for (name, content) in [
        ("described", "described ".repeat(500)),
        ("large", "large ".repeat(500)),
        ("stored", "stored".to_owned()),
        ("directory/without-mode", "without mode".to_owned()),
    ] {
        assert_eq!(
            fs::read_to_string(directory.path().join(name)).unwrap(),
            content
        );
    }
}

fn an_archive_in_an_archive_is_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let inner = build(&[entry("../evil", b"evil")]);
    unpack_into(
        directory.path(),
        &build(&[entry("inner.zip", &inner)]),
        &LIMITS,
    )
    .unwrap();
    assert_eq!(fs::read(directory.path().join("inner.zip")).unwrap(), inner);
}

fn an_empty_archive_is_unpacked() {
    let directory = tempfile::tempdir().unwrap();
    let unpacked = unpack_into(directory.path(), &build_only(&[]), &LIMITS).unwrap();
    assert_eq!(unpacked, Unpacked::default());
}

fn a_name_that_leads_out_is_refused() {
    for name in [
        "../evil",
        "a/../../evil",
        "/etc/evil",
        "./evil",
        "a//evil",
        "..",
        "a/..",
        "",
        "/",
    ] {
        let found = refusal(&build(&[entry(name, b"")]));
        assert!(matches!(found, Refusal::Entry { .. }), "{name}: {found:?}");
    }
    assert_eq!(
        refusal(&build(&[entry("../evil", b"evil")])).to_string(),
        "the entry \"../evil\" has \".\" or \"..\" in its path"
    );
}

fn a_name_that_leads_out_elsewhere_is_refused() {
    for name in [
        "..\\evil",
        "C:\\evil",
        "C:evil",
        "file.txt:stream",
        "payload/nul.txt",
        "com1",
        "AUX/x",
        "payload./x",
        "payload /x",
        " payload/x",
        "x ",
    ] {
        reason(&[entry(name, b"x")], name.as_bytes());
    }
}

fn a_name_with_hidden_characters_is_refused() {
    for name in [
        "a\0b",
        "a\nb",
        "a\u{1b}[2J",
        "a\u{202e}gpj.exe",
        "a\u{200b}b",
        "a\u{9b}b",
    ] {
        assert!(reason(&[entry(name, b"x")], name.as_bytes()).contains("hidden"));
    }
}

fn a_name_that_is_too_long_is_refused() {
    let long_part = "x".repeat(256);
    assert!(reason(&[entry(&long_part, b"x")], long_part.as_bytes()).contains("255 bytes"));
    let part = "x".repeat(200);
    let long = [part.as_str(); 6].join("/");
    assert!(reason(&[entry(&long, b"x")], long.as_bytes()).contains("1024 bytes"));
}

fn a_name_that_is_not_utf_8_is_refused() {
    let name = b"a\xff\xfeb";
    let mut odd = entry(name, b"x");
    odd.flags = 0;
    assert!(reason(&[odd], name).contains("not UTF-8"));
}

fn names_that_are_one_are_refused() {
    for (first, second) in [
        ("scene", "SCENE"),
        ("payload/x", "Payload/y"),
        ("\u{e4}", "a\u{308}"),
        ("\u{c4}/x", "a\u{308}/y"),
    ] {
        let found = reason(
            &[entry(first, b"x"), entry(second, b"y")],
            second.as_bytes(),
        );
        assert!(found.contains("only in case"), "{found}");
    }
}

fn a_file_that_is_a_directory_is_refused() {
    for (first, second, why) in [
        ("scene", "scene/x", "lies beneath a file"),
        ("scene/x", "scene", "is a file and a directory"),
        ("scene", "scene/", "is a file and a directory"),
        ("scene/", "scene", "is a file and a directory"),
    ] {
        let found = reason(&[entry(first, b""), entry(second, b"")], second.as_bytes());
        assert_eq!(found, why);
    }
    let mut file = entry("scene/", b"");
    file.mode = REGULAR;
    assert!(reason(&[file], b"scene/").contains("neither a plain file"));
    let mut directory = entry("scene", b"");
    directory.mode = DIRECTORY;
    assert!(reason(&[directory], b"scene").contains("neither a plain file"));
}

fn a_name_that_is_there_twice_is_refused() {
    for name in ["scene", "scene/"] {
        let found = reason(&[entry(name, b""), entry(name, b"")], name.as_bytes());
        assert_eq!(found, "is there twice");
    }
}

fn a_second_name_before_the_data_is_refused() {
    let mut two = entry("harmless", b"x");
    two.local_name = b"recipe.json".to_vec();
    assert_eq!(
        reason(&[two], b"harmless"),
        "has a second name in the archive"
    );
    let mut method = build_only(&[entry("harmless", b"x")]);
    method[8] = 8;
    let found = refusal(&method).to_string();
    assert!(found.contains("contradict"), "{found}");
}

fn a_second_name_in_other_letters_is_refused() {
    let mut two = entry("harmless", b"x");
    let mut field = vec![1];
    field.extend(checksum(b"harmless").to_le_bytes());
    field.extend(b"evil");
    two.extra = [
        &0x7075_u16.to_le_bytes()[..],
        &(field.len() as u16).to_le_bytes(),
        &field,
    ]
    .concat();
    two.flags = 0;
    let found = refusal(&build(&[two])).to_string();
    assert!(found.contains("has a second name"), "{found}");
}

fn a_symbolic_link_is_refused() {
    let mut link = entry("link", b"/etc");
    link.mode = 0o120_777;
    assert_eq!(
        reason(&[link, entry("link/evil", b"evil")], b"link"),
        "is neither a plain file nor a directory, such as a symbolic link"
    );
}

fn a_link_in_the_disguise_of_another_system_is_refused() {
    for system in [0, 10, 19] {
        let mut link = entry("link", b"/etc");
        link.mode = 0o120_777;
        link.system = system;
        assert!(reason(&[link], b"link").contains("symbolic link"));
    }
}

fn a_device_is_refused() {
    for kind in [0o020_000, 0o060_000, 0o010_000, 0o140_000] {
        let mut device = entry("device", b"");
        device.mode = kind | 0o644;
        assert!(reason(&[device], b"device").contains("neither a plain file"));
    }
}

fn a_setuid_bit_is_refused() {
    for bit in [0o4000, 0o2000, 0o1000] {
        let mut tool = entry("tool", b"x");
        tool.mode |= bit;
        assert!(reason(&[tool], b"tool").contains("setuid"));
    }
}

fn an_encrypted_entry_is_refused() {
    let mut secret = entry("secret", b"x");
    secret.flags |= 1;
    assert_eq!(reason(&[secret], b"secret"), "is encrypted");
}

fn an_odd_compression_is_refused() {
    for method in [1, 6, 9, 12, 14, 93, 99] {
        let mut odd = entry("odd", b"x");
        odd.method = method;
        reason(&[odd], b"odd");
    }
}

fn a_directory_with_content_is_refused() {
    assert_eq!(
        reason(&[entry("directory/", b"hidden")], b"directory/"),
        "is a directory with content"
    );
}

fn entries_that_share_bytes_are_refused() {
    // Two that are one and the same.
    let found = refusal(&build_only(&[
        entry("a", b"x"),
        Entry {
            offset: Some(0),
            ..entry("b", b"x")
        },
    ]));
    assert!(found.to_string().contains("second name"), "{found}");
    // The data of the first is the whole of the second.
    let inner = build_only(&[entry("inner", b"x")]);
    let header = 30 + "inner".len() + 1;
    let mut outer = entry("outer", &inner[..header]);
    outer.size = header as u32;
    let inside = Entry {
        offset: Some(30 + "outer".len() as u32),
        ..entry("inner", b"x")
    };
    let found = refusal(&build_only(&[outer, inside]));
    assert_eq!(
        found.to_string(),
        "the entry \"outer\" shares its bytes with another part of the archive"
    );
}

fn an_entry_that_reaches_into_the_directory_is_refused() {
    let mut archive = build_only(&[entry("name", b"data")]);
    let size = 60_u32.to_le_bytes();
    let central = 30 + 4 + 4;
    for at in [18, 22, central + 20, central + 24] {
        archive[at..at + 4].copy_from_slice(&size);
    }
    let found = refusal(&archive).to_string();
    assert!(found.contains("shares its bytes"), "{found}");
}

fn an_entry_that_is_not_there_is_refused() {
    let nowhere = Entry {
        offset: Some(3),
        ..entry("nowhere", b"x")
    };
    reason(&[nowhere], b"nowhere");
}

fn too_many_entries_are_refused() {
    let entries: Vec<Entry> = (0..=LIMITS.entries)
        .map(|number| entry(format!("file-{number}"), b""))
        .collect();
    assert_eq!(
        refusal(&build_only(&entries)),
        Refusal::Entries {
            entries: LIMITS.entries + 1,
            most: LIMITS.entries
        }
    );
}

fn too_deep_nesting_is_refused() {
    let deepest = "d/".repeat(LIMITS.depth);
    let directory = tempfile::tempdir().unwrap();
    unpack_into(
        directory.path(),
        &build(&[entry(format!("{deepest}file"), b"x")]),
        &LIMITS,
    )
    .unwrap();
    for name in [format!("{deepest}d/"), format!("{deepest}d/file")] {
        let found = reason(&[entry(&name, b"")], name.as_bytes());
        assert!(found.contains("nested deeper than 8"), "{found}");
    }
}

fn a_bomb_is_refused_by_what_comes_out() {
    let archive = written(|zip| {
        zip.start_file("zeros", options()).unwrap();
        for _ in 0..64 {
            zip.write_all(&[0; 1 << 20]).unwrap();
        }
    });
    assert!(archive.len() < 100_000, "{} bytes", archive.len());
    assert_eq!(refusal(&archive), Refusal::Size { most: LIMITS.size });
    // Many small ones count together.
    let archive = written(|zip| {
        for number in 0..50 {
            put(zip, &format!("zeros-{number}"), &[0; 50_000]);
        }
    });
    assert_eq!(refusal(&archive), Refusal::Size { most: LIMITS.size });
}

/// Zeros, and where their number stands in the archive.
fn bomb(size: usize) -> Vec<u8> {
    written(|zip| {
        zip.start_file("zeros", options()).unwrap();
        for _ in 0..size >> 20 {
            zip.write_all(&[0; 1 << 20]).unwrap();
        }
    })
}

fn replace_sizes(archive: &mut [u8], from: u32, to: u32) {
    let mut replaced = 0;
    for at in 0..archive.len() - 4 {
        if archive[at..at + 4] == from.to_le_bytes() {
            archive[at..at + 4].copy_from_slice(&to.to_le_bytes());
            replaced += 1;
        }
    }
    assert!(replaced >= 2, "{replaced}");
}

fn a_bomb_is_refused_by_its_ratio() {
    let limits = ArchiveLimits {
        size: 1 << 30,
        ratio: 200,
        ..LIMITS
    };
    // So much may come out of any archive.
    let directory = tempfile::tempdir().unwrap();
    unpack_into(directory.path(), &bomb(64 << 20), &limits).unwrap();
    let (found, written) = refused(&bomb(65 << 20), &limits);
    assert_eq!((found, written), (Refusal::Ratio { ratio: 200 }, 0));
}

fn a_bomb_that_says_what_it_is_is_refused_before_anything_is_written() {
    let mut honest = entry("zeros", b"");
    honest.method = 8;
    honest.content = vec![3, 0];
    honest.size = u32::MAX - 1;
    assert_eq!(
        refusal(&build(&[honest])),
        Refusal::Size { most: LIMITS.size }
    );
}

fn a_lie_about_the_size_is_no_way_around() {
    let size = 8 << 20;
    let limits = ArchiveLimits {
        size: 1 << 30,
        ..LIMITS
    };
    for lie in [10, size + 1] {
        let mut archive = bomb(size as usize);
        replace_sizes(&mut archive, size, lie);
        let (refusal, _) = refused(&archive, &limits);
        assert!(
            matches!(&refusal, Refusal::Entry { name, .. } if name.raw() == "zeros"),
            "{refusal}"
        );
    }
    let mut stored = entry("stored", b"content");
    stored.size = 3;
    assert!(reason(&[stored], b"stored").contains("another size"));
}

fn a_damaged_entry_is_refused() {
    let mut archive = build_only(&[entry("data", &[7; 5000])]);
    archive[1000] ^= 0xff;
    let (found, _) = refused(&archive, &LIMITS);
    assert!(
        found
            .to_string()
            .starts_with("the entry \"data\" cannot be unpacked: "),
        "{found}"
    );
}

fn what_is_no_archive_is_refused() {
    for archive in [&b""[..], b"PK\x03\x04", b"hello", &build(&[])[..100]] {
        assert!(matches!(refusal(archive), Refusal::Archive(_)));
    }
}

fn a_directory_that_is_not_empty_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("old"), "old").unwrap();
    let error = unpack_into(directory.path(), &build(&[]), &LIMITS).unwrap_err();
    assert!(error.to_string().ends_with("it is not empty"), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

fn nothing_is_executable() {
    let directory = tempfile::tempdir().unwrap();
    let mut tool = entry("bin/tool", b"#!/bin/sh");
    tool.mode = 0o100_777;
    let mut around = entry("bin/", b"");
    around.mode = 0o040_000;
    unpack_into(directory.path(), &build(&[tool, around]), &LIMITS).unwrap();
    let mode = |name: &str| {
        let metadata = fs::metadata(directory.path().join(name)).unwrap();
        metadata.permissions().mode() & 0o7777
    };
    // Less where the user's own mask says so.
    assert_eq!(mode("bin/tool") & !0o644, 0, "{:o}", mode("bin/tool"));
    assert_eq!(mode("bin/tool") & 0o600, 0o600);
    assert_eq!(mode("bin") & !0o755, 0, "{:o}", mode("bin"));
    assert_eq!(mode("bin") & 0o700, 0o700);
}

fn a_refusal_cannot_speak_to_the_terminal() {
    let found = refusal(&build(&[entry("a\n\u{1b}[2J", b"x")])).to_string();
    assert!(!found.contains(['\n', '\u{1b}']), "{found}");
}

fn what_a_pod_is_packed_into_is_unpacked_again() {
    let pod = tempfile::tempdir().unwrap();
    let files = [
        ("script/main.wasm", vec![7; 300_000]),
        ("payload/deep/er/Größe.txt", b"text".repeat(1000)),
        ("payload/empty", Vec::new()),
        ("README.md", b"read me".to_vec()),
    ];
    for (name, content) in &files {
        let path = pod.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::create_dir(pod.path().join("payload/nothing")).unwrap();
    let contents = Contents {
        kind: Kind::Pod,
        outputs: false,
        recipe: b"{}".to_vec(),
        lock: None,
    };
    let tree = sovr_pod::Tree::open(pod.path()).unwrap();
    let mut archive = Vec::new();
    let planned = plan(&tree, contents).unwrap();
    planned.write(&mut archive).unwrap();

    let directory = tempfile::tempdir().unwrap();
    let unpacked = run(unpack(
        file(&archive),
        directory.path(),
        &ArchiveLimits::default(),
    ))
    .unwrap();
    assert_eq!(
        unpacked,
        Unpacked {
            files: 5,
            directories: 7,
            bytes: planned.bytes()
        }
    );
    for (name, content) in &files {
        assert!(
            fs::read(directory.path().join(name)).unwrap() == *content,
            "{name}"
        );
    }
    assert_eq!(
        fs::read(directory.path().join("recipe.json")).unwrap(),
        b"{}"
    );
    for name in ["output", "logs", "payload/nothing"] {
        assert!(directory.path().join(name).is_dir(), "{name}");
    }
}

fn member(archive: &[u8], name: &str, most: u64) -> Result<Option<Vec<u8>>, ArchiveError> {
    run(read_member(file(archive), name, most))
}

fn a_member_is_read() {
    let archive = build(&[entry("recipe.json", b"{}"), entry("script/", b"")]);
    assert_eq!(
        member(&archive, "recipe.json", 2).unwrap().as_deref(),
        Some(&b"{}"[..])
    );
    // What else lies there is not asked about.
    let archive = build(&[entry("../evil", b""), entry("recipe.json", b"{}")]);
    assert!(member(&archive, "recipe.json", 2).unwrap().is_some());
    // The largest comes through.
    let content: Vec<u8> = (0..MEMBER_MAX).map(|n| (n % 251) as u8).collect();
    let archive = build(&[entry("large", &content)]);
    assert!(member(&archive, "large", u64::MAX).unwrap() == Some(content));
}

fn a_member_that_is_not_there_is_none() {
    let archive = build(&[entry("script/", b"")]);
    let long = "x".repeat(5000);
    for name in ["recipe.json", "FIRST", "script", "script/", "", &long] {
        assert_eq!(member(&archive, name, 100).unwrap(), None, "{name}");
    }
}

fn a_member_that_is_too_large_is_refused() {
    let archive = build(&[entry("recipe.json", &[b' '; 1000])]);
    assert_eq!(
        member(&archive, "recipe.json", 999)
            .unwrap_err()
            .to_string(),
        "the archive is refused: the entry \"recipe.json\" has more than 999 bytes"
    );
    let archive = bomb(64 << 20);
    assert!(member(&archive, "zeros", u64::MAX).is_err());
}

fn a_member_that_is_a_link_is_refused() {
    let mut link = entry("recipe.json", b"/etc/passwd");
    link.mode = 0o120_777;
    assert!(member(&build(&[link]), "recipe.json", 100).is_err());
}

fn a_member_that_is_there_twice_is_refused() {
    let archive = build(&[entry("recipe.json", b"a"), entry("recipe.json", b"b")]);
    let error = member(&archive, "recipe.json", 100).unwrap_err();
    assert!(error.to_string().ends_with("is there twice"), "{error}");
}
