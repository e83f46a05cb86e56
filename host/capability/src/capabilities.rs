//! What a recipe asks for: its `capabilities` section.
//!
//! Parsing is strict, because whoever reads the recipe must be able to rely on it: an unknown key, a number without a
//! unit, a list with a doublet is an error and never ignored. Every problem is reported, not only the first, each with
//! its key path, what was found, what was expected and what to do. What is not asked for is not held.
//!
//! The digest is taken over a canonical form (defaults filled in, sets sorted, numbers and units normalised), so that
//! writing the same request differently asks nobody twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

use crate::section::{Problems, Section, describe, shown};
use crate::text::quote;
use crate::{Amount, Digest, Limits, Span};

/// Most names in one set.
pub const MOST_NAMES: usize = 64;

/// Most forms of one package.
const MOST_FORMS: usize = 8;

/// Most workers and tasks that can be written; a policy allows fewer.
const MOST_WORKERS: u32 = 1000;
const MOST_TASKS: u64 = 1_000_000;

/// What a job gets that a recipe says nothing about.
const DEFAULT_WORKERS: u32 = 1;
const DEFAULT_TASKS: u64 = 100;
const DEFAULT_TIMEOUT: Span = Span::minutes(30);
const DEFAULT_SUBNET: &str = "public";

/// Storage pods in which the program keeps the user's registries. A script that wrote to one would decide what the
/// user sees as the user's own pods.
pub const RESERVED_PODS: [&str; 4] = ["ComputePodRegistry", "ForkedPods", "SharedPods", "Sovr"];

/// What a pod asks for, with defaults filled in. Also the shape of what a run holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Capabilities {
    /// Work on Golem providers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub golem: Option<Golem>,
    /// The user's storage pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dfs: Option<Dfs>,
    /// Names of environment variables whose values the script sees.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub env: BTreeSet<String>,
    /// What the run may use of this machine.
    pub limits: Limits,
}

/// Work on Golem providers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Golem {
    /// Most money for the whole run.
    pub budget: Amount,
    /// Most providers at work at the same time, all jobs together.
    pub max_workers: u32,
    /// Most tasks (and activities driven step by step) of the whole run.
    pub max_tasks: u64,
    /// Longest time of one job.
    pub timeout: Span,
    /// Subnets of the market. The first in alphabetical order is used when a job names none.
    pub subnets: BTreeSet<String>,
    /// Packages by their logical name.
    pub packages: BTreeMap<String, Vec<PackageForm>>,
}

/// One form of a package, in the recipe's order of preference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PackageForm {
    /// What it is and where.
    #[serde(flatten)]
    pub image: Image,
    /// Where providers fetch it instead, `http` or `https`. They check its hash, and this program never asks there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Least memory of the provider, GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_mem_gib: Option<Gib>,
    /// Least storage of the provider, GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_storage_gib: Option<Gib>,
    /// Least number of processor threads of the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_cpu_threads: Option<u32>,
    /// What the provider's runtime must offer besides, by the market's names such as `inet` or `vpn`. Of images only.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub capabilities: BTreeSet<String>,
}

/// What a provider runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Image {
    /// A WASI package of the pod: path of a zip archive in the pod's tree, such as `payload/renderer.zip`.
    Wasi(String),
    /// An image of a virtual machine, in the user's registry.
    Vm(ImageName),
}

/// How an image of a virtual machine is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ImageName {
    /// SHA3-224 of the image, 56 lower-case hexadecimal digits: always the same image.
    Hash(String),
    /// `user/name:tag`: whatever the registry has under this name when the run begins.
    Tag(String),
}

/// GiB as Golem counts memory and storage: positive, at most three digits after the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gib {
    thousandths: u32,
}

/// The user's storage pods.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Dfs {
    /// Pods that may be read.
    pub read: BTreeSet<String>,
    /// Pods that may be made, read and written.
    pub write: BTreeSet<String>,
    /// Whether a pod named in `write` may be shared: whoever has the reference can read it.
    pub share: bool,
}

