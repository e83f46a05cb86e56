//! Our references against those of others, computed from the same bytes: the npm package `@fairdatasociety/bmt-js`, which
//! is installed when its test runs for the first time, and the Swarm node inside the FairOS-dfs server. It has a main of
//! its own, because only at run time it turns out whether these can be had.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use serde::Deserialize;
use serde_json::{Value, json};
use sovr_dfs::fairos::{FairosDfs, Password, Settings};
use sovr_dfs::swarm::{Reference, reference_of};
use sovr_dfs::{Address, Dfs, PodPassword, ShareRecord};
use sovr_test_fairos::{Server, program};

const OF_ANOTHER: &str = "references_are_those_of_another_implementation";
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bmt-js");
const MANIFEST: &str = "package.json";
/// Holds the package's digest, which npm checks.
const LOCK: &str = "package-lock.json";
const SCRIPT: &str = "references.js";
/// A copy of the lock by which the packages were installed, made when that was done.
const INSTALLED: &str = "installed.json";

const CHUNK: usize = 4096;
/// Content whose addresses fill one chunk.
const FULL: usize = 128 * CHUNK;
/// Around the ends of segments, chunks and full chunks of addresses, where a lone last chunk moves up unchanged. Three
/// levels would take JavaScript many seconds; our unit tests have one of Bee's own vectors for them.
const LENGTHS: [usize; 19] = [
    0,
    1,
    31,
    32,
    33,
    64,
    65,
    CHUNK - 1,
    CHUNK,
    CHUNK + 1,
    2 * CHUNK,
    FULL - 1,
    FULL,
    FULL + 1,
    FULL + CHUNK + 5,
    2 * FULL,
    2 * FULL + 1,
    2 * FULL + 17,
    3 * FULL + 2 * CHUNK - 1,
];
/// What a node can do in addition: several megabytes.
const LARGE: usize = 17 * FULL + 4242;
/// And lengths that nobody chose.
const RANDOM: usize = 4;
/// The node takes any batch.
const BATCH: [u8; 32] = [0; 32];
const PASSWORD: &str = "correct horse battery staple";

