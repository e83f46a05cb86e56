//! From wasm to native code, through a cache that trusts nothing but its own seal.
//!
//! Loading native code is running it, so an entry that somebody forged would be their program in the place of the pod's.
//! Each entry therefore ends with a seal: an HMAC, with a key that belongs to the user, over the entry's content, the
//! digest of the wasm and the fingerprint of the engine. An entry whose seal is wrong (forged, torn, made with another
//! key) is treated as if it was not there, and made anew. Entries are written beside their place and moved into it, so
//! that two programs can use one cache.
//!
//! What an examination found is kept in the same way, so that a run with a warm cache needs no child but its runner.
//!
//! The cache is bounded: making an entry removes those that were not used for longest.
//!
//! Rejected: the cache of the engine itself, which is not authenticated.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::fs::{MemfdFlags, OFlags, SealFlags, fcntl_add_seals, memfd_create};
use sha2::Sha256;
use sovr_capability::{Digest, Untrusted};

use crate::examine::{self, Examination, ExamineError, Kind, WASM_MAX};
use crate::{compile, engine};

/// Bytes of a seal.
const SEAL: usize = 32;

/// What is sealed, in words that change when the layout does.
const CODE: &str = "sovr native code 1";
/// See [`CODE`].
const EXAMINATION: &str = "sovr examination 1";

/// The module name of preview 1, all that a core module may import.
const PREVIEW1: &str = "wasi_snapshot_preview1";

/// Bytes of all entries together, beyond which old ones are removed.
const CACHE_MAX: u64 = 4 << 30;

/// How entries are called that are still being written.
const UNFINISHED: &str = "new-";

/// Age at which an unfinished entry is one that nobody will finish.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// How much is read at once.
const CHUNK: usize = 128 << 10;

/// What the code is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The script of a pod: a component.
    Script,
    /// An entry point of a package: a component, or a core module of WASI preview 1, which is made into one.
    Work,
}

/// What compiling may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Wall clock.
    pub time: Duration,
    /// Memory of the compiler, in bytes.
    pub memory: u64,
    /// Bytes of native code.
    pub code: u64,
}

impl Default for CompileLimits {
    /// Enough for the largest interpreters that are shipped as components (about 40 MB of wasm).
    fn default() -> Self {
        Self {
            time: Duration::from_secs(90),
            memory: 2 << 30,
            code: 512 << 20,
        }
    }
}

/// Native code, ready to be given to a runner or work child.
#[derive(Debug)]
pub struct Compiled {
    /// The code, open for reading. Its seal was checked just now.
    pub file: File,
    /// What the wasm is.
    pub examination: Examination,
    /// Digest of the wasm.
    pub digest: Digest,
}

/// What [`Cache::examine`] found.
#[derive(Debug, Clone)]
pub struct Examined {
    /// Digest of the wasm.
    pub digest: Digest,
    /// Bytes of wasm.
    pub size: u64,
    /// What it is.
    pub examination: Examination,
}

/// Why there is no native code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// The file is not what can be compiled.
    #[error(transparent)]
    Examine(#[from] ExamineError),
    /// A core module where a component is needed.
    #[error(
        "this is a core module, and a script must be a component; build it for wasm32-wasip2, or wrap it with \
         `wasm-tools component new`"
    )]
    NotAComponent,
    /// A core module that cannot be made into a component.
    #[error("this core module cannot be made into a component: {}", .0.escaped())]
    Adapt(Untrusted),
    /// The compiler refuses it.
    #[error("the wasm could not be compiled: {}", .0.escaped())]
    Compile(Untrusted),
    /// Compiling took too much.
    #[error("compiling was stopped: {0}")]
    Limit(String),
    /// The child that compiles failed.
    #[error("the wasm could not be compiled: {0}")]
    Child(String),
    /// The cache directory cannot be used.
    #[error("the cache of compiled code in {} cannot be used: {reason}", .directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Why.
        reason: String,
    },
}

impl CodeError {
    /// Whether a limit ended it, rather than the wasm being wrong or the machine failing.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::Limit(_) | Self::Examine(ExamineError::Limit(_)))
    }
}