/// A `capabilities` section that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the recipe's capabilities are not valid:{0}")]
pub struct CapabilitiesError(Problems);

impl Capabilities {
    /// Reads the section; none is the same as an empty one.
    ///
    /// # Errors
    /// With every problem found, each with its key path.
    pub fn parse(section: Option<&Value>) -> Result<Self, CapabilitiesError> {
        let mut problems = Problems::default();
        let mut section = Section::new("capabilities", section, &mut problems);
        let golem = section
            .take("golem")
            .and_then(|value| parse_golem(value, &mut problems));
        let dfs = section
            .take("dfs")
            .map(|value| parse_dfs(value, &mut problems));
        let env = section
            .names("env", MOST_NAMES, check_variable, &mut problems)
            .unwrap_or_default();
        let limits = Limits::parse(
            "capabilities.limits",
            section.take("limits"),
            Limits::DEFAULT,
            &mut problems,
        );
        section.finish(&mut problems);
        if problems.is_empty() {
            Ok(Self {
                golem,
                dfs,
                env,
                limits,
            })
        } else {
            Err(CapabilitiesError(problems))
        }
    }

    /// As JSON of the recipe's own form: sets sorted, defaults filled in. Equal requests give equal texts.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("keys are texts and every number is finite")
    }

    /// SHA-256 of the canonical form.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(format!("sovr capabilities 1\n{}", self.to_json()))
    }
}

fn parse_golem(value: &Value, problems: &mut Problems) -> Option<Golem> {
    let mut section = Section::new("capabilities.golem", Some(value), problems);
    let budget = section.parsed("budget", "an amount of GLM such as \"0.25\"", problems);
    if !section.has("budget") {
        section.missing(
            "budget",
            "write the most GLM a run may spend, such as \"10.0\"",
            problems,
        );
    }
    let max_workers = section.number("max-workers", 1, MOST_WORKERS.into(), problems);
    let max_tasks = section.number("max-tasks", 1, MOST_TASKS, problems);
    let timeout = section.parsed("timeout", "a span of time such as \"30m\"", problems);
    let subnets = section.names("subnets", MOST_NAMES, check_name, problems);
    let packages = match section.take("packages") {
        Some(packages) => parse_packages(packages, problems),
        None => {
            section.missing("packages", "name at least one package, such as { \"renderer\": [ { \"wasi\": \"payload/renderer.zip\" } ] }", problems);
            BTreeMap::new()
        }
    };
    section.finish(problems);
    Some(Golem {
        budget: budget?,
        max_workers: max_workers.map_or(DEFAULT_WORKERS, |n| {
            u32::try_from(n).unwrap_or(MOST_WORKERS)
        }),
        max_tasks: max_tasks.unwrap_or(DEFAULT_TASKS),
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        subnets: subnets.unwrap_or_else(|| BTreeSet::from([DEFAULT_SUBNET.to_owned()])),
        packages,
    })
}

fn parse_packages(value: &Value, problems: &mut Problems) -> BTreeMap<String, Vec<PackageForm>> {
    const KEY: &str = "capabilities.golem.packages";
    let mut packages = BTreeMap::new();
    let Value::Object(entries) = value else {
        problems.add(
            KEY,
            format_args!(
                "got {}, expected an object of packages by name",
                describe(value)
            ),
        );
        return packages;
    };
    if entries.is_empty() || entries.len() > MOST_NAMES {
        problems.add(
            KEY,
            format_args!("got {} packages, expected 1 to {MOST_NAMES}", entries.len()),
        );
        return packages;
    }
    for (name, forms) in entries {
        let key = format!("{KEY}.{}", shown(name));
        if let Err(reason) = check_name(name) {
            problems.add(&key, format_args!("got the name {}, {reason}", quote(name)));
            continue;
        }
        match forms {
            Value::Array(forms) if (1..=MOST_FORMS).contains(&forms.len()) => {
                let forms = forms.iter().enumerate().filter_map(|(index, form)| parse_form(&format!("{key}[{index}]"), form, problems));
                packages.insert(name.clone(), forms.collect());
            }
            other => problems.add(
                &key,
                format_args!("got {}, expected a list of 1 to {MOST_FORMS} forms such as [ {{ \"wasi\": \"payload/{name}.zip\" }} ]", describe(other)),
            ),
        }
    }
    packages
}

