//! `recipe.json`.
//!
//! The format is Sovr's: `name`, `description`, `author`, `version`, `public` and `golem`, to which this host adds
//! `capabilities`. Keys that nobody knows are kept, because the original keeps them in its registries; only
//! `capabilities` is strict. What the original accepts by accident (any type for any key) is an error.
//!
//! | key | form | |
//! |---|---|---|
//! | `name` | plain name | needed |
//! | `description`, `version`, `author` | text | |
//! | `public` | true or false | persisting the pod shares it |
//! | `golem.exec` | text | needed; see [`Exec`](crate::Exec) |
//! | `golem.payload` | text, or list of `{ref, data}` | archives of shared pods, unpacked into `payload/external` |
//! | `golem.output` | text, or `{ "share": PATH }` | persisting the pod publishes that directory of `output/` |
//! | `golem.script`, `golem.log` | any | said for readers; the directories have fixed names |
//! | `capabilities` | see [`Capabilities`] | what the pod asks for |

use std::path::Path;

use serde_json::{Map, Value};
use sovr_capability::capabilities::is_plain;
use sovr_capability::section::{Problems, Section, describe};
use sovr_capability::text::quote;
use sovr_capability::{Capabilities, Untrusted, json};

use crate::exec::from_root;
use crate::{Area, Error, GuestPath};

/// Most bytes of a recipe.
pub const MOST_BYTES: u64 = 1 << 20;

/// Most external archives.
const MOST_EXTERNAL: usize = 64;

/// Longest path of an archive in a storage pod, in bytes.
const MOST_DATA_BYTES: usize = 1024;

/// What `payload` may be.
const PAYLOAD: &str = "a list of at most 64 { \"ref\": ..., \"data\": ... }";

/// A pod's recipe. Keys that this host does not know are kept in [`Recipe::document`].
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Name of the pod. Checked: 1 to 64 letters, digits, `.`, `_`, `-`.
    pub name: String,
    /// What it does.
    pub description: Untrusted,
    /// Its version, free text.
    pub version: Untrusted,
    /// Who wrote it, as they say.
    pub author: Untrusted,
    /// Whether persisting it shares it.
    pub public: bool,
    /// `golem.exec` as written.
    pub exec: String,
    /// Archives of other pods to be unpacked into `payload/external`.
    pub external: Vec<ExternalPayload>,
    /// `golem.output.share`: `output/` or a directory beneath it, published when the pod is persisted.
    pub share: Option<GuestPath>,
    /// What it asks for.
    pub capabilities: Capabilities,
    /// The whole recipe as it was read.
    pub document: Map<String, Value>,
}

/// An archive in a shared pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalPayload {
    /// Sharing reference, 64 or 128 hexadecimal digits.
    pub reference: String,
    /// Absolute path of a zip archive in that pod.
    pub data: Untrusted,
}

impl Recipe {
    /// Reads a recipe; `path` is for messages.
    ///
    /// # Errors
    /// With every problem found, each with its key path.
    pub fn parse(text: &[u8], path: &Path) -> Result<Self, Error> {
        Self::from_value(parse_json(text, path)?, path)
    }

    pub(crate) fn from_value(value: Value, path: &Path) -> Result<Self, Error> {
        let mut problems = Problems::default();
        let fields = Fields::read(&value, &mut problems);
        let capabilities = Capabilities::parse(value.get("capabilities"));
        // A recipe with faults in both parts tells all of them at once.
        let all: Vec<String> = problems.lines().collect();
        match (fields, capabilities, value) {
            (Some(fields), Ok(capabilities), Value::Object(document)) if all.is_empty() => {
                Ok(Self {
                    name: fields.name,
                    description: fields.header.description,
                    version: fields.header.version,
                    author: fields.header.author,
                    public: fields.header.public,
                    exec: fields.exec,
                    external: fields.external,
                    share: fields.share,
                    capabilities,
                    document,
                })
            }
            (_, capabilities, _) => {
                let more = capabilities.err();
                let problems = all
                    .into_iter()
                    .chain(more.iter().flat_map(|error| error.problems()))
                    .collect();
                Err(Error::Recipe {
                    path: path.to_owned(),
                    problems,
                })
            }
        }
    }
}

