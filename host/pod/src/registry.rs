//! The registries: JSON documents in storage pods of the user's own, in the shapes of the original Sovr.
//!
//! | pod | file | shape |
//! |---|---|---|
//! | `ComputePodRegistry` | `/Registry.json` | `{ name: recipe }`, as of the last persist |
//! | `SharedPods` | `/SharedPods.json` | `{ name: [ { recipe, sharing_reference } ] }`, one for each share |
//! | `ForkedPods` | `/ForkedPods.json` | `{ name: [ { recipe, sharing_reference, archive } ] }`; ours |
//!
//! Other programs write them too, and storage may hand out anything. An entry that is wrong is skipped, reported, and
//! kept as it is when the document is written again: this program must not lose what it does not understand. A document
//! that cannot be taken apart at all is an error, on which a caller must never write a new one in its place; that is for
//! the user to order, with `sovr-host registry rebuild`.
//!
//! A document is written the way Python's `json.dump` writes it, in ASCII, because the original reads it with whatever
//! encoding its machine prefers.

use std::fmt;
use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};
use serde_json::{Map, Value, json};
use sovr_capability::capabilities::is_plain;
use sovr_capability::section::{describe, shown};
use sovr_capability::text::quote;
use sovr_capability::{Digest, Untrusted, json as strict};

use crate::recipe::is_reference;

/// Most bytes of a document.
pub const MOST_BYTES: usize = 16 << 20;

/// Most entries of a document.
pub const MOST_ENTRIES: usize = 10_000;

/// Deepest nesting of an entry.
const MOST_DEPTH: usize = 32;

/// Most values of a document, counted roughly by what separates them: a value takes far more memory than text, and
/// sixteen million bytes of `[[],[],` would fill it.
const MOST_VALUES: usize = 1_000_000;

/// Skipped entries that are told one by one; more are counted.
const MOST_SKIPPED: usize = 100;

const RECIPE: &str = "recipe";
const REFERENCE: &str = "sharing_reference";
const ARCHIVE: &str = "archive";

/// An entry that is wrong. It stays in the document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Skipped {
    /// Which one.
    pub entry: Untrusted,
    /// Why; safe to show.
    pub why: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", quote(self.entry.raw()), self.why)
    }
}

/// A document that cannot be taken apart, or would be one if it were written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file} of the storage pod `{pod}` {problem}; {next}")]
pub struct RegistryError {
    pod: &'static str,
    file: &'static str,
    problem: String,
    next: &'static str,
}

/// Which of the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    pod: &'static str,
    file: &'static str,
}

impl Place {
    fn unusable(self, problem: impl Into<String>) -> RegistryError {
        RegistryError {
            pod: self.pod,
            file: self.file,
            problem: problem.into(),
            next: "nothing was written; `sovr-host registry rebuild` makes a new one",
        }
    }

    fn refused(self, problem: impl Into<String>, next: &'static str) -> RegistryError {
        RegistryError {
            pod: self.pod,
            file: self.file,
            problem: problem.into(),
            next,
        }
    }
}

/// What the three have in common: an object of which only some entries are understood.
#[derive(Debug, Clone, PartialEq)]
struct Core {
    place: Place,
    entries: Map<String, Value>,
}

impl Core {
    fn new(place: Place) -> Self {
        Self {
            place,
            entries: Map::new(),
        }
    }

    fn parse(place: Place, bytes: &[u8]) -> Result<Self, RegistryError> {
        if bytes.len() > MOST_BYTES {
            return Err(place.unusable("is longer than 16 MiB"));
        }
        let values = bytes.iter().filter(|b| matches!(b, b',' | b'[' | b'{'));
        if values.count() > MOST_VALUES {
            return Err(place.unusable("holds more than a million values"));
        }
        let value = strict::parse(bytes)
            .map_err(|error| place.unusable(format!("is not valid JSON: {error}")))?;
        match value {
            Value::Object(entries) if entries.len() > MOST_ENTRIES => {
                let problem = format!("has {} entries and can have {MOST_ENTRIES}", entries.len());
                Err(place.unusable(problem))
            }
            Value::Object(entries) => Ok(Self { place, entries }),
            other => Err(place.unusable(format!("is {}, expected an object", describe(&other)))),
        }
    }