fn parse_form(key: &str, value: &Value, problems: &mut Problems) -> Option<PackageForm> {
    let mut section = Section::new(key, Some(value), problems);
    let has_wasi = section.has("wasi");
    let wasi = section
        .parsed("wasi", "the path of a zip archive in the pod", problems)
        .map(|ArchivePath(path)| Image::Wasi(path));
    let has_vm = section.has("vm");
    let vm = section
        .parsed("vm", "the hash or the tag of an image", problems)
        .map(Image::Vm);
    let url = section.parsed("url", "an address", problems);
    if let (Some(Image::Vm(ImageName::Tag(_))), Some(_)) = (&vm, &url) {
        problems.add(
            &section.key("url"),
            "got one for an image that is named by its tag; name it by its hash, so that providers can check what they fetch",
        );
    }
    let min_mem_gib = parse_gib(&mut section, "min-mem-gib", problems);
    let min_storage_gib = parse_gib(&mut section, "min-storage-gib", problems);
    let min_cpu_threads = section
        .number("min-cpu-threads", 1, 1024, problems)
        .and_then(|n| u32::try_from(n).ok());
    let capabilities = section.names("capabilities", MOST_NAMES, check_name, problems);
    if has_wasi && capabilities.is_some() {
        problems.add(
            &section.key("capabilities"),
            "got some for a WASI package, which has none to ask for; leave the key out",
        );
    }
    if has_wasi == has_vm && value.is_object() {
        problems.add(
            key,
            "expected exactly one of `wasi` and `vm`; write each form as an object of its own",
        );
    }
    section.finish(problems);
    Some(PackageForm {
        image: wasi.or(vm)?,
        url: url.map(|PackageUrl(url)| url),
        min_mem_gib,
        min_storage_gib,
        min_cpu_threads,
        capabilities: capabilities.unwrap_or_default(),
    })
}

fn parse_gib(
    section: &mut Section<'_>,
    name: &'static str,
    problems: &mut Problems,
) -> Option<Gib> {
    let value = section.take(name)?;
    let gib = value.as_f64().and_then(Gib::new);
    if gib.is_none() {
        let expected = "a number of GiB from 0.001 to 4096 with at most 3 digits after the point";
        problems.add(
            &section.key(name),
            format_args!("got {}, expected {expected}", describe(value)),
        );
    }
    gib
}

fn parse_dfs(value: &Value, problems: &mut Problems) -> Dfs {
    let mut section = Section::new("capabilities.dfs", Some(value), problems);
    let dfs = Dfs {
        read: section
            .names("read", MOST_NAMES, check_pod, problems)
            .unwrap_or_default(),
        write: section
            .names("write", MOST_NAMES, check_pod, problems)
            .unwrap_or_default(),
        share: section.flag("share", problems).unwrap_or_default(),
    };
    section.finish(problems);
    dfs
}

/// Path of a package in the pod. Whether it lies there is the pod's to check.
struct ArchivePath(String);

impl FromStr for ArchivePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.ends_with(".zip") && text.len() <= 1024 {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "got {}, expected the path of a zip archive such as \"payload/renderer.zip\"",
                quote(text)
            ))
        }
    }
}

/// Where a package is. It becomes part of a text in which a space would be a mistake.
struct PackageUrl(String);

