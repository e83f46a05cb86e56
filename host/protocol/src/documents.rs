//! What lies in the root of a stored pod: its recipe and its archive.
//!
//! The original writes `recipe.json` and `NAME.zip`; its documentation calls the recipe `NAME.recipe`. Both are read.

use serde_json::{Map, Value};
use sovr_capability::section::describe;
use sovr_capability::{Untrusted, json};
use sovr_dfs::{DfsPath, Entry, Kind, Place, PodName};
use sovr_pod::recipe;

use crate::names::{self, MARKER_END, RECIPE};
use crate::{Error, Protocol};

/// The front of a stored pod.
pub(crate) struct Front {
    /// The recipe beside the archive, as it stands there.
    pub(crate) recipe: Option<Vec<u8>>,
    /// Its archive.
    pub(crate) archive: Option<DfsPath>,
}

impl Protocol {
    /// Looks at the root of a pod that is called `name` by its owner.
    pub(crate) async fn front(&self, place: &Place, name: &PodName) -> Result<Front, Error> {
        let root = DfsPath::root();
        let entries = self.dfs().list(place, &root).await?;
        let files: Vec<&str> = entries
            .iter()
            .filter(|entry| entry.kind == Kind::File)
            .map(|entry| entry.name.as_str())
            .collect();
        let recipe = match pick_recipe(&files, name) {
            // Names of a server are checked once more on their way into a path.
            Some(file) => {
                self.read_small(place, &names::in_root(file)?, recipe::MOST_BYTES)
                    .await?
            }
            None => None,
        };
        let archive = names::archive_of(name)?;
        let expected = archive.name().unwrap_or_default().to_owned();
        let archive = pick(&files, &[&expected], ".zip")
            .map(names::in_root)
            .transpose()?;
        Ok(Front { recipe, archive })
    }
}

/// What the only archive in a pod's root is called, without its ending.
pub(crate) fn only_archive(entries: &[Entry]) -> Option<Untrusted> {
    let files = entries.iter().filter(|entry| entry.kind == Kind::File);
    let mut names = files.filter_map(|entry| entry.name.strip_suffix(".zip"));
    match (names.next(), names.next()) {
        (Some(name), None) => Some(Untrusted::new(name)),
        _ => None,
    }
}

/// The recipe among the files of a pod that is called `name`.
pub(crate) fn pick_recipe<'f>(files: &[&'f str], name: &PodName) -> Option<&'f str> {
    pick(files, &[RECIPE, &format!("{name}{MARKER_END}")], MARKER_END)
}

/// Reads the text of a recipe; else what is wrong with it, to be read after the pod it belongs to.
pub(crate) fn parse(text: &[u8]) -> Result<Map<String, Value>, String> {
    match json::parse(text) {
        Ok(Value::Object(recipe)) => Ok(recipe),
        Ok(other) => Err(format!(
            "its recipe is {}, expected an object",
            describe(&other)
        )),
        Err(error) => Err(format!("its recipe is not valid JSON: {error}")),
    }
}

/// The first of `names` that is there; else the only file that ends like this.
fn pick<'f>(files: &[&'f str], names: &[&str], end: &str) -> Option<&'f str> {
    let named = names
        .iter()
        .find_map(|name| files.iter().find(|file| *file == name));
    let mut others = files.iter().filter(|file| file.ends_with(end));
    let only = match (others.next(), others.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    };
    named.or(only).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_names_come_first_and_a_single_other_one_is_good_enough() {
        let names = ["recipe.json", "x.recipe"];
        for (files, picked) in [
            (
                &["x.zip", "x.recipe", "recipe.json"][..],
                Some("recipe.json"),
            ),
            (&["x.zip", "x.recipe", "y.recipe"], Some("x.recipe")),
            (&["x.zip", "blender.recipe"], Some("blender.recipe")),
            (&["a.recipe", "b.recipe"], None),
            (&["recipe.py"], None),
        ] {
            assert_eq!(pick(files, &names, ".recipe"), picked, "{files:?}");
        }
    }
}