pub(crate) fn parse_json(text: &[u8], path: &Path) -> Result<Value, Error> {
    json::parse(text).map_err(|source| Error::Json {
        path: path.to_owned(),
        source,
    })
}

/// What the recipes of pods and tasks have in common.
pub(crate) struct Header {
    /// None with a problem told.
    pub(crate) name: Option<String>,
    pub(crate) description: Untrusted,
    pub(crate) version: Untrusted,
    pub(crate) author: Untrusted,
    pub(crate) public: bool,
}

impl Header {
    /// Reads it; `thing` is what the recipe describes, for messages.
    pub(crate) fn read(section: &mut Section<'_>, thing: &str, problems: &mut Problems) -> Self {
        let name = read_name(section, thing, problems);
        let mut text = |key| {
            let text = section.parsed::<String>(key, "a text", problems);
            Untrusted::new(text.unwrap_or_default())
        };
        let (description, version, author) = (text("description"), text("version"), text("author"));
        let public = section.flag("public", problems).unwrap_or_default();
        Self {
            name,
            description,
            version,
            author,
            public,
        }
    }
}

/// Tells of a recipe that would be a pod and a task at once. The original takes it for a pod.
pub(crate) fn refuse_both(section: &Section<'_>, problems: &mut Problems) {
    if section.has("golem") && section.has("pods") {
        problems.add(
            "pods",
            "stands beside `golem`, so that the recipe is a pod and a task at once; leave one of them out",
        );
    }
}

/// The fields of Sovr's own.
struct Fields {
    name: String,
    header: Header,
    exec: String,
    external: Vec<ExternalPayload>,
    share: Option<GuestPath>,
}

impl Fields {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        if !value.is_object() {
            problems.add(
                "recipe",
                format_args!("got {}, expected an object", describe(value)),
            );
            return None;
        }
        let mut section = Section::new("", Some(value), problems);
        let mut header = Header::read(&mut section, "pod", problems);
        if !section.has("golem") && section.has("pods") {
            problems.add(
                "pods",
                "is the mark of a task, a chain of pods; name the recipe of a single pod",
            );
            return None;
        }
        refuse_both(&section, problems);
        if !section.has("golem") {
            section.missing(
                "golem",
                "write { \"exec\": \"script/NAME.wasm\" } at least",
                problems,
            );
            return None;
        }
        let mut golem = Section::new("golem", section.take("golem"), problems);
        if !golem.has("exec") {
            golem.missing(
                "exec",
                "name the pod's component, such as \"script/render.wasm\"",
                problems,
            );
        }
        let exec = golem.parsed::<String>(
            "exec",
            "a command line such as \"script/render.wasm\"",
            problems,
        );
        let external = match golem.take("payload") {
            None | Some(Value::String(_)) => Vec::new(),
            Some(value) => {
                let expected = format!("the text \"payload\", or {PAYLOAD}");
                read_archives("golem.payload", value, &expected, problems)
            }
        };
        let share = golem
            .take("output")
            .and_then(|value| read_share(value, problems));
        Some(Self {
            name: header.name.take()?,
            header,
            exec: exec?,
            external,
            share,
        })
    }
}

fn read_name(section: &mut Section<'_>, thing: &str, problems: &mut Problems) -> Option<String> {
    if !section.has("name") {
        section.missing("name", &format!("give the {thing} a name"), problems);
    }
    let name: String = section.parsed("name", "a name", problems)?;
    if is_plain(&name) {
        return Some(name);
    }
    let expected = "expected 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or digit";
    problems.add("name", format_args!("got {}, {expected}", quote(&name)));
    None
}

