//! Names that a pod or a directory of ours must not have.
//!
//! A name that a stranger chose can be a trap: a pod called `SharedPods` would take the place of the user's own
//! registry, a directory called `nul` cannot be removed on another system. What a name may be made of at all is
//! [`is_plain`]; here are the plain ones that mean something.

use sovr_capability::capabilities::{RESERVED_PODS, is_plain};

/// Beginning of the names of pods that hold the published output of another.
pub const OUTPUT_PREFIX: &str = "output-";

/// Names that mean a device in every directory on Windows, with and without an ending.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// Whether a name is kept for registries, for published outputs, or for devices of Windows. In any case of letters.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let registry = RESERVED_PODS
        .iter()
        .any(|reserved| reserved.eq_ignore_ascii_case(&name));
    registry || name.starts_with(OUTPUT_PREFIX) || is_device(&name)
}

/// Whether a pod may be made under a name; else why not, to be read after it.
///
/// # Errors
/// When it is not plain, or [reserved](is_reserved).
pub fn check_new(name: &str) -> Result<(), &'static str> {
    check_directory(name)?;
    if is_reserved(name) {
        return Err("sovr-host keeps this name for itself; choose another");
    }
    Ok(())
}

/// Whether a directory may be made under a name, wherever the name comes from; else why not.
///
/// # Errors
/// When it is not plain, or would not be usable on every system.
pub fn check_directory(name: &str) -> Result<(), &'static str> {
    if !is_plain(name) {
        return Err(
            "expected 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or digit",
        );
    }
    if name.ends_with('.') {
        return Err("it ends with a dot, which not every system keeps; leave the dot out");
    }
    if is_device(&name.to_ascii_lowercase()) {
        return Err("it is the name of a device on Windows; choose another");
    }
    Ok(())
}

fn is_device(lower_case: &str) -> bool {
    let stem = lower_case.split('.').next().unwrap_or(lower_case);
    let numbered = ["com", "lpt"].iter().any(|port| {
        let number = stem.strip_prefix(port);
        number.is_some_and(|number| number.len() == 1 && number.bytes().all(|b| b.is_ascii_digit()))
    });
    numbered || DEVICES.contains(&stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_cannot_take_the_name_of_a_registry_an_output_or_a_device() {
        for name in [
            "ComputePodRegistry",
            "computepodregistry",
            "SHAREDPODS",
            "ForkedPods",
            "sovr",
            "Sovr",
            "output-render",
            "Output-x",
            "con",
            "NUL",
            "nul.txt",
            "Com1",
            "lpt9.tar.gz",
            "aux.",
        ] {
            assert!(is_reserved(name), "{name}");
            assert!(check_new(name).is_err(), "{name}");
        }
        for name in [
            "render", "sovr2", "outputs", "console", "com", "com10", "nullable", "x.nul",
        ] {
            assert!(!is_reserved(name), "{name}");
            assert_eq!(check_new(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_directory_cannot_have_a_name_that_leads_elsewhere() {
        let long = "x".repeat(65);
        for name in [
            "",
            ".",
            "..",
            "../../x",
            ".git",
            "a/b",
            "a\\b",
            "a\0b",
            "a b",
            "\u{1b}[2J",
            "ä",
            "x.",
            "nul",
            "-rf",
            "a\u{202e}b",
            &long,
        ] {
            assert!(check_directory(name).is_err(), "{name:?}");
        }
        for name in ["src", "output-render", "Sovr", "a.b_c-d"] {
            assert_eq!(check_directory(name), Ok(()), "{name}");
        }
    }
}
