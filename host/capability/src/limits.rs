//! What one run may use of this machine.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::section::{Problems, Section};
use crate::units::{Size, Span};

/// Most files that can be written in a recipe or a policy.
const MOST_FILES: u64 = 100_000_000;

const SIZE: &str = "a size such as \"256MiB\"";

/// The recipe's `limits`, with the defaults filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Limits {
    /// Memory of the guest: the sum over its linear memories and tables.
    pub memory: Size,
    /// Wall clock from the start of the script to its end.
    pub time: Span,
    /// Bytes in `output/`, `logs/` and `tmp/` together.
    pub output: Size,
    /// Files and directories in them together.
    pub files: u64,
    /// Bytes of standard output, standard error and log together.
    pub log: Size,
}

impl Limits {
    /// What a run gets whose recipe says nothing.
    pub const DEFAULT: Self = Self {
        memory: Size::mib(256),
        time: Span::minutes(15),
        output: Size::gib(1),
        files: 10_000,
        log: Size::mib(16),
    };

    /// Reads a `limits` section; what it does not say is taken from `otherwise`.
    pub(crate) fn parse(
        path: &str,
        value: Option<&Value>,
        otherwise: Self,
        problems: &mut Problems,
    ) -> Self {
        let mut section = Section::new(path, value, problems);
        let limits = Self {
            memory: section
                .parsed("memory", SIZE, problems)
                .unwrap_or(otherwise.memory),
            time: section
                .parsed("time", "a span of time such as \"15m\"", problems)
                .unwrap_or(otherwise.time),
            output: section
                .parsed("output", SIZE, problems)
                .unwrap_or(otherwise.output),
            files: section
                .number("files", 0, MOST_FILES, problems)
                .unwrap_or(otherwise.files),
            log: section
                .parsed("log", SIZE, problems)
                .unwrap_or(otherwise.log),
        };
        section.finish(problems);
        limits
    }

    /// Whether none of these is more than in `other`.
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        self.memory <= other.memory
            && self.time <= other.time
            && self.output <= other.output
            && self.files <= other.files
            && self.log <= other.log
    }
}
