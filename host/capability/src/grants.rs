//! What a run holds, and what was cut from what its recipe asked.
//!
//! The checks that every call goes through are here, in one place, so that each interface and each later version of
//! the contract decides alike. A refusal names the key of the recipe that would have to change.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::capabilities::{Dfs, Golem, PackageForm};
use crate::{Amount, Capabilities, Denial, Digest, Limits};

/// What a run holds. Made by [`Policy::grant`](crate::Policy::grant) only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Grants(Capabilities);

/// Something that was asked and not given, or given in part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Narrowing {
    /// Dotted path in `capabilities`.
    pub capability: String,
    /// What the recipe asks; safe to show.
    pub asked: String,
    /// What the run gets; safe to show.
    pub granted: String,
    /// Dotted path of the policy's rule that cut it.
    pub rule: String,
}

impl Grants {
    pub(crate) fn new(capabilities: Capabilities) -> Self {
        Self(capabilities)
    }

    /// All of it, in the recipe's form.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.0
    }

    /// As JSON of the recipe's form, for the script.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.0.to_json()
    }

    /// SHA-256 of the canonical form.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.digest()
    }

    /// What the run may use of this machine.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// The grant on Golem work.
    ///
    /// # Errors
    /// When there is none; `asked` says what it was needed for.
    pub fn golem(&self, asked: &str) -> Result<&Golem, Denial> {
        self.0
            .golem
            .as_ref()
            .ok_or_else(|| Denial::nothing("golem", asked))
    }

    /// The grant on storage.
    ///
    /// # Errors
    /// When there is none; `asked` says what it was needed for.
    pub fn dfs(&self, asked: &str) -> Result<&Dfs, Denial> {
        self.0
            .dfs
            .as_ref()
            .ok_or_else(|| Denial::nothing("dfs", asked))
    }

    /// The granted environment variables with their values, from `value`.
    pub fn environment(&self, value: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
        self.0
            .env
            .iter()
            .filter_map(|name| Some((name.clone(), value(name)?)))
            .collect()
    }
}

impl Golem {
    /// The forms of a declared package.
    ///
    /// # Errors
    /// When the recipe declares no such package.
    pub fn check_package(&self, name: &str) -> Result<&[PackageForm], Denial> {
        match self.packages.get(name) {
            Some(forms) => Ok(forms),
            None => Err(Denial::new(
                "golem.packages",
                name,
                list(self.packages.keys()),
            )),
        }
    }

    /// Workers of a job: what it asks, or all that is granted.
    ///
    /// # Errors
    /// When it asks for more than granted.
    pub fn check_workers(&self, asked: Option<u32>) -> Result<u32, Denial> {
        within(
            "golem.max-workers",
            asked.unwrap_or(self.max_workers),
            self.max_workers,
        )
    }

    /// Time of a job: what it asks, or all that is granted.
    ///
    /// # Errors
    /// When it asks for more than granted.
    pub fn check_timeout(&self, asked: Option<Duration>) -> Result<Duration, Denial> {
        let granted = self.timeout.duration();
        match asked {
            Some(asked) if asked > granted => Err(Denial::new(
                "golem.timeout",
                format_args!("{}s", asked.as_secs_f64()),
                self.timeout,
            )),
            asked => Ok(asked.unwrap_or(granted)),
        }
    }

    /// Budget of a job, if it asks for one.
    ///
    /// # Errors
    /// When it asks for more than granted to the whole run.
    pub fn check_budget(&self, asked: Option<Amount>) -> Result<Option<Amount>, Denial> {
        asked
            .map(|asked| within("golem.budget", asked, self.budget))
            .transpose()
    }

    /// Subnet of a job: what it asks, or the first granted.
    ///
    /// # Errors
    /// When it is not granted.
    pub fn check_subnet(&self, asked: Option<&str>) -> Result<&str, Denial> {
        let found = match asked {
            Some(name) => self.subnets.get(name),
            None => self.subnets.first(),
        };
        match found {
            Some(subnet) => Ok(subnet),
            None => Err(Denial::new(
                "golem.subnets",
                asked.unwrap_or("any"),
                list(&self.subnets),
            )),
        }
    }

    /// One more task, after `submitted`.
    ///
    /// # Errors
    /// When the run has had all its tasks.
    pub fn check_task(&self, submitted: u64) -> Result<(), Denial> {
        within(
            "golem.max-tasks",
            submitted.saturating_add(1),
            self.max_tasks,
        )
        .map(drop)
    }
}

impl Dfs {
    /// Whether a pod may be read: it is named in `read` or in `write`.
    ///
    /// # Errors
    /// When it is in neither.
    pub fn check_read(&self, pod: &str) -> Result<(), Denial> {
        if self.read.contains(pod) || self.write.contains(pod) {
            return Ok(());
        }
        Err(Denial::new(
            "dfs.read",
            pod,
            list(self.read.union(&self.write)),
        ))
    }

    /// Whether a pod may be made and written.
    ///
    /// # Errors
    /// When it is not named in `write`.
    pub fn check_write(&self, pod: &str) -> Result<(), Denial> {
        if self.write.contains(pod) {
            Ok(())
        } else {
            Err(Denial::new("dfs.write", pod, list(&self.write)))
        }
    }

    /// Whether a pod may be shared.
    ///
    /// # Errors
    /// When sharing is not granted, or the pod not named in `write`.
    pub fn check_share(&self, pod: &str) -> Result<(), Denial> {
        if self.share {
            self.check_write(pod)
        } else {
            Err(Denial::new("dfs.share", true, false))
        }
    }
}

fn within<T: Ord + Copy + ToString>(capability: &str, asked: T, granted: T) -> Result<T, Denial> {
    if asked <= granted {
        Ok(asked)
    } else {
        Err(Denial::new(capability, asked, granted))
    }
}