    fn to_bytes(&self) -> Result<Vec<u8>, RegistryError> {
        let mut bytes = Vec::new();
        let mut serializer = Serializer::with_formatter(&mut bytes, Python);
        self.entries
            .serialize(&mut serializer)
            .expect("a document in memory can be written to memory");
        if bytes.len() > MOST_BYTES {
            let next = "nothing was written; delete pods that you do not need";
            return Err(self.place.refused("would be longer than 16 MiB", next));
        }
        Ok(bytes)
    }

    /// Whether a recipe may be written under a name, so that it can be read again.
    fn check_insert(&self, name: &str, recipe: &Map<String, Value>) -> Result<(), RegistryError> {
        let next = "nothing was written; correct the recipe";
        if let Err(why) = check_name(name) {
            let problem = format!("cannot have the entry {}: {why}", quote(name));
            return Err(self.place.refused(problem, next));
        }
        // The recipe lies one or three levels deeper in the document.
        if recipe
            .values()
            .any(|value| is_deeper(value, MOST_DEPTH - 4))
        {
            let problem = format!(
                "cannot have a recipe nested deeper than {} levels",
                MOST_DEPTH - 4
            );
            return Err(self.place.refused(problem, next));
        }
        if self.entries.len() >= MOST_ENTRIES && !self.entries.contains_key(name) {
            let problem = format!("has {MOST_ENTRIES} entries already");
            let next = "nothing was written; delete pods that you do not need";
            return Err(self.place.refused(problem, next));
        }
        Ok(())
    }
}

/// Whether a name can be a pod's; else why not.
fn check_name(name: &str) -> Result<(), &'static str> {
    if is_plain(name) {
        Ok(())
    } else {
        Err(
            "its name is not the name of a pod: 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or digit",
        )
    }
}

/// Whether values are nested deeper than that many levels; a number has one.
fn is_deeper(value: &Value, levels: usize) -> bool {
    let Some(rest) = levels.checked_sub(1) else {
        return true;
    };
    match value {
        Value::Array(items) => items.iter().any(|item| is_deeper(item, rest)),
        Value::Object(entries) => entries.values().any(|entry| is_deeper(entry, rest)),
        _ => false,
    }
}

/// A name and a value of the document, if both can be used; else why not.
fn check_entry(name: &str, value: &Value) -> Result<(), String> {
    check_name(name)?;
    if is_deeper(value, MOST_DEPTH - 1) {
        return Err(format!("it is nested deeper than {MOST_DEPTH} levels"));
    }
    Ok(())
}

/// A recipe of an entry.
fn read_recipe(value: &Value) -> Result<&Map<String, Value>, String> {
    value
        .as_object()
        .ok_or_else(|| format!("got {}, expected a recipe", describe(value)))
}

/// Collects what is skipped, up to a number that a person reads.
#[derive(Default)]
struct Skips {
    list: Vec<Skipped>,
    more: usize,
}

impl Skips {
    fn add(&mut self, entry: impl FnOnce() -> String, why: String) {
        if self.list.len() < MOST_SKIPPED {
            self.list.push(Skipped {
                entry: entry().into(),
                why,
            });
        } else {
            self.more += 1;
        }
    }

    fn finish(mut self) -> Vec<Skipped> {
        if self.more > 0 {
            self.list.push(Skipped {
                entry: "…".into(),
                why: format!("{} more entries are wrong", self.more),
            });
        }
        self.list
    }
}

/// What the three documents have in common.
pub trait Book: Default {
    /// The storage pod that holds it.
    const POD: &'static str;
    /// Its path there.
    const FILE: &'static str;

    /// Reads it. What is skipped stays in it.
    ///
    /// # Errors
    /// When it is not an object, or too large or too deep. It must not be written over then.
    fn parse(bytes: &[u8]) -> Result<(Self, Vec<Skipped>), RegistryError>;

    /// As it is to be stored.
    ///
    /// # Errors
    /// When it is too large to be read again.
    fn to_bytes(&self) -> Result<Vec<u8>, RegistryError>;
}

