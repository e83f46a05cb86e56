//! Pods on Swarm, through a FairOS-dfs server: v0.9.5 to v0.10.1, or v0.7 to v0.8.2-rc9, which the original Sovr's
//! users run and which speaks an older dialect ([`dialect`]).
//!
//! The server is a thin layer over a network of chunks: it answers most failures alike, loses files that are written
//! at the same time, lists from memory what another session has changed since, and deletes a file before it stores
//! the one that replaces it. What callers are promised by [`Dfs`] is therefore made here:
//!
//! - changes of one pod, and of the list of pods, happen one after the other among all processes of this machine
//!   ([`lock`]); whoever finds that somebody else made one has the server drop its old listing first ([`memory`]);
//! - a file is replaced in steps that leave the old or the new one when the next fails ([`tree`]);
//! - the server's content is read only as what it was listed as ([`tree`]), whole or with an error ([`http`]);
//! - a call that changes something goes on to its end when nobody waits for it any more, and holds its lock until then;
//! - what is shared is listed without the server's own way to do so, in which it can get stuck for ever ([`index`]);
//! - what was written can be asked for afresh: an update of a feed that the server makes while its network is slow can
//!   end up where nobody looks for it ([`Dfs::confirm`]);
//! - received pods have the names their user gave them ([`received`]).
//!
//! Not promised: that another machine, or another program, does not write the same pod at the same time; that a
//! deleted pod cannot be read by who kept its keys, as nothing is ever deleted on Swarm; and that content is what its
//! owner once wrote, for which a digest is needed: a server that lacks the last few bytes of a file can put a message
//! of the same length in their place.
//!
//! Servers of the older dialect do less, and what is missing is made up for: a file gets its name by being stored again
//! ([`upload`]), a pod is copied file by file through this client, a shared pod is on the user's list while it is read
//! ([`loan`]), and a pod's reference is kept, as the server gives another each time ([`received`]). What cannot be made
//! up for: reading without an account, or by a login without the password; reading a shared pod whose name the user
//! has given another; and that the reference of a deleted pod stays dead, as a later pod can get its key. Of those
//! servers v0.8.1 can still be built, and the client is tested on it.
//! It ends when a directory changes several times within a second, which a fast node lets happen; nothing here slows
//! changes down for that.
//!
//! Rejected: a login for reading what is shared (the server reads it out to anybody), and the server's own way to
//! receive a pod (it takes no name of more than one character).

mod account;
mod catalogue;
mod change;
mod copy;
mod dialect;
mod http;
mod index;
mod loan;
mod lock;
mod look;
mod memory;
mod received;
mod session;
mod shares;
mod tree;
mod upload;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::FutureExt;
pub use reqwest::Url;
use sovr_capability::Untrusted;
use tokio::io::AsyncRead;
use tokio::sync::RwLock;

pub use self::account::{Account, AccountError, Login, Mnemonic, Password, Settings, SignedUp};
use self::catalogue::Known;
use self::http::{Fault, Http};
use self::loan::List;
use self::lock::{Held, Locks, Mode};
use self::look::open;
use self::memory::Seen;
use self::session::{Call, Session};
use self::tree::{Tree, View};
use crate::joined::joined;
use crate::{
    Access, Dfs, DfsPath, Entry, Error, OpenFile, Place, Pod, PodName, Reference, ShareInfo,
    UserName,
};

/// The pauses between the tries of something that its owner changes meanwhile. One change takes the server a second or
/// more when the network is slow to say that something is not there.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(300),
    Duration::from_millis(600),
    Duration::from_millis(1200),
    Duration::from_millis(2400),
    Duration::from_millis(4800),
    Duration::from_millis(9600),
];
/// The lock for the list of pods.
const LIST: &str = "";

/// A FairOS-dfs server as one of its users sees it. Cheap to clone; clones share the login.
#[derive(Clone)]
pub struct FairosDfs {
    inner: Arc<Inner>,
}

struct Inner {
    session: Arc<Session>,
    /// None without an account, when nothing can be changed.
    locks: Option<Locks>,
    /// What this session knows of each pod's content in the server's memory.
    seen: Mutex<HashMap<PodName, Arc<RwLock<Seen>>>>,
    /// Pods that were the user's own a moment ago.
    own: Mutex<HashMap<PodName, Instant>>,
}

impl FairosDfs {
    /// A user's view. Nothing is sent yet: the login happens with the first call that needs it. Processes of this
    /// machine that use the same directory for their locks do not get in each other's way.
    ///
    /// # Errors
    /// [`Error::Account`] for an address that cannot be used, [`Error::Storage`] if the directory cannot be made.
    pub fn new(settings: Settings, locks: &Path) -> Result<FairosDfs, Error> {
        let http = Http::new(&settings.server, settings.allow_plain_http)?;
        let locks = Locks::new(locks, http.base(), settings.user.as_str()).map_err(unlockable)?;
        let session = Session::new(http, settings.user, settings.password, settings.login);
        Ok(FairosDfs::with(session, Some(locks)))
    }