impl FromStr for PackageUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let host = ["https://", "http://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme))
            .and_then(|rest| rest.split(['/', '?', '#']).next());
        let is_good = host.is_some_and(|host| !host.is_empty() && !host.contains('@'))
            && text.len() <= 1024
            && text.bytes().all(|b| b.is_ascii_graphic());
        if is_good {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "got {}, expected an address such as \"https://example.org/renderer.zip\", without a name or password",
            quote(text)
        ))
    }
}

impl FromStr for ImageName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() == 56 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Self::Hash(text.to_owned()));
        }
        let is_tag = text.split_once('/').is_some_and(|(user, rest)| {
            rest.split_once(':')
                .is_some_and(|(name, tag)| [user, name, tag].into_iter().all(is_plain))
        });
        if is_tag {
            return Ok(Self::Tag(text.to_owned()));
        }
        Err(format!(
            "got {}, expected the image's SHA3-224 hash, 56 lower-case hexadecimal digits, or its tag such as \
             \"golem/blender:latest\"",
            quote(text)
        ))
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash(name) | Self::Tag(name) => f.write_str(name),
        }
    }
}

/// Names of packages and subnets.
fn check_name(name: &str) -> Result<(), &'static str> {
    if is_plain(name) {
        Ok(())
    } else {
        Err("expected 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or digit")
    }
}

/// Names of storage pods.
fn check_pod(name: &str) -> Result<(), &'static str> {
    check_name(name)?;
    if RESERVED_PODS
        .iter()
        .any(|reserved| reserved.eq_ignore_ascii_case(name))
    {
        return Err("which sovr-host keeps for itself; name a pod of your own");
    }
    Ok(())
}

/// Names of environment variables.
fn check_variable(name: &str) -> Result<(), &'static str> {
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if begins_well
        && name.len() <= 64
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    {
        Ok(())
    } else {
        Err(
            "expected the name of a variable: up to 64 letters, digits and `_`, the first not a digit",
        )
    }
}

/// Whether a name is 1 to 64 ASCII letters, digits, `.`, `_` or `-`, the first a letter or digit: the form of all names
/// of pods, packages and subnets. What cannot be spelled otherwise cannot be confused, and is safe in a path.
#[must_use]
pub fn is_plain(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl Gib {
    /// That many GiB, if it is from 0.001 to 4096 and exact in thousandths.
    #[must_use]
    pub fn new(gib: f64) -> Option<Self> {
        let thousandths = (gib * 1000.0).round();
        // Both sides are the double nearest to the same decimal, so equality is exact.
        let exact = (1.0..=4_096_000.0).contains(&thousandths) && thousandths / 1000.0 == gib;
        exact.then_some(Self {
            thousandths: thousandths as u32,
        })
    }

    /// As Golem's properties want it.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.thousandths) / 1000.0
    }
}

impl Serialize for Gib {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_f64())
    }
}

impl CapabilitiesError {
    /// Each problem as one line that is safe to show.
    pub fn problems(&self) -> impl Iterator<Item = String> + '_ {
        self.0.lines()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Size;

    const HASH: &str = "9a3b5d67b0b27746283cb5f287c13eab1beaa12d92a9f536b747c7ae";

    fn full() -> Value {
        json!({
            "golem": {
                "budget": "10.0", "max-workers": 3, "max-tasks": 100, "timeout": "30m", "subnets": ["public"],
                "packages": { "renderer": [ { "wasi": "payload/renderer.zip" }, { "vm": HASH, "min-mem-gib": 0.5 } ] }
            },
            "dfs": { "read": ["shared-images"], "write": ["render-results"], "share": false },
            "env": ["LANG"],
            "limits": { "memory": "256MiB", "time": "15m", "output": "1GiB", "files": 10000, "log": "16MiB" }
        })
    }

    fn problems(section: &Value) -> Vec<String> {
        Capabilities::parse(Some(section))
            .unwrap_err()
            .problems()
            .collect()
    }

