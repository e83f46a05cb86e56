//! The names of the protocol's own pods and files, and what a pod may be called.

use sovr_capability::Untrusted;
use sovr_dfs::{DfsPath, PodName};

use crate::Error;

/// The archive of a pod, in its root.
pub(crate) fn archive_of(pod: &PodName) -> Result<DfsPath, Error> {
    Ok(DfsPath::root()
        .join(&format!("{pod}.zip"))
        .map_err(sovr_dfs::Error::from)?)
}

/// A file in a pod's root whose name this program chose.
pub(crate) fn in_root(name: &str) -> Result<DfsPath, Error> {
    Ok(DfsPath::root().join(name).map_err(sovr_dfs::Error::from)?)
}

/// The recipe of a stored pod.
pub(crate) const RECIPE: &str = "recipe.json";
/// The documentation's name for the same: `ANY.recipe`.
pub(crate) const MARKER_END: &str = ".recipe";

/// The pod that shares the output of `pod`.
pub(crate) fn output_of(pod: &PodName) -> Result<PodName, Error> {
    let name = format!("{OUTPUT}{pod}");
    name.parse().map_err(|_| Error::Name {
        place: "the recipe's `name`",
        given: Untrusted::new(pod.as_str()),
        why: format!(
            "its output is shared as `{name}`, which has more than 64 bytes; choose a shorter name"
        ),
    })
}

/// What names of pods with shared output begin with.
pub(crate) use sovr_pod::names::OUTPUT_PREFIX as OUTPUT;

/// A name from a recipe under which a pod is to be stored.
pub(crate) fn own(name: &str) -> Result<PodName, Error> {
    check("the recipe's `name`", name)
}

/// The pod of the program itself; nobody else's may be stored under its name.
pub(crate) const PROGRAM: &str = "Sovr";

/// A name that a stranger gave a shared pod. It takes no place in storage, so that of the program is as good as any.
pub(crate) fn of_a_stranger(name: &Untrusted) -> Result<PodName, Error> {
    if name.raw() == PROGRAM {
        return Ok(PROGRAM.parse().map_err(sovr_dfs::Error::from)?);
    }
    check("the name that its owner gave the shared pod", name.raw())
}

fn check(place: &'static str, name: &str) -> Result<PodName, Error> {
    let refuse = |why: String| Error::Name {
        place,
        given: Untrusted::new(name),
        why,
    };
    let pod = name
        .parse()
        .map_err(|error: sovr_dfs::NameError| refuse(error.to_string()))?;
    match sovr_pod::names::is_reserved(name) {
        false => Ok(pod),
        true if is_output(name) => Err(refuse(
            "pods of this name hold the output of others; their archives are named in `golem.payload`"
                .to_owned(),
        )),
        true => Err(refuse("it is reserved".to_owned())),
    }
}

/// Whether a name is one for shared outputs.
pub(crate) fn is_output(name: &str) -> bool {
    name.to_ascii_lowercase().starts_with(OUTPUT)
}

/// A reference in a recipe that this program cannot use.
pub(crate) fn wrong_reference(given: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Name {
        place: "a reference in the recipe",
        given: Untrusted::new(given),
        why: error.to_string(),
    }
}