    /// A view without an account: what was shared can be listed, read and looked at by its reference; everything else
    /// is [`AccountError::LoginNeeded`].
    ///
    /// # Errors
    /// [`Error::Account`] for an address that cannot be used.
    pub fn anonymous(server: &Url, allow_plain_http: bool) -> Result<FairosDfs, Error> {
        let http = Http::new(server, allow_plain_http)?;
        let nobody = "anonymous".parse()?;
        Ok(FairosDfs::with(
            Session::new(http, nobody, None, None),
            None,
        ))
    }

    fn with(session: Session, locks: Option<Locks>) -> FairosDfs {
        FairosDfs {
            inner: Arc::new(Inner {
                session: Arc::new(session),
                locks,
                seen: Mutex::default(),
                own: Mutex::default(),
            }),
        }
    }

    /// Logs in with the password now, and gives what a later process can go on with.
    ///
    /// # Errors
    /// [`Error::Account`] when the server does not know the user or the password.
    pub async fn login(&self) -> Result<Login, Error> {
        let inner = &self.inner;
        let login = inner.session.log_in().await;
        login.map_err(|fault| fault.into_error(inner.attempt("log in")))
    }

    /// Makes the account, and logs in. Without a mnemonic the server makes one, which the user must keep: it is the
    /// account's key.
    ///
    /// # Errors
    /// [`Error::Account`], of which [`AccountError::Unfunded`] is to be followed by another try with its mnemonic.
    pub async fn signup(&self, mnemonic: Option<&Mnemonic>) -> Result<SignedUp, Error> {
        let inner = &self.inner;
        let signed_up = inner.session.sign_up(mnemonic).await;
        signed_up.map_err(|fault| fault.into_error(inner.attempt("sign up")))
    }

    /// Ends the login on the server, if there is one.
    ///
    /// # Errors
    /// [`Error::Storage`]; this side has forgotten the login all the same.
    pub async fn logout(&self) -> Result<(), Error> {
        let inner = &self.inner;
        inner.forget_all();
        let done = inner.session.log_out().await;
        done.map_err(|fault| fault.into_error(inner.attempt("log out")))
    }

    /// The account as the server has it.
    ///
    /// # Errors
    /// As for [`FairosDfs::login`].
    pub async fn whoami(&self) -> Result<Account, Error> {
        let account = self.inner.session.whoami().await;
        account.map_err(|fault| fault.into_error("say who is logged in".to_owned()))
    }

    /// What the server says its version is. Needs no account.
    ///
    /// # Errors
    /// [`Error::Storage`] when the server does not answer.
    pub async fn version(&self) -> Result<Untrusted, Error> {
        let ask = async {
            let response = self.inner.session.open(Call::get("version").public());
            http::text(response.await?).await
        };
        ask.await
            .map_err(|fault: Fault| fault.into_error("say its version".to_owned()))
    }
}

fn unlockable(source: std::io::Error) -> Error {
    Error::Storage {
        attempted: "make sure that nobody else writes at the same time".to_owned(),
        reason: format!("its lock failed: {source}"),
        next: "check the directory for locks and its permissions",
    }
}

/// Runs to the end what changes something, also if nobody waits for it any more: the server does not stop either, and
/// a lock that it holds must last as long.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    joined(tokio::spawn(work).await)
}

impl Inner {
    fn attempt(&self, what: &str) -> String {
        format!(
            "{what} as `{}` at {}",
            self.session.user(),
            self.session.http.host()
        )
    }

    fn tree(&self, view: View) -> Tree {
        Tree {
            session: self.session.clone(),
            locks: self.locks.clone(),
            view,
        }
    }

    fn no_such_pod(&self, pod: &PodName) -> Error {
        Error::NoSuchPod {
            pod: pod.clone(),
            user: self.session.user().clone(),
        }
    }

    async fn hold(&self, pod: &str, mode: Mode) -> Result<Held, Error> {
        let Some(locks) = &self.locks else {
            return Err(AccountError::LoginNeeded {
                attempted: "open a pod by its name".to_owned(),
            }
            .into());
        };
        locks.hold(pod, mode).await.map_err(unlockable)
    }
}

#[async_trait]
impl Dfs for FairosDfs {
    fn user(&self) -> &UserName {
        self.inner.session.user()
    }

    async fn create_pod(&self, pod: &PodName) -> Result<(), Error> {
        let (inner, pod) = (self.inner.clone(), pod.clone());
        to_the_end(async move {
            let _list = inner.hold(LIST, Mode::Write).await?;
            inner.free(&pod).await?;
            inner.make_pod(&pod).await
        })
        .await
    }