    /// `full` with the value at a JSON pointer replaced.
    fn with(pointer: &str, value: Value) -> Value {
        let mut section = full();
        *section.pointer_mut(pointer).unwrap() = value;
        section
    }

    #[test]
    fn a_full_section_is_read() {
        let capabilities = Capabilities::parse(Some(&full())).unwrap();
        let golem = capabilities.golem.unwrap();
        assert_eq!(
            (golem.budget, golem.max_workers, golem.max_tasks),
            (Amount::glm(10), 3, 100)
        );
        assert_eq!(golem.timeout, Span::minutes(30));
        let forms = &golem.packages["renderer"];
        assert_eq!(forms[0].image, Image::Wasi("payload/renderer.zip".into()));
        assert_eq!(
            (&forms[1].image, forms[1].min_mem_gib),
            (&Image::Vm(ImageName::Hash(HASH.into())), Gib::new(0.5))
        );
        assert_eq!(capabilities.limits.output, Size::gib(1));
        assert!(capabilities.env.contains("LANG"));
    }

    #[test]
    fn without_a_section_nothing_is_asked_but_the_default_limits() {
        let nothing = Capabilities::parse(None).unwrap();
        assert_eq!(nothing, Capabilities::parse(Some(&json!({}))).unwrap());
        assert_eq!(
            (
                nothing.golem.clone(),
                nothing.dfs.clone(),
                nothing.env.len()
            ),
            (None, None, 0)
        );
        assert_eq!(nothing.limits, Limits::DEFAULT);
        assert_eq!(
            nothing.to_json(),
            r#"{"limits":{"memory":"256MiB","time":"15m","output":"1GiB","files":10000,"log":"16MiB"}}"#
        );
    }

    #[test]
    fn an_image_is_named_by_tag_too_and_may_want_more_of_its_runtime() {
        let form = json!([ { "vm": "golem/blender:2.80", "capabilities": ["vpn", "inet"] } ]);
        let section = with("/golem/packages/renderer", form);
        let capabilities = Capabilities::parse(Some(&section)).unwrap();
        let form = &capabilities.golem.unwrap().packages["renderer"][0];
        let tag = ImageName::Tag("golem/blender:2.80".to_owned());
        assert_eq!(form.image, Image::Vm(tag));
        assert!(form.capabilities.iter().eq(["inet", "vpn"]));
    }

    #[test]
    fn the_canonical_form_reads_back_as_the_same_request() {
        let form = json!([
            { "vm": "golem/blender:2.80", "capabilities": ["vpn"] },
            { "wasi": "payload/renderer.zip", "url": "https://a.org/renderer.zip" },
        ]);
        for section in [full(), with("/golem/packages/renderer", form)] {
            let capabilities = Capabilities::parse(Some(&section)).unwrap();
            let again: Value = serde_json::from_str(&capabilities.to_json()).unwrap();
            assert_eq!(Capabilities::parse(Some(&again)).unwrap(), capabilities);
        }
    }

    #[test]
    fn the_same_request_written_differently_has_the_same_digest() {
        let digest = Capabilities::parse(Some(&full())).unwrap().digest();
        let same = [
            with("/golem/budget", json!("10")),
            with("/golem/timeout", json!("1800s")),
            with("/limits/memory", json!("262144KiB")),
            with("/limits", json!({})),
            with("/golem/packages/renderer/1/min-mem-gib", json!(0.500)),
        ];
        for section in same {
            assert_eq!(
                Capabilities::parse(Some(&section)).unwrap().digest(),
                digest,
                "{section}"
            );
        }
        let mut reordered = full();
        reordered.as_object_mut().unwrap().sort_keys();
        assert_eq!(
            Capabilities::parse(Some(&reordered)).unwrap().digest(),
            digest
        );
    }