/// A document in its place; `$read` tells which of its entries are wrong.
macro_rules! book {
    ($book:ty, $pod:literal, $file:literal, $read:expr) => {
        impl $book {
            const PLACE: Place = Place {
                pod: $pod,
                file: $file,
            };
        }

        impl Default for $book {
            fn default() -> Self {
                Self(Core::new(Self::PLACE))
            }
        }

        impl Book for $book {
            const POD: &'static str = $pod;
            const FILE: &'static str = $file;

            fn parse(bytes: &[u8]) -> Result<(Self, Vec<Skipped>), RegistryError> {
                let core = Core::parse(Self::PLACE, bytes)?;
                let skipped = $read(&core);
                Ok((Self(core), skipped))
            }

            fn to_bytes(&self) -> Result<Vec<u8>, RegistryError> {
                self.0.to_bytes()
            }
        }
    };
}

book!(
    Registry,
    "ComputePodRegistry",
    "/Registry.json",
    Core::wrong_recipes
);
book!(
    SharedPods,
    "SharedPods",
    "/SharedPods.json",
    |core: &Core| core.parse_lists(read_share)
);
book!(
    ForkedPods,
    "ForkedPods",
    "/ForkedPods.json",
    |core: &Core| core.parse_lists(read_fork)
);

/// `/Registry.json`: the user's pods with their recipes.
#[derive(Debug, Clone, PartialEq)]
pub struct Registry(Core);

impl Registry {
    fn read<'a>(name: &str, value: &'a Value) -> Result<&'a Map<String, Value>, String> {
        check_entry(name, value)?;
        read_recipe(value)
    }

    /// Name and recipe of each pod, in the document's order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Map<String, Value>)> {
        let entries = self.0.entries.iter();
        entries.filter_map(|(name, value)| Some((name.as_str(), Self::read(name, value).ok()?)))
    }

    /// The recipe of a pod.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Map<String, Value>> {
        let value = self.0.entries.get(name)?;
        Self::read(name, value).ok()
    }

    /// Enters a pod, in the place of an older entry of its name.
    ///
    /// # Errors
    /// When the name or the recipe could not be read again, or there is no room.
    pub fn insert(&mut self, name: &str, recipe: Map<String, Value>) -> Result<(), RegistryError> {
        self.0.check_insert(name, &recipe)?;
        self.0.entries.insert(name.to_owned(), recipe.into());
        Ok(())
    }

    /// Takes a pod out, whether or not its entry was understood. Answers whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        self.0.entries.shift_remove(name).is_some()
    }
}

/// One share of a pod.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share<'a> {
    /// The recipe as it was then.
    pub recipe: &'a Map<String, Value>,
    /// The sharing reference, as written: 64 or 128 hexadecimal digits.
    pub reference: &'a str,
}

/// One fork of a pod.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fork<'a> {
    /// The recipe as it was then.
    pub recipe: &'a Map<String, Value>,
    /// The sharing reference, as written: 64 or 128 hexadecimal digits.
    pub reference: &'a str,
    /// SHA-256 of the archive.
    pub archive: Digest,
}

fn read_share(value: &Value) -> Result<Share<'_>, String> {
    let entry = value
        .as_object()
        .ok_or_else(|| format!("got {}, expected an object", describe(value)))?;
    let recipe = entry.get(RECIPE).ok_or("it has no `recipe`")?;
    let reference = entry
        .get(REFERENCE)
        .ok_or("it has no `sharing_reference`")?;
    match reference.as_str().filter(|text| is_reference(text)) {
        Some(reference) => Ok(Share {
            recipe: read_recipe(recipe)?,
            reference,
        }),
        None => Err(format!(
            "its `sharing_reference` is {}, expected 64 or 128 hexadecimal digits",
            describe(reference)
        )),
    }
}

fn read_fork(value: &Value) -> Result<Fork<'_>, String> {
    let Share { recipe, reference } = read_share(value)?;
    let archive = value.get(ARCHIVE).ok_or("it has no `archive`")?;
    match archive.as_str().map(str::parse) {
        Some(Ok(archive)) => Ok(Fork {
            recipe,
            reference,
            archive,
        }),
        _ => Err(format!(
            "its `archive` is {}, expected a SHA-256 digest",
            describe(archive)
        )),
    }
}

/// The list under a name, if it can be used.
fn read_list<'a>(name: &str, value: &'a Value) -> Result<&'a Vec<Value>, String> {
    check_entry(name, value)?;
    value
        .as_array()
        .ok_or_else(|| format!("got {}, expected a list", describe(value)))
}

