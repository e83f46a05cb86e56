//! The user's ceiling: no pod gets more than this, whatever its recipe says and whoever agrees.
//!
//! A key that the file does not have keeps its default, so that a short file says only what differs. The defaults are
//! meant for someone who has not thought about it yet: enough for ordinary pods, little enough that a mistake stays
//! cheap, and nothing that makes data public.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::capabilities::{Dfs, Golem};
use crate::ledger::Ceilings;
use crate::pattern::Pattern;
use crate::section::{Problems, Section, describe};
use crate::text::Untrusted;
use crate::{Amount, Capabilities, Grants, Limits, Narrowing, Size, Span};

/// Longest policy that is read.
const MOST_BYTES: u64 = 1 << 20;

/// Most patterns in one list.
const MOST_PATTERNS: usize = 256;

const AMOUNT: &str = "an amount of GLM such as \"10\"";

/// `policy.toml`, with defaults for what it does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Ceiling on Golem work; none if the policy forbids it (`golem = false`).
    pub golem: Option<GolemCeiling>,
    /// Ceiling on storage; none if the policy forbids it (`dfs = false`).
    pub dfs: Option<DfsCeiling>,
    /// Environment variables that a pod may be given.
    pub env: Vec<Pattern>,
    /// Ceiling on this machine's resources.
    pub limits: Limits,
}

/// Ceiling on Golem work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GolemCeiling {
    /// Most money for one run.
    pub budget: Amount,
    /// Most money for all runs within 24 hours, what is reserved at the moment included.
    pub budget_per_day: Amount,
    /// Most money for all runs within 30 days, what is reserved at the moment included.
    pub budget_per_month: Amount,
    /// Most providers at the same time.
    pub max_workers: u32,
    /// Most tasks in one run.
    pub max_tasks: u64,
    /// Longest job.
    pub timeout: Span,
    /// Subnets that may be used.
    pub subnets: Vec<Pattern>,
}

/// Ceiling on storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DfsCeiling {
    /// Pods that may be read.
    pub read: Vec<Pattern>,
    /// Pods that may be written.
    pub write: Vec<Pattern>,
    /// Whether pods may be shared.
    pub share: bool,
}

/// A policy that cannot be used. Nothing runs then: a ceiling that is not understood must not be taken for none.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("cannot read the policy {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not TOML.
    #[error("the policy {} is not valid TOML: {problem}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's words, with line and column.
        problem: String,
    },
    /// It is TOML, but not a policy.
    #[error("the policy {} is not valid:{problems}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Every problem found.
        problems: Problems,
    },
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            golem: Some(GolemCeiling::default()),
            dfs: Some(DfsCeiling::default()),
            env: ["LANG", "LC_*", "TZ"].map(Pattern::new).to_vec(),
            limits: Limits {
                memory: Size::gib(1),
                time: Span::hours(2),
                output: Size::gib(8),
                files: 100_000,
                log: Size::mib(64),
            },
        }
    }
}

impl Default for GolemCeiling {
    fn default() -> Self {
        Self {
            budget: Amount::glm(10),
            budget_per_day: Amount::glm(50),
            budget_per_month: Amount::glm(200),
            max_workers: 8,
            max_tasks: 1000,
            timeout: Span::hours(2),
            subnets: vec![Pattern::new("*")],
        }
    }
}

impl Default for DfsCeiling {
    fn default() -> Self {
        Self {
            read: vec![Pattern::new("*")],
            write: vec![Pattern::new("*")],
            share: false,
        }
    }
}

