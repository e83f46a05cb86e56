//! Which interfaces a script may import, and which part of the grants each needs.
//!
//! Read from the file without compiling it, so that `check` can say before a run what would be missing. The linker of
//! the runner decides in the end; this list says the same in words an author can act on.

use sovr_capability::Grants;
use sovr_runtime::examine::{Examination, Kind, Name};

use crate::error::Error;
use crate::host::Ungranted;

/// The contract's version.
const CONTRACT: &str = "0.1.0";

/// Interfaces of the contract, with the section of `capabilities` that each needs, if any.
const SOVR: [(&str, Option<&str>); 7] = [
    ("sovr:pod/errors", None),
    ("sovr:pod/pod", None),
    ("sovr:pod/log", None),
    ("sovr:pod/progress", None),
    ("sovr:pod/transfer", None),
    ("sovr:pod/golem", Some("golem")),
    ("sovr:pod/dfs", Some("dfs")),
];

/// WASI packages, all of version 0.2. Sockets are there because some language runtimes always import them; calling
/// one traps.
const WASI: [&str; 6] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

/// What stands against running it.
pub(crate) fn obstacles(examination: &Examination) -> Vec<Error> {
    if examination.kind == Kind::Module {
        return vec![Error::NotAComponent];
    }
    let unknown = examination.imports.iter().filter_map(|import| {
        let offered = offered(import)?;
        Some(Error::Import {
            import: full(import).into(),
            offered,
        })
    });
    let command = examination
        .exports
        .iter()
        .any(|export| export.name.raw() == "wasi:cli/run");
    unknown
        .chain((!command).then_some(Error::NotACommand))
        .collect()
}

/// What is offered instead of this import; none if it is offered itself.
fn offered(import: &Name) -> Option<String> {
    let name = import.name.raw();
    let version = import.version.as_ref().map_or("", |version| version.raw());
    if name.starts_with("wasi:") {
        let known = WASI.iter().any(|package| name.starts_with(package));
        if known && version.starts_with("0.2.") {
            return None;
        }
        return Some(if known {
            format!("{name}@0.2")
        } else {
            "wasi:cli, clocks, filesystem, io and random of 0.2".into()
        });
    }
    match SOVR.iter().find(|(offered, _)| *offered == name) {
        Some(_) if version == CONTRACT => None,
        Some((offered, _)) => Some(format!("{offered}@{CONTRACT}")),
        None => Some(format!("sovr:pod@{CONTRACT} and WASI 0.2")),
    }
}

/// Imports that the grants give nothing for.
pub(crate) fn ungranted(examination: &Examination, grants: &Grants) -> Vec<Ungranted> {
    let held = grants.capabilities();
    examination
        .imports
        .iter()
        .filter_map(|import| {
            let (_, section) = SOVR.iter().find(|(name, _)| *name == import.name.raw())?;
            let section = (*section)?;
            let granted = match section {
                "golem" => held.golem.is_some(),
                _ => held.dfs.is_some(),
            };
            (!granted).then(|| Ungranted {
                import: full(import),
                section,
            })
        })
        .collect()
}

fn full(name: &Name) -> String {
    match &name.version {
        Some(version) => format!("{}@{}", name.name.raw(), version.raw()),
        None => name.name.raw().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(imports: &[(&str, &str)], exports: &[&str]) -> Examination {
        let name = |name: &str, version: &str| Name {
            name: name.into(),
            version: (!version.is_empty()).then(|| version.into()),
        };
        Examination {
            kind: Kind::Component,
            imports: imports
                .iter()
                .map(|(import, version)| name(import, version))
                .collect(),
            exports: exports.iter().map(|export| name(export, "0.2.6")).collect(),
            name: None,
            producers: Vec::new(),
        }
    }

    fn refused(imports: &[(&str, &str)]) -> Vec<String> {
        obstacles(&component(imports, &["wasi:cli/run"]))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn the_contract_and_wasi_are_offered() {
        let imports = [
            ("sovr:pod/golem", "0.1.0"),
            ("wasi:cli/environment", "0.2.0"),
            ("wasi:io/streams", "0.2.12"),
            ("wasi:sockets/tcp", "0.2.6"),
        ];
        assert_eq!(refused(&imports), [""; 0]);
    }

    #[test]
    fn others_are_refused_by_name_and_version() {
        for import in [
            ("sovr:pod/golem", "0.2.0"),
            ("wasi:http/types", "0.2.0"),
            ("wasi:cli/stdin", "0.3.0"),
            ("evil:x/y", ""),
        ] {
            let refused = refused(&[import]);
            assert_eq!(refused.len(), 1, "{import:?}");
            assert!(
                refused[0].contains(import.0) && refused[0].contains(import.1),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn a_library_and_a_module_cannot_run() {
        assert!(matches!(
            obstacles(&component(&[], &[]))[..],
            [Error::NotACommand]
        ));
        let module = Examination {
            kind: Kind::Module,
            ..component(&[], &[])
        };
        assert!(matches!(obstacles(&module)[..], [Error::NotAComponent]));
    }
}
