//! A pod: a directory with a recipe.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use sovr_capability::capabilities::Image;

use crate::document::Source;
use crate::error::io_error;
use crate::layout::{self, Finding, Severity, Stage};
use crate::{Area, Error, Exec, GuestPath, Recipe, Tree};

/// A loaded pod. Loading changes nothing on disk.
#[derive(Debug)]
pub struct Pod {
    recipe: Recipe,
    exec: Exec,
    source: Source,
}

/// Keeps other runs off the pod while it exists; the kernel drops it with the process.
#[derive(Debug)]
pub struct PodLock {
    _root: File,
}

impl Pod {
    /// Loads the pod in a directory, or of a recipe file.
    ///
    /// # Errors
    /// When there is no pod, or its recipe is not valid. The layout is looked at by [`Pod::check_layout`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let source = Source::read(path)?;
        let recipe = Recipe::parse(source.bytes(), &source.path())?;
        let exec = check_recipe(&recipe, &source.path())?;
        Ok(Self {
            recipe,
            exec,
            source,
        })
    }

    /// What the recipe says.
    #[must_use]
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// What is run.
    #[must_use]
    pub fn exec(&self) -> &Exec {
        &self.exec
    }

    /// The recipe's file, byte for byte as it was read.
    #[must_use]
    pub fn recipe_bytes(&self) -> &[u8] {
        self.source.bytes()
    }

    /// The name of the recipe's file in the pod's directory; `recipe.json`, unless the user named another.
    #[must_use]
    pub fn recipe_name(&self) -> &OsStr {
        self.source.name()
    }

    /// The WASI packages of the recipe.
    #[must_use]
    pub fn packages(&self) -> Vec<GuestPath> {
        let golem = self.recipe.capabilities.golem.iter();
        let forms = golem.flat_map(|golem| golem.packages.values().flatten());
        forms
            .filter_map(|form| match &form.image {
                Image::Wasi(path) => path.parse().ok(),
                _ => None,
            })
            .collect()
    }

    /// The pod's files.
    #[must_use]
    pub fn tree(&self) -> &Arc<Tree> {
        self.source.tree()
    }

    /// The pod's directory, absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.tree().root()
    }

    /// Looks through the tree before the external payload is fetched: what may come with it need not be there yet.
    /// Answers the findings that are no errors.
    ///
    /// # Errors
    /// When something lies there that must not, or something is missing that nobody will bring.
    pub fn check_layout(&self) -> Result<Vec<Finding>, Error> {
        self.check_layout_at(Stage::Unfetched)
    }

    /// Like [`Pod::check_layout`], with the external payload in its place: what is missing now stays missing.
    ///
    /// # Errors
    /// When something lies there that must not, or something is missing.
    pub fn check_layout_fetched(&self) -> Result<Vec<Finding>, Error> {
        self.check_layout_at(Stage::Fetched)
    }

    fn check_layout_at(&self, stage: Stage) -> Result<Vec<Finding>, Error> {
        let (errors, warnings): (Vec<_>, Vec<_>) = layout::check(self, stage)
            .into_iter()
            .partition(|finding| finding.severity == Severity::Error);
        if errors.is_empty() {
            Ok(warnings)
        } else {
            Err(Error::Layout {
                path: self.root().to_owned(),
                findings: errors,
            })
        }
    }

    /// Makes this the only run of the pod.
    ///
    /// # Errors
    /// When another run holds it.
    pub fn lock(&self) -> Result<PodLock, Error> {
        PodLock::hold(self.tree())
    }
}

impl PodLock {
    pub(crate) fn hold(tree: &Tree) -> Result<Self, Error> {
        // A handle of its own: the lock ends when this handle is closed. The directory itself is locked, so that no
        // file is left behind that could look like a lock.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(tree.handle(), c".", flags, Mode::empty())
            .map_err(|errno| io_error("open the directory", tree.root(), errno.into()))?;
        match flock(&root, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _root: root.into() }),
            Err(Errno::WOULDBLOCK) => Err(Error::InUse {
                path: tree.root().to_owned(),
            }),
            Err(errno) => Err(io_error("lock the directory", tree.root(), errno.into())),
        }
    }
}

