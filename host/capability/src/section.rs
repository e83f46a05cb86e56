//! Reads a section of a recipe or a policy key by key, and collects what is wrong with it.
//!
//! A derived `Deserialize` stops at the first problem and does not know the path of the key it stands at. Here every
//! problem is kept, with the key's path, what was found, what was expected and what to do. Recipes (JSON) and policies
//! (TOML) are both read from [`serde_json::Value`], so that the same mistake has the same message in both.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::text::{Untrusted, quote};

/// Problems that are shown one by one; more are counted.
const MOST_PROBLEMS: usize = 20;

/// Longest key or name that is repeated in full in a message.
const KEY_SHOWN: usize = 64;

/// Everything wrong with a document, in the order found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems {
    lines: Vec<String>,
    more: usize,
}

impl Problems {
    /// Each problem as one line that is safe to show.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let more = (self.more > 0).then(|| format!("and {} more problems", self.more));
        self.lines.iter().cloned().chain(more)
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Adds a problem at a key.
    pub fn add(&mut self, key: &str, problem: impl fmt::Display) {
        if self.lines.len() < MOST_PROBLEMS {
            self.lines.push(format!("`{key}`: {problem}"));
        } else {
            self.more += 1;
        }
    }

    fn mismatch(&mut self, key: &str, got: &Value, expected: &str) {
        self.add(
            key,
            format_args!("got {}, expected {expected}", describe(got)),
        );
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// An object of the document, from which known keys are taken. What is left at the end is unknown.
#[derive(Debug)]
pub struct Section<'a> {
    path: String,
    entries: Option<&'a Map<String, Value>>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The object at `path`; absent is empty.
    pub fn new(path: &str, value: Option<&'a Value>, problems: &mut Problems) -> Self {
        let entries = match value {
            None => None,
            Some(Value::Object(entries)) => Some(entries),
            Some(other) => {
                problems.mismatch(path, other, "an object; write { ... } or leave the key out");
                None
            }
        };
        Self {
            path: path.to_owned(),
            entries,
            known: Vec::new(),
        }
    }

    /// The path of one of its keys.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        let name = shown(name);
        if self.path.is_empty() {
            name
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// The value of a known key.
    pub fn take(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.entries.and_then(|entries| entries.get(name))
    }

    /// A value written as text that has a notation of its own.
    pub fn parsed<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        problems: &mut Problems,
    ) -> Option<T>
    where
        T: FromStr<Err: fmt::Display>,
    {
        match self.take(name)? {
            Value::String(text) => text
                .parse()
                .map_err(|error| problems.add(&self.key(name), error))
                .ok(),
            other => {
                let expected = format!("{expected}, in quotation marks");
                problems.mismatch(&self.key(name), other, &expected);
                None
            }
        }
    }

    /// A whole number in a range.
    pub fn number(
        &mut self,
        name: &'static str,
        least: u64,
        most: u64,
        problems: &mut Problems,
    ) -> Option<u64> {
        let value = self.take(name)?;
        let number = value
            .as_u64()
            .filter(|number| (least..=most).contains(number));
        if number.is_none() {
            problems.mismatch(
                &self.key(name),
                value,
                &format!("a whole number from {least} to {most}"),
            );
        }
        number
    }

    /// True or false.
    pub fn flag(&mut self, name: &'static str, problems: &mut Problems) -> Option<bool> {
        let value = self.take(name)?;
        if value.as_bool().is_none() {
            problems.mismatch(&self.key(name), value, "true or false");
        }
        value.as_bool()
    }

    /// A list of texts without doublets, each of which `check` accepts or refuses with a reason.
    pub fn names(
        &mut self,
        name: &'static str,
        most: usize,
        check: impl Fn(&str) -> Result<(), &'static str>,
        problems: &mut Problems,
    ) -> Option<BTreeSet<String>> {
        let value = self.take(name)?;
        let key = self.key(name);
        let Value::Array(items) = value else {
            problems.mismatch(&key, value, "a list of names; write [\"...\"]");
            return None;
        };
        if items.len() > most {
            problems.add(
                &key,
                format_args!("got {} names, expected at most {most}", items.len()),
            );
            return None;
        }
        let mut names = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let key = format!("{key}[{index}]");
            match item {
                Value::String(text) => match check(text) {
                    Err(reason) => {
                        problems.add(&key, format_args!("got {}, {reason}", quote(text)))
                    }
                    Ok(()) if !names.insert(text.clone()) => {
                        problems.add(
                            &key,
                            format_args!("{} stands twice; remove one", quote(text)),
                        );
                    }
                    Ok(()) => {}
                },
                other => problems.mismatch(&key, other, "a name in quotation marks"),
            }
        }
        Some(names)
    }

    /// Reports every key that was not taken.
    pub fn finish(self, problems: &mut Problems) {
        let Some(entries) = self.entries else { return };
        for name in entries
            .keys()
            .filter(|name| !self.known.contains(&name.as_str()))
        {
            problems.add(
                &self.key(name),
                format_args!("unknown key; known here are {}", self.known.join(", ")),
            );
        }
    }

    /// Reports a key that must be there.
    pub fn missing(&self, name: &str, next: &str, problems: &mut Problems) {
        problems.add(&self.key(name), format_args!("is missing; {next}"));
    }

    /// Whether the document has the key.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.entries
            .is_some_and(|entries| entries.contains_key(name))
    }
}

/// A key as it may stand in a message.
#[must_use]
pub fn shown(key: &str) -> String {
    Untrusted::new(key).escaped_within(KEY_SHOWN)
}

/// A value of a stranger's document in a few words, safe to show.
#[must_use]
pub fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => quote(text),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}