impl Policy {
    /// Reads a policy file; without a file, [`Policy::default`].
    ///
    /// # Errors
    /// When there is a file that is not a policy.
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        let mut text = String::new();
        let read = std::fs::File::open(path)
            .and_then(|file| file.take(MOST_BYTES + 1).read_to_string(&mut text));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(PolicyError::Read {
                path: path.to_owned(),
                source,
            }),
            Ok(length) if length as u64 > MOST_BYTES => Err(PolicyError::Read {
                path: path.to_owned(),
                source: io::ErrorKind::FileTooLarge.into(),
            }),
            Ok(_) => Self::parse(&text, path),
        }
    }

    /// Reads the text of a policy file; `path` is for messages.
    ///
    /// # Errors
    /// When it is not a policy.
    pub fn parse(text: &str, path: &Path) -> Result<Self, PolicyError> {
        let document: Value = toml::from_str(text).map_err(|error| PolicyError::Syntax {
            path: path.to_owned(),
            problem: Untrusted::new(error.to_string().trim_end()).block(),
        })?;
        let mut problems = Problems::default();
        let policy = Self::read(&document, &mut problems);
        if problems.is_empty() {
            Ok(policy)
        } else {
            Err(PolicyError::Invalid {
                path: path.to_owned(),
                problems,
            })
        }
    }

    fn read(document: &Value, problems: &mut Problems) -> Self {
        let otherwise = Self::default();
        let mut section = Section::new("", Some(document), problems);
        let golem = match table_or_false("golem", section.take("golem"), problems) {
            Table::Forbidden => None,
            Table::Given(value) => Some(GolemCeiling::read(value, problems)),
        };
        let dfs = match table_or_false("dfs", section.take("dfs"), problems) {
            Table::Forbidden => None,
            Table::Given(value) => Some(DfsCeiling::read(value, problems)),
        };
        let env = patterns(&mut section, "env", problems).unwrap_or(otherwise.env);
        let limits = Limits::parse("limits", section.take("limits"), otherwise.limits, problems);
        section.finish(problems);
        Self {
            golem,
            dfs,
            env,
            limits,
        }
    }

    /// What a run may hold of what was asked, and what was cut.
    #[must_use]
    pub fn grant(&self, asked: &Capabilities) -> (Grants, Vec<Narrowing>) {
        let mut cut = Vec::new();
        let golem = asked.golem.as_ref().and_then(|golem| match &self.golem {
            Some(ceiling) => Some(ceiling.grant(golem, &mut cut)),
            None => {
                let wish = format!("up to {} GLM", golem.budget);
                cut.push(Narrowing::new("golem", wish, "nothing", "golem"));
                None
            }
        });
        let dfs = asked.dfs.as_ref().and_then(|dfs| match &self.dfs {
            Some(ceiling) => Some(ceiling.grant(dfs, &mut cut)),
            None => {
                let wish = format!("{} storage pods", dfs.read.union(&dfs.write).count());
                cut.push(Narrowing::new("dfs", wish, "nothing", "dfs"));
                None
            }
        });
        let env = allowed("env", &asked.env, &self.env, &mut cut);
        let limits = self.limits.grant(&asked.limits, &mut cut);
        (
            Grants::new(Capabilities {
                golem,
                dfs,
                env,
                limits,
            }),
            cut,
        )
    }

    /// The money that a run with these grants may spend, and all runs together.
    #[must_use]
    pub fn ceilings(&self, grants: &Grants) -> Ceilings {
        match (&self.golem, &grants.capabilities().golem) {
            (Some(ceiling), Some(golem)) => Ceilings {
                run: golem.budget,
                day: ceiling.budget_per_day,
                month: ceiling.budget_per_month,
            },
            _ => Ceilings {
                run: Amount::ZERO,
                day: Amount::ZERO,
                month: Amount::ZERO,
            },
        }
    }
}

impl GolemCeiling {
    fn read(value: Option<&Value>, problems: &mut Problems) -> Self {
        let otherwise = Self::default();
        let mut section = Section::new("golem", value, problems);
        let workers = section.number("max-workers", 0, u32::MAX.into(), problems);
        let ceiling = Self {
            budget: section
                .parsed("budget", AMOUNT, problems)
                .unwrap_or(otherwise.budget),
            budget_per_day: section
                .parsed("budget-per-day", AMOUNT, problems)
                .unwrap_or(otherwise.budget_per_day),
            budget_per_month: section
                .parsed("budget-per-month", AMOUNT, problems)
                .unwrap_or(otherwise.budget_per_month),
            max_workers: workers
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(otherwise.max_workers),
            max_tasks: section
                .number("max-tasks", 0, u64::MAX, problems)
                .unwrap_or(otherwise.max_tasks),
            timeout: section
                .parsed("timeout", "a span of time such as \"2h\"", problems)
                .unwrap_or(otherwise.timeout),
            subnets: patterns(&mut section, "subnets", problems).unwrap_or(otherwise.subnets),
        };
        section.finish(problems);
        ceiling
    }

