//! The file wall: landlock.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, Compatible as _, PathBeneath, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, Scope,
};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};

use crate::confinement::Confinement;
use crate::enter::{EnterError, wall};

/// The newest rights this program knows. What the kernel does not know yet is left out.
const KNOWN: ABI = ABI::V9;

/// What can be done to a file beneath a readable path.
const READ_FILE: BitFlags<AccessFs> = landlock::make_bitflags!(AccessFs::{ReadFile});

/// What can be done to a directory beneath a readable path.
const READ_DIRECTORY: BitFlags<AccessFs> = landlock::make_bitflags!(AccessFs::{ReadFile | ReadDir});

/// What can be done to a file beneath a writable path.
const WRITE_FILE: BitFlags<AccessFs> =
    landlock::make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate});

/// What can be done to a directory beneath a writable path. Left out: executing, making symbolic links, devices, sockets
/// and named pipes, and moving from one directory to another, through which a file could change its permissions.
const WRITE_DIRECTORY: BitFlags<AccessFs> = landlock::make_bitflags!(
    AccessFs::{ReadFile | ReadDir | WriteFile | Truncate | RemoveDir | RemoveFile | MakeDir | MakeReg}
);

/// Restricts this thread, and all threads and processes it will start, to the named paths and to `given` files. Also
/// forbids TCP, abstract Unix sockets and signals to processes outside, as far as the kernel can.
pub(crate) fn confine(confinement: &Confinement, given: &[File]) -> Result<(), EnterError> {
    let mut rules = Ruleset::default()
        .set_compatibility(landlock::CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(KNOWN)))
        .and_then(|rules| rules.scope(Scope::from_all(KNOWN)))
        .and_then(Ruleset::create)
        .map_err(wall("cannot make the file wall"))?;
    for path in &confinement.read {
        rules = allow_path(rules, path, READ_FILE, READ_DIRECTORY)?;
    }
    for path in &confinement.write {
        rules = allow_path(rules, path, WRITE_FILE, WRITE_DIRECTORY)?;
    }
    for file in given {
        rules = allow_given(rules, file)?;
    }
    rules
        .restrict_self()
        .map_err(wall("cannot raise the file wall"))?;
    Ok(())
}

/// Lets a file that the parent gave be opened again through `/proc/self/fd`.
fn allow_given(rules: RulesetCreated, file: &File) -> Result<RulesetCreated, EnterError> {
    const DOING: &str = "cannot let the file wall pass a given file";
    let status = fstat(file).map_err(wall("cannot look at a given file"))?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Ok(rules);
    }
    // A file without a name was removed, or is of memory. The latter cannot have a rule and needs none.
    let without = if status.st_nlink == 0 {
        Some(rules.try_clone().map_err(wall(DOING))?)
    } else {
        None
    };
    match (rules.add_rule(PathBeneath::new(file, READ_FILE)), without) {
        (Ok(rules), _) | (Err(_), Some(rules)) => Ok(rules),
        (Err(error), None) => Err(wall(DOING)(error)),
    }
}

fn allow_path(
    rules: RulesetCreated,
    path: &Path,
    file: BitFlags<AccessFs>,
    directory: BitFlags<AccessFs>,
) -> Result<RulesetCreated, EnterError> {
    let opened = open_exactly(path)?;
    let status = fstat(&opened).map_err(wall(format!("cannot look at {}", path.display())))?;
    let access = match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => directory,
        FileType::RegularFile => file,
        _ => {
            return Err(
                wall(format!("cannot let a child reach {}", path.display()))(
                    "it is neither a directory nor a regular file",
                ),
            );
        }
    };
    rules
        .add_rule(PathBeneath::new(opened.as_fd(), access))
        .map_err(wall(format!(
            "cannot let the file wall pass {}",
            path.display()
        )))
}

/// The named object itself, even if it is a symbolic link.
fn open_exactly(path: &Path) -> Result<OwnedFd, EnterError> {
    open(
        path,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(wall(format!("cannot open {}", path.display())))
}