impl Core {
    /// Entries of a document of recipes that are none.
    fn wrong_recipes(&self) -> Vec<Skipped> {
        let mut skips = Skips::default();
        for (name, value) in &self.entries {
            if let Err(why) = Registry::read(name, value) {
                skips.add(|| name.clone(), why);
            }
        }
        skips.finish()
    }
}

/// A document of lists. `read` takes an element apart.
impl Core {
    fn parse_lists<'a, T: 'a>(
        &'a self,
        read: impl Fn(&'a Value) -> Result<T, String>,
    ) -> Vec<Skipped> {
        let mut skips = Skips::default();
        for (name, value) in &self.entries {
            match read_list(name, value) {
                Err(why) => skips.add(|| name.clone(), why),
                Ok(items) => {
                    for (index, item) in items.iter().enumerate() {
                        if let Err(why) = read(item) {
                            skips.add(|| format!("{name}[{index}]"), why);
                        }
                    }
                }
            }
        }
        skips.finish()
    }

    fn lists<'a, T: 'a>(
        &'a self,
        read: fn(&'a Value) -> Result<T, String>,
    ) -> impl Iterator<Item = (&'a str, Vec<T>)> {
        self.entries.iter().filter_map(move |(name, value)| {
            let items = read_list(name, value).ok()?;
            let items = items.iter().filter_map(|item| read(item).ok());
            Some((name.as_str(), items.collect()))
        })
    }

    fn list<'a, T>(&'a self, name: &str, read: fn(&'a Value) -> Result<T, String>) -> Vec<T> {
        let value = self.entries.get(name);
        let items = value.and_then(|value| read_list(name, value).ok());
        let items = items.into_iter().flatten();
        items.filter_map(|item| read(item).ok()).collect()
    }

    /// Appends an element. What stands under the name and is no list becomes the list's first, so that nothing is lost.
    fn append(&mut self, name: &str, item: Value) {
        match self.entries.get_mut(name) {
            Some(Value::Array(items)) => items.push(item),
            Some(other) => *other = json!([other.take(), item]),
            None => {
                self.entries.insert(name.to_owned(), json!([item]));
            }
        }
    }

    /// Removes the elements with a reference; the name with its last element.
    fn remove_reference(&mut self, name: &str, reference: &str) -> bool {
        let Some(Value::Array(items)) = self.entries.get_mut(name) else {
            return false;
        };
        let before = items.len();
        items.retain(|item| {
            !read_share(item).is_ok_and(|share| share.reference.eq_ignore_ascii_case(reference))
        });
        let removed = items.len() < before;
        if removed && items.is_empty() {
            self.entries.shift_remove(name);
        }
        removed
    }
}

/// `/SharedPods.json`: what was shared, with all references ever given out.
#[derive(Debug, Clone, PartialEq)]
pub struct SharedPods(Core);

impl SharedPods {
    /// Name and shares of each pod, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Vec<Share<'_>>)> {
        self.0.lists(read_share)
    }

    /// The shares of a pod, oldest first.
    #[must_use]
    pub fn shares(&self, name: &str) -> Vec<Share<'_>> {
        self.0.list(name, read_share)
    }

    /// The sharing references of a pod, oldest first, in lower case.
    #[must_use]
    pub fn references(&self, name: &str) -> Vec<String> {
        let shares = self.shares(name).into_iter();
        shares
            .map(|share| share.reference.to_ascii_lowercase())
            .collect()
    }

    /// Enters a share, after the older ones. Answers false for a reference that stands there already.
    ///
    /// # Errors
    /// When the name or the recipe could not be read again, or there is no room.
    pub fn add_share(
        &mut self,
        name: &str,
        recipe: Map<String, Value>,
        reference: &str,
    ) -> Result<bool, RegistryError> {
        self.0.check_insert(name, &recipe)?;
        check_reference(Self::PLACE, reference)?;
        let reference = reference.to_ascii_lowercase();
        if self.references(name).contains(&reference) {
            return Ok(false);
        }
        let item = json!({ RECIPE: recipe, REFERENCE: reference });
        self.0.append(name, item);
        Ok(true)
    }