fn read_share(value: &Value, problems: &mut Problems) -> Option<GuestPath> {
    const KEY: &str = "golem.output";
    match value {
        Value::String(_) => return None,
        Value::Object(_) => {}
        other => {
            let expected = "the text \"output\", or { \"share\": \"output/NAME\" }";
            problems.add(
                KEY,
                format_args!("got {}, expected {expected}", describe(other)),
            );
            return None;
        }
    }
    let mut section = Section::new(KEY, Some(value), problems);
    if !section.has("share") {
        let next = "name the directory to publish, such as \"output/results\", or write the text \"output\" for none";
        section.missing("share", next, problems);
    }
    let text: String = section.parsed("share", "a directory beneath output/", problems)?;
    let path = from_root(&text);
    // People write directories with a slash at the end.
    match path.strip_suffix('/').unwrap_or(&path).parse::<GuestPath>() {
        Ok(path) if path.area() == Area::Output => return Some(path),
        Ok(_) => problems.add(
            &section.key("share"),
            format_args!(
                "got {}, expected output/ or a directory beneath it: only results are published",
                quote(&text)
            ),
        ),
        Err(error) => problems.add(&section.key("share"), error),
    }
    None
}

/// A task's `payload`.
pub(crate) fn read_shared_payload(value: &Value, problems: &mut Problems) -> Vec<ExternalPayload> {
    read_archives("payload", value, PAYLOAD, problems)
}

fn read_archives(
    key: &str,
    value: &Value,
    expected: &str,
    problems: &mut Problems,
) -> Vec<ExternalPayload> {
    match value {
        Value::Array(entries) if entries.len() <= MOST_EXTERNAL => {
            let entries = entries.iter().enumerate();
            entries
                .filter_map(|(index, entry)| {
                    read_external(&format!("{key}[{index}]"), entry, problems)
                })
                .collect()
        }
        other => {
            problems.add(
                key,
                format_args!("got {}, expected {expected}", describe(other)),
            );
            Vec::new()
        }
    }
}

fn read_external(key: &str, value: &Value, problems: &mut Problems) -> Option<ExternalPayload> {
    let mut section = Section::new(key, Some(value), problems);
    for needed in ["ref", "data"] {
        if value.is_object() && !section.has(needed) {
            section.missing(needed, "each entry needs `ref` and `data`", problems);
        }
    }
    let reference: Option<String> = section.parsed("ref", "a sharing reference", problems);
    let data: Option<String> = section.parsed(
        "data",
        "the path of a zip archive such as \"/images.zip\"",
        problems,
    );
    let (reference, data) = (reference?, data?);
    if !is_reference(&reference) {
        problems.add(
            &section.key("ref"),
            format_args!("got {}, {EXPECTED_REFERENCE}", quote(&reference)),
        );
    }
    if let Err(why) = check_data(&data) {
        let expected = "expected an absolute path in the shared pod such as \"/images.zip\"";
        problems.add(
            &section.key("data"),
            format_args!("got {}{why}, {expected}", quote(&data)),
        );
    }
    Some(ExternalPayload {
        reference: reference.to_ascii_lowercase(),
        data: data.into(),
    })
}

pub(crate) const EXPECTED_REFERENCE: &str =
    "expected a sharing reference, 64 or 128 hexadecimal digits";

