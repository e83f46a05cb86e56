//! A new pod or task on disk.
//!
//! The original's wizard makes directories one by one into whatever is there, writes over an older recipe, leaves out
//! `script/`, and puts every reference and path into lower case, which breaks paths. Here the recipe is read by the same
//! parser that later runs it before anything is made, and the directory appears as a whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde_json::{Map, Value, json};

use crate::document::{Document, RECIPE};
use crate::error::io_error;
use crate::pod::check_recipe;
use crate::recipe::MOST_BYTES;
use crate::task::Mode;
use crate::{Area, Error, Exec, FreshDirectory, GuestPath, names};

/// How every WebAssembly file begins.
const MAGIC: &[u8; 4] = b"\0asm";

/// What a new pod and a new task have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct New {
    /// The name, which is also the directory's.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Who writes it.
    pub author: String,
    /// Its version.
    pub version: String,
    /// Whether persisting it shares it.
    pub public: bool,
    /// What it is.
    pub what: What,
}

/// What is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A pod.
    Pod(NewPod),
    /// A task.
    Task(NewTask),
}

/// A pod to be made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewPod {
    /// `golem.exec`. None: the component without arguments, or `script/NAME.wasm` for one that is still to be built.
    pub exec: Option<String>,
    /// A component to be copied to the place that `exec` names, or into `script/` under its own name.
    pub component: Option<PathBuf>,
    /// Archives of other pods.
    pub payload: Vec<NewPayload>,
}

/// A task to be made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewTask {
    /// Sharing references of its pods.
    pub pods: Vec<String>,
    /// Archives of other pods that all of them get.
    pub payload: Vec<NewPayload>,
    /// How its pods follow each other.
    pub mode: Mode,
}

/// An archive in a shared pod, as the user wrote it; the case of letters is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPayload {
    /// Sharing reference.
    pub reference: String,
    /// Absolute path in that pod.
    pub data: String,
}

/// Makes `parent/name/` with a recipe and the directories that belong to it. Answers its place.
///
/// # Errors
/// When the name is reserved or taken, the recipe would not be valid, or the component is none. Nothing is made then.
pub fn create(parent: &Path, new: &New) -> Result<PathBuf, Error> {
    let Plan {
        recipe,
        component,
        place,
    } = Plan::of(parent, new)?;
    let fresh = FreshDirectory::new(parent, &new.name)?;
    let areas: &[Area] = match &new.what {
        What::Pod(_) => &[Area::Script, Area::Payload, Area::Output, Area::Logs],
        What::Task(_) => &[Area::Payload],
    };
    for area in areas {
        let path = fresh.path().join(area.name());
        fs::create_dir(&path).map_err(|source| io_error("make the directory", &path, source))?;
    }
    let path = fresh.path().join(RECIPE);
    fs::write(&path, &recipe).map_err(|source| io_error("write", &path, source))?;
    if let (Some(component), Some(place)) = (component, place) {
        component.copy(&fresh.path().join(place.as_str()))?;
    }
    fresh.keep()
}

/// Whether [`create`] would find fault with any of this; for whoever asks for it bit by bit. Makes nothing.
///
/// # Errors
/// As those of [`create`].
pub fn check(parent: &Path, new: &New) -> Result<(), Error> {
    Plan::of(parent, new)?;
    let path = parent.join(&new.name);
    match path.symlink_metadata() {
        Ok(_) => Err(Error::Exists { path }),
        Err(_) => Ok(()),
    }
}

/// What is to be written, found valid.
struct Plan {
    recipe: Vec<u8>,
    component: Option<Component>,
    /// Where a pod's component belongs.
    place: Option<GuestPath>,
}

impl Plan {
    fn of(parent: &Path, new: &New) -> Result<Self, Error> {
        names::check_new(&new.name).map_err(|problem| Error::Name {
            name: new.name.clone(),
            problem,
        })?;
        let component = match &new.what {
            What::Pod(pod) => pod.component.as_deref().map(Component::open).transpose()?,
            What::Task(_) => None,
        };
        let recipe = recipe(new, component.as_ref());
        let place = check_recipe_text(&recipe, &parent.join(&new.name).join(RECIPE))?;
        if let (Some(component), Some(place)) = (&component, &place)
            && place.parent() != Some(Area::Script.name())
        {
            return Err(Error::Component {
                path: component.path.clone(),
                problem: "it is copied into script/ itself, and `golem.exec` names another place; write \"script/NAME.wasm\"",
            });
        }
        Ok(Self {
            recipe,
            component,
            place,
        })
    }
}

