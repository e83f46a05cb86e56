//! Names as a policy writes them: a name, or a beginning followed by `*`.

use serde::Serialize;

/// A name, or all names with a beginning. `*` alone stands for every name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern as written.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether the name is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == self.0,
        }
    }

    /// Why a text is no pattern, if it is none.
    pub(crate) fn check(text: &str) -> Result<(), &'static str> {
        let beginning = text.strip_suffix('*').unwrap_or(text);
        let plain = beginning
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if !text.is_empty() && text.len() <= 64 && plain {
            Ok(())
        } else {
            Err("expected a name, or the beginning of names followed by one `*` at the end")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_end_and_only_there() {
        assert!(Pattern::new("LC_*").matches("LC_ALL"));
        assert!(Pattern::new("LC_*").matches("LC_"));
        assert!(!Pattern::new("LC_*").matches("XLC_ALL"));
        assert!(Pattern::new("*").matches("anything"));
        assert!(Pattern::new("LANG").matches("LANG"));
        assert!(!Pattern::new("LANG").matches("LANGUAGE"));
        for text in ["", "a*b", "**", "*a", "a b", "a/b", "é*"] {
            assert!(Pattern::check(text).is_err(), "{text:?} was accepted");
        }
    }
}