/// What a recipe must fulfil beyond its form to be run here. Answers what is run.
pub(crate) fn check_recipe(recipe: &Recipe, path: &Path) -> Result<Exec, Error> {
    let exec = Exec::parse(&recipe.exec).map_err(|source| Error::Exec {
        path: path.to_owned(),
        source,
    })?;
    let problems = check_package_paths(recipe);
    if problems.is_empty() {
        Ok(exec)
    } else {
        Err(Error::Recipe {
            path: path.to_owned(),
            problems,
        })
    }
}

/// WASI packages must lie where a guest can read and not write.
fn check_package_paths(recipe: &Recipe) -> Vec<String> {
    let packages = recipe
        .capabilities
        .golem
        .iter()
        .flat_map(|golem| &golem.packages);
    let forms =
        packages.flat_map(|(name, forms)| forms.iter().map(move |form| (name, &form.image)));
    forms
        .filter_map(|(name, image)| {
            let Image::Wasi(path) = image else {
                return None;
            };
            let problem = match path.parse::<GuestPath>() {
                Ok(path) if path.area().is_writable() => {
                    "a run could replace it; put it into payload/".to_owned()
                }
                Ok(_) => return None,
                Err(error) => error.to_string(),
            };
            Some(format!("`capabilities.golem.packages.{name}`: {problem}"))
        })
        .collect()
}