/// The recipe's text, its keys in the original's order.
fn recipe(new: &New, component: Option<&Component>) -> Vec<u8> {
    let mut recipe = Map::new();
    let mut put = |key: &str, value: Value| recipe.insert(key.to_owned(), value);
    put("name", json!(new.name));
    put("description", json!(new.description));
    put("author", json!(new.author));
    put("version", json!(new.version));
    put("public", json!(new.public));
    match &new.what {
        What::Pod(pod) => {
            let payload = if pod.payload.is_empty() {
                json!(Area::Payload.name())
            } else {
                archives(&pod.payload)
            };
            let exec = pod.exec.clone().unwrap_or_else(|| {
                let name = component.map_or(format!("{}.wasm", new.name), Component::name);
                format!("{}/{name}", Area::Script.name())
            });
            put(
                "golem",
                json!({
                    "exec": exec,
                    "script": Area::Script.name(),
                    "payload": payload,
                    "output": Area::Output.name(),
                    "log": Area::Logs.name(),
                }),
            );
        }
        What::Task(task) => {
            put("pods", json!(task.pods));
            if !task.payload.is_empty() {
                put("payload", archives(&task.payload));
            }
            if task.mode != Mode::default() {
                put("mode", json!(task.mode));
            }
        }
    }
    let mut text = serde_json::to_vec_pretty(&recipe).expect("every key is a text");
    text.push(b'\n');
    text
}

fn archives(payload: &[NewPayload]) -> Value {
    let entries = payload.iter();
    entries
        .map(|entry| json!({ "ref": entry.reference, "data": entry.data }))
        .collect()
}

/// Reads the recipe as a run would. Answers the place of a pod's component.
fn check_recipe_text(recipe: &[u8], path: &Path) -> Result<Option<GuestPath>, Error> {
    if recipe.len() as u64 > MOST_BYTES {
        return Err(Error::Recipe {
            path: path.to_owned(),
            problems: vec!["it would be longer than 1 MiB".to_owned()],
        });
    }
    match Document::parse(recipe, path)? {
        Document::Pod(recipe) => {
            let Exec { component, .. } = check_recipe(&recipe, path)?;
            Ok(Some(component))
        }
        Document::Task(_) => Ok(None),
    }
}

/// A file that begins like WebAssembly.
struct Component {
    path: PathBuf,
    file: File,
}