/// Names as a recipe lists them, for a refusal.
fn list<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    if names.is_empty() {
        Denial::NOTHING.to_owned()
    } else {
        names.join(", ")
    }
}

impl Narrowing {
    pub(crate) fn new(
        capability: &str,
        asked: impl ToString,
        granted: impl ToString,
        rule: &str,
    ) -> Self {
        Self {
            capability: capability.to_owned(),
            asked: asked.to_string(),
            granted: granted.to_string(),
            rule: rule.to_owned(),
        }
    }
}

impl fmt::Display for Narrowing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} asked, {} granted (`{}` in your policy)",
            self.capability, self.asked, self.granted, self.rule
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Policy;

    fn grants(section: &serde_json::Value) -> Grants {
        let policy =
            Policy::parse("env = ['*']\n[dfs]\nshare = true", std::path::Path::new("")).unwrap();
        policy.grant(&Capabilities::parse(Some(section)).unwrap()).0
    }

    fn some() -> Grants {
        grants(&json!({
            "golem": {
                "budget": "10", "max-workers": 3, "max-tasks": 2, "timeout": "1m", "subnets": ["b", "a"],
                "packages": { "renderer": [ { "wasi": "payload/r.zip" } ] }
            },
            "dfs": { "read": ["in"], "write": ["out"] },
            "env": ["LANG", "ABSENT"]
        }))
    }

    fn refusal<T: fmt::Debug>(result: Result<T, Denial>) -> (String, String, String) {
        let denial = result.unwrap_err();
        (denial.capability, denial.asked, denial.granted)
    }

    fn words(capability: &str, asked: &str, granted: &str) -> (String, String, String) {
        (capability.into(), asked.into(), granted.into())
    }

    #[test]
    fn without_a_section_everything_of_it_is_denied() {
        let nothing = grants(&json!({}));
        assert_eq!(
            refusal(nothing.golem("a job")),
            words("golem", "a job", "nothing")
        );
        assert_eq!(
            refusal(nothing.dfs("reading x")),
            words("dfs", "reading x", "nothing")
        );
        assert_eq!(nothing.environment(|_| Some("secret".into())), []);
    }

    #[test]
    fn a_job_gets_what_is_granted_unless_it_asks_for_less() {
        let grants = some();
        let golem = grants.golem("").unwrap();
        assert_eq!(golem.check_workers(None), Ok(3));
        assert_eq!(golem.check_workers(Some(2)), Ok(2));
        assert_eq!(golem.check_timeout(None), Ok(Duration::from_secs(60)));
        assert_eq!(
            golem.check_timeout(Some(Duration::from_secs(60))),
            Ok(Duration::from_secs(60))
        );
        assert_eq!(golem.check_subnet(None), Ok("a"));
        assert_eq!(golem.check_subnet(Some("b")), Ok("b"));
        assert_eq!(golem.check_budget(None), Ok(None));
        assert_eq!(
            golem.check_budget(Some(Amount::glm(10))),
            Ok(Some(Amount::glm(10)))
        );
        assert_eq!(golem.check_package("renderer").unwrap().len(), 1);
        assert_eq!((golem.check_task(0), golem.check_task(1)), (Ok(()), Ok(())));
    }

    #[test]
    fn more_than_granted_is_denied_in_the_recipes_words() {
        let grants = some();
        let golem = grants.golem("").unwrap();
        assert_eq!(
            refusal(golem.check_workers(Some(4))),
            words("golem.max-workers", "4", "3")
        );
        let timeout = Some(Duration::from_millis(60_001));
        assert_eq!(
            refusal(golem.check_timeout(timeout)),
            words("golem.timeout", "60.001s", "1m")
        );
        let budget = Some("10.000000000000000001".parse().unwrap());
        assert_eq!(
            refusal(golem.check_budget(budget)),
            words("golem.budget", "10.000000000000000001", "10")
        );
        assert_eq!(
            refusal(golem.check_subnet(Some("c"))),
            words("golem.subnets", "c", "a, b")
        );
        assert_eq!(
            refusal(golem.check_package("x")),
            words("golem.packages", "x", "renderer")
        );
        assert_eq!(
            refusal(golem.check_task(2)),
            words("golem.max-tasks", "3", "2")
        );
        assert!(golem.check_task(u64::MAX).is_err());
    }

    #[test]
    fn storage_is_by_exact_name_and_writing_includes_reading() {
        let grants = some();
        let dfs = grants.dfs("").unwrap();
        assert_eq!(
            (
                dfs.check_read("in"),
                dfs.check_read("out"),
                dfs.check_write("out")
            ),
            (Ok(()), Ok(()), Ok(()))
        );
        assert_eq!(
            refusal(dfs.check_read("IN")),
            words("dfs.read", "IN", "in, out")
        );
        assert_eq!(
            refusal(dfs.check_write("in")),
            words("dfs.write", "in", "out")
        );
        assert_eq!(
            refusal(dfs.check_share("out")),
            words("dfs.share", "true", "false")
        );
        let shares = self::grants(&json!({ "dfs": { "write": ["out"], "share": true } }));
        let dfs = shares.dfs("").unwrap();
        assert_eq!(dfs.check_share("out"), Ok(()));
        assert_eq!(
            refusal(dfs.check_share("in")),
            words("dfs.write", "in", "out")
        );
    }

    #[test]
    fn only_granted_variables_that_are_set_are_given() {
        let value = |name: &str| (name != "ABSENT").then(|| format!("value of {name}"));
        assert_eq!(
            some().environment(value),
            [("LANG".to_owned(), "value of LANG".to_owned())]
        );
    }
}
