//! `golem.exec`: the component of the pod and its arguments.
//!
//! In the original a recipe's `exec` is any command line of the machine. Here it names a WebAssembly component inside
//! the pod; anything else is refused with an explanation, and nothing native is ever started from a recipe.
//!
//! Words are split like a POSIX shell does, with quotes and backslashes but without any expansion: no variables, no
//! patterns, no substitution. `[@]` stands for the pod's root as in the original; the guest sees it as `/`.

use sovr_capability::text::quote;

use crate::path::{EXTERNAL, GuestPath, PathError};

/// Stands for the pod's directory in the original, there with a slash at its end.
const ROOT_MARK: &str = "[@]";

/// Most words.
const MOST_WORDS: usize = 1024;

/// What a run executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// The component, beneath `script/` or `payload/`.
    pub component: GuestPath,
    /// The arguments after the program's name.
    pub args: Vec<String>,
}

/// Why a command line cannot be run. To be read after "`golem.exec` ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// There is no word.
    #[error(
        "is empty; write the component and its arguments, such as \"script/render.wasm --frames 0..60:10\""
    )]
    Empty,
    /// Too many words, or a word with a NUL.
    #[error("has {0}")]
    Words(&'static str),
    /// A quotation mark has no partner.
    #[error("has a quotation mark without its partner; close it, or put a backslash before it")]
    Unclosed,
    /// It begins with something else than a component.
    #[error(
        "names the program {}: this host runs WebAssembly components and never a program of the machine; compile the script to a component, put it into script/ and write \"script/NAME.wasm\"",
        quote(.0)
    )]
    Native(String),
    /// The component is not a file of the pod.
    #[error("names a component outside the pod: {0}")]
    Outside(#[from] PathError),
    /// The component lies where a guest may write.
    #[error("names the component {0}, which a run could replace; put it into script/")]
    Writable(GuestPath),
    /// The component lies where the archives of other pods are unpacked.
    #[error(
        "names the component {0} beneath {EXTERNAL}/, whose content others may change: code travels in the pod itself; put it into script/"
    )]
    External(GuestPath),
}

impl Exec {
    /// Splits a command line like a POSIX shell does: words, quotes, backslashes, and nothing else.
    ///
    /// # Errors
    /// When it cannot be split, or does not begin with a component of the pod.
    pub fn parse(line: &str) -> Result<Self, ExecError> {
        let words =
            shell_words::split(line).map_err(|shell_words::ParseError| ExecError::Unclosed)?;
        if words.len() > MOST_WORDS {
            return Err(ExecError::Words(
                "more than 1024 words; pass a file instead",
            ));
        }
        if words.iter().any(|word| word.contains('\0')) {
            return Err(ExecError::Words("a NUL character; leave it out"));
        }
        let mut words = words.into_iter();
        let program = words.next().ok_or(ExecError::Empty)?;
        if !program.ends_with(".wasm") {
            return Err(ExecError::Native(program));
        }
        let component: GuestPath = from_root(&program).parse()?;
        if component.area().is_writable() {
            return Err(ExecError::Writable(component));
        }
        if component.is_external() {
            return Err(ExecError::External(component));
        }
        Ok(Self {
            component,
            args: words.map(|word| from_root(&word)).collect(),
        })
    }
}

/// Replaces the mark by the root as a guest sees it, with one slash whether or not another follows.
pub(crate) fn from_root(word: &str) -> String {
    word.replace(&format!("{ROOT_MARK}/"), "/")
        .replace(ROOT_MARK, "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> (String, Vec<String>) {
        let exec = Exec::parse(line).unwrap();
        (exec.component.as_str().to_owned(), exec.args)
    }

    #[test]
    fn words_are_split_like_a_shell_does_and_nothing_is_expanded() {
        assert_eq!(parse("script/a.wasm"), ("script/a.wasm".into(), vec![]));
        let (_, args) = parse(
            r#"script/a.wasm --mask '?a?a' "two words" back\ slash "" $HOME * $(id) `id` ~ ;ls|x >y"#,
        );
        assert_eq!(
            args,
            [
                "--mask",
                "?a?a",
                "two words",
                "back slash",
                "",
                "$HOME",
                "*",
                "$(id)",
                "`id`",
                "~",
                ";ls|x",
                ">y"
            ]
        );
    }

    #[test]
    fn the_root_mark_is_the_guests_root() {
        let (component, args) =
            parse("[@]script/a.wasm --images [@]payload/external/images [@]/x --r=[@] a[@]b");
        assert_eq!(component, "script/a.wasm");
        assert_eq!(
            args,
            ["--images", "/payload/external/images", "/x", "--r=/", "a/b"]
        );
    }

    #[test]
    fn native_programs_are_refused_with_an_explanation() {
        for line in [
            "python3 script/hello.py",
            "sh -c 'rm -rf ~'",
            "/bin/date",
            "./script/run.sh",
            "a.wasm.sh",
            "''",
        ] {
            assert!(
                matches!(Exec::parse(line), Err(ExecError::Native(_))),
                "{line}"
            );
        }
        assert_eq!(
            Exec::parse("python3 script/hello.py")
                .unwrap_err()
                .to_string(),
            "names the program \"python3\": this host runs WebAssembly components and never a program of the machine; compile the script to a component, put it into script/ and write \"script/NAME.wasm\""
        );
    }

    #[test]
    fn components_outside_or_where_a_guest_writes_are_refused() {
        for line in [
            "../evil.wasm",
            "/usr/share/x.wasm",
            "script/../../x.wasm",
            "x.wasm",
            "[@]../x.wasm",
            ".wasm",
        ] {
            assert!(
                matches!(Exec::parse(line), Err(ExecError::Outside(_))),
                "{line}"
            );
        }
        for line in [
            "payload/external/x.wasm",
            "[@]payload/external/deep/x.wasm",
            "/payload/external/x.wasm",
        ] {
            assert!(
                matches!(Exec::parse(line), Err(ExecError::External(_))),
                "{line}"
            );
        }
        assert!(Exec::parse("payload/external.wasm").is_ok());
        assert!(Exec::parse("payload/externals/x.wasm").is_ok());
        for line in ["output/x.wasm", "/tmp/x.wasm", "logs/x.wasm"] {
            assert!(
                matches!(Exec::parse(line), Err(ExecError::Writable(_))),
                "{line}"
            );
        }
    }

    #[test]
    fn malformed_lines_are_errors() {
        assert_eq!(Exec::parse(" \t\n"), Err(ExecError::Empty));
        assert_eq!(Exec::parse("script/a.wasm 'x"), Err(ExecError::Unclosed));
        assert_eq!(Exec::parse("script/a.wasm \"x"), Err(ExecError::Unclosed));
        assert!(matches!(
            Exec::parse("script/a.wasm a\0b"),
            Err(ExecError::Words(_))
        ));
        assert!(matches!(
            Exec::parse(&format!("script/a.wasm{}", " x".repeat(2000))),
            Err(ExecError::Words(_))
        ));
    }
}
