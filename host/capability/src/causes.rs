//! An error together with its causes, as words.
//!
//! Many errors end with the words of their cause, because they are also shown alone; once is enough.

use std::error::Error;
use std::iter::successors;

/// What the error says, then what its causes say, without those whose words came before. Never empty. What strangers
/// wrote is in it as it is in the errors: it is to be escaped by whoever shows it.
#[must_use]
pub fn told(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for cause in successors(Some(error), |cause| (*cause).source()) {
        let words = cause.to_string();
        if !told.iter().any(|before| before.contains(&words)) {
            told.push(words);
        }
    }
    told
}

/// The same in one line.
#[must_use]
pub fn in_full(error: &(dyn Error + 'static)) -> String {
    told(error).join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Because {
        words: &'static str,
        source: Option<Box<Because>>,
    }

    fn chain(words: &[&'static str]) -> Because {
        let (words, rest) = words.split_first().unwrap();
        let source = (!rest.is_empty()).then(|| Box::new(chain(rest)));
        Because { words, source }
    }

    #[test]
    fn causes_follow_and_none_is_told_twice() {
        let error = chain(&[
            "cannot save",
            "cannot write x: disk full",
            "disk full",
            "quota",
        ]);
        assert_eq!(
            told(&error),
            ["cannot save", "cannot write x: disk full", "quota"]
        );
        assert_eq!(
            in_full(&error),
            "cannot save: cannot write x: disk full: quota"
        );
        // Also where another stands in between.
        let error = chain(&["cannot save: disk full", "x", "disk full"]);
        assert_eq!(in_full(&error), "cannot save: disk full: x");
    }
}