    fn grant(&self, asked: &Golem, cut: &mut Vec<Narrowing>) -> Golem {
        Golem {
            budget: least("golem.budget", asked.budget, self.budget, cut),
            max_workers: least(
                "golem.max-workers",
                asked.max_workers,
                self.max_workers,
                cut,
            ),
            max_tasks: least("golem.max-tasks", asked.max_tasks, self.max_tasks, cut),
            timeout: least("golem.timeout", asked.timeout, self.timeout, cut),
            subnets: allowed("golem.subnets", &asked.subnets, &self.subnets, cut),
            packages: asked.packages.clone(),
        }
    }
}

impl DfsCeiling {
    fn read(value: Option<&Value>, problems: &mut Problems) -> Self {
        let otherwise = Self::default();
        let mut section = Section::new("dfs", value, problems);
        let ceiling = Self {
            read: patterns(&mut section, "read", problems).unwrap_or(otherwise.read),
            write: patterns(&mut section, "write", problems).unwrap_or(otherwise.write),
            share: section.flag("share", problems).unwrap_or(otherwise.share),
        };
        section.finish(problems);
        ceiling
    }

    fn grant(&self, asked: &Dfs, cut: &mut Vec<Narrowing>) -> Dfs {
        if asked.share && !self.share {
            cut.push(Narrowing::new("dfs.share", true, false, "dfs.share"));
        }
        Dfs {
            read: allowed("dfs.read", &asked.read, &self.read, cut),
            write: allowed("dfs.write", &asked.write, &self.write, cut),
            share: asked.share && self.share,
        }
    }
}

impl Limits {
    fn grant(&self, asked: &Self, cut: &mut Vec<Narrowing>) -> Self {
        Self {
            memory: least("limits.memory", asked.memory, self.memory, cut),
            time: least("limits.time", asked.time, self.time, cut),
            output: least("limits.output", asked.output, self.output, cut),
            files: least("limits.files", asked.files, self.files, cut),
            log: least("limits.log", asked.log, self.log, cut),
        }
    }
}

/// The smaller of wish and ceiling. Policy and recipe name things alike, so one path names both.
fn least<T: Ord + Copy + ToString>(
    path: &str,
    asked: T,
    ceiling: T,
    cut: &mut Vec<Narrowing>,
) -> T {
    if asked > ceiling {
        cut.push(Narrowing::new(path, asked, ceiling, path));
    }
    asked.min(ceiling)
}

/// The names that a pattern allows.
fn allowed(
    path: &str,
    asked: &BTreeSet<String>,
    rule: &[Pattern],
    cut: &mut Vec<Narrowing>,
) -> BTreeSet<String> {
    let (allowed, refused): (BTreeSet<_>, BTreeSet<_>) = asked
        .iter()
        .cloned()
        .partition(|name| rule.iter().any(|pattern| pattern.matches(name)));
    if !refused.is_empty() {
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
        let granted = if allowed.is_empty() {
            "nothing".to_owned()
        } else {
            list(&allowed)
        };
        cut.push(Narrowing::new(path, list(asked), granted, path));
    }
    allowed
}

enum Table<'a> {
    Forbidden,
    Given(Option<&'a Value>),
}

/// A table, or `false` for "none of it".
fn table_or_false<'a>(key: &str, value: Option<&'a Value>, problems: &mut Problems) -> Table<'a> {
    match value {
        Some(Value::Bool(false)) => Table::Forbidden,
        None | Some(Value::Object(_)) => Table::Given(value),
        Some(other) => {
            problems.add(
                key,
                format_args!(
                    "got {}, expected a table, or false to forbid all of it",
                    describe(other)
                ),
            );
            Table::Forbidden
        }
    }
}