    #[test]
    fn every_change_of_a_request_changes_the_digest() {
        let digest = Capabilities::parse(Some(&full())).unwrap().digest();
        let other = [
            with("/golem/budget", json!("10.000000000000000001")),
            with("/golem/max-workers", json!(4)),
            with("/golem/max-tasks", json!(101)),
            with("/golem/timeout", json!("30m1s")),
            with("/golem/subnets", json!(["public", "x"])),
            with(
                "/golem/packages/renderer/0/wasi",
                json!("payload/other.zip"),
            ),
            with("/golem/packages/renderer/1/min-mem-gib", json!(0.501)),
            with("/golem/packages/renderer/1/vm", json!("golem/blender:2.80")),
            with(
                "/golem/packages/renderer/1",
                json!({ "vm": HASH, "min-mem-gib": 0.5, "url": "http://a.org/b" }),
            ),
            with(
                "/golem/packages/renderer/1",
                json!({ "vm": HASH, "min-mem-gib": 0.5, "capabilities": ["vpn"] }),
            ),
            with("/dfs/read", json!([])),
            with("/dfs/write", json!(["x"])),
            with("/dfs/share", json!(true)),
            with("/env", json!([])),
            with("/limits/files", json!(10001)),
        ];
        for section in other {
            assert_ne!(
                Capabilities::parse(Some(&section)).unwrap().digest(),
                digest,
                "{section}"
            );
        }
    }