    /// Takes a share out, for one that has ended. Answers whether it stood there.
    pub fn remove_reference(&mut self, name: &str, reference: &str) -> bool {
        self.0.remove_reference(name, reference)
    }

    /// Takes a pod out with all its shares, whether or not they were understood. Answers whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        self.0.entries.shift_remove(name).is_some()
    }
}

/// `/ForkedPods.json`: what was forked from others, and which content it had.
#[derive(Debug, Clone, PartialEq)]
pub struct ForkedPods(Core);

impl ForkedPods {
    /// Name and forks of each pod, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Vec<Fork<'_>>)> {
        self.0.lists(read_fork)
    }

    /// The forks of a pod, oldest first.
    #[must_use]
    pub fn forks(&self, name: &str) -> Vec<Fork<'_>> {
        self.0.list(name, read_fork)
    }

    /// Enters a fork, after the older ones; one that is there already, with the same reference and archive, becomes the
    /// newest. Answers whether it was not there.
    ///
    /// # Errors
    /// When the name or the recipe could not be read again, or there is no room.
    pub fn add_fork(
        &mut self,
        name: &str,
        recipe: Map<String, Value>,
        reference: &str,
        archive: Digest,
    ) -> Result<bool, RegistryError> {
        self.0.check_insert(name, &recipe)?;
        check_reference(Self::PLACE, reference)?;
        let known = |item: &Value| {
            read_fork(item).is_ok_and(|fork| {
                fork.archive == archive && fork.reference.eq_ignore_ascii_case(reference)
            })
        };
        let mut new = true;
        if let Some(Value::Array(items)) = self.0.entries.get_mut(name) {
            let before = items.len();
            items.retain(|item| !known(item));
            new = items.len() == before;
        }
        let reference = reference.to_ascii_lowercase();
        let item = json!({ RECIPE: recipe, REFERENCE: reference, ARCHIVE: archive });
        self.0.append(name, item);
        Ok(new)
    }

    /// Takes the forks of a reference out. Answers whether there was one.
    pub fn remove_reference(&mut self, name: &str, reference: &str) -> bool {
        self.0.remove_reference(name, reference)
    }

    /// Takes a pod out with all its forks, whether or not they were understood. Answers whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        self.0.entries.shift_remove(name).is_some()
    }
}

fn check_reference(place: Place, reference: &str) -> Result<(), RegistryError> {
    if is_reference(reference) {
        return Ok(());
    }
    let problem = format!(
        "cannot have {} for a sharing reference: it is not 64 or 128 hexadecimal digits",
        shown(reference)
    );
    Err(place.refused(problem, "nothing was written"))
}

