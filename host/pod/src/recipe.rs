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
//! | `golem.script`, `golem.output`, `golem.log` | any | said for readers; the directories have fixed names |
//! | `capabilities` | see [`Capabilities`] | what the pod asks for |

use std::path::Path;

use serde_json::{Map, Value};
use sovr_capability::capabilities::is_plain;
use sovr_capability::section::{Problems, Section, describe};
use sovr_capability::text::quote;
use sovr_capability::{Capabilities, Untrusted, json};

use crate::Error;

/// Most bytes of a recipe.
pub const MOST_BYTES: u64 = 1 << 20;

/// Most external archives.
const MOST_EXTERNAL: usize = 64;

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
    /// What it asks for.
    pub capabilities: Capabilities,
    /// The whole recipe as it was read.
    pub document: Map<String, Value>,
}

/// An archive in a shared pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalPayload {
    /// Sharing reference, 64 hexadecimal digits.
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
        let value = json::parse(text).map_err(|source| Error::Json {
            path: path.to_owned(),
            source,
        })?;
        let mut problems = Problems::default();
        let fields = Fields::read(&value, &mut problems);
        let capabilities = Capabilities::parse(value.get("capabilities"));
        // A recipe with faults in both parts tells all of them at once.
        let all: Vec<String> = problems.lines().collect();
        match (fields, capabilities, value) {
            (Some(fields), Ok(capabilities), Value::Object(document)) if all.is_empty() => {
                Ok(Self {
                    name: fields.name,
                    description: fields.description.into(),
                    version: fields.version.into(),
                    author: fields.author.into(),
                    public: fields.public,
                    exec: fields.exec,
                    external: fields.external,
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

/// The fields of Sovr's own.
struct Fields {
    name: String,
    description: String,
    version: String,
    author: String,
    public: bool,
    exec: String,
    external: Vec<ExternalPayload>,
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
        let name = read_name(&mut section, problems);
        let mut text = |key| {
            section
                .parsed::<String>(key, "a text", problems)
                .unwrap_or_default()
        };
        let (description, version, author) = (text("description"), text("version"), text("author"));
        let public = section.flag("public", problems).unwrap_or_default();
        if !section.has("golem") && section.has("pods") {
            problems.add(
                "pods",
                "is the mark of a task, a chain of pods; name the recipe of a single pod",
            );
            return None;
        }
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
        let external = golem
            .take("payload")
            .map(|value| read_payload(value, problems))
            .unwrap_or_default();
        Some(Self {
            name: name?,
            description,
            version,
            author,
            public,
            exec: exec?,
            external,
        })
    }
}

fn read_name(section: &mut Section<'_>, problems: &mut Problems) -> Option<String> {
    if !section.has("name") {
        section.missing("name", "give the pod a name", problems);
    }
    let name: String = section.parsed("name", "a name", problems)?;
    if is_plain(&name) {
        return Some(name);
    }
    let expected = "expected 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or digit";
    problems.add("name", format_args!("got {}, {expected}", quote(&name)));
    None
}

fn read_payload(value: &Value, problems: &mut Problems) -> Vec<ExternalPayload> {
    const KEY: &str = "golem.payload";
    match value {
        Value::String(_) => Vec::new(),
        Value::Array(entries) if entries.len() <= MOST_EXTERNAL => {
            let entries = entries.iter().enumerate();
            entries
                .filter_map(|(index, entry)| {
                    read_external(&format!("{KEY}[{index}]"), entry, problems)
                })
                .collect()
        }
        other => {
            let expected =
                "the text \"payload\", or a list of at most 64 { \"ref\": ..., \"data\": ... }";
            problems.add(
                KEY,
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
    if !(matches!(reference.len(), 64 | 128) && reference.bytes().all(|b| b.is_ascii_hexdigit())) {
        let expected = "expected a sharing reference, 64 hexadecimal digits";
        problems.add(
            &section.key("ref"),
            format_args!("got {}, {expected}", quote(&reference)),
        );
    }
    if !data.starts_with('/') {
        let expected = "expected an absolute path in the shared pod such as \"/images.zip\"";
        problems.add(
            &section.key("data"),
            format_args!("got {}, {expected}", quote(&data)),
        );
    }
    Some(ExternalPayload {
        reference: reference.to_ascii_lowercase(),
        data: data.into(),
    })
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
                "`golem.payload[0].ref`: got \"x\", expected a sharing reference, 64 hexadecimal digits",
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
