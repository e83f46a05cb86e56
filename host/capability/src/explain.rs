//! A request in plain words, for the person who decides.
//!
//! The words come from what the run would hold, not from what the recipe says about itself: a description is written
//! by the one who wants to be let in. What a pod does not ask for is said too, because that is what a reader worries
//! about and cannot see from a list of wishes.

use std::collections::BTreeSet;

use crate::capabilities::{Dfs, Golem, Image, ImageName};
use crate::{Grants, Narrowing};

/// Lines for a prompt. Every line is safe to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What the run would be allowed.
    pub allowed: Vec<String>,
    /// What the pod asked in vain, with the policy's rule.
    pub narrowed: Vec<String>,
    /// What it does not ask for and cannot do.
    pub not_asked: Vec<String>,
}

/// Says in words what a run holds.
#[must_use]
pub fn explain(grants: &Grants, narrowings: &[Narrowing]) -> Explanation {
    let held = grants.capabilities();
    let limits = grants.limits();
    let cut = |capability: &str| {
        narrowings
            .iter()
            .any(|narrowing| narrowing.capability == capability)
    };
    let mut allowed = Vec::new();
    let mut not_asked = Vec::new();

    match &held.golem {
        Some(golem) => golem_lines(golem, &mut allowed),
        None if cut("golem") => {}
        None => not_asked.push("spend money or send anything to Golem providers".to_owned()),
    }
    match &held.dfs {
        Some(dfs) => dfs_lines(dfs, &mut allowed, &mut not_asked),
        None if cut("dfs") => {}
        None => not_asked.push("read, write or share your storage pods".to_owned()),
    }
    if held.env.is_empty() {
        if !cut("env") {
            not_asked.push("see environment variables".to_owned());
        }
    } else {
        allowed.push(format!(
            "see your environment variables {}",
            list(&held.env)
        ));
    }
    allowed.push("read its own payload/ and script/".to_owned());
    allowed.push(format!(
        "write its own output/, logs/ and tmp/, up to {} in {} files, and print or log up to {}",
        limits.output, limits.files, limits.log
    ));
    allowed.push(format!(
        "run for up to {} with up to {} of memory",
        limits.time, limits.memory
    ));
    not_asked.push(
        "touch other files, open network connections or start programs: no pod can".to_owned(),
    );

    Explanation {
        allowed,
        narrowed: narrowings.iter().map(ToString::to_string).collect(),
        not_asked,
    }
}

fn golem_lines(golem: &Golem, allowed: &mut Vec<String>) {
    allowed.push(format!(
        "spend up to {} GLM on Golem providers ({}), in up to {}, {} at a time, {} per job",
        golem.budget,
        if golem.subnets.is_empty() {
            "no subnet".to_owned()
        } else {
            format!("subnet {}", list(&golem.subnets))
        },
        count(golem.max_tasks, "task"),
        count(golem.max_workers.into(), "provider"),
        golem.timeout,
    ));
    let packages: Vec<String> = golem
        .packages
        .iter()
        .map(|(name, forms)| {
            let forms: Vec<String> = forms
                .iter()
                .map(|form| match &form.image {
                    Image::Wasi(path) => crate::Untrusted::new(path.as_str()).escaped_within(80),
                    Image::Vm(ImageName::Hash(hash)) => {
                        format!("image {}", hash.chars().take(12).collect::<String>())
                    }
                    Image::Vm(ImageName::Tag(tag)) => {
                        format!("whatever image the registry has as {tag}")
                    }
                })
                .collect();
            format!("{name} ({})", forms.join(" or "))
        })
        .collect();
    allowed.push(format!(
        "send any of its own files to those providers and run there: {}",
        packages.join(", ")
    ));
}

fn dfs_lines(dfs: &Dfs, allowed: &mut Vec<String>, not_asked: &mut Vec<String>) {
    if !dfs.read.is_empty() {
        allowed.push(format!("read your storage pods {}", list(&dfs.read)));
    }
    if dfs.write.is_empty() {
        not_asked.push("change your storage pods".to_owned());
        return;
    }
    allowed.push(format!(
        "make, read, change and empty your storage pods {}",
        list(&dfs.write)
    ));
    if dfs.share {
        allowed.push(format!(
            "share {}: whoever learns the reference can read them",
            list(&dfs.write)
        ));
        allowed.push("add pods that others shared to your storage, and read them".to_owned());
    } else {
        not_asked.push("share your storage pods".to_owned());
    }
}

fn count(n: u64, thing: &str) -> String {
    if n == 1 {
        format!("1 {thing}")
    } else {
        format!("{n} {thing}s")
    }
}

fn list(names: &BTreeSet<String>) -> String {
    names
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{Capabilities, Policy};

    fn explained(section: &Value, policy: &str) -> Explanation {
        let policy = Policy::parse(policy, std::path::Path::new("")).unwrap();
        let (grants, narrowings) = policy.grant(&Capabilities::parse(Some(section)).unwrap());
        explain(&grants, &narrowings)
    }

    #[test]
    fn a_pod_that_asks_for_nothing_is_said_to_do_nothing() {
        let words = explained(&json!({}), "");
        assert_eq!(
            words.not_asked,
            [
                "spend money or send anything to Golem providers",
                "read, write or share your storage pods",
                "see environment variables",
                "touch other files, open network connections or start programs: no pod can",
            ]
        );
        assert_eq!(words.narrowed, [""; 0]);
        assert_eq!(
            words.allowed,
            [
                "read its own payload/ and script/",
                "write its own output/, logs/ and tmp/, up to 1GiB in 10000 files, and print or log up to 16MiB",
                "run for up to 15m with up to 256MiB of memory",
            ]
        );
    }

    #[test]
    fn every_capability_has_its_words() {
        let section = json!({
            "golem": {
                "budget": "10.0", "max-workers": 3, "timeout": "30m",
                "packages": { "renderer": [ { "wasi": "payload/r.zip" }, { "vm": "9a".repeat(28) }, { "vm": "golem/r:1" } ] }
            },
            "dfs": { "read": ["in"], "write": ["out"], "share": true },
            "env": ["LANG"]
        });
        let words = explained(&section, "[dfs]\nshare = true");
        assert_eq!(
            words.allowed[..7],
            [
                "spend up to 10 GLM on Golem providers (subnet public), in up to 100 tasks, 3 providers at a time, 30m per job",
                "send any of its own files to those providers and run there: renderer (payload/r.zip or image 9a9a9a9a9a9a or whatever image the registry has as golem/r:1)",
                "read your storage pods in",
                "make, read, change and empty your storage pods out",
                "share out: whoever learns the reference can read them",
                "add pods that others shared to your storage, and read them",
                "see your environment variables LANG",
            ]
        );
        assert_eq!(words.not_asked.len(), 1);
    }

    #[test]
    fn what_was_asked_and_cut_is_not_said_to_be_unasked() {
        let section = json!({ "dfs": { "read": ["in"] }, "env": ["YAGNA_APPKEY"] });
        let words = explained(&section, "dfs = false");
        assert_eq!(words.narrowed.len(), 2);
        assert_eq!(words.not_asked.len(), 2, "{:?}", words.not_asked);
    }
}