type Test = fn() -> Result<(), Failed>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let installed = if arguments.list {
        Ok(PathBuf::new())
    } else {
        install()
    };
    let without_package = installed.as_ref().err().map(ToString::to_string);
    let without_package = without_package.filter(|_| !program::is_ci());
    let trial = Trial::test(OF_ANOTHER, move || compare(&installed?));
    let mut trials = vec![left_out(trial, without_package)];
    let with_server: [(&str, Test); 2] = [
        ("references_are_those_of_a_node", || {
            block_on(compare_with_node())
        }),
        ("a_sharing_reference_is_that_of_its_record", || {
            block_on(share())
        }),
    ];
    for (name, test) in with_server {
        trials.push(left_out(Trial::test(name, test), program::missing()));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Leaves a test out for a reason, counted, and says so.
fn left_out(trial: Trial, why: Option<String>) -> Trial {
    if let Some(why) = &why {
        println!("skipped: {}: {why}", trial.name());
    }
    trial.with_ignored_flag(why.is_some())
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime of one thread").block_on(work)
}

/// What is missing, and how to come by it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
struct Missing(String);

/// Installs the package outside the source tree, unless that is done, and answers where.
fn install() -> Result<PathBuf, Missing> {
    for program in ["node", "npm"] {
        run(Command::new(program).arg("--version")).map_err(|error| {
            Missing(format!(
                "{error}; install Node.js 18 or newer with npm (`apt-get install nodejs npm`)"
            ))
        })?;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bmt-js");
    prepare(&folder).map_err(|error| {
        Missing(format!(
            "the package @fairdatasociety/bmt-js: {error}; run the test again when npm can reach its registry"
        ))
    })?;
    Ok(folder)
}

fn prepare(folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    // Of several test runs at a time one installs, and the others wait for it.
    let guard = File::create(folder.join("installing.lock"))?;
    guard.lock()?;
    let lock = fs::read(Path::new(SOURCE).join(LOCK))?;
    if fs::read(folder.join(INSTALLED)).ok().as_ref() != Some(&lock) {
        for name in [MANIFEST, LOCK] {
            fs::copy(Path::new(SOURCE).join(name), folder.join(name))?;
        }
        let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
        run(Command::new("npm").args(arguments).current_dir(folder))?;
        fs::write(folder.join(INSTALLED), &lock)?;
    }
    fs::copy(Path::new(SOURCE).join(SCRIPT), folder.join(SCRIPT))?;
    Ok(())
}

/// Runs a program to its successful end. A failure is told in one line.
fn run(command: &mut Command) -> io::Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let told = |why: String| io::Error::other(format!("`{name}` failed: {why}"));
    let output = command.output().map_err(|error| told(error.to_string()))?;
    if output.status.success() {
        return Ok(output);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    // npm warns before, and talks about its log after it.
    let lines = || complaint.lines().filter(|line| !line.trim().is_empty());
    let line = lines()
        .find(|line| line.contains("error"))
        .or(lines().next());
    Err(told(format!(
        "{}: {}",
        output.status,
        line.unwrap_or_default()
    )))
}

fn compare(folder: &Path) -> Result<(), Failed> {
    let mut node = Command::new("node");
    node.arg(SCRIPT).current_dir(folder);
    let output = run(node.args(LENGTHS.map(|length| length.to_string())))?;
    let theirs = String::from_utf8(output.stdout)?
        .lines()
        .map(|line| {
            let (length, reference) = line.split_once(' ').ok_or("no reference")?;
            Ok((length.parse()?, reference.parse()?))
        })
        .collect::<Result<BTreeMap<usize, Reference>, Box<dyn Error>>>()?;
    assert_eq!(theirs.len(), LENGTHS.len(), "one reference for each length");
    for length in LENGTHS {
        assert_eq!(
            reference_of(&content(length)),
            theirs[&length],
            "{length} bytes"
        );
    }
    Ok(())
}

/// The bytes of Bee's own vectors.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 255) as u8).collect()
}

#[derive(Deserialize)]
struct Stored {
    reference: String,
}

async fn compare_with_node() -> Result<(), Failed> {
    let server = Server::dev();
    let client = sovr_http::client(&server.bee_url().parse()?)?;
    let mut lengths = [LENGTHS.as_slice(), &[LARGE]].concat();
    for _ in 0..RANDOM {
        lengths.push(getrandom::u32()? as usize % (4 * FULL));
    }
    for length in lengths {
        let content = content(length);
        let ours = reference_of(&content);
        let stored: Stored = client
            .post(format!("{}/bytes", server.bee_url()))
            .header("Swarm-Postage-Batch-Id", hex::encode(BATCH))
            // Newer nodes add chunks for repair by default, which would be part of the reference.
            .header("Swarm-Redundancy-Level", "0")
            .body(content)
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        assert_eq!(ours.to_string(), stored.reference, "{length} bytes");
    }
    Ok(())
}

/// What the server says is behind a sharing reference.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    pod_name: String,
    pod_address: String,
    password: String,
    user_address: String,
}

async fn share() -> Result<(), Failed> {
    let server = Server::dev();
    let locks = tempfile::tempdir()?;
    let user = format!("sharer-{}", std::process::id());
    let settings = Settings {
        server: server.url().parse()?,
        user: user.parse()?,
        password: Some(Password::new(PASSWORD.to_owned())),
        login: None,
        allow_plain_http: false,
    };
    let dfs = FairosDfs::new(settings, locks.path())?;
    dfs.signup(None).await?;
    for pod in ["render", "Results-2.1_b"] {
        let pod = pod.parse()?;
        dfs.create_pod(&pod).await?;
        let shared = dfs.share(&pod).await?;
        let record = record_of(&server, &user, &shared).await?;
        assert_eq!(record.reference(), shared, "{pod}");
        assert_eq!(dfs.share(&pod).await?, shared, "{pod}");
    }
    Ok(())
}

/// Asks with a login of its own, as the password of a pod is nothing that [`FairosDfs`] gives out.
async fn record_of(
    server: &Server,
    user: &str,
    reference: &Reference,
) -> Result<ShareRecord, Failed> {
    let client = sovr_http::client(&server.url().parse()?)?;
    let login: Value = client
        .post(format!("{}/v2/user/login", server.url()))
        .json(&json!({ "userName": user, "password": PASSWORD }))
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    let record: Record = client
        .get(format!("{}/v1/pod/receiveinfo", server.url()))
        .query(&[("sharingRef", reference.to_string())])
        .bearer_auth(login["accessToken"].as_str().ok_or("no token")?)
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    Ok(ShareRecord {
        pod_name: record.pod_name,
        pod_address: Address(bytes(&record.pod_address)?),
        password: PodPassword(bytes(&record.password)?),
        user_address: Address(bytes(&record.user_address)?),
    })
}

fn bytes<const N: usize>(digits: &str) -> Result<[u8; N], Failed> {
    let mut bytes = [0; N];
    hex::decode_to_slice(digits.trim_start_matches("0x"), &mut bytes)?;
    Ok(bytes)
}