/// Whether an area of the pod is there; [`Tree::prepare`] makes those that are not.
pub(crate) fn has_area(tree: &Tree, area: Area) -> bool {
    !matches!(
        tree.open_directory(Path::new(area.name())),
        Err(Errno::NOENT)
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::document::RECIPE;
    use crate::recipe::MOST_BYTES;

    const RECIPE_TEXT: &str = r#"{
        "name": "render",
        "golem": { "exec": "script/render.wasm --frames '0..60:10' [@]payload" },
        "capabilities": { "golem": { "budget": "10", "packages": { "r": [ { "wasi": "payload/r.zip" } ] } } }
    }"#;

    fn pod() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(RECIPE), RECIPE_TEXT).unwrap();
        for (name, content) in [("script/render.wasm", "\0asm"), ("payload/r.zip", "PK")] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        dir
    }

    fn rewrite(dir: &tempfile::TempDir, from: &str, to: &str) {
        fs::write(dir.path().join(RECIPE), RECIPE_TEXT.replace(from, to)).unwrap();
    }

    #[test]
    fn a_pod_loads_by_its_directory_or_its_recipe_and_nothing_changes() {
        let dir = pod();
        for path in [dir.path().to_owned(), dir.path().join(RECIPE)] {
            let pod = Pod::load(&path).unwrap();
            assert_eq!(pod.root(), dir.path().canonicalize().unwrap());
            assert_eq!(pod.exec().component.as_str(), "script/render.wasm");
            assert_eq!(pod.exec().args, ["--frames", "0..60:10", "/payload"]);
            assert_eq!(pod.check_layout().unwrap(), []);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn what_is_not_a_pod_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let error = |path: &Path| Pod::load(path).unwrap_err().to_string();
        assert!(
            error(&dir.path().join("absent"))
                .contains("is not a pod: there is nothing; name a directory")
        );
        assert!(error(dir.path()).contains("recipe.json is not a pod: it does not exist"));

        fs::create_dir(dir.path().join(RECIPE)).unwrap();
        assert!(error(dir.path()).contains("it is not a regular file"));
        fs::remove_dir(dir.path().join(RECIPE)).unwrap();
        symlink("/etc/passwd", dir.path().join(RECIPE)).unwrap();
        assert!(error(dir.path()).contains("it is a symbolic link"));
        fs::remove_file(dir.path().join(RECIPE)).unwrap();
        fs::write(dir.path().join(RECIPE), " ".repeat(MOST_BYTES as usize + 1)).unwrap();
        assert!(error(dir.path()).contains("it is longer than 1 MiB"));
    }

    #[test]
    fn a_recipe_that_is_a_named_pipe_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join(RECIPE), Mode::RWXU).unwrap();
        assert!(matches!(Pod::load(dir.path()), Err(Error::NotAPod { .. })));
    }

    #[test]
    fn exec_and_packages_stay_inside_and_out_of_a_guests_reach() {
        let dir = pod();
        rewrite(&dir, "script/render.wasm", "python3 script/render.py");
        let error = Pod::load(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("`golem.exec` names the program \"python3\": this host runs"),
            "{error}"
        );
        for path in [
            "../r.zip",
            "output/r.zip",
            "/etc/r.zip",
            "payload/../../r.zip",
        ] {
            rewrite(&dir, "payload/r.zip", path);
            let error = Pod::load(dir.path()).unwrap_err().to_string();
            assert!(
                error.contains("\n  `capabilities.golem.packages.r`: "),
                "{path}: {error}"
            );
        }
    }

    #[test]
    fn what_the_recipe_names_must_be_there() {
        let dir = pod();
        fs::remove_file(dir.path().join("script/render.wasm")).unwrap();
        fs::remove_file(dir.path().join("payload/r.zip")).unwrap();
        fs::create_dir(dir.path().join("payload/r.zip")).unwrap();
        let error = Pod::load(dir.path())
            .unwrap()
            .check_layout()
            .unwrap_err()
            .to_string();
        let lines: Vec<&str> = error.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "  golem.exec: names script/render.wasm, and there is nothing: without the component nothing runs; put it there, or correct the recipe",
                "  capabilities.golem.packages.r: names a file that cannot be used: payload/r.zip: it is a directory: providers that run WASI packages cannot work; put it there, or correct the recipe",
            ]
        );
    }

    #[test]
    fn a_pod_is_run_by_one_at_a_time() {
        let dir = pod();
        let (one, other) = (
            Pod::load(dir.path()).unwrap(),
            Pod::load(dir.path()).unwrap(),
        );
        let lock = one.lock().unwrap();
        assert!(matches!(other.lock(), Err(Error::InUse { .. })));
        assert!(matches!(one.lock(), Err(Error::InUse { .. })));
        drop(lock);
        other.lock().unwrap();
    }

    #[test]
    fn warnings_do_not_keep_a_pod_from_running() {
        let dir = pod();
        fs::create_dir(dir.path().join("tmp")).unwrap();
        let warnings = Pod::load(dir.path()).unwrap().check_layout().unwrap();
        let places: Vec<&str> = warnings.iter().map(|finding| finding.place.raw()).collect();
        assert_eq!(places, ["tmp"]);
    }

    #[test]
    fn a_package_may_come_with_the_external_payload_and_must_be_there_after_it() {
        let dir = pod();
        let text = RECIPE_TEXT.replace("payload/r.zip", "payload/external/r.zip");
        let write = |text: &str| fs::write(dir.path().join(RECIPE), text).unwrap();
        let load = || Pod::load(dir.path()).unwrap();
        // Nobody brings it.
        write(&text);
        assert!(load().check_layout().is_err());

        let reference = "ab".repeat(32);
        let payload =
            format!(r#"[@]payload", "payload": [{{"ref":"{reference}","data":"/x.zip"}}]"#);
        write(&text.replace(r#"[@]payload""#, &payload));
        let warnings: Vec<String> = load()
            .check_layout()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            warnings,
            [
                "capabilities.golem.packages.r: names payload/external/r.zip, which comes with the external payload: it is looked for when the payload has been fetched; see that an archive of `golem.payload` holds it"
            ]
        );
        let error = load().check_layout_fetched().unwrap_err().to_string();
        assert!(
            error.contains("names payload/external/r.zip, and there is nothing"),
            "{error}"
        );
        fs::create_dir(dir.path().join("payload/external")).unwrap();
        fs::write(dir.path().join("payload/external/r.zip"), "PK").unwrap();
        assert_eq!(load().check_layout().unwrap(), []);
        assert_eq!(load().check_layout_fetched().unwrap(), []);
        // A payload that brought a link instead.
        fs::remove_file(dir.path().join("payload/external/r.zip")).unwrap();
        symlink("/etc/passwd", dir.path().join("payload/external/r.zip")).unwrap();
        assert!(load().check_layout_fetched().is_err());
    }

    #[test]
    fn the_recipe_is_kept_byte_for_byte_with_its_name() {
        let dir = pod();
        let text = format!("\n{RECIPE_TEXT}\n\n");
        fs::write(dir.path().join("render.recipe"), &text).unwrap();
        let pod = Pod::load(&dir.path().join("render.recipe")).unwrap();
        assert_eq!(pod.recipe_bytes(), text.as_bytes());
        assert_eq!(pod.recipe_name(), "render.recipe");
    }
}