/// Compiled code of this run and earlier ones.
#[derive(Debug)]
pub struct Cache {
    directory: PathBuf,
    key: Key,
    fingerprint: OnceLock<Result<String, String>>,
    /// Held while a child compiles. One compiler uses all processors, and whoever waits most likely wants the same code.
    compiling: tokio::sync::Mutex<()>,
}

impl Cache {
    /// Opens the cache in `directory`, which is made if it is not there. `key` is the user's own secret.
    ///
    /// # Errors
    /// The directory cannot be made, belongs to somebody else, or others may write to it.
    pub fn open(directory: &Path, key: [u8; 32]) -> Result<Self, CodeError> {
        let unusable = |reason: String| CodeError::Directory {
            directory: directory.to_owned(),
            reason,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| unusable(error.to_string()))?;
        let status = fs::metadata(directory).map_err(|error| unusable(error.to_string()))?;
        if status.uid() != rustix::process::geteuid().as_raw() {
            return Err(unusable("it belongs to another user".to_owned()));
        }
        if status.mode() & 0o022 != 0 {
            return Err(unusable(
                "others may write to it; take that right away with `chmod go-w`".to_owned(),
            ));
        }
        Ok(Self {
            directory: directory.to_owned(),
            key: Key(key),
            fingerprint: OnceLock::new(),
            compiling: tokio::sync::Mutex::new(()),
        })
    }

    /// What `wasm` is; from the cache, or by an examine child. Reads the file from its beginning.
    ///
    /// # Errors
    /// It is not wasm, is invalid or too large, or the machine failed.
    pub async fn examine(&self, wasm: &File) -> Result<Examined, ExamineError> {
        let (digest, size) = measure(wasm).await?;
        let examination = match self.known(&digest) {
            Some(examination) => examination,
            None => {
                self.examine_anew(&digest, &copy(wasm, digest).await?)
                    .await?
            }
        };
        Ok(Examined {
            digest,
            size,
            examination,
        })
    }

    /// Native code for `wasm`; from the cache, or by a compile child. Reads the file from its beginning.
    ///
    /// # Errors
    /// The wasm is not what `purpose` needs, compiling hit a limit, or the machine failed.
    pub async fn get_or_compile(
        &self,
        wasm: &File,
        purpose: Purpose,
        limits: &CompileLimits,
    ) -> Result<Compiled, CodeError> {
        let (digest, _) = measure(wasm).await?;
        if let Some(compiled) = self.find(digest, purpose).await? {
            return Ok(compiled);
        }
        let _alone = self.compiling.lock().await;
        if let Some(compiled) = self.find(digest, purpose).await? {
            return Ok(compiled);
        }
        let copy = copy(wasm, digest).await?;
        let examination = match self.known(&digest) {
            Some(examination) => examination,
            None => self.examine_anew(&digest, &copy).await?,
        };
        fits(&examination, purpose)?;

        let path = self.code_path(&digest)?;
        let entry = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempfile_in(&self.directory)
            .map_err(|error| self.unusable(&error))?;
        let code = entry
            .as_file()
            .try_clone()
            .map_err(|error| self.unusable(&error))?;
        compile::compile(copy.into(), examination.kind, code.into(), limits).await?;
        self.seal(entry.as_file(), &path)
            .map_err(|error| self.unusable(&error))?;
        entry
            .persist(&path)
            .map_err(|error| self.unusable(&error.error))?;
        prune(&self.directory, CACHE_MAX);
        self.find(digest, purpose)
            .await?
            .ok_or_else(|| self.unusable(&io::Error::other("a new entry could not be read back")))
    }

    /// Native code of the component with this digest, if it is in the cache. Its examination is there too then, and the
    /// seals of both are right.
    ///
    /// # Errors
    /// The component is not what `purpose` needs, or the cache cannot be used.
    pub async fn find(
        &self,
        digest: Digest,
        purpose: Purpose,
    ) -> Result<Option<Compiled>, CodeError> {
        let Some(examination) = self.known(&digest) else {
            return Ok(None);
        };
        fits(&examination, purpose)?;
        let path = self.code_path(&digest)?;
        let key = self.key.clone();
        let file = blocking(move || Ok(open_sealed(&path, &key))).await?;
        Ok(file.map(|file| Compiled {
            file,
            examination,
            digest,
        }))
    }

