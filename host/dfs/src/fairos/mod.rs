//! Pods on Swarm, through a FairOS-dfs server: v0.9.5 to v0.10.1, or v0.7 to v0.8.2-rc9, which the original Sovr's
//! users run and which speaks an older dialect ([`dialect`]).
//!
//! The server is a thin layer over a network of chunks: it answers most failures alike, loses files that are written
//! at the same time, lists from memory what another session has changed since, and deletes a file before it stores
//! the one that replaces it. What callers are promised by [`Dfs`] is therefore made here:
//!
//! - changes of one pod, and of the list of pods, happen one after the other among all processes of this machine
//!   ([`lock`]); whoever finds that somebody else made one has the server drop its old listing first;
//! - a file is replaced in steps that leave the old or the new one when the next fails ([`tree`]);
//! - the server's content is read only as what it was listed as ([`tree`]), whole or with an error ([`http`]);
//! - a call that changes something goes on to its end when nobody waits for it any more, and holds its lock until then;
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
//! has given another; and that the reference of a deleted pod stays dead, as a later pod can get its key. The client
//! was tested on a stand-in for those servers, not on a real one: none can be built any more.
//!
//! Rejected: a login for reading what is shared (the server reads it out to anybody), and the server's own way to
//! receive a pod (it takes no name of more than one character).

mod account;
mod dialect;
mod http;
mod index;
mod loan;
mod lock;
mod received;
mod session;
mod tree;
mod upload;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
pub use reqwest::Url;
use serde_json::json;
use sovr_capability::Untrusted;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

pub use self::account::{Account, AccountError, Login, Mnemonic, Password, Settings, SignedUp};
use self::dialect::{PodStat, Pods, ReceiveInfo, Refusal, Shared};
use self::http::{Download, Fault, Http, WHOLE_POD};
use self::loan::{List, Loan};
use self::lock::{Held, Locks, Mark, Mode};
use self::received::Received;
use self::session::{CLOSE, Call, Session};
use self::tree::{GONE, KEPT, SWAP, Tree, View, stored_path};
use crate::{
    Access, Address, Dfs, DfsPath, Entry, Error, Kind, OpenFile, Place, Pod, PodName, Reference,
    ShareInfo, UserName,
};

/// How long the server's memory of a pod is good, as to changes made on other machines.
const FRESH: Duration = Duration::from_secs(30);
/// A mark that no change leaves.
const NEVER: Mark = Some([0; 16]);
/// How long a pod of the user's own is taken to be one without asking again.
const KNOWN: Duration = Duration::from_secs(10);
/// How often something is tried that its owner changes meanwhile.
const TRIES: usize = 4;
/// The pause in between.
const PAUSE: Duration = Duration::from_millis(300);
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

/// What the server's memory of a pod is worth; none if it remembers nothing.
#[derive(Debug, Clone, Copy, Default)]
struct Seen(Option<Memory>);

#[derive(Debug, Clone, Copy)]
struct Memory {
    /// The change up to which it is good.
    mark: Mark,
    since: Instant,
}

/// What keeps a pod as it is, on this machine, while it is read.
struct Reading {
    _held: Held,
    _seen: OwnedRwLockReadGuard<Seen>,
}

/// What keeps a place readable.
struct Keeping {
    reading: Option<Reading>,
    loan: Option<Loan>,
}

impl Keeping {
    async fn end(self) {
        drop(self.reading);
        if let Some(loan) = self.loan {
            loan.end().await;
        }
    }
}

/// What keeps a pod for a change. Unless that is [`done`](Changing::done) the server is to forget what it remembers:
/// it remembers a change that failed as if it had not.
struct Changing {
    held: Held,
    mark: Mark,
    seen: Arc<RwLock<Seen>>,
}

impl Changing {
    async fn done(self) -> Result<(), Error> {
        if let Some(memory) = &mut self.seen.write().await.0 {
            memory.mark = self.mark;
        }
        drop(self.held);
        Ok(())
    }
}

