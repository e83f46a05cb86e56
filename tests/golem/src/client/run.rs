//! One run of an official client.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sovr_test_support::process::{self, Launch, Process};

use super::Client;
use crate::{Node, gftp, place, program};

/// Longer than a job takes: clients wait for offers, and half a minute for bills.
const PATIENCE: Duration = Duration::from_secs(300);
const INPUT: &str = "input";
const PACKAGE: &str = "package";
const OUTPUT: &str = "output";

/// What a client is told to do: so many tasks, each of which sends a file, runs a program and fetches a file.
#[derive(Debug, Clone, Serialize)]
pub struct Job {
    /// Where offers are looked for.
    pub subnet: String,
    /// `golem.runtime.name` of a provider that will do.
    pub runtime: String,
    /// The package that providers are to run, which the client serves.
    #[serde(skip)]
    pub package: Vec<u8>,
    /// What is run.
    pub program: String,
    /// What it is told.
    pub arguments: Vec<String>,
    /// What each task sends.
    #[serde(skip)]
    pub input: Vec<u8>,
    /// Where that goes on the provider: an absolute path.
    pub send_to: String,
    /// What each task fetches from the provider: an absolute path.
    pub fetch_from: String,
    /// How many tasks.
    pub tasks: u32,
    /// The client says what it does, for whom a test fails; without, nothing but problems.
    pub talks: bool,
}

/// What came of a job.
#[derive(Debug)]
pub struct Report {
    /// By number.
    pub tasks: Vec<Done>,
    /// From the start of the client to its end.
    pub took: Duration,
    /// Processor time of the client itself.
    pub cpu: Duration,
    /// That of programs which the client started: it has others move its files.
    pub cpu_of_helpers: Duration,
}

/// A task that is done.
#[derive(PartialEq, Eq)]
pub struct Done {
    /// What the program printed.
    pub stdout: String,
    /// The file that was fetched.
    pub fetched: Vec<u8>,
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Done({:?}, {} bytes)", self.stdout, self.fetched.len())
    }
}

/// A job as its script reads it.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    job: &'a Job,
    package: PathBuf,
    input: PathBuf,
    /// A directory that is there and empty.
    output: PathBuf,
}

/// What its script prints when a task is done.
#[derive(Deserialize)]
struct Line {
    task: u32,
    stdout: String,
    fetched: PathBuf,
}

impl Client {
    /// Why it cannot be run here, if it cannot.
    pub fn missing(self) -> Option<String> {
        let name = self.name();
        if !self.place().exists() {
            return Some(format!(
                "{name} is not installed: run `{}`",
                program::MADE_BY
            ));
        }
        self.interpreter().err().map(|why| format!("{name}: {why}"))
    }

    /// Runs it to its end. Tasks are given out one after the other.
    ///
    /// # Panics
    ///
    /// When the job is not done, with the end of what the client said.
    #[track_caller]
    pub fn run(self, node: &Node, job: &Job) -> Report {
        let name = self.name();
        let interpreter = self
            .interpreter()
            .unwrap_or_else(|why| panic!("{name}: {why}"));
        let directory = process::directory_in(&place::target());
        let told = lay_out(directory.path(), job)
            .unwrap_or_else(|error| panic!("{}: {error}", directory.path().display()));
        let job_text = serde_json::to_string(&told).expect("a job is plain data");
        let place = self.place();
        let text = |path: &Path| path.display().to_string();
        let mut environment = vec![
            ("YAGNA_API_URL", node.api_url()),
            ("YAGNA_APPKEY", node.app_key().to_owned()),
            ("GSB_URL", node.gsb_url().to_owned()),
            (
                "PATH",
                format!("{}:/usr/bin:/bin", directory.path().display()),
            ),
            ("SOVR_TEST_JOB", job_text),
        ];
        let script = match self {
            Client::Yapapi => {
                environment.push(("PYTHONPATH", text(&place)));
                // One of its own imports warns of its age.
                environment.push(("PYTHONWARNINGS", "ignore".to_owned()));
                "client.py"
            }
            Client::GolemJs => {
                environment.push(("NODE_PATH", text(&place.join("node_modules"))));
                if job.talks {
                    environment.push(("DEBUG", "golem-js:*".to_owned()));
                }
                "client.cjs"
            }
        };
        let launch = Launch {
            name: name.to_owned(),
            program: interpreter,
            arguments: vec![text(&self.sources().join(script))],
            environment,
        };
        let begun = Instant::now();
        let mut process = Process::start(launch, directory);
        let ended = process.finish(PATIENCE);
        let took = begun.elapsed();
        let done = ended.status.is_some_and(|status| status.success());
        assert!(
            done,
            "{name} does not do its job ({:?}):\n{}",
            ended.status,
            process.end_of_log()
        );
        let tasks = tasks(&process.log(), job.tasks);
        let tasks = tasks.unwrap_or_else(|why| panic!("{name}: {why}:\n{}", process.end_of_log()));
        Report {
            tasks,
            took,
            cpu: ended.cpu,
            cpu_of_helpers: ended.cpu_of_children,
        }
    }

    /// The interpreter itself and not a script that chooses one of several, which would look for it at home.
    fn interpreter(self) -> Result<PathBuf, String> {
        let (program, arguments) = match self {
            Client::Yapapi => ("python3", ["-c", "import sys; print(sys.executable)"]),
            Client::GolemJs => ("node", ["-p", "process.execPath"]),
        };
        let output = Command::new(program).args(arguments).output();
        let output = output.map_err(|error| format!("cannot run {program}: {error}"))?;
        let path = String::from_utf8(output.stdout).unwrap_or_default();
        let path = path.trim();
        match output.status.success() && !path.is_empty() {
            true => Ok(path.into()),
            false => Err(format!("{program} does not say where it is")),
        }
    }
}

/// Everything that the script and its helpers look for.
fn lay_out<'a>(directory: &Path, job: &'a Job) -> std::io::Result<Told<'a>> {
    let [package, input, output] = [PACKAGE, INPUT, OUTPUT].map(|name| directory.join(name));
    fs::write(&package, &job.package)?;
    fs::write(&input, &job.input)?;
    fs::create_dir(&output)?;
    gftp::install(directory)?;
    Ok(Told {
        job,
        package,
        input,
        output,
    })
}

/// All tasks in their order, from what the client said, which is also other things.
fn tasks(log: &str, count: u32) -> Result<Vec<Done>, String> {
    let lines = log.lines().filter(|line| line.starts_with("{\"task\""));
    let mut lines: Vec<Line> = lines
        .map(|line| serde_json::from_str(line).map_err(|error| format!("{line}: {error}")))
        .collect::<Result<_, _>>()?;
    lines.sort_by_key(|line| line.task);
    if !lines.iter().map(|line| line.task).eq(0..count) {
        return Err(format!("{} tasks are done, not {count}", lines.len()));
    }
    let done = lines.into_iter().map(|line| {
        let fetched = fs::read(&line.fetched);
        Ok(Done {
            stdout: line.stdout,
            fetched: fetched.map_err(|error| format!("{}: {error}", line.fetched.display()))?,
        })
    });
    done.collect()
}