fn patterns(
    section: &mut Section<'_>,
    name: &'static str,
    problems: &mut Problems,
) -> Option<Vec<Pattern>> {
    let names = section.names(name, MOST_PATTERNS, Pattern::check, problems)?;
    Some(names.into_iter().map(Pattern::new).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Result<Policy, PolicyError> {
        Policy::parse(text, Path::new("policy.toml"))
    }

    fn asked() -> Capabilities {
        Capabilities::parse(Some(&json!({
            "golem": {
                "budget": "10", "max-workers": 3, "timeout": "30m", "subnets": ["private", "public"],
                "packages": { "p": [ { "wasi": "payload/p.zip" } ] }
            },
            "dfs": { "read": ["a", "b"], "write": ["out-1"], "share": true },
            "env": ["LANG", "YAGNA_APPKEY"]
        })))
        .unwrap()
    }

    #[test]
    fn without_a_file_the_defaults_hold() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            Policy::load(&dir.path().join("policy.toml")).unwrap(),
            Policy::default()
        );
        assert_eq!(parse("").unwrap(), Policy::default());
    }

    #[test]
    fn what_a_file_does_not_say_keeps_its_default() {
        let policy =
            parse("env = []\n[golem]\nbudget = \"2.5\"\n[limits]\ntime = \"1m\"\n").unwrap();
        let golem = policy.golem.unwrap();
        assert_eq!(
            golem,
            GolemCeiling {
                budget: "2.5".parse().unwrap(),
                ..GolemCeiling::default()
            }
        );
        assert_eq!(
            policy.limits,
            Limits {
                time: Span::minutes(1),
                ..Policy::default().limits
            }
        );
        assert_eq!(
            (policy.env.len(), policy.dfs),
            (0, Some(DfsCeiling::default()))
        );
    }

    #[test]
    fn every_key_is_read() {
        let policy = parse(
            "env = ['A', 'B_*']\n\
             [golem]\nbudget = '1'\nbudget-per-day = '2'\nbudget-per-month = '3'\nmax-workers = 4\nmax-tasks = 5\ntimeout = '6m'\nsubnets = ['s']\n\
             [dfs]\nread = []\nwrite = ['w-*']\nshare = true\n\
             [limits]\nmemory = '1MiB'\ntime = '2s'\noutput = '3KiB'\nfiles = 4\nlog = '5'\n",
        )
        .unwrap();
        let expected = Policy {
            golem: Some(GolemCeiling {
                budget: Amount::glm(1),
                budget_per_day: Amount::glm(2),
                budget_per_month: Amount::glm(3),
                max_workers: 4,
                max_tasks: 5,
                timeout: Span::minutes(6),
                subnets: vec![Pattern::new("s")],
            }),
            dfs: Some(DfsCeiling {
                read: vec![],
                write: vec![Pattern::new("w-*")],
                share: true,
            }),
            env: ["A", "B_*"].map(Pattern::new).to_vec(),
            limits: Limits {
                memory: Size::mib(1),
                time: Span::seconds(2),
                output: Size::kib(3),
                files: 4,
                log: Size::bytes(5),
            },
        };
        assert_eq!(policy, expected);
    }

    #[test]
    fn a_ceiling_that_is_not_understood_is_an_error_and_never_none() {
        let cases = [
            (
                "budget = '1'",
                "`budget`: unknown key; known here are golem, dfs, env, limits",
            ),
            (
                "[golem]\nbudget = 10",
                "`golem.budget`: got the number 10, expected an amount of GLM such as \"10\", in quotation marks",
            ),
            ("[golem]\nmax-worker = 1", "`golem.max-worker`: unknown key"),
            (
                "golem = true",
                "`golem`: got true, expected a table, or false to forbid all of it",
            ),
            (
                "golem = 1979-05-27",
                "`golem.$__toml_private_datetime`: unknown key",
            ),
            (
                "env = ['A*B']",
                "`env[0]`: got \"A*B\", expected a name, or the beginning of names followed by one `*` at the end",
            ),
            ("[limits]\nmemory = '1GB'", "its unit is ambiguous"),
        ];
        for (text, expected) in cases {
            let error = parse(text).unwrap_err().to_string();
            assert!(
                error.starts_with("the policy policy.toml is not valid:\n  ")
                    && error.contains(expected),
                "{error}"
            );
        }
        let error = parse("golem = {\n").unwrap_err().to_string();
        assert!(
            error.starts_with(
                "the policy policy.toml is not valid TOML: TOML parse error at line 1"
            ),
            "{error}"
        );
        assert!(parse("env = []\nenv = []").is_err());
    }

    #[test]
    fn a_policy_that_cannot_be_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            Policy::load(dir.path()),
            Err(PolicyError::Read { .. })
        ));
        let path = dir.path().join("policy.toml");
        std::fs::write(&path, "#".repeat(2 << 20)).unwrap();
        assert!(matches!(Policy::load(&path), Err(PolicyError::Read { .. })));
    }

    #[test]
    fn what_fits_is_granted_whole() {
        let policy = parse("env = ['*']\n[dfs]\nshare = true").unwrap();
        let (grants, cut) = policy.grant(&asked());
        assert_eq!((grants.capabilities(), cut.as_slice()), (&asked(), &[][..]));
        assert_eq!(
            policy.ceilings(&grants),
            Ceilings {
                run: Amount::glm(10),
                day: Amount::glm(50),
                month: Amount::glm(200)
            }
        );
    }

    #[test]
    fn what_exceeds_is_cut_and_each_cut_names_its_rule() {
        let policy = parse(
            "[golem]\nbudget = '2'\nmax-workers = 1\ntimeout = '1m'\nsubnets = ['pub*']\n[dfs]\nread = ['a']\n[limits]\nmemory = '1MiB'",
        )
        .unwrap();
        let (grants, cut) = policy.grant(&asked());
        let lines: Vec<String> = cut.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "golem.budget: 10 asked, 2 granted (`golem.budget` in your policy)",
                "golem.max-workers: 3 asked, 1 granted (`golem.max-workers` in your policy)",
                "golem.timeout: 30m asked, 1m granted (`golem.timeout` in your policy)",
                "golem.subnets: private, public asked, public granted (`golem.subnets` in your policy)",
                "dfs.share: true asked, false granted (`dfs.share` in your policy)",
                "dfs.read: a, b asked, a granted (`dfs.read` in your policy)",
                "env: LANG, YAGNA_APPKEY asked, LANG granted (`env` in your policy)",
                "limits.memory: 256MiB asked, 1MiB granted (`limits.memory` in your policy)",
            ]
        );
        let held = grants.capabilities();
        assert_eq!(held.golem.as_ref().unwrap().budget, Amount::glm(2));
        assert!(!held.dfs.as_ref().unwrap().share);
        assert_eq!(held.limits.memory, Size::mib(1));
        assert_ne!(grants.digest(), asked().digest());
    }

    #[test]
    fn what_is_forbidden_is_not_held_and_costs_nothing() {
        let policy = parse("golem = false\ndfs = false").unwrap();
        let (grants, cut) = policy.grant(&asked());
        assert_eq!(
            (&grants.capabilities().golem, &grants.capabilities().dfs),
            (&None, &None)
        );
        assert_eq!(
            cut.iter().map(|cut| cut.rule.as_str()).collect::<Vec<_>>(),
            ["golem", "dfs", "env"]
        );
        assert_eq!(policy.ceilings(&grants).run, Amount::ZERO);
    }

    /// Over many requests and ceilings: a grant never exceeds either, and cutting twice cuts nothing more.
    #[test]
    fn a_grant_never_exceeds_the_request_or_the_ceiling() {
        let values = [1_u32, 2, 3, 7, 8, 9, 1000];
        for wish in values {
            for ceiling in values {
                let mut asked = asked();
                asked.limits.memory = Size::mib(wish);
                let golem = asked.golem.as_mut().unwrap();
                (golem.max_workers, golem.budget) = (wish, Amount::glm(wish));
                let mut policy = Policy::default();
                policy.limits.memory = Size::mib(ceiling);
                let rule = policy.golem.as_mut().unwrap();
                (rule.max_workers, rule.budget) = (ceiling, Amount::glm(ceiling));

                let (grants, cut) = policy.grant(&asked);
                let golem = grants.golem("").unwrap();
                let least = wish.min(ceiling);
                assert_eq!(
                    (golem.max_workers, golem.budget, grants.limits().memory),
                    (least, Amount::glm(least), Size::mib(least))
                );
                assert_eq!(
                    cut.iter().any(|cut| cut.capability == "golem.budget"),
                    wish > ceiling
                );
                let (again, cut) = policy.grant(grants.capabilities());
                assert_eq!((again, cut.len()), (grants, 0));
            }
        }
    }
}