/// Writes JSON like Python's `json.dump` with its defaults: `", "`, `": "`, everything but ASCII escaped.
struct Python;

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> io::Result<()> {
        to.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> io::Result<()> {
        to.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        to: &mut W,
        text: &str,
    ) -> io::Result<()> {
        for c in text.chars() {
            if c.is_ascii() && c != '\u{7f}' {
                to.write_all(&[c as u8])?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(to, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        to: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        serde_json::ser::CompactFormatter.write_char_escape(to, escape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(begin: &str) -> String {
        begin.repeat(32)
    }

    fn recipe(name: &str) -> Map<String, Value> {
        let recipe =
            json!({ "name": name, "golem": { "exec": "python3 x.py" }, "x-new": [1.5, null] });
        recipe.as_object().unwrap().clone()
    }

    fn skipped(list: &[Skipped]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    /// As Python 3 writes it with `json.dump`.
    const ORIGINAL: &str = r#"{"render": {"name": "render", "description": "Gr\u00f6\u00dfe \ud83d\udc07 \"x\"\n\u007f", "golem": {"exec": "python3 a.py", "payload": []}, "x": [1, 0.5, true, null]}, "keras": {"name": "keras", "pods": ["x"]}}"#;

    #[test]
    fn a_registry_of_the_original_is_read_and_written_again_byte_for_byte() {
        let (mut registry, found) = Registry::parse(ORIGINAL.as_bytes()).unwrap();
        assert_eq!(found, []);
        let names: Vec<&str> = registry.entries().map(|(name, _)| name).collect();
        assert_eq!(names, ["render", "keras"]);
        assert_eq!(
            registry.get("render").unwrap()["description"],
            "Größe 🐇 \"x\"\n\u{7f}"
        );
        assert_eq!(
            String::from_utf8(registry.to_bytes().unwrap()).unwrap(),
            ORIGINAL
        );

        registry.insert("new", recipe("new")).unwrap();
        registry.insert("render", recipe("render")).unwrap();
        let (read, _) = Registry::parse(&registry.to_bytes().unwrap()).unwrap();
        assert_eq!(read, registry);
        let names: Vec<&str> = read.entries().map(|(name, _)| name).collect();
        assert_eq!(names, ["render", "keras", "new"]);
        assert!(registry.remove("render") && !registry.remove("render"));
        let names: Vec<&str> = registry.entries().map(|(name, _)| name).collect();
        assert_eq!(names, ["keras", "new"]);
        assert_eq!(registry.get("render"), None);
        assert_eq!(Registry::default().to_bytes().unwrap(), b"{}");
    }

    #[test]
    fn shares_are_appended_in_order_and_never_twice() {
        let original = format!(
            r#"{{"render": [{{"recipe": {{"name": "render"}}, "sharing_reference": "{}"}}]}}"#,
            reference("0F")
        );
        let (mut shared, found) = SharedPods::parse(original.as_bytes()).unwrap();
        assert_eq!(found, []);
        assert_eq!(shared.to_bytes().unwrap(), original.as_bytes());
        assert!(
            !shared
                .add_share("render", recipe("render"), &reference("0f"))
                .unwrap()
        );
        assert!(
            shared
                .add_share("render", recipe("render"), &reference("A6"))
                .unwrap()
        );
        assert!(
            shared
                .add_share("other", recipe("other"), &reference("a6"))
                .unwrap()
        );
        assert_eq!(
            shared.references("render"),
            [reference("0f"), reference("a6")]
        );
        assert_eq!(shared.references("absent"), [""; 0]);
        let (read, found) = SharedPods::parse(&shared.to_bytes().unwrap()).unwrap();
        assert_eq!((&read, found), (&shared, vec![]));
        let value: Value = serde_json::from_slice(&shared.to_bytes().unwrap()).unwrap();
        assert_eq!(
            value["render"][1],
            json!({ "recipe": recipe("render"), "sharing_reference": reference("a6") })
        );

        assert!(shared.remove_reference("render", &reference("0f")));
        assert!(!shared.remove_reference("render", &reference("0f")));
        assert_eq!(shared.references("render"), [reference("a6")]);
        assert!(shared.remove_reference("render", &reference("A6")));
        assert_eq!(
            shared.entries().map(|(name, _)| name).collect::<Vec<_>>(),
            ["other"]
        );
    }

    #[test]
    fn forks_are_told_apart_by_their_archive() {
        let mut forked = ForkedPods::default();
        let at = reference("a6");
        assert!(
            forked
                .add_fork("render", recipe("render"), &at, Digest::of("1"))
                .unwrap()
        );
        assert!(
            !forked
                .add_fork("render", recipe("render"), &at, Digest::of("1"))
                .unwrap()
        );
        assert!(
            forked
                .add_fork("render", recipe("render"), &at, Digest::of("2"))
                .unwrap()
        );
        // Forked once more: the newest again.
        assert!(
            !forked
                .add_fork("render", recipe("render"), &at, Digest::of("1"))
                .unwrap()
        );
        let (read, found) = ForkedPods::parse(&forked.to_bytes().unwrap()).unwrap();
        assert_eq!((&read, found), (&forked, vec![]));
        let archives: Vec<Digest> = read
            .forks("render")
            .iter()
            .map(|fork| fork.archive)
            .collect();
        assert_eq!(archives, [Digest::of("2"), Digest::of("1")]);
        assert_eq!(read.entries().count(), 1);
        let without = format!(r#"{{"x": [{{"recipe": {{}}, "sharing_reference": "{at}"}}]}}"#);
        let (_, found) = ForkedPods::parse(without.as_bytes()).unwrap();
        assert_eq!(skipped(&found), ["\"x[0]\": it has no `archive`"]);
        assert!(forked.remove_reference("render", &at) && forked.forks("render").is_empty());
    }

    #[test]
    fn poisoned_entries_are_skipped_reported_and_kept_as_they_are() {
        let deep = format!("{}1{}", "[".repeat(40), "]".repeat(40));
        let text = format!(
            r#"{{"../../x": {{}}, "good": {{"name": "good"}}, "\u001b[2J": {{}}, "text": "x", "list": [], "null": null, "deep": {{"a": {deep}}}, "": {{}}, "a b": {{}}}}"#
        );
        let (mut registry, found) = Registry::parse(text.as_bytes()).unwrap();
        let name = "its name is not the name of a pod: 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or digit";
        assert_eq!(
            skipped(&found),
            [
                format!("\"../../x\": {name}"),
                format!("\"\\u{{1b}}[2J\": {name}"),
                "\"text\": got \"x\", expected a recipe".to_owned(),
                "\"list\": got a list of 0, expected a recipe".to_owned(),
                "\"null\": got null, expected a recipe".to_owned(),
                "\"deep\": it is nested deeper than 32 levels".to_owned(),
                format!("\"\": {name}"),
                format!("\"a b\": {name}"),
            ]
        );
        assert_eq!(
            registry.entries().map(|(name, _)| name).collect::<Vec<_>>(),
            ["good"]
        );
        assert_eq!(
            (registry.get("deep"), registry.get("../../x")),
            (None, None)
        );
        assert_eq!(registry.to_bytes().unwrap(), text.as_bytes());
        registry.insert("new", recipe("new")).unwrap();
        let (read, again) = Registry::parse(&registry.to_bytes().unwrap()).unwrap();
        assert_eq!((&read, again), (&registry, found));
        // A name that is repaired gets its entry.
        registry.insert("text", recipe("text")).unwrap();
        assert!(registry.get("text").is_some());
    }

    #[test]
    fn poisoned_shares_are_skipped_reported_and_kept_as_they_are() {
        let good = format!(
            r#"{{"recipe": {{}}, "sharing_reference": "{}"}}"#,
            reference("a6")
        );
        let text = format!(
            r#"{{"object": {{"a": 1}}, "mixed": [1, {good}, {{}}, {{"recipe": {{}}}}, {{"recipe": [], "sharing_reference": "{0}"}}, {{"recipe": {{}}, "sharing_reference": "\u001b"}}]}}"#,
            reference("a6")
        );
        let (mut shared, found) = SharedPods::parse(text.as_bytes()).unwrap();
        assert_eq!(
            skipped(&found),
            [
                "\"object\": got an object, expected a list",
                "\"mixed[0]\": got the number 1, expected an object",
                "\"mixed[2]\": it has no `recipe`",
                "\"mixed[3]\": it has no `sharing_reference`",
                "\"mixed[4]\": got a list of 0, expected a recipe",
                "\"mixed[5]\": its `sharing_reference` is \"\\u{1b}\", expected 64 or 128 hexadecimal digits",
            ]
        );
        assert_eq!(shared.references("mixed"), [reference("a6")]);
        assert_eq!(shared.to_bytes().unwrap(), text.as_bytes());
        // Sharing a pod whose entry is wrong loses nothing of it, and removing a share only that.
        assert!(
            shared
                .add_share("object", recipe("object"), &reference("0f"))
                .unwrap()
        );
        assert_eq!(shared.references("object"), [reference("0f")]);
        assert!(shared.remove_reference("mixed", &reference("a6")));
        let value: Value = serde_json::from_slice(&shared.to_bytes().unwrap()).unwrap();
        assert_eq!(value["object"][0], json!({ "a": 1 }));
        assert_eq!(value["mixed"].as_array().unwrap().len(), 5);
    }

    #[test]
    fn a_document_that_cannot_be_taken_apart_is_an_error_and_not_an_empty_registry() {
        let deep = "{\"a\":".repeat(10_000);
        let huge = format!("{{\"a\": \"{}\"}}", "x".repeat(MOST_BYTES));
        let dense = format!("{{\"a\": [{}[]]}}", "[],".repeat(MOST_VALUES / 2));
        let many: Map<String, Value> = (0..=MOST_ENTRIES)
            .map(|n| (n.to_string(), json!({})))
            .collect();
        let many = Value::Object(many).to_string();
        for (text, problem) in [
            ("", "is not valid JSON: EOF"),
            ("{", "is not valid JSON: EOF"),
            ("[]", "is a list of 0, expected an object"),
            ("null", "is null, expected an object"),
            ("<html>\u{1b}</html>", "is not valid JSON: expected value"),
            (r#"{"a": {}, "a": {}}"#, "the key \"a\" stands twice"),
            (
                r#"{"a": {"x": 1, "\u0078": 2}}"#,
                "the key \"x\" stands twice",
            ),
            (&deep, "recursion limit"),
            (&huge, "is longer than 16 MiB"),
            (&dense, "holds more than a million values"),
            (&many, "has 10001 entries and can have 10000"),
        ] {
            let (a, b, c) = (
                Registry::parse(text.as_bytes()).unwrap_err().to_string(),
                SharedPods::parse(text.as_bytes()).unwrap_err().to_string(),
                ForkedPods::parse(text.as_bytes()).unwrap_err().to_string(),
            );
            assert!(
                a.starts_with("/Registry.json of the storage pod `ComputePodRegistry` "),
                "{a}"
            );
            assert!(
                b.starts_with("/SharedPods.json of the storage pod `SharedPods` "),
                "{b}"
            );
            assert!(
                c.starts_with("/ForkedPods.json of the storage pod `ForkedPods` "),
                "{c}"
            );
            for error in [a, b, c] {
                assert!(error.contains(problem), "{problem}: {error}");
                assert!(
                    error.ends_with(
                        "; nothing was written; `sovr-host registry rebuild` makes a new one"
                    ),
                    "{error}"
                );
                assert!(!error.contains('\u{1b}'));
            }
        }
    }

    #[test]
    fn millions_of_wrong_entries_make_a_short_list() {
        let text = format!("{{\"a\": [{}0]}}", "0,".repeat(500_000));
        let (_, found) = SharedPods::parse(text.as_bytes()).unwrap();
        assert_eq!(found.len(), MOST_SKIPPED + 1);
        assert_eq!(found[MOST_SKIPPED].why, "499901 more entries are wrong");
    }

    #[test]
    fn what_could_not_be_read_again_is_not_entered() {
        let mut registry = Registry::default();
        let mut shared = SharedPods::default();
        let mut nested = json!(1);
        for _ in 0..27 {
            nested = json!([nested]);
        }
        let fits: Map<String, Value> = [("x".to_owned(), nested.clone())].into_iter().collect();
        let deep: Map<String, Value> = [("x".to_owned(), json!([nested]))].into_iter().collect();
        registry.insert("deep", fits.clone()).unwrap();
        shared.add_share("deep", fits, &reference("a6")).unwrap();
        assert_eq!(
            Registry::parse(&registry.to_bytes().unwrap()).unwrap().1,
            []
        );
        assert_eq!(
            SharedPods::parse(&shared.to_bytes().unwrap()).unwrap().1,
            []
        );
        let error = registry
            .insert("deep", deep.clone())
            .unwrap_err()
            .to_string();
        assert!(error.contains("cannot have a recipe nested deeper than 28 levels; nothing was written; correct the recipe"), "{error}");
        assert!(shared.add_share("deep", deep, &reference("0f")).is_err());

        for name in ["../x", "", "\u{1b}", "a b"] {
            assert!(registry.insert(name, recipe("x")).is_err(), "{name:?}");
            assert!(
                shared
                    .add_share(name, recipe("x"), &reference("a6"))
                    .is_err()
            );
        }
        let error = shared
            .add_share("x", recipe("x"), "\u{1b}")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("cannot have \\u{1b} for a sharing reference"),
            "{error}"
        );

        for n in 1..MOST_ENTRIES {
            registry.insert(&format!("p{n}"), Map::new()).unwrap();
        }
        assert!(registry.insert("one-more", Map::new()).is_err());
        registry.insert("p1", recipe("p1")).unwrap();
        let long: Map<String, Value> = [("x".to_owned(), json!("x".repeat(MOST_BYTES)))]
            .into_iter()
            .collect();
        registry.insert("p1", long).unwrap();
        assert!(
            registry
                .to_bytes()
                .unwrap_err()
                .to_string()
                .contains("would be longer than 16 MiB")
        );
    }
}