    #[test]
    fn an_error_names_key_found_expected_and_next_step() {
        let cases = [
            (
                with("/golem/budget", json!(10)),
                "`capabilities.golem.budget`: got the number 10, expected an amount of GLM such as \"0.25\", in quotation marks",
            ),
            (
                with("/golem/budget", json!("1e3")),
                "`capabilities.golem.budget`: \"1e3\" is not an amount of GLM: only digits and one point are accepted; write a decimal such as \"0.25\"",
            ),
            (
                with("/golem/max-workers", json!(0)),
                "`capabilities.golem.max-workers`: got the number 0, expected a whole number from 1 to 1000",
            ),
            (
                with("/golem/packages/renderer/1/vm", json!("golem/blender")),
                "`capabilities.golem.packages.renderer[1].vm`: got \"golem/blender\", expected the image's SHA3-224 hash, 56 lower-case hexadecimal digits, or its tag such as \"golem/blender:latest\"",
            ),
            (
                with(
                    "/golem/packages/renderer/0",
                    json!({ "wasi": "payload/renderer.zip", "url": "https://me:secret@a.org" }),
                ),
                "`capabilities.golem.packages.renderer[0].url`: got \"https://me:secret@a.org\", expected an address such as \"https://example.org/renderer.zip\", without a name or password",
            ),
            (
                with(
                    "/golem/packages/renderer/0",
                    json!({ "vm": "golem/blender:2.80", "url": "https://a.org/b" }),
                ),
                "`capabilities.golem.packages.renderer[0].url`: got one for an image that is named by its tag; name it by its hash, so that providers can check what they fetch",
            ),
            (
                with(
                    "/golem/packages/renderer/0",
                    json!({ "wasi": "payload/renderer.zip", "capabilities": ["vpn"] }),
                ),
                "`capabilities.golem.packages.renderer[0].capabilities`: got some for a WASI package, which has none to ask for; leave the key out",
            ),
            (
                with("/limits/memory", json!("256MB")),
                "`capabilities.limits.memory`: \"256MB\" is not a size: its unit is ambiguous; write it like \"256MiB\" (KiB, MiB, GiB, TiB, or bytes without a unit)",
            ),
            (
                with("/dfs/share", json!("yes")),
                "`capabilities.dfs.share`: got \"yes\", expected true or false",
            ),
            (
                with("/dfs/write", json!(["a", "sharedpods"])),
                "`capabilities.dfs.write[1]`: got \"sharedpods\", which sovr-host keeps for itself; name a pod of your own",
            ),
            (
                with("/env", json!(["A", "B=C"])),
                "`capabilities.env[1]`: got \"B=C\", expected the name of a variable: up to 64 letters, digits and `_`, the first not a digit",
            ),
            (
                with("/env", json!(["A", "A"])),
                "`capabilities.env[1]`: \"A\" stands twice; remove one",
            ),
            (
                with("/env", json!("LANG")),
                "`capabilities.env`: got \"LANG\", expected a list of names; write [\"...\"]",
            ),
            (
                with(
                    "/golem/packages/renderer",
                    json!([{ "wasi": "a.zip", "vm": HASH }]),
                ),
                "`capabilities.golem.packages.renderer[0]`: expected exactly one of `wasi` and `vm`; write each form as an object of its own",
            ),
            (
                with("/golem/packages/renderer", json!([{ "wasi": "a.tar" }])),
                "`capabilities.golem.packages.renderer[0].wasi`: got \"a.tar\", expected the path of a zip archive such as \"payload/renderer.zip\"",
            ),
            (
                with("/limits/files", json!(1.5)),
                "`capabilities.limits.files`: got the number 1.5, expected a whole number from 0 to 100000000",
            ),
            (
                json!([]),
                "`capabilities`: got a list of 0, expected an object; write { ... } or leave the key out",
            ),
            (
                json!({ "network": true }),
                "`capabilities.network`: unknown key; known here are golem, dfs, env, limits",
            ),
        ];
        for (section, expected) in cases {
            assert_eq!(problems(&section), [expected]);
        }
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let section =
            json!({ "golem": { "budget": 1, "max-worker": 3 }, "limits": { "time": "15" } });
        let found = problems(&section);
        assert_eq!(found.len(), 4, "{found:#?}");
        let error = Capabilities::parse(Some(&section)).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "the recipe's capabilities are not valid:\n  `capabilities.golem.budget`"
            ),
            "{error}"
        );
        assert!(
            error.contains(
                "known here are budget, max-workers, max-tasks, timeout, subnets, packages"
            ),
            "{error}"
        );
    }

    #[test]
    fn a_million_unknown_capabilities_give_a_short_message() {
        let section: serde_json::Map<_, _> = (0..100_000)
            .map(|n| (format!("k{n}"), Value::Null))
            .collect();
        let found = problems(&Value::Object(section));
        assert_eq!(found.len(), 21);
        assert_eq!(found[20], "and 99980 more problems");
        let names = Value::Array(vec![json!("x"); 100_000]);
        assert_eq!(
            problems(&with("/dfs/read", names)),
            ["`capabilities.dfs.read`: got 100000 names, expected at most 64"]
        );
    }

    #[test]
    fn keys_and_names_in_messages_are_escaped_and_cut() {
        let section = json!({ "\u{1b}[2J": 1, "x".repeat(5000): 1, "env": ["\u{202e}"] });
        for problem in problems(&section) {
            assert!(!problem.chars().any(crate::text::is_hidden), "{problem}");
            assert!(problem.len() < 300, "{problem}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused_and_never_wrap() {
        for value in [
            json!(-1),
            json!(0),
            json!(4_294_967_299_u64),
            json!(u64::MAX),
            json!(1e300),
            json!("3"),
            json!(null),
        ] {
            assert_eq!(
                problems(&with("/golem/max-workers", value.clone())).len(),
                1,
                "{value}"
            );
        }
        for value in [
            json!(0),
            json!(-0.5),
            json!(0.0005),
            json!(1e300),
            json!("0.5"),
            json!(4097),
        ] {
            assert_eq!(
                problems(&with(
                    "/golem/packages/renderer/1/min-mem-gib",
                    value.clone()
                ))
                .len(),
                1,
                "{value}"
            );
        }
        for gib in [f64::NAN, f64::INFINITY, -1.0, 0.1 + 0.2] {
            assert_eq!(Gib::new(gib), None, "{gib}");
        }
        assert_eq!(
            (1..=4096)
                .filter_map(|n| Gib::new(f64::from(n) / 10.0))
                .count(),
            4096
        );
    }
}
