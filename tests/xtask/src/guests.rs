//! The guests: what is built from what, and where the committed copies lie.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::digest::{self, Packages, Sources};
use crate::lock::{self, Entry, Lock};
use crate::project::Project;
use crate::toolchain::rust::Route;
use crate::toolchain::{javascript, rust};
use crate::{files, package};

/// Options of `cargo xtask guests`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also replace the committed components and packages whose sources have changed
    #[arg(long, conflicts_with = "check")]
    update: bool,
    /// Build nothing; fail if a committed component or package is older than its sources
    #[arg(long)]
    check: bool,
    /// Build Rust guests this way, instead of the first that works
    #[arg(long, value_enum)]
    route: Option<Route>,
}

/// A component or package that travels in a template pod.
struct Guest {
    /// Path in `templates/pods` of the committed copy.
    path: &'static str,
    source: Source,
}

/// What a guest is made of.
enum Source {
    /// The program of a Rust package, by the package's name, which is the program's too.
    Program(&'static str),
    /// A script in JavaScript, by its path in `plugins/`. The rest of its folder counts as its sources.
    Script(&'static str),
    /// A WASI package: the `manifest.json` beside a Rust package's `Cargo.toml`, and its programs.
    Package(&'static str),
}

const GUESTS: [Guest; 7] = [
    guest(
        "contact-sheet/script/contact-sheet.wasm",
        Source::Program("contact-sheet"),
    ),
    guest(
        "hello-world/script/hello-world.wasm",
        Source::Program("hello-world"),
    ),
    guest("hello-world/payload/date.zip", Source::Package("date")),
    guest(
        "hello-world-js/script/hello-world-js.wasm",
        Source::Script("pods/hello-world-js/hello-world.js"),
    ),
    guest("hello-world-js/payload/date.zip", Source::Package("date")),
    guest("render/script/render.wasm", Source::Program("render")),
    guest("render/payload/renderer.zip", Source::Package("renderer")),
];

const fn guest(path: &'static str, source: Source) -> Guest {
    Guest { path, source }
}

/// Guests that abuse their host, one program each, for the end-to-end tests.
const HOSTILE: &str = "hostile";

/// The pods that the guests belong to.
const TEMPLATES: &str = "templates/pods";

/// What a template pod is committed with; runs add more.
const RECIPE: &str = "recipe.json";
const INPUTS: [&str; 2] = ["script", "payload"];

/// `cargo xtask guests`.
pub(crate) fn run(project: &Project, args: &Args) -> Result<()> {
    if args.check {
        return check(project);
    }
    build(project, args.route)?;
    if args.update {
        update(project)?;
    }
    Ok(())
}

/// Builds every guest into `target/guests`: the hostile ones side by side, the templates' as whole pods in `pods/`,
/// so that tests can run the committed pods and the rebuilt ones alike.
pub(crate) fn build(project: &Project, route: Option<Route>) -> Result<()> {
    let workspace = Packages::read(&project.plugins())?;
    let mut packages = BTreeSet::from([HOSTILE]);
    packages.extend(GUESTS.iter().filter_map(|guest| match guest.source {
        Source::Program(package) | Source::Package(package) => Some(package),
        Source::Script(_) => None,
    }));
    let compiler = rust::Compiler::prepare(project, route)?;
    let programs = compiler.build(&project.plugins(), &packages)?;

    for name in hostile_programs(project)? {
        let program = format!("{name}.wasm");
        files::copy(&programs.join(&program), &project.built().join(&program))?;
    }
    copy_templates(project)?;
    for guest in &GUESTS {
        let target = built(project, guest);
        match guest.source {
            Source::Program(name) => {
                files::copy(&programs.join(name).with_extension("wasm"), &target)?;
            }
            Source::Script(script) => {
                let script = project.plugins().join(script);
                let folder = script.parent().context("a script lies in a folder")?;
                let compiler = javascript::Compiler::prepare(project, folder)?;
                compiler.build(&project.path("wit"), &script, &target)?;
            }
            Source::Package(package) => {
                let manifest = workspace.folder(package)?.join("manifest.json");
                files::write(&target, &package::pack(&manifest, &programs)?)?;
            }
        }
    }
    eprintln!("the guests are in {}", project.built().display());
    Ok(())
}

/// Copies the pods as they are committed; what runs of them have left behind stays.
fn copy_templates(project: &Project) -> Result<()> {
    let templates = project.path(TEMPLATES);
    for pod in
        fs::read_dir(&templates).with_context(|| format!("cannot list {}", templates.display()))?
    {
        let pod = pod?;
        let target = project.built().join("pods").join(pod.file_name());
        files::copy(&pod.path().join(RECIPE), &target.join(RECIPE))?;
        // git keeps no empty folder, and a pod may need no payload.
        for folder in INPUTS.map(|folder| (pod.path().join(folder), target.join(folder))) {
            if folder.0.exists() {
                files::copy_tree(&folder.0, &folder.1)?;
            }
        }
    }
    Ok(())
}

/// Fails if a committed file is older than its sources, missing, or not what was last built.
pub(crate) fn check(project: &Project) -> Result<()> {
    let lock = lock::read(project)?;
    let mut stale = Vec::new();
    for (guest, sources) in with_digests(project)? {
        if let Some(why) =
            lock::staleness(lock.get(guest.path), &sources, &committed(project, guest))
        {
            stale.push(format!("{TEMPLATES}/{}: {why}", guest.path));
        }
    }
    if !stale.is_empty() {
        bail!(
            "run `cargo xtask guests --update` and commit what it changes, because of\n  {}",
            stale.join("\n  ")
        );
    }
    Ok(())
}

/// Replaces the committed files that are stale. The others stay as they are, since another machine's build of the
/// same sources would differ for no reason that a reader of the history cares for.
fn update(project: &Project) -> Result<()> {
    let before = lock::read(project)?;
    let mut lock = Lock::new();
    for (guest, sources) in with_digests(project)? {
        let committed = committed(project, guest);
        if lock::staleness(before.get(guest.path), &sources, &committed).is_some() {
            files::copy(&built(project, guest), &committed)?;
            eprintln!("updated {}", committed.display());
        }
        let content = digest::of_bytes(&files::read(&committed)?);
        lock.insert(guest.path.to_owned(), Entry { sources, content });
    }
    lock::write(project, &lock)
}

fn with_digests(project: &Project) -> Result<Vec<(&'static Guest, String)>> {
    let packages = Packages::read(&project.plugins())?;
    let digest = |guest| {
        let sources = sources(project, &packages, guest)?;
        Ok((guest, digest::of_sources(project, &sources)?))
    };
    GUESTS.iter().map(digest).collect()
}

/// Everything that a guest is built from.
fn sources(project: &Project, packages: &Packages, guest: &Guest) -> Result<Sources> {
    let plugins = project.plugins();
    let wit = project.path("wit");
    Ok(match guest.source {
        Source::Program(package) | Source::Package(package) => {
            let mut paths = packages.folders(package)?;
            paths.insert(plugins.join("Cargo.toml"));
            if matches!(guest.source, Source::Program(_)) {
                paths.insert(wit);
            }
            Sources {
                paths,
                dependencies: packages.dependencies(package),
            }
        }
        Source::Script(script) => {
            let folder = plugins.join(script).parent().map(Path::to_path_buf);
            Sources {
                paths: folder.into_iter().chain([wit]).collect(),
                ..Sources::default()
            }
        }
    })
}

/// Where a guest's committed copy lies.
fn committed(project: &Project, guest: &Guest) -> PathBuf {
    project.path(TEMPLATES).join(guest.path)
}

/// Where a guest lies in `target/guests`.
fn built(project: &Project, guest: &Guest) -> PathBuf {
    project.built().join("pods").join(guest.path)
}

/// Names of the hostile programs, which are those of their files.
fn hostile_programs(project: &Project) -> Result<BTreeSet<String>> {
    let folder = project.path("tests/hostile/src/bin");
    let mut names = BTreeSet::new();
    for entry in
        fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?
    {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("rs")) {
            names.extend(
                path.file_stem()
                    .map(|name| name.to_string_lossy().into_owned()),
            );
        }
    }
    Ok(names)
}