/// Whether a text has the form of a sharing reference, in either case. Those of older FairOS-dfs servers are twice as
/// long.
pub(crate) fn is_reference(text: &str) -> bool {
    matches!(text.len(), 64 | 128) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether a text can be the path of a file in a storage pod; else what to say after it.
pub(crate) fn check_data(path: &str) -> Result<(), &'static str> {
    if path.len() > MOST_DATA_BYTES {
        return Err(", which is longer than 1024 bytes");
    }
    if path.contains('\\') || path.chars().any(char::is_control) {
        return Err(", which has a backslash or a control character");
    }
    let Some(parts) = path.strip_prefix('/') else {
        return Err("");
    };
    if parts.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(", which has a part that is empty, . or ..");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(recipe: &Value) -> Result<Recipe, Error> {
        Recipe::parse(recipe.to_string().as_bytes(), Path::new("recipe.json"))
    }

    fn problems(recipe: &Value) -> Vec<String> {
        match parse(recipe) {
            Err(Error::Recipe { problems, .. }) => problems,
            other => panic!("{other:?}"),
        }
    }

    fn hello() -> Value {
        json!({ "name": "HelloWorld", "golem": { "exec": "script/hello.wasm" } })
    }

    fn with(key: &str, value: Value) -> Value {
        let mut recipe = hello();
        recipe
            .as_object_mut()
            .unwrap()
            .insert(key.to_owned(), value);
        recipe
    }

    #[test]
    fn a_recipe_of_the_original_format_is_read_and_unknown_keys_are_kept() {
        let reference = "da41f8df".repeat(8);
        let recipe = parse(&json!({
            "name": "XCeption",
            "description": "Image Classification",
            "version": "1.0",
            "author": "somebody",
            "public": true,
            "x-new": { "kept": [1] },
            "golem": {
                "exec": "script/xception.wasm --images [@]payload/external/images",
                "script": "script",
                "payload": [ { "ref": reference, "data": "/images.zip" } ],
                "output": { "share": "output/results" },
                "log": "logs",
                "logs": "logs"
            }
        }))
        .unwrap();
        assert_eq!((recipe.name.as_str(), recipe.public), ("XCeption", true));
        assert_eq!(recipe.description.raw(), "Image Classification");
        assert_eq!(
            recipe.external,
            [ExternalPayload {
                reference,
                data: "/images.zip".into()
            }]
        );
        assert_eq!(recipe.document["x-new"]["kept"][0], 1);
        assert_eq!(recipe.capabilities, Capabilities::parse(None).unwrap());
    }

    #[test]
    fn name_and_component_are_all_that_is_needed() {
        let recipe = parse(&hello()).unwrap();
        assert_eq!(
            (recipe.author.raw(), recipe.public, recipe.external.len()),
            ("", false, 0)
        );
    }

    #[test]
    fn an_error_names_key_found_and_expected() {
        let cases = [
            (json!([1]), "`recipe`: got a list of 1, expected an object"),
            (
                json!({ "golem": { "exec": "script/x.wasm" } }),
                "`name`: is missing; give the pod a name",
            ),
            (
                with("name", json!(7)),
                "`name`: got the number 7, expected a name, in quotation marks",
            ),
            (
                with("name", json!("../../x")),
                "`name`: got \"../../x\", expected 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or digit",
            ),
            (
                with("public", json!("yes")),
                "`public`: got \"yes\", expected true or false",
            ),
            (
                with("golem", json!({})),
                "`golem.exec`: is missing; name the pod's component, such as \"script/render.wasm\"",
            ),
            (
                with("golem", json!([])),
                "`golem`: got a list of 0, expected an object; write { ... } or leave the key out",
            ),
            (
                with(
                    "golem",
                    json!({ "exec": "script/x.wasm", "payload": { "ref": "x" } }),
                ),
                "`golem.payload`: got an object, expected the text \"payload\", or a list of at most 64 { \"ref\": ..., \"data\": ... }",
            ),
            (
                with(
                    "golem",
                    json!({ "exec": "script/x.wasm", "payload": [ { "ref": "x", "data": "/x.zip" } ] }),
                ),
                "`golem.payload[0].ref`: got \"x\", expected a sharing reference, 64 or 128 hexadecimal digits",
            ),
            (
                json!({ "name": "keras", "pods": ["a"] }),
                "`pods`: is the mark of a task, a chain of pods; name the recipe of a single pod",
            ),
            (
                json!({ "name": "x" }),
                "`golem`: is missing; write { \"exec\": \"script/NAME.wasm\" } at least",
            ),
            (
                with("capabilities", json!({ "network": true })),
                "`capabilities.network`: unknown key; known here are golem, dfs, env, limits",
            ),
        ];
        for (recipe, expected) in cases {
            assert!(
                problems(&recipe).contains(&expected.to_owned()),
                "{:#?}",
                problems(&recipe)
            );
        }
    }

    fn with_output(output: Value) -> Value {
        with(
            "golem",
            json!({ "exec": "script/x.wasm", "output": output }),
        )
    }

    #[test]
    fn an_output_to_share_is_a_directory_of_the_output() {
        for (share, expected) in [
            ("output/results", "output/results"),
            ("output/results/", "output/results"),
            ("output", "output"),
            ("output/", "output"),
            ("/output/a b", "output/a b"),
            ("[@]output/results", "output/results"),
            ("[@]/output", "output"),
        ] {
            let recipe = parse(&with_output(json!({ "share": share, "x-new": 1 }))).unwrap();
            assert_eq!(recipe.share.unwrap().as_str(), expected, "{share}");
        }
        assert_eq!(parse(&with_output(json!("output"))).unwrap().share, None);
        assert_eq!(parse(&hello()).unwrap().share, None);
    }

    #[test]
    fn output_share_cannot_publish_what_lies_elsewhere() {
        for share in [
            "../../../secret",
            "../output/results",
            "/etc",
            "/",
            "",
            "output/../script",
            "output/../../x",
            "output//x",
            "[@]../x",
            "[@]",
            "script",
            "script/",
            "payload/x",
            "payload/external",
            "logs",
            "tmp/x",
            "outputs",
            "output\\x",
            "output/\u{1b}[2J",
            "output/\0",
            "recipe.json",
            ".",
        ] {
            let found = problems(&with_output(json!({ "share": share })));
            assert_eq!(found.len(), 1, "{share:?}: {found:?}");
            assert!(
                found[0].starts_with("`golem.output.share`: ") && !found[0].contains('\u{1b}'),
                "{found:?}"
            );
        }
        for (output, expected) in [
            (
                json!({}),
                "`golem.output.share`: is missing; name the directory to publish, such as \"output/results\", or write the text \"output\" for none",
            ),
            (
                json!({ "share": ["output"] }),
                "`golem.output.share`: got a list of 1, expected a directory beneath output/, in quotation marks",
            ),
            (
                json!({ "share": "script" }),
                "`golem.output.share`: got \"script\", expected output/ or a directory beneath it: only results are published",
            ),
            (
                json!(["output"]),
                "`golem.output`: got a list of 1, expected the text \"output\", or { \"share\": \"output/NAME\" }",
            ),
            (
                json!(null),
                "`golem.output`: got null, expected the text \"output\", or { \"share\": \"output/NAME\" }",
            ),
        ] {
            assert_eq!(problems(&with_output(output)), [expected]);
        }
    }

    #[test]
    fn an_archive_is_named_by_a_path_that_a_storage_pod_can_have() {
        let golem = |reference: &str, data: &str| {
            let payload = json!([ { "ref": reference, "data": data } ]);
            with(
                "golem",
                json!({ "exec": "script/x.wasm", "payload": payload }),
            )
        };
        let reference = "aB".repeat(32);
        let recipe = parse(&golem(&reference, "/Übung/a b.ZIP")).unwrap();
        assert_eq!(recipe.external[0].reference, "ab".repeat(32));
        assert_eq!(recipe.external[0].data.raw(), "/Übung/a b.ZIP");
        let long = format!("/{}.zip", "x".repeat(1024));
        for data in [
            "",
            "/",
            "x.zip",
            "//x",
            "/x/",
            "/./x",
            "/a/../x",
            "/a\\x",
            "/\0",
            "/\u{1b}[2J",
            &long,
        ] {
            let found = problems(&golem(&reference, data));
            assert!(
                found.len() == 1 && found[0].starts_with("`golem.payload[0].data`: got "),
                "{data:?}: {found:?}"
            );
            assert!(!found[0].contains('\u{1b}'));
        }
        for reference in [
            "",
            &"ab".repeat(31),
            &"ab".repeat(65),
            &"ä".repeat(32),
            &"xy".repeat(32),
        ] {
            let found = problems(&golem(reference, "/x.zip"));
            assert!(
                found.len() == 1 && found[0].starts_with("`golem.payload[0].ref`: got "),
                "{reference:?}: {found:?}"
            );
        }
    }

    #[test]
    fn faults_of_both_parts_are_told_at_once() {
        let mut recipe = with("capabilities", json!({ "env": 1 }));
        recipe["public"] = json!(1);
        assert_eq!(problems(&recipe).len(), 2);
        let message = parse(&recipe).unwrap_err().to_string();
        assert!(
            message.starts_with("the recipe recipe.json is not valid:\n  `public`: "),
            "{message}"
        );
    }

    #[test]
    fn a_key_twice_is_refused_anywhere() {
        let text = br#"{"name":"x","golem":{"exec":"script/good.wasm","exec":"script/evil.wasm"}}"#;
        let error = Recipe::parse(text, Path::new("recipe.json"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("the key \"exec\" stands twice in one object at line 1"),
            "{error}"
        );
    }
}