impl Component {
    fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source: io::Error| io_error("read the component", path, source);
        let refused = |problem| Error::Component {
            path: path.to_owned(),
            problem,
        };
        // Without NONBLOCK, a FIFO would hold this thread until somebody writes.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)
            .map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(refused("it is not a regular file"));
        }
        let mut begin = Vec::new();
        (&file)
            .take(MAGIC.len() as u64)
            .read_to_end(&mut begin)
            .map_err(failed)?;
        if begin != MAGIC {
            return Err(refused(
                "it is not WebAssembly; build the script as a component, for wasm32-wasip2",
            ));
        }
        file.rewind().map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    fn copy(mut self, to: &Path) -> Result<(), Error> {
        let failed = |source| io_error("copy the component to", to, source);
        let mut copy = File::create_new(to).map_err(failed)?;
        io::copy(&mut self.file, &mut copy).map_err(failed)?;
        copy.flush().map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::{Pod, Task};

    fn new(name: &str, what: What) -> New {
        New {
            name: name.to_owned(),
            description: "Draws \"pictures\"".to_owned(),
            author: "Ä. Nonymous".to_owned(),
            version: "1.0".to_owned(),
            public: true,
            what,
        }
    }

    fn pod(name: &str, pod: NewPod) -> New {
        new(name, What::Pod(pod))
    }

    fn payload(data: &str) -> Vec<NewPayload> {
        vec![NewPayload {
            reference: "Da".repeat(32),
            data: data.to_owned(),
        }]
    }

    fn names_in(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_pod_has_all_directories_and_a_recipe_in_the_originals_order() {
        let dir = tempfile::tempdir().unwrap();
        let place = create(dir.path(), &pod("render", NewPod::default())).unwrap();
        assert_eq!(place, dir.path().canonicalize().unwrap().join("render"));
        assert_eq!(
            names_in(&place),
            ["logs", "output", "payload", "recipe.json", "script"]
        );
        assert_eq!(
            fs::read_to_string(place.join(RECIPE)).unwrap(),
            r#"{
  "name": "render",
  "description": "Draws \"pictures\"",
  "author": "Ä. Nonymous",
  "version": "1.0",
  "public": true,
  "golem": {
    "exec": "script/render.wasm",
    "script": "script",
    "payload": "payload",
    "output": "output",
    "log": "logs"
  }
}
"#
        );
        Pod::load(&place).unwrap();
    }

    #[test]
    fn references_and_paths_keep_the_case_of_their_letters() {
        let dir = tempfile::tempdir().unwrap();
        let what = NewPod {
            exec: Some("script/r.wasm --in '[@]payload/external/A b'".to_owned()),
            payload: payload("/Data.ZIP"),
            ..NewPod::default()
        };
        let place = create(dir.path(), &pod("Render", what)).unwrap();
        let text = fs::read_to_string(place.join(RECIPE)).unwrap();
        assert!(
            text.contains("\"/Data.ZIP\"") && text.contains(&"Da".repeat(32)),
            "{text}"
        );
        let pod = Pod::load(&place).unwrap();
        assert_eq!(pod.recipe().external[0].data.raw(), "/Data.ZIP");
        assert_eq!(pod.exec().args, ["--in", "/payload/external/A b"]);
    }

    #[test]
    fn a_new_task_has_a_payload_directory_and_only_the_keys_it_needs() {
        let dir = tempfile::tempdir().unwrap();
        let task = NewTask {
            pods: vec!["a6".repeat(32)],
            ..NewTask::default()
        };
        let place = create(dir.path(), &new("plain", What::Task(task.clone()))).unwrap();
        assert_eq!(names_in(&place), ["payload", "recipe.json"]);
        let keys = |place: &Path| -> Vec<String> {
            let task = Task::load(place).unwrap();
            task.task().document.keys().cloned().collect()
        };
        assert_eq!(
            keys(&place),
            ["name", "description", "author", "version", "public", "pods"]
        );
        let all = NewTask {
            payload: payload("/x.zip"),
            mode: Mode::Parallel,
            ..task
        };
        let place = create(dir.path(), &new("all", What::Task(all))).unwrap();
        assert_eq!(keys(&place)[5..], ["pods", "payload", "mode"]);
    }

    #[test]
    fn a_component_is_copied_to_the_place_that_exec_names() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("built.wasm");
        fs::write(&file, "\0asm and more").unwrap();
        for (name, exec, expected) in [
            ("one", None, "built.wasm"),
            ("two", Some("script/other.wasm --fast"), "other.wasm"),
        ] {
            let what = NewPod {
                exec: exec.map(ToOwned::to_owned),
                component: Some(file.clone()),
                ..NewPod::default()
            };
            let place = create(dir.path(), &pod(name, what)).unwrap();
            let copy = place.join("script").join(expected);
            assert_eq!(fs::read(copy).unwrap(), b"\0asm and more");
            assert_eq!(Pod::load(&place).unwrap().check_layout().unwrap(), []);
        }
    }

    #[test]
    fn nothing_that_is_there_is_ever_changed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("render")).unwrap();
        fs::write(dir.path().join("render/recipe.json"), "mine").unwrap();
        symlink("/nowhere", dir.path().join("link")).unwrap();
        for name in ["render", "link"] {
            let new = pod(name, NewPod::default());
            for refused in [create(dir.path(), &new).map(drop), check(dir.path(), &new)] {
                let error = refused.unwrap_err();
                assert!(matches!(error, Error::Exists { .. }), "{error}");
            }
        }
        assert_eq!(names_in(dir.path()), ["link", "render"]);
        assert_eq!(names_in(&dir.path().join("render")), ["recipe.json"]);
    }

    #[test]
    fn what_would_not_be_valid_makes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();
            Some(path)
        };
        let native = file("native", b"\x7fELF");
        let short = file("short.wasm", b"\0as");
        let fine = file("fine.wasm", b"\0asm");
        let odd = file("-\u{1b}[2J", b"\0asm");
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        let before = names_in(dir.path());
        let with_component = |component: Option<PathBuf>, exec: Option<&str>| {
            let exec = exec.map(ToOwned::to_owned);
            pod(
                "x",
                NewPod {
                    exec,
                    component,
                    payload: Vec::new(),
                },
            )
        };
        let with_payload = |data| {
            let payload = payload(data);
            pod(
                "x",
                NewPod {
                    payload,
                    ..NewPod::default()
                },
            )
        };
        let mut cases = vec![
            with_component(native, None),
            with_component(short, None),
            with_component(Some(dir.path().join("absent")), None),
            with_component(Some(dir.path().to_owned()), None),
            with_component(Some(pipe), None),
            with_component(odd, None),
            with_component(fine.clone(), Some("payload/x.wasm")),
            with_component(fine.clone(), Some("script/deep/x.wasm")),
            with_component(fine.clone(), Some("script/../../x.wasm")),
            with_component(fine, Some("output/x.wasm")),
            with_component(None, Some("python3 script/x.py")),
            with_component(None, Some("")),
            with_component(None, Some("script/x.wasm 'x")),
            with_payload("x.zip"),
            with_payload("/../x.zip"),
            new("x", What::Task(NewTask::default())),
            new(
                "x",
                What::Task(NewTask {
                    pods: vec!["short".to_owned()],
                    ..NewTask::default()
                }),
            ),
        ];
        for name in [
            "",
            "..",
            "../x",
            ".git",
            "a b",
            "Sovr",
            "SHAREDPODS",
            "ForkedPods",
            "output-x",
            "nul",
            "x.",
            "\u{1b}",
        ] {
            cases.push(pod(name, NewPod::default()));
        }
        let mut long = pod("x", NewPod::default());
        long.description = "x".repeat(MOST_BYTES as usize);
        cases.push(long);
        for case in cases {
            let error = create(dir.path(), &case).unwrap_err().to_string();
            assert_eq!(check(dir.path(), &case).unwrap_err().to_string(), error);
            assert!(!error.contains('\u{1b}'), "{error:?}");
            assert_eq!(names_in(dir.path()), before, "{case:?}");
        }
    }
}
