//! Several processes that share one store, one that is measured, and some that are killed. The program starts itself
//! again as one of them, so it has a main of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use sovr_dfs::local::{Caps, LocalDfs};
use sovr_dfs::swarm::reference_of;
use sovr_dfs::{Dfs, DfsPath, Error, Place, PodName};
use tokio::io::AsyncReadExt;
use tokio::runtime::Runtime;

/// What a child is to do, one of the constants below.
const ROLE: &str = "SOVR_DFS_TEST_ROLE";
const STORE: &str = "SOVR_DFS_TEST_STORE";
/// The child's number, or the bytes that it is to write.
const NUMBER: &str = "SOVR_DFS_TEST_NUMBER";

const ONE_OF_SEVERAL: &str = "one of several";
const MEASURED: &str = "measured";
const KILLED: &str = "killed";

const PROCESSES: usize = 4;
const ROUNDS: usize = 10;

const SMALL: u64 = 4096;
const LARGE: u64 = 1 << 30;
/// What a large file may need more than a small one: buffers, and the threads that hash.
const MORE_MEMORY: u64 = 16 << 20;

/// Writers that are killed, one after the other, in one store.
const KILLS: u32 = 40;
/// The longest that a writer works before it is killed: it opens the store and goes around its loop some times.
const LONGEST: Duration = Duration::from_millis(80);

fn main() -> ExitCode {
    let runtime = Runtime::new().expect("a runtime");
    let Ok(role) = env::var(ROLE) else {
        let tests = vec![
            Trial::test("processes_share_a_store", share),
            Trial::test("memory_does_not_grow_with_the_file", measure),
            Trial::test("a_writer_that_is_killed_leaves_whole_files_only", kill),
        ];
        return libtest_mimic::run(&Arguments::from_args(), tests).exit_code();
    };
    let store = env::var(STORE).expect("a store");
    let number = env::var(NUMBER).expect("a number");
    runtime.block_on(async {
        let dfs = open(Path::new(&store));
        match role.as_str() {
            ONE_OF_SEVERAL => one_of_several(dfs, &number).await,
            MEASURED => measured(dfs, number.parse().expect("a length")).await,
            KILLED => killed(dfs).await,
            _ => panic!("no such role: {role}"),
        }
    });
    ExitCode::SUCCESS
}