    async fn pods(&self) -> Result<Vec<Pod>, Error> {
        let catalogue = self.inner.catalogue().await?;
        let mut pods = BTreeMap::new();
        let received = catalogue.received.into_iter().map(|(name, _)| name);
        let listed = catalogue.listed.iter().filter_map(|name| name.parse().ok());
        for name in received.chain(listed) {
            pods.insert(name, Access::Received);
        }
        for name in catalogue.own.iter().filter_map(|name| name.parse().ok()) {
            pods.insert(name, Access::Own);
        }
        let pods = pods.into_iter().map(|(name, access)| Pod { name, access });
        Ok(pods.collect())
    }

    async fn pod(&self, pod: &PodName) -> Result<Pod, Error> {
        self.inner.set_own(pod, false);
        let access = match self.inner.known(pod).await? {
            Known::Own => Access::Own,
            Known::Listed | Known::Received(_) => Access::Received,
        };
        Ok(Pod {
            name: pod.clone(),
            access,
        })
    }

    async fn list(&self, place: &Place, directory: &DfsPath) -> Result<Vec<Entry>, Error> {
        let look = |tree: Tree| async move { tree.directory(directory).await }.boxed();
        let found = self.inner.look(place, List::Free, look).await?.found;
        Ok(found.into_iter().map(|found| found.entry).collect())
    }

    async fn stat(&self, place: &Place, path: &DfsPath) -> Result<Entry, Error> {
        let look = |tree: Tree| async move { tree.find(path).await }.boxed();
        Ok(self.inner.look(place, List::Free, look).await?.entry)
    }

    async fn read(&self, place: &Place, file: &DfsPath) -> Result<OpenFile, Error> {
        let look = |tree: Tree| async move { open(&tree, file).await }.boxed();
        self.inner.look(place, List::Free, look).await
    }

    async fn write(
        &self,
        pod: &PodName,
        file: &DfsPath,
        content: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<u64, Error> {
        self.inner.owned(pod, "written").await?;
        self.inner.put(pod, file, content).await
    }

    async fn confirm(&self, pod: &PodName, files: &[(DfsPath, u64)]) -> Result<(), Error> {
        self.inner.confirm(pod, files).await
    }

    async fn make_directory(&self, pod: &PodName, directory: &DfsPath) -> Result<(), Error> {
        self.inner.owned(pod, "changed").await?;
        let inner = self.inner.clone();
        to_the_end(inner.make_directory(pod.clone(), directory.clone())).await
    }

    async fn remove(&self, pod: &PodName, path: &DfsPath) -> Result<(), Error> {
        self.inner.owned(pod, "changed").await?;
        let inner = self.inner.clone();
        to_the_end(inner.remove(pod.clone(), path.clone())).await
    }

    async fn share(&self, pod: &PodName) -> Result<Reference, Error> {
        self.inner.owned(pod, "shared").await?;
        let inner = self.inner.clone();
        let dialect = inner.session.dialect().await;
        let full = dialect
            .map_err(|fault| fault.into_error(format!("share the pod `{pod}`")))?
            .is_full();
        if full {
            let _held = inner.hold(pod.as_str(), Mode::Read).await?;
            return inner.share(pod).await;
        }
        let pod = pod.clone();
        to_the_end(async move { inner.share_once(&pod).await }).await
    }

    async fn unshare(&self, pod: &PodName) -> Result<(), Error> {
        self.inner.owned(pod, "withdrawn").await?;
        Err(Error::Unsupported {
            pod: pod.clone(),
            attempted: "withdrawn",
            reason: "whoever has its reference has the key to it, and Swarm forgets nothing",
            next: "copy what is to stay private to a new pod, and delete this one",
        })
    }

    async fn share_info(&self, reference: &Reference) -> Result<ShareInfo, Error> {
        self.inner.info(reference, List::Free).await
    }

    async fn receive(&self, reference: &Reference, name: &PodName) -> Result<Pod, Error> {
        to_the_end(self.inner.clone().receive(*reference, name.clone())).await
    }

    async fn fork_pod(&self, from: &Place, name: &PodName) -> Result<(), Error> {
        to_the_end(self.inner.clone().fork(from.clone(), name.clone())).await
    }

    async fn delete_pod(&self, pod: &PodName) -> Result<(), Error> {
        let (inner, pod) = (self.inner.clone(), pod.clone());
        to_the_end(async move {
            let _list = inner.hold(LIST, Mode::Write).await?;
            inner.set_own(&pod, false);
            match inner.known(&pod).await? {
                Known::Own => {
                    inner.forget_share(&pod).await?;
                    inner.drop_pod(&pod).await
                }
                Known::Listed => inner.drop_pod(&pod).await,
                Known::Received(_) => inner.change_received(|list| list.remove(&pod)).await,
            }
        })
        .await
    }
}