    /// What an earlier examination found.
    fn known(&self, digest: &Digest) -> Option<Examination> {
        let path = self.examination_path(digest);
        let entry = fs::read(&path).ok()?;
        let (content, seal) = entry.split_last_chunk::<SEAL>()?;
        let mut mac = self.key.mac(EXAMINATION, &path);
        mac.update(content);
        mac.verify(&(*seal).into()).ok()?;
        postcard::from_bytes(content).ok()
    }

    async fn examine_anew(
        &self,
        digest: &Digest,
        copy: &File,
    ) -> Result<Examination, ExamineError> {
        let examination = examine::examine(copy.try_clone()?.into()).await?;
        let path = self.examination_path(digest);
        let content = postcard::to_stdvec(&examination).map_err(io::Error::other)?;
        let mut mac = self.key.mac(EXAMINATION, &path);
        mac.update(&content);
        let mut entry = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempfile_in(&self.directory)?;
        entry.write_all(&content)?;
        entry.write_all(&mac.finalize().into_bytes())?;
        entry.persist(&path).map_err(|error| error.error)?;
        Ok(examination)
    }

    /// Puts the seal behind an entry's content.
    fn seal(&self, entry: &File, path: &Path) -> io::Result<()> {
        let size = entry.metadata()?.len();
        let mut mac = self.key.mac(CODE, path);
        read_all(entry, size, |chunk| mac.update(chunk))?;
        entry.write_all_at(&mac.finalize().into_bytes(), size)
    }

    fn examination_path(&self, digest: &Digest) -> PathBuf {
        self.directory.join(format!("{digest}.examination"))
    }

    fn code_path(&self, digest: &Digest) -> Result<PathBuf, CodeError> {
        let fingerprint = self.fingerprint.get_or_init(|| {
            engine::new()
                .map(|engine| engine::fingerprint(&engine))
                .map_err(|error| format!("{error:#}"))
        });
        match fingerprint {
            Ok(fingerprint) => Ok(self.directory.join(format!("{digest}-{fingerprint}.code"))),
            Err(reason) => Err(CodeError::Child(format!(
                "the wasm engine does not work on this machine: {reason}"
            ))),
        }
    }

    fn unusable(&self, error: &io::Error) -> CodeError {
        CodeError::Directory {
            directory: self.directory.clone(),
            reason: error.to_string(),
        }
    }
}

/// The user's key. Has no `Display`, and its `Debug` does not show it.
#[derive(Clone)]
struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Begins a seal for the entry of that name. The name holds the digests, so that no entry passes for another.
    fn mac(&self, what: &str, path: &Path) -> Hmac<Sha256> {
        // HMAC itself fills a short key with zeros, up to the size of a block.
        let mut block = [0; 64];
        block[..self.0.len()].copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(what.as_bytes());
        mac.update(&[0]);
        mac.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        mac.update(&[0]);
        mac
    }
}

/// Removes entries until the rest has no more than `most` bytes, those first that were not used for longest; and what
/// was left unfinished long ago. An entry that is open stays readable for whoever opened it.
fn prune(directory: &Path, most: u64) {
    // A cache that cannot be made smaller is no reason not to run.
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut entries: Vec<_> = entries
        .filter_map(|entry| {
            let status = entry.metadata().ok()?;
            Some((status.modified().ok()?, status.len(), entry.path()))
        })
        .collect();
    entries.sort();
    let mut size: u64 = entries.iter().map(|(_, size, _)| size).sum();
    let now = SystemTime::now();
    for (used, bytes, path) in entries {
        let unfinished = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes()));
        let old = now.duration_since(used).is_ok_and(|age| age > ABANDONED);
        if (if unfinished { old } else { size > most }) && fs::remove_file(&path).is_ok() {
            size -= bytes;
        }
    }
}