/// What a name stands for.
enum Known {
    Own,
    /// Received by another program, under the server's list.
    Listed,
    Received(Reference),
}

/// All pods of the user.
struct Catalogue {
    own: Vec<String>,
    listed: Vec<String>,
    received: Vec<(PodName, Reference)>,
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
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::Storage {
                attempted: "finish its work".to_owned(),
                reason: "the program is ending".to_owned(),
                next: "try again",
            }),
        },
    }
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

    fn seen(&self, pod: &PodName) -> Arc<RwLock<Seen>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.entry(pod.clone()).or_default().clone()
    }

    /// Has the server drop what it remembers of a pod before the next look.
    async fn forget(&self, pod: &PodName) {
        if let Some(memory) = &mut self.seen(pod).write().await.0 {
            memory.mark = NEVER;
        }
    }

    fn forget_all(&self) {
        let forget = |pods: &mut HashMap<_, _>| pods.clear();
        forget(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        self.own
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    fn is_own(&self, pod: &PodName) -> bool {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.get(pod).is_some_and(|since| since.elapsed() < KNOWN)
    }

    fn set_own(&self, pod: &PodName, is: bool) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if is {
            own.insert(pod.clone(), Instant::now());
        } else {
            own.remove(pod);
        }
    }

    /// Makes sure that the server lists `pod` as it is after the last change of this machine.
    async fn refreshed(
        &self,
        pod: &PodName,
        held: &Held,
    ) -> Result<OwnedRwLockReadGuard<Seen>, Error> {
        let mark = held.mark().map_err(unlockable)?;
        let good = |seen: &Seen| matches!(seen.0, Some(memory) if memory.mark == mark && memory.since.elapsed() < FRESH);
        let state = self.seen(pod);
        let seen = state.clone().read_owned().await;
        if good(&seen) {
            return Ok(seen);
        }
        drop(seen);
        let mut seen = state.write_owned().await;
        if !good(&seen) {
            if seen.0.is_some() {
                let close = Call::post(CLOSE, json!({ "podName": pod.as_str() }));
                match self.session.tell(close).await {
                    // It may be gone, or be closed already.
                    Ok(()) | Err(Fault::Refused { .. }) => {}
                    Err(fault) => return Err(fault.into_error(format!("open the pod `{pod}`"))),
                }
            }
            *seen = Seen(Some(Memory {
                mark,
                since: Instant::now(),
            }));
        }
        Ok(seen.downgrade())
    }

    /// Keeps a pod as it is while it is read.
    async fn reading(&self, pod: &PodName) -> Result<Reading, Error> {
        let held = self.hold(pod.as_str(), Mode::Read).await?;
        let seen = self.refreshed(pod, &held).await?;
        Ok(Reading {
            _held: held,
            _seen: seen,
        })
    }

    /// Keeps a pod for oneself and says that it is about to change.
    async fn writing(&self, pod: &PodName) -> Result<Changing, Error> {
        let held = self.hold(pod.as_str(), Mode::Write).await?;
        drop(self.refreshed(pod, &held).await?);
        let mark = held.renew().map_err(unlockable)?;
        Ok(Changing {
            held,
            mark,
            seen: self.seen(pod),
        })
    }

    async fn listed(&self) -> Result<Pods, Error> {
        let pods = self.session.ask(Call::get("v1/pod/ls")).await;
        pods.map_err(|fault| fault.into_error("list the pods".to_owned()))
    }

    async fn catalogue(&self) -> Result<Catalogue, Error> {
        let pods = self.listed().await?;
        let received = if pods.pods.iter().any(|pod| pod == received::POD) {
            self.received().await?.pods().collect()
        } else {
            Vec::new()
        };
        let shown = |pods: Vec<String>| {
            let shown = pods.into_iter().filter(|pod| pod != received::POD);
            shown.collect()
        };
        Ok(Catalogue {
            own: shown(pods.pods),
            listed: shown(pods.shared_pods),
            received,
        })
    }

    /// What an exact name stands for.
    async fn known(&self, pod: &PodName) -> Result<Known, Error> {
        if self.is_own(pod) {
            return Ok(Known::Own);
        }
        let catalogue = self.catalogue().await?;
        if catalogue.own.iter().any(|own| own == pod.as_str()) {
            self.set_own(pod, true);
            return Ok(Known::Own);
        }
        if let Some((_, reference)) = catalogue.received.iter().find(|(name, _)| name == pod) {
            return Ok(Known::Received(*reference));
        }
        if catalogue.listed.iter().any(|listed| listed == pod.as_str()) {
            return Ok(Known::Listed);
        }
        Err(self.no_such_pod(pod))
    }

    /// Refuses everything but an own pod.
    async fn owned(&self, pod: &PodName, attempted: &'static str) -> Result<(), Error> {
        match self.known(pod).await? {
            Known::Own => Ok(()),
            Known::Listed | Known::Received(_) => Err(Error::ReadOnly {
                pod: pod.clone(),
                attempted,
            }),
        }
    }

    /// Where the server is asked for a place, and what keeps it meanwhile.
    async fn view(self: &Arc<Self>, place: &Place, list: List) -> Result<(View, Keeping), Error> {
        let reference = match place {
            Place::Shared(reference) => *reference,
            Place::Pod(pod) => match self.known(pod).await? {
                Known::Received(reference) => reference,
                Known::Own | Known::Listed => {
                    let kept = Keeping {
                        reading: Some(self.reading(pod).await?),
                        loan: None,
                    };
                    return Ok((View::Named(pod.clone()), kept));
                }
            },
        };
        let dialect = self.session.dialect().await;
        let dialect = dialect.map_err(|fault| fault.into_error(format!("read {place}")))?;
        if !dialect.is_full() {
            return self.borrow(&reference, list).await;
        }
        let kept = Keeping {
            reading: None,
            loan: None,
        };
        Ok((View::Shared(reference), kept))
    }

    /// Runs `look` on a place. A pod that was the user's own a moment ago and is not any more is looked for again.
    async fn look<'a, T>(
        self: &Arc<Self>,
        place: &'a Place,
        list: List,
        look: impl Fn(Tree) -> BoxFuture<'a, Result<T, Error>> + Send + Sync,
    ) -> Result<T, Error> {
        let mut again = true;
        loop {
            let (view, kept) = self.view(place, list).await?;
            let result = look(self.tree(view)).await;
            kept.end().await;
            if let (Err(Error::NoSuchPod { .. }), Place::Pod(pod)) = (&result, place) {
                self.set_own(pod, false);
                if std::mem::take(&mut again) {
                    continue;
                }
            }
            // What a received pod's reference has become is a matter of the pod.
            if let (Err(Error::NoSuchShare { .. }), Place::Pod(pod)) = (&result, place) {
                return Err(self.no_such_pod(pod));
            }
            return result.map_err(|error| in_place(error, place));
        }
    }

    async fn received(&self) -> Result<Received, Error> {
        let unreadable = |reason: String| Error::Storage {
            attempted: "list the received pods".to_owned(),
            reason,
            next: "remove or repair the list with a program that made it",
        };
        let pod: PodName = received::POD.parse()?;
        let _reading = self.reading(&pod).await?;
        let tree = self.tree(View::Named(pod));
        let OpenFile { size, mut content } = match open(&tree, &received::FILE.parse()?).await {
            Ok(file) => file,
            Err(Error::NoSuchPath { .. }) => return Ok(Received::default()),
            Err(error) => return Err(error),
        };
        if size > received::MAX {
            return Err(unreadable(format!("it has {size} bytes")));
        }
        let mut json = Vec::new();
        let read = content.read_to_end(&mut json).await;
        read.map_err(|error| unreadable(Untrusted::new(error.to_string()).escaped()))?;
        Received::from_json(&json).map_err(unreadable)
    }

    /// Changes the list of received pods. The caller holds the list of pods.
    async fn change_received(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Received),
    ) -> Result<(), Error> {
        let pod: PodName = received::POD.parse()?;
        let mut list = match self.kept_list().await? {
            Some(list) => list,
            None => {
                self.make_pod(&pod).await?;
                Received::default()
            }
        };
        change(&mut list);
        let json = list.to_json();
        self.put(&pod, &received::FILE.parse()?, &mut json.as_slice())
            .await
            .map(|_| ())
    }

    /// Refuses a name for a new pod that is taken. The caller holds the list of pods.
    async fn free(&self, pod: &PodName) -> Result<(), Error> {
        let catalogue = self.catalogue().await?;
        let wanted = pod.folded();
        let names = catalogue.own.iter().chain(&catalogue.listed);
        let received = catalogue.received.iter().map(|(name, _)| name.as_str());
        let mut names = names.map(String::as_str).chain(received);
        let taken = if wanted == received::POD.to_ascii_lowercase() {
            Some(received::POD)
        } else {
            names.find(|name| name.to_ascii_lowercase() == wanted)
        };
        match taken {
            None => Ok(()),
            Some(name) => Err(Error::PodExists {
                pod: pod.clone(),
                existing: name.parse()?,
            }),
        }
    }

    async fn make_pod(&self, pod: &PodName) -> Result<(), Error> {
        let held = self.writing(pod).await?;
        let made = self
            .session
            .tell(Call::post("v1/pod/new", json!({ "podName": pod.as_str() })))
            .await;
        made.map_err(|fault| self.not_made(fault, pod))?;
        self.set_own(pod, true);
        held.done().await
    }

    fn not_made(&self, fault: Fault, pod: &PodName) -> Error {
        match fault.refusal() {
            Some(Refusal::PodExists) => Error::PodExists {
                pod: pod.clone(),
                existing: pod.clone(),
            },
            Some(Refusal::TooManyPods) => Error::Full {
                what: format!("the pods of user `{}`", self.session.user()),
                cap: 65_534,
                unit: "pods",
            },
            _ => fault.into_error(format!("make the pod `{pod}`")),
        }
    }

    /// Deletes a pod, or takes it from the server's list.
    async fn drop_pod(&self, pod: &PodName) -> Result<(), Error> {
        let _held = self.writing(pod).await?;
        self.set_own(pod, false);
        let call = Call::delete("v1/pod/delete", json!({ "podName": pod.as_str() }));
        match self.session.tell(call.within(WHOLE_POD)).await {
            Ok(()) => Ok(()),
            Err(fault) => Err(match fault.refusal() {
                Some(Refusal::NoSuchPod) => self.no_such_pod(pod),
                Some(Refusal::NoSuchDirectory) => Error::Storage {
                    attempted: format!("delete the pod `{pod}`"),
                    reason: "a directory inside a directory was removed from it by a program that does not know \
                             this server's fault, and the server cannot delete such a pod"
                        .to_owned(),
                    next: "remove its files instead, and use another pod",
                },
                _ => fault.into_error(format!("delete the pod `{pod}`")),
            }),
        }
    }

    /// Whose pod a reference stands for, if it can still be read.
    async fn info(self: &Arc<Self>, reference: &Reference, list: List) -> Result<ShareInfo, Error> {
        let info = self.record(reference).await?;
        // The record outlives its pod.
        let place = Place::Shared(*reference);
        let look = |tree: Tree| async move { tree.directory(&DfsPath::root()).await }.boxed();
        match self.look(&place, list, look).await {
            // Whether it can be read is not to be had.
            Ok(_) | Err(Error::Unsupported { .. }) => Ok(info),
            Err(error) => Err(error),
        }
    }

    /// What was recorded when a pod was shared.
    async fn record(&self, reference: &Reference) -> Result<ShareInfo, Error> {
        let attempted = || format!("look up what is shared as {reference}");
        let text = reference.to_string();
        let info: ReceiveInfo = self
            .session
            .ask(Call::get("v1/pod/receiveinfo").with("sharingRef", &text))
            .await
            .map_err(|fault| match fault.refusal() {
                Some(Refusal::NeverShared | Refusal::Deleted) => Error::NoSuchShare {
                    reference: *reference,
                },
                _ => fault.into_error(attempted()),
            })?;
        let address = |digits: &str| {
            let mut bytes = [0; 20];
            let digits = digits.strip_prefix("0x").unwrap_or(digits);
            match hex::decode_to_slice(digits, &mut bytes) {
                Ok(()) => Ok(Address(bytes)),
                Err(_) => Err(Fault::Nonsense(
                    "the server gave something else than an address".to_owned(),
                )
                .into_error(attempted())),
            }
        };
        Ok(ShareInfo {
            pod_name: Untrusted::new(info.pod_name),
            pod_address: address(&info.pod_address)?,
            user_address: address(&info.user_address)?,
        })
    }

    async fn address_of(&self, pod: &str) -> Result<Option<Address>, Error> {
        let stat: Result<PodStat, Fault> = self
            .session
            .ask(Call::get("v1/pod/stat").with("podName", pod))
            .await;
        match stat {
            Ok(stat) => {
                let mut bytes = [0; 20];
                let digits = stat.address.strip_prefix("0x").unwrap_or(&stat.address);
                let done = hex::decode_to_slice(digits, &mut bytes);
                Ok(done.is_ok().then_some(Address(bytes)))
            }
            Err(fault) if fault.refusal() == Some(Refusal::NoSuchPod) => Ok(None),
            Err(fault) => Err(fault.into_error("look at a pod".to_owned())),
        }
    }

    /// Of some pods the one with an address.
    async fn with_address(
        &self,
        pods: &[String],
        address: &Address,
    ) -> Result<Option<PodName>, Error> {
        for pod in pods {
            if let Ok(name) = pod.parse()
                && self.address_of(pod).await?.as_ref() == Some(address)
            {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    async fn share(&self, pod: &PodName) -> Result<Reference, Error> {
        let call = Call::post("v1/pod/share", json!({ "podName": pod.as_str() }));
        let shared: Result<Shared, Fault> = self.session.ask(call).await;
        let shared = shared.map_err(|fault| match fault.refusal() {
            Some(Refusal::NoSuchPod) => self.no_such_pod(pod),
            _ => fault.into_error(format!("share the pod `{pod}`")),
        })?;
        shared.pod_sharing_reference.parse().map_err(|_| {
            Fault::Nonsense("the server gave something else than a reference".to_owned())
                .into_error(format!("share the pod `{pod}`"))
        })
    }

    /// Shares a pod on a server that gives another reference each time: the first is kept.
    async fn share_once(self: &Arc<Self>, pod: &PodName) -> Result<Reference, Error> {
        let _list = self.hold(LIST, Mode::Write).await?;
        if let Some(reference) = self.kept_list().await?.and_then(|list| list.shared(pod)) {
            return Ok(reference);
        }
        let reference = self.share(pod).await?;
        self.change_received(|list| list.set_shared(pod, Some(&reference)))
            .await?;
        Ok(reference)
    }

    /// Forgets what a pod was shared as, where that is kept: the next pod of the name is another one. The caller holds
    /// the list of pods.
    async fn forget_share(self: &Arc<Self>, pod: &PodName) -> Result<(), Error> {
        let dialect = self.session.dialect().await;
        let dialect =
            dialect.map_err(|fault| fault.into_error(format!("delete the pod `{pod}`")))?;
        if dialect.is_full() {
            return Ok(());
        }
        match self.kept_list().await? {
            Some(list) if list.shared(pod).is_some() => {
                self.change_received(|list| list.set_shared(pod, None))
                    .await
            }
            _ => Ok(()),
        }
    }

    /// The list in the user's own pod, if there is one.
    async fn kept_list(&self) -> Result<Option<Received>, Error> {
        if self.listed().await?.pods.iter().any(|p| p == received::POD) {
            return Ok(Some(self.received().await?));
        }
        Ok(None)
    }

    async fn receive(self: Arc<Self>, reference: Reference, name: PodName) -> Result<Pod, Error> {
        let _list = self.hold(LIST, Mode::Write).await?;
        let info = self.info(&reference, List::Held).await?;
        let catalogue = self.catalogue().await?;
        let received = |name| Pod {
            name,
            access: Access::Received,
        };
        if let Some((name, _)) = catalogue.received.iter().find(|(_, r)| *r == reference) {
            return Ok(received(name.clone()));
        }
        let account = self.session.whoami().await;
        let account =
            account.map_err(|fault| fault.into_error("say who is logged in".to_owned()))?;
        let own = format!("0x{}", info.user_address);
        if account.address.raw().eq_ignore_ascii_case(&own)
            && let Some(pod) = self.with_address(&catalogue.own, &info.pod_address).await?
        {
            return Err(Error::OwnShare { reference, pod });
        }
        if let Some(name) = self
            .with_address(&catalogue.listed, &info.pod_address)
            .await?
        {
            return Ok(received(name));
        }
        self.free(&name).await?;
        self.change_received(|list| list.add(&name, &reference))
            .await?;
        Ok(received(name))
    }

    async fn fork(self: Arc<Self>, from: Place, name: PodName) -> Result<(), Error> {
        let _list = self.hold(LIST, Mode::Write).await?;
        let look = |tree: Tree| async move { tree.directory(&DfsPath::root()).await }.boxed();
        self.look(&from, List::Held, look).await?;
        self.free(&name).await?;
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let error = match self.fork_once(&from, &name).await {
                Ok(true) => return self.settle(&name).await,
                Ok(false) => Error::Storage {
                    attempted: format!("copy {from} to the pod `{name}`"),
                    reason: "it changed each time while it was copied".to_owned(),
                    next: "try again when its owner has finished",
                },
                Err(error) => error,
            };
            // Also where nothing was copied the server may have made the pod.
            match self.drop_pod(&name).await {
                Ok(()) | Err(Error::NoSuchPod { .. }) => {}
                Err(error) => return Err(error),
            }
            let may_pass = matches!(error, Error::Storage { .. } | Error::NoSuchPath { .. });
            if tries == 0 || !may_pass {
                return Err(error);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Copies, and says whether the copy has everything in its full length.
    async fn fork_once(self: &Arc<Self>, from: &Place, name: &PodName) -> Result<bool, Error> {
        let held = self.writing(name).await?;
        let look = |tree: Tree| self.clone().copy(tree, from, name).boxed();
        let whole = self.look(from, List::Held, look).await?;
        held.done().await?;
        Ok(whole)
    }

    async fn copy(
        self: Arc<Self>,
        tree: Tree,
        from: &Place,
        name: &PodName,
    ) -> Result<bool, Error> {
        let before = tree.everything().await?;
        let reason = || format!("copy {from} to the pod `{name}`");
        let dialect = self.session.dialect().await;
        if !dialect
            .map_err(|fault| fault.into_error(reason()))?
            .is_full()
        {
            self.copy_by_hand(&tree, &before, name).await?;
            let copy = self.tree(View::Named(name.clone())).everything().await?;
            return Ok(copy == before && copy == tree.everything().await?);
        }
        let call = match &tree.view {
            View::Named(pod) => Call::post(
                "v1/pod/fork",
                json!({ "podName": pod.as_str(), "forkName": name.as_str() }),
            ),
            View::Shared(reference) | View::Borrowed { reference, .. } => Call::post(
                "v1/pod/fork-from-reference",
                json!({ "forkName": name.as_str(), "podSharingReference": reference.to_string() }),
            ),
        };
        let forked = self.session.tell(call.within(WHOLE_POD)).await;
        forked.map_err(|fault| match fault.refusal() {
            Some(Refusal::PodExists) => self.not_made(fault, name),
            _ => fault.into_error(reason()),
        })?;
        let copy = self.tree(View::Named(name.clone())).everything().await?;
        Ok(copy == before || copy == tree.everything().await?)
    }

    /// Copies what was listed, for a server that cannot. The caller has the new pod for itself.
    async fn copy_by_hand(
        &self,
        from: &Tree,
        all: &BTreeSet<(DfsPath, Option<u64>)>,
        name: &PodName,
    ) -> Result<(), Error> {
        let new = Call::post("v1/pod/new", json!({ "podName": name.as_str() }));
        let made = self.session.tell(new).await;
        made.map_err(|fault| self.not_made(fault, name))?;
        // A directory comes before what it holds.
        for (path, size) in all {
            if size.is_none() {
                let body = json!({ "podName": name.as_str(), "dirPath": path.as_str() });
                let made = self.session.tell(Call::post("v1/dir/mkdir", body)).await;
                made.map_err(|fault| fault.into_error(format!("make `{path}` in pod `{name}`")))?;
                continue;
            }
            let mut file = open(from, path).await?;
            let stored = path.name().unwrap_or_default();
            self.store(name, path, stored, &mut file.content).await?;
        }
        Ok(())
    }

    /// Gives what was copied in mid-replacement its name.
    async fn settle(self: &Arc<Self>, pod: &PodName) -> Result<(), Error> {
        self.set_own(pod, true);
        let held = self.writing(pod).await?;
        let tree = self.tree(View::Named(pod.clone()));
        let mut directories = vec![DfsPath::root()];
        let all = tree.everything().await?;
        directories.extend(
            all.into_iter()
                .filter_map(|(path, size)| size.is_none().then_some(path)),
        );
        for at in directories {
            let directory = tree.directory(&at).await?;
            for found in &directory.found {
                let name = &found.entry.name;
                if found.entry.kind == Kind::File && found.stored != *name {
                    self.rename(pod, &at, &found.stored, name).await?;
                }
                for left in directory.versions(name).skip(1) {
                    self.delete_file(pod, &at, &left).await?;
                }
            }
        }
        held.done().await
    }

    async fn delete_file(&self, pod: &PodName, at: &DfsPath, name: &str) -> Result<(), Error> {
        let path = stored_path(at, name);
        let body = json!({ "podName": pod.as_str(), "filePath": path });
        let deleted = self
            .session
            .tell(Call::delete("v1/file/delete", body))
            .await;
        match deleted {
            Err(fault) if fault.refusal() != Some(Refusal::NoSuchFile) => {
                Err(fault.into_error(format!("remove `{path}` in pod `{pod}`")))
            }
            _ => Ok(()),
        }
    }

    async fn make_directory(self: Arc<Self>, pod: PodName, path: DfsPath) -> Result<(), Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Err(Error::Root {
                pod,
                attempted: "made",
            });
        };
        ours(name)?;
        let held = self.writing(&pod).await?;
        let directory = self
            .tree(View::Named(pod.clone()))
            .directory(&parent)
            .await?;
        let exists = |existing: &str| Error::PathExists {
            pod: pod.clone(),
            path: path.clone(),
            existing: existing.to_owned(),
        };
        if let Some(found) = directory.like(name) {
            return Err(exists(&found.entry.name));
        }
        let body = json!({ "podName": pod.as_str(), "dirPath": path.as_str() });
        let made = self.session.tell(Call::post("v1/dir/mkdir", body)).await;
        made.map_err(|fault| match fault.refusal() {
            Some(Refusal::Exists) => exists(name),
            _ => fault.into_error(format!("make `{path}` in pod `{pod}`")),
        })?;
        held.done().await
    }

    async fn remove(self: Arc<Self>, pod: PodName, path: DfsPath) -> Result<(), Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Err(Error::Root {
                pod,
                attempted: "removed",
            });
        };
        let held = self.writing(&pod).await?;
        let tree = self.tree(View::Named(pod.clone()));
        let directory = tree.directory(&parent).await?;
        let Some(found) = directory.find(name) else {
            return Err(tree.no_such_path(&directory, &path));
        };
        if found.entry.kind == Kind::File {
            // What is shown goes last, or an older one would be.
            let versions: Vec<_> = directory.versions(name).collect();
            for version in versions.iter().rev() {
                self.delete_file(&pod, &parent, version).await?;
            }
            return held.done().await;
        }
        if !tree.directory(&path).await?.empty {
            return Err(Error::NotEmpty { pod, path });
        }
        let failed = |fault: Fault| fault.into_error(format!("remove `{path}` in pod `{pod}`"));
        let mut removed = path.as_str().to_owned();
        let full = self.session.dialect().await.map_err(&failed)?.is_full();
        if full && !parent.is_root() {
            let mut random = [0; 8];
            getrandom::fill(&mut random).map_err(|error| unlockable(error.into()))?;
            removed = format!("/{GONE}{}", hex::encode(random));
            let body =
                json!({ "podName": pod.as_str(), "oldPath": path.as_str(), "newPath": removed });
            let moved = self.session.tell(Call::post("v1/dir/rename", body)).await;
            moved.map_err(&failed)?;
        }
        let body = json!({ "podName": pod.as_str(), "dirPath": removed });
        let done = self.session.tell(Call::delete("v1/dir/rmdir", body)).await;
        done.map_err(failed)?;
        held.done().await
    }
}

