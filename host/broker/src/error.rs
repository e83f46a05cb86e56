//! Why a pod does not run. What happens during a run is not an error but an [`Ending`](crate::report::Ending).

use std::path::PathBuf;

use sovr_capability::{Digest, Untrusted};

/// A pod that could not be brought to run, or a host that could not run it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The recipe or the layout is wrong.
    #[error(transparent)]
    Pod(#[from] sovr_pod::Error),
    /// The component is not one that can run.
    #[error("cannot use the pod's component {path}")]
    Component {
        /// Path in the pod.
        path: PathBuf,
        /// Why.
        #[source]
        source: sovr_runtime::examine::ExamineError,
    },
    /// The component needs an interface that this host does not offer.
    #[error("the component imports {}, which this host does not offer; it offers {offered}", .import.escaped())]
    Import {
        /// Name and version wanted.
        import: Untrusted,
        /// The versions offered under that name, or all packages offered.
        offered: String,
    },
    /// The component does not export what the world demands.
    #[error(
        "the component does not export wasi:cli/run; build it as a command (a program with a `main`)"
    )]
    NotACommand,
    /// The component is a core module.
    #[error(
        "the script is a core wasm module and not a component; build it for wasm32-wasip2, or wrap it with an adapter"
    )]
    NotAComponent,
    /// The component could not be compiled.
    #[error("cannot compile the pod's component {path}")]
    Compile {
        /// Path in the pod.
        path: PathBuf,
        /// Why.
        #[source]
        source: sovr_runtime::code::CodeError,
    },
    /// The component's file changed between two steps.
    #[error("the component {} was changed while it was being prepared; run the pod again", .path.display())]
    Changed {
        /// Path in the pod.
        path: PathBuf,
    },
    /// A file of the pod cannot be used.
    #[error("cannot {doing}")]
    Tree {
        /// The verb and its object.
        doing: &'static str,
        /// Why.
        #[source]
        source: sovr_pod::tree::TreeError,
    },
    /// Nobody has agreed to what this component asks for, and there is nobody to ask.
    #[error("nobody has agreed yet to run this pod with what it asks for (request {}), and nobody was asked: {why}", .request.short())]
    ConsentNeeded {
        /// The digest to give to `--allow`.
        request: Digest,
        /// Why nobody was asked.
        why: String,
    },
    /// The user said no.
    #[error("not run: you did not agree to what the pod asks for")]
    Refused,
    /// `--allow` names other requests.
    #[error("--allow names {}, but this pod's request is {}", named(.given), .request.short())]
    OtherRequest {
        /// What the user gave.
        given: Vec<Digest>,
        /// What the pod asks.
        request: Digest,
    },
    /// The user stopped it before the script began.
    #[error("stopped before the script began")]
    Interrupted,
    /// The cache of compiled code cannot be used.
    #[error("cannot use the cache of compiled code")]
    Cache(#[source] sovr_runtime::code::CodeError),
    /// The settings of the networks are wrong.
    #[error(transparent)]
    Settings(#[from] crate::settings::SettingsError),
    /// The network that was chosen cannot be used.
    #[error(transparent)]
    Network(#[from] sovr_golem::network::NetworkError),
    /// The Golem daemon does not do what was asked.
    #[error(transparent)]
    Daemon(#[from] sovr_golem::yagna::DaemonError),
    /// Somebody else is cleaning up.
    #[error("another `sovr-host cleanup` is at it; wait until it has ended")]
    CleaningUp,
    /// The embedded storage cannot be used.
    #[error(transparent)]
    Dfs(#[from] sovr_dfs::Error),
    /// A pod of a task cannot run, so none of them did.
    #[error("pod {number} of the task, {directory}, cannot run, so none was run")]
    Step {
        /// Which, from 1.
        number: usize,
        /// Its directory.
        directory: String,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// A pod cannot be stored or fetched.
    #[error(transparent)]
    Protocol(#[from] sovr_protocol::Error),
    /// The policy file is wrong.
    #[error(transparent)]
    Policy(#[from] sovr_capability::policy::PolicyError),
    /// A state directory or database is wrong.
    #[error(transparent)]
    State(#[from] sovr_capability::StateError),
    /// The audit log cannot be written; without it nothing runs.
    #[error("cannot write the run's audit log {path}")]
    Audit {
        /// Its place.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The system gives no random numbers.
    #[error("cannot name the run: the system gives no random numbers")]
    Random(#[source] std::io::Error),
    /// A name of the host's own making was refused: a fault of this program.
    #[error("cannot name a file of the run")]
    Path(#[source] sovr_pod::path::PathError),
    /// The sandbox could not be set up.
    #[error("cannot start the sandbox for this run")]
    Sandbox(#[source] sovr_runtime::run::StartError),
    /// A file of the pod cannot be handled.
    #[error("cannot {doing} {path}")]
    File {
        /// The verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What an [`Error`] means to the caller; exit codes follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What was named is not there, or is there already.
    Usage,
    /// The pod is wrong.
    InvalidPod,
    /// The user or the policy does not allow it.
    Denied,
    /// A limit ended it before it ran.
    LimitHit,
    /// Something outside the pod is missing or broken.
    Unavailable,
    /// The user stopped it.
    Interrupted,
}

impl From<sovr_protocol::Kind> for Kind {
    fn from(kind: sovr_protocol::Kind) -> Self {
        match kind {
            sovr_protocol::Kind::Usage => Self::Usage,
            sovr_protocol::Kind::InvalidPod => Self::InvalidPod,
            sovr_protocol::Kind::Denied => Self::Denied,
            sovr_protocol::Kind::Limit => Self::LimitHit,
            sovr_protocol::Kind::Unavailable => Self::Unavailable,
        }
    }
}

impl Error {
    /// What it means to the caller.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Pod(_)
            | Error::Component { .. }
            | Error::Import { .. }
            | Error::NotAComponent
            | Error::NotACommand
            | Error::Changed { .. }
            | Error::Tree { .. } => Kind::InvalidPod,
            Error::Compile { source, .. } => {
                if source.is_limit() {
                    Kind::LimitHit
                } else {
                    Kind::InvalidPod
                }
            }
            Error::ConsentNeeded { .. } | Error::Refused | Error::OtherRequest { .. } => {
                Kind::Denied
            }
            Error::Interrupted => Kind::Interrupted,
            Error::Step { source, .. } => source.kind(),
            Error::Protocol(error) => error.kind().into(),
            Error::Policy(_)
            | Error::Cache(_)
            | Error::Settings(_)
            | Error::Network(_)
            | Error::Daemon(_)
            | Error::CleaningUp
            | Error::Dfs(_)
            | Error::State(_)
            | Error::Audit { .. }
            | Error::Sandbox(_)
            | Error::Random(_)
            | Error::Path(_)
            | Error::File { .. } => Kind::Unavailable,
        }
    }

    /// What the user can do next, where there is one thing to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::ConsentNeeded { request, .. } => Some(format!(
                "look at it with `sovr-host inspect`, then pass `--allow {request}` for exactly this request, or `--yes` for whatever it asks within your policy"
            )),
            Error::OtherRequest { .. } => Some(
                "the pod or its recipe has changed; look at it again with `sovr-host inspect`"
                    .to_owned(),
            ),
            Error::Step { source, .. } => source.hint(),
            Error::Import { .. } => Some(
                "build the component against the wit/ directory of this version of sovr-host"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

fn named(requests: &[Digest]) -> String {
    let short: Vec<String> = requests.iter().map(Digest::short).collect();
    short.join(" and ")
}
