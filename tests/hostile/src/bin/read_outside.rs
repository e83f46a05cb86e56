//! Reads what is not its own: by `..`, by absolute path, through links of its own making, through `/proc`. Arguments
//! are further files to try, by the host's absolute path.

use std::fs;

use hostile::{DescriptorFlags, OpenFlags, PathFlags, preopened, report};

const UP: &str = "../../../../../../../../../../../..";

fn main() {
    let mut targets = vec!["/etc/passwd".to_owned(), "/proc/self/environ".to_owned()];
    targets.extend(std::env::args().skip(1));

    for sibling in [
        "/recipe.json",
        "/payload/../recipe.json",
        "/output/../recipe.json",
        "../recipe.json",
    ] {
        report(format!("read {sibling}"), fs::read(sibling));
    }
    for parent in ["/..", "/payload/..", "/output/../.."] {
        report(
            format!("list {parent}"),
            fs::read_dir(parent).and_then(Iterator::collect::<Result<Vec<_>, _>>),
        );
    }
    for target in &targets {
        report(format!("read {target}"), fs::read(target));
        for climb in [
            format!("/payload/{UP}{target}"),
            format!("/output/./{UP}{target}"),
            format!("{UP}{target}"),
        ] {
            report(format!("read {climb}"), fs::read(&climb));
        }
        raw(target);
        through_links(target);
    }
}

/// The paths as they are, without the C library's idea of where an absolute path lies.
fn raw(target: &str) {
    let output = preopened("/output");
    for path in [
        target.to_owned(),
        format!("{target}/"),
        format!("/{target}"),
        format!("{UP}{target}"),
    ] {
        let opened = output.open_at(
            PathFlags::SYMLINK_FOLLOW,
            &path,
            OpenFlags::empty(),
            DescriptorFlags::READ,
        );
        report(
            format!("open {path}"),
            opened.and_then(|file| file.read(64, 0)),
        );
    }
}

/// A link that points out, and a link to the root with the rest of the path behind it.
fn through_links(target: &str) {
    let output = preopened("/output");
    for (link, points_to) in [
        ("absolute", target.to_owned()),
        ("climbing", format!("{UP}{target}")),
    ] {
        if output.symlink_at(&points_to, link).is_ok() {
            report(
                format!("read output/{link} -> {points_to}"),
                fs::read(format!("/output/{link}")),
            );
        }
    }
    if output.symlink_at(UP, "root").is_ok() {
        report(
            format!("read output/root{target}"),
            fs::read(format!("/output/root{target}")),
        );
        report(
            format!("read output/root{target}/"),
            fs::read(format!("/output/root{target}/")),
        );
    }
    for link in ["absolute", "climbing", "root"] {
        let _ = fs::remove_file(format!("/output/{link}"));
    }
}