/// Opens a file. What its owner replaces just then is looked for again.
async fn open(tree: &Tree, file: &DfsPath) -> Result<OpenFile, Error> {
    let attempted = || format!("read `{file}`");
    let mut tries = TRIES;
    loop {
        tries -= 1;
        let found = tree.find(file).await?;
        let parent = match (found.entry.kind, file.parent()) {
            (Kind::File, Some(parent)) => parent,
            _ => {
                return Err(Error::IsDirectory {
                    place: tree.place(),
                    path: file.clone(),
                });
            }
        };
        let head = tree.open(&stored_path(&parent, &found.stored)).await;
        match head.and_then(Download::new) {
            Ok(download) if download.size() == found.entry.size => {
                return Ok(OpenFile {
                    size: download.size(),
                    content: Box::new(download),
                });
            }
            Ok(download) if tries == 0 => {
                return Err(Fault::Nonsense(format!(
                    "the server lists {} bytes and sends {}",
                    found.entry.size,
                    download.size()
                ))
                .into_error(attempted()));
            }
            Err(fault)
                if tries == 0
                    || !matches!(
                        fault.refusal(),
                        Some(Refusal::NoSuchFile | Refusal::Missing)
                    ) =>
            {
                return Err(fault.into_error(attempted()));
            }
            Ok(_) | Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Refuses a name that this module keeps for itself.
fn ours(name: &str) -> Result<(), Error> {
    if [SWAP, KEPT, GONE].iter().any(|ours| name.starts_with(ours)) {
        return Err(crate::NameError::new(
            crate::name::PATH,
            name,
            "this storage keeps such names for files that are about to change",
        )
        .into());
    }
    Ok(())
}

/// The place that the caller named, in an error about where it was looked for.
fn in_place(error: Error, place: &Place) -> Error {
    let place = place.clone();
    match error {
        Error::NoSuchPath { path, .. } => Error::NoSuchPath { place, path },
        Error::IsDirectory { path, .. } => Error::IsDirectory { place, path },
        Error::IsFile { path, .. } => Error::IsFile { place, path },
        other => other,
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
        self.inner.forget(pod).await;
        let _reading = self.inner.reading(pod).await?;
        let tree = self.inner.tree(View::Named(pod.clone()));
        for (file, size) in files {
            let found = match tree.find(file).await {
                Ok(found) => Some(found.entry.size),
                Err(Error::NoSuchPath { .. } | Error::NoSuchPod { .. }) => None,
                Err(error) => return Err(error),
            };
            if found != Some(*size) {
                return Err(Error::Storage {
                    attempted: format!("find `{file}` in pod `{pod}` again"),
                    reason: match found {
                        Some(found) => format!(
                            "the server took {size} bytes, and has {found} when it is asked afresh"
                        ),
                        None => "the server took it, and does not have it when it is asked afresh"
                            .to_owned(),
                    },
                    next: "write it again",
                });
            }
        }
        Ok(())
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
