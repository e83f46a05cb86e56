//! The name of a run.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::text::quote;

/// When the run began (UTC) and a random part, such as `20261121-073600-5f1c22ab90de`: sorts by time, needs no
/// escaping, is a safe file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(String);

/// Why a text is not the name of a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not the name of a run; `sovr-host audit` lists them", quote(.0))]
pub struct RunIdError(String);

/// The form: `d` stands for a digit, `x` for a lower-case hexadecimal digit.
const FORM: &str = "dddddddd-dddddd-xxxxxxxxxxxx";

impl RunId {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn generate() -> std::io::Result<Self> {
        let mut random = [0; 6];
        getrandom::fill(&mut random)?;
        Ok(Self(format!(
            "{}-{}",
            Timestamp::now().strftime("%Y%m%d-%H%M%S"),
            hex::encode(random)
        )))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunId {
    type Err = RunIdError;

    fn from_str(text: &str) -> Result<Self, RunIdError> {
        let fits = |(byte, form): (u8, u8)| match form {
            b'd' => byte.is_ascii_digit(),
            b'x' => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            other => byte == other,
        };
        if text.len() == FORM.len() && text.bytes().zip(FORM.bytes()).all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RunIdError(text.to_owned()))
        }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

crate::units::as_text!(RunId, "the name of a run");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_read_back_and_differ() {
        let (one, other) = (RunId::generate().unwrap(), RunId::generate().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.as_str().parse::<RunId>().unwrap(), one);
    }

    #[test]
    fn a_path_is_not_the_name_of_a_run() {
        for text in [
            "",
            "../../etc/passwd",
            "20261121-073600-5F1C22AB90DE",
            "20261121-073600-5f1c22ab90d/",
            "20261121-073600-5f1c22ab90de0",
        ] {
            assert!(text.parse::<RunId>().is_err(), "{text} was accepted");
        }
    }
}