/// This program once more.
fn child(role: &str, store: &Path, number: impl ToString) -> Result<Child, Failed> {
    Ok(Command::new(env::current_exe()?)
        .env(ROLE, role)
        .env(STORE, store)
        .env(NUMBER, number.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?)
}

/// What a child printed, which must have ended well.
fn output(child: Child) -> Result<String, Failed> {
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn open(store: &Path) -> LocalDfs {
    let user = "alice".parse().expect("a user");
    LocalDfs::open(store, &user, Caps::default()).expect("a store")
}

fn pod() -> PodName {
    "data".parse().expect("a pod")
}

fn path(text: &str) -> DfsPath {
    text.parse().expect("a path")
}

async fn create_pod(dfs: &LocalDfs) {
    match dfs.create_pod(&pod()).await {
        Ok(()) | Err(Error::PodExists { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

async fn write(dfs: &LocalDfs, at: &str, mut content: &[u8]) {
    dfs.write(&pod(), &path(at), &mut content)
        .await
        .expect("written");
}

async fn read(dfs: &LocalDfs, place: &Place, at: &str) -> Vec<u8> {
    let mut opened = dfs.read(place, &path(at)).await.expect("opened");
    let mut content = Vec::new();
    opened
        .content
        .read_to_end(&mut content)
        .await
        .expect("read");
    content
}

/// The store does not exist before; each process writes, replaces and removes in it.
fn share() -> Result<(), Failed> {
    let store = tempfile::tempdir()?;
    let children = (0..PROCESSES)
        .map(|number| child(ONE_OF_SEVERAL, store.path(), number))
        .collect::<Result<Vec<_>, _>>()?;
    for child in children {
        output(child)?;
    }

    let dfs = open(store.path());
    let listed = Runtime::new()?.block_on(dfs.list(&pod().into(), &DfsPath::root()))?;
    assert_eq!(
        listed.len(),
        PROCESSES * ROUNDS + 1,
        "one file per round, and the common one"
    );
    // What nobody names any more is gone, and nothing is left half-written.
    assert_eq!(contents(store.path())?.len(), PROCESSES * ROUNDS + 1);
    assert_eq!(fs::read_dir(store.path().join("partial"))?.count(), 0);
    Ok(())
}

/// All stored content by its name.
fn contents(store: &Path) -> Result<BTreeMap<String, Vec<u8>>, Failed> {
    let mut contents = BTreeMap::new();
    for shard in fs::read_dir(store.join("content"))? {
        for file in fs::read_dir(shard?.path())? {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            contents.insert(name, fs::read(file.path())?);
        }
    }
    Ok(contents)
}

async fn one_of_several(dfs: LocalDfs, number: &str) {
    create_pod(&dfs).await;
    for round in 0..ROUNDS {
        // All processes write and remove equal content under names of their own.
        let scratch = format!("/scratch {number}");
        write(&dfs, &scratch, b"scratch").await;
        dfs.read(&pod().into(), &path(&scratch))
            .await
            .expect("read");
        dfs.remove(&pod(), &path(&scratch)).await.expect("removed");
        let own = format!("{number} {round}");
        write(&dfs, &format!("/{own}"), own.as_bytes()).await;
        write(&dfs, "/common", format!("common {round}").as_bytes()).await;
        dfs.read(&pod().into(), &path("/common"))
            .await
            .expect("read");
    }
}

/// Bytes of memory that a process needed at most, by the kernel's account.
fn measure() -> Result<(), Failed> {
    let mut peaks = [SMALL, LARGE].into_iter().map(|size| {
        let store = tempfile::tempdir()?;
        let child = child(MEASURED, store.path(), size)?;
        Ok::<u64, Failed>(output(child)?.trim().parse()?)
    });
    let (small, large) = (
        peaks.next().unwrap_or(Ok(0))?,
        peaks.next().unwrap_or(Ok(0))?,
    );
    println!("peak memory: {small} bytes for a small file, {large} bytes for {LARGE} bytes");
    assert!(
        large < small + MORE_MEMORY,
        "{small} bytes for a small file, {large} for a large one"
    );
    Ok(())
}

async fn measured(dfs: LocalDfs, size: u64) {
    create_pod(&dfs).await;
    let mut content = tokio::io::repeat(7).take(size);
    let written = dfs.write(&pod(), &path("/file"), &mut content).await;
    assert_eq!(written.expect("written"), size);
    let mut opened = dfs
        .read(&pod().into(), &path("/file"))
        .await
        .expect("opened");
    let read = tokio::io::copy(&mut opened.content, &mut tokio::io::sink()).await;
    assert_eq!(read.expect("read"), size);
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB"));
    let kibibytes: u64 = peak
        .and_then(|peak| peak.trim().parse().ok())
        .expect("a peak");
    println!("{}", kibibytes << 10);
}

/// A content that can be told from any other, and from a part of itself: its version, its length, and bytes that
/// follow from the version.
fn version(number: u64) -> Vec<u8> {
    /// Lengths from nothing but the head to several pieces of a stream.
    const LENGTHS: [usize; 6] = [16, 100, 5000, 40_000, 1_200_000, 2_500_000];
    let length = LENGTHS[number as usize % LENGTHS.len()];
    let mut content: Vec<u8> = (0..length as u64)
        .map(|index| (index.wrapping_mul(number * 2 + 1) >> 3) as u8)
        .collect();
    content[..8].copy_from_slice(&number.to_le_bytes());
    content[8..16].copy_from_slice(&(length as u64).to_le_bytes());
    content
}

/// The version that a content is, whole.
fn version_of(content: &[u8]) -> u64 {
    let number = u64::from_le_bytes(content[..8].try_into().expect("a head"));
    assert!(
        content == version(number),
        "{} bytes that are not version {number}",
        content.len()
    );
    number
}

const NAMES: [&str; 2] = ["/one", "/two"];
const SCRATCH: &str = "/scratch";

/// Writes version after version under two names, says before and after each what it does, and forks, shares, ends
/// the share and deletes in between.
async fn killed(dfs: LocalDfs) {
    create_pod(&dfs).await;
    let say = |what: &str, name: &str, number: u64| {
        println!("{what} {name} {number}");
        std::io::stdout().flush().expect("said");
    };
    // A version that was begun and never written is written again.
    let mut number = 0;
    for name in NAMES {
        if dfs.stat(&pod().into(), &path(name)).await.is_ok() {
            number = number.max(version_of(&read(&dfs, &pod().into(), name).await));
        }
    }
    let fork: PodName = "fork".parse().expect("a pod");
    if dfs.pod(&fork).await.is_ok() {
        dfs.delete_pod(&fork).await.expect("deleted");
    }
    loop {
        for name in NAMES {
            number += 1;
            let content = version(number);
            say("begin", name, number);
            write(&dfs, name, &content).await;
            say("end", name, number);
        }
        dfs.fork_pod(&pod().into(), &fork).await.expect("forked");
        dfs.share(&pod()).await.expect("shared");
        write(&dfs, SCRATCH, b"scratch").await;
        dfs.remove(&pod(), &path(SCRATCH)).await.expect("removed");
        dfs.unshare(&pod()).await.expect("unshared");
        dfs.delete_pod(&fork).await.expect("deleted");
    }
}

/// What the writers said of one name: the version that was written last, and the last one that was begun.
#[derive(Default)]
struct Said {
    begun: u64,
    ended: u64,
}

/// Writers die at moments that differ by fractions of what a call takes. After each of them the store opens, all
/// files are whole, in the version that was written last or in the one that was being written, and nothing else is
/// left on the disk.
fn kill() -> Result<(), Failed> {
    let store = tempfile::tempdir()?;
    let runtime = Runtime::new()?;
    let mut said: BTreeMap<String, Said> = BTreeMap::new();
    let mut interrupted = 0;
    for round in 0..KILLS {
        let mut writer = child(KILLED, store.path(), round)?;
        // Steps of 37 visit the whole span, early and late moments in turns.
        thread::sleep(LONGEST * (round * 37 % KILLS) / KILLS);
        writer.kill()?;
        let output = writer.wait_with_output()?;
        if output.status.code().is_some() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        for line in String::from_utf8(output.stdout)?.lines() {
            let [what, name, number] = line.split(' ').collect::<Vec<_>>()[..] else {
                return Err(format!("said {line:?}").into());
            };
            let said = said.entry(name.to_owned()).or_default();
            match what {
                "begin" => said.begun = number.parse()?,
                _ => said.ended = number.parse()?,
            }
        }
        interrupted += said.values().filter(|said| said.begun > said.ended).count();

        let dfs = open(store.path());
        let visible = runtime.block_on(check(&dfs, &mut said))?;
        let contents = contents(store.path())?;
        for (name, content) in &contents {
            assert_eq!(&reference_of(content).to_string(), name, "damaged");
        }
        let kept: BTreeSet<String> = contents.into_keys().collect();
        assert_eq!(kept, visible, "content without a place, or none at a place");
        let partial = fs::read_dir(store.path().join("partial"))?.count();
        assert_eq!(partial, 0, "partial files accumulate");
    }
    println!("{interrupted} of {KILLS} writers were killed in a write");
    assert!(interrupted > 0, "no writer was killed in a write");
    Ok(())
}

/// Reads everything that is visible, and answers the references of it.
async fn check(
    dfs: &LocalDfs,
    said: &mut BTreeMap<String, Said>,
) -> Result<BTreeSet<String>, Failed> {
    let mut references = BTreeSet::new();
    let mut seen = BTreeMap::new();
    for known in dfs.pods().await? {
        let place = Place::from(&known.name);
        for entry in dfs.list(&place, &DfsPath::root()).await? {
            let name = format!("/{}", entry.name);
            let content = read(dfs, &place, &name).await;
            references.insert(reference_of(&content).to_string());
            if name != SCRATCH {
                let number = version_of(&content);
                if known.name == pod() {
                    seen.insert(name, number);
                }
            }
        }
    }
    for (name, said) in said {
        let number = seen.remove(name).unwrap_or_default();
        assert!(
            number == said.ended || number == said.begun,
            "{name} is version {number}; {} was written, {} begun",
            said.ended,
            said.begun
        );
        (said.begun, said.ended) = (number, number);
    }
    assert!(seen.is_empty(), "nobody wrote {seen:?}");
    Ok(references)
}
