//! Changes what is not its own: makes, replaces, removes, renames and links files out of its tree, and in the part of
//! it that is to read only. Arguments are further files to write, by the host's absolute path.

use std::fs::{self, OpenOptions};

use hostile::{Descriptor, DescriptorFlags, OpenFlags, PathFlags, preopened, report};

const UP: &str = "../../../../../../../../../../../..";

fn main() {
    let mut targets = vec!["/var/tmp/sovr-hostile-was-here".to_owned()];
    targets.extend(std::env::args().skip(1));
    for target in &targets {
        outside(target);
    }
    siblings();
    read_only("/payload");
    read_only("/script");
}

fn outside(target: &str) {
    let output = preopened("/output");
    for path in [
        target.to_owned(),
        format!("/output/{UP}{target}"),
        format!("{UP}{target}"),
    ] {
        report(format!("write {path}"), fs::write(&path, "evil"));
    }
    for path in [
        target.to_owned(),
        format!("/{target}"),
        format!("{UP}{target}"),
    ] {
        report(format!("create {path}"), create(&output, &path));
        report(
            format!("make directory {path}.d"),
            output.create_directory_at(&format!("{path}.d")),
        );
        report(format!("remove {path}"), output.unlink_file_at(&path));
    }
    for (link, points_to) in [
        ("absolute", target.to_owned()),
        ("climbing", format!("{UP}{target}")),
    ] {
        let linked = output.symlink_at(&points_to, link);
        if linked.is_ok() {
            report(
                format!("write through output/{link} -> {points_to}"),
                fs::write(format!("/output/{link}"), "evil"),
            );
        }
        report(format!("leave a link output/{link} -> {points_to}"), linked);
    }
}

/// The pod's own recipe lies beside the directories it may see.
fn siblings() {
    for path in [
        "/recipe.json",
        "/output/../recipe.json",
        "../recipe.json",
        "/output/../sovr.lock",
    ] {
        report(format!("write {path}"), fs::write(path, "evil"));
    }
    fs::write("/output/mine", "evil").expect("/output is writable");
    for path in ["/output/../recipe.json", "/payload/mine", "/script/mine"] {
        report(
            format!("rename output/mine to {path}"),
            fs::rename("/output/mine", path),
        );
        report(
            format!("link output/mine to {path}"),
            fs::hard_link("/output/mine", path),
        );
    }
}

fn read_only(directory: &str) {
    let preopen = preopened(directory);
    report(
        format!("create {directory}/new"),
        fs::write(format!("{directory}/new"), "evil"),
    );
    report(
        format!("make directory {directory}/new.d"),
        fs::create_dir(format!("{directory}/new.d")),
    );
    report(
        format!("leave a link {directory}/link"),
        preopen.symlink_at("anywhere", "link"),
    );
    let Some(file) = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .find(|entry| entry.path().is_file())
    else {
        println!("{directory} holds no file to abuse");
        return;
    };
    let (path, name) = (file.path(), file.file_name().to_string_lossy().into_owned());
    let shown = path.display();
    report(
        format!("append to {shown}"),
        OpenOptions::new().append(true).open(&path),
    );
    report(
        format!("open {shown} to write"),
        OpenOptions::new().write(true).open(&path),
    );
    report(
        format!("truncate {shown}"),
        preopen.open_at(
            PathFlags::empty(),
            &name,
            OpenFlags::TRUNCATE,
            DescriptorFlags::READ,
        ),
    );
    report(
        format!("rename {shown} away"),
        fs::rename(&path, format!("/output/{name}")),
    );
    report(
        format!("link {shown} to where it can be written"),
        fs::hard_link(&path, format!("/output/{name}")),
    );
    report(format!("remove {shown}"), fs::remove_file(&path));
}

fn create(directory: &Descriptor, path: &str) -> Result<Descriptor, impl std::fmt::Display> {
    directory.open_at(
        PathFlags::SYMLINK_FOLLOW,
        path,
        OpenFlags::CREATE,
        DescriptorFlags::WRITE,
    )
}