/// Whether wasm can serve the purpose.
fn fits(examination: &Examination, purpose: Purpose) -> Result<(), CodeError> {
    if examination.kind == Kind::Component {
        return Ok(());
    }
    if purpose == Purpose::Script {
        return Err(CodeError::NotAComponent);
    }
    let others: HashSet<&str> = examination
        .imports
        .iter()
        .map(|import| import.name.raw())
        .filter(|name| *name != PREVIEW1)
        .collect();
    if let Some(other) = others.iter().min() {
        return Err(CodeError::Adapt(
            format!("it imports from \"{other}\", and only {PREVIEW1} is offered to core modules")
                .into(),
        ));
    }
    if !examination
        .exports
        .iter()
        .any(|export| export.name.raw() == "_start")
    {
        return Err(CodeError::Adapt(
            "it exports no \"_start\"; build it as a program with a `main`".into(),
        ));
    }
    Ok(())
}

/// Opens an entry if its seal is right.
fn open_sealed(path: &Path, key: &Key) -> Option<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
        .ok()?;
    let size = file.metadata().ok()?.len().checked_sub(SEAL as u64)?;
    let mut mac = key.mac(CODE, path);
    read_all(&file, size, |chunk| mac.update(chunk)).ok()?;
    let mut seal = [0; SEAL];
    file.read_exact_at(&mut seal, size).ok()?;
    mac.verify(&seal.into()).ok()?;
    // Only decides what is removed first when the cache is full.
    let _ = file.set_modified(SystemTime::now());
    Some(file)
}

/// Shows the first `size` bytes of a file, without moving its position.
fn read_all(file: &File, size: u64, mut show: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < size {
        let most = usize::try_from(size - at).map_or(CHUNK, |rest| rest.min(CHUNK));
        let read = file.read_at(&mut buffer[..most], at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        show(&buffer[..read]);
        at += read as u64;
    }
    Ok(())
}

/// Digest and size of a file that may be wasm.
async fn measure(wasm: &File) -> Result<(Digest, u64), ExamineError> {
    let wasm = wasm.try_clone()?;
    let size = wasm.metadata()?.len();
    if size > WASM_MAX {
        return Err(ExamineError::Limit(format!(
            "it has {size} bytes, and at most {WASM_MAX} are read"
        )));
    }
    let mut beginning = [0; 8];
    let length = wasm.read_at(&mut beginning, 0)?;
    examine::check_magic(&beginning[..length])?;
    let digest =
        blocking(move || Digest::of_reader(AtStart { file: &wasm, at: 0 }.take(WASM_MAX))).await?;
    Ok((digest, size))
}

/// A copy in memory that nobody can change any more, so that what is compiled is what was measured, even if the file is
/// changed meanwhile.
async fn copy(wasm: &File, digest: Digest) -> Result<File, ExamineError> {
    let wasm = wasm.try_clone()?;
    blocking(move || {
        let copy = File::from(memfd_create(
            "wasm",
            MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
        )?);
        let mut source = AtStart { file: &wasm, at: 0 }.take(WASM_MAX);
        io::copy(&mut source, &mut &copy)?;
        fcntl_add_seals(
            &copy,
            SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
        )?;
        if Digest::of_reader(AtStart { file: &copy, at: 0 })? != digest {
            return Err(io::Error::other("it was changed while it was being read"));
        }
        Ok(copy)
    })
    .await
}

/// Reads a file from its beginning without moving the position that others may share.
struct AtStart<'a> {
    file: &'a File,
    at: u64,
}

impl io::Read for AtStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Does what takes processor time or waits for a disk away from the threads that run tasks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ExamineError> {
    Ok(tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_is_removed_first() {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let hour = Duration::from_secs(3600);
        for (name, hours, size) in [
            ("oldest.code", 100, 10),
            ("older.code", 50, 10),
            ("young.code", 2, 10),
            ("new-abandoned", 30, 5),
            ("new-being-written", 1, 5),
        ] {
            let file = File::create(directory.path().join(name)).unwrap();
            file.set_len(size).unwrap();
            file.set_modified(now - hour * hours).unwrap();
        }
        let left = |most| {
            prune(directory.path(), most);
            let names = fs::read_dir(directory.path()).unwrap();
            let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(
            left(40),
            [
                "new-being-written",
                "older.code",
                "oldest.code",
                "young.code"
            ]
        );
        assert_eq!(left(25), ["new-being-written", "older.code", "young.code"]);
        assert_eq!(left(15), ["new-being-written", "young.code"]);
        assert_eq!(left(0), ["new-being-written"]);
    }
}
