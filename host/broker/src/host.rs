//! One invocation's view of the machine, and the steps from a directory to a finished run.
//!
//! Each step is a function that takes what the step before it made, so none can be left out: a pod that was not
//! examined cannot be decided on, one that was not decided on cannot be prepared, one that was not prepared cannot
//! run. `check`, `inspect` and `run` of the program stop at different steps of the same road.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use serde_json::json;
use sovr_capability::consent::{ConsentKey, GivenBy};
use sovr_capability::explain::{Explanation, explain};
use sovr_capability::{
    Capabilities, ConsentStore, Digest, Grants, Home, Narrowing, Policy, Untrusted,
};
use sovr_dfs::Dfs;
use sovr_dfs::local::{Caps, LocalDfs};
use sovr_pod::pod::PodLock;
use sovr_pod::{Area, Finding, Pod};
use sovr_protocol::{Protocol, SourceDirectory, Sources};
use sovr_runtime::code::{self, CompileLimits, Compiled, Purpose};
use sovr_runtime::examine::Examination;
use tokio::sync::OnceCell;

use crate::account::{Account, Holder, Nobody};
use crate::consent::{Answer, Ask, Consent, Question};
use crate::error::Error;
use crate::event::{Event, Forwarded, Observer};
use crate::imports;
use crate::interrupt::Interrupt;
use crate::report::Report;
use crate::run;
use crate::settings::networks::{NetworkKind, Networks};
use crate::settings::storage::{Storage, StorageKind};

/// One invocation's view of the machine: state directories and the user's policy.
pub struct Host {
    home: Home,
    policy: Policy,
    code: OnceLock<Arc<code::Cache>>,
    kind: Option<StorageKind>,
    network: Option<NetworkKind>,
    holder: Arc<dyn Holder>,
    storage: OnceCell<Arc<dyn Dfs>>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// Reads the policy in `home`. Nothing is made on disk until a step needs it.
    ///
    /// # Errors
    /// When there is a policy that cannot be used.
    pub fn open(home: Home) -> Result<Self, Error> {
        let policy = Policy::load(&home.policy())?;
        Ok(Self {
            home,
            policy,
            code: OnceLock::new(),
            kind: None,
            network: None,
            holder: Arc::new(Nobody),
            storage: OnceCell::new(),
        })
    }

    /// With the kind of storage that the command line names, and somebody to ask for the password of a storage server.
    #[must_use]
    pub fn with_storage(self, kind: Option<StorageKind>, holder: Arc<dyn Holder>) -> Self {
        Self {
            kind,
            holder,
            ..self
        }
    }

    /// With the kind of network that the command line names.
    #[must_use]
    pub fn with_network(self, network: Option<NetworkKind>) -> Self {
        Self { network, ..self }
    }

    /// Where the state is.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The user's ceiling.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The cache of compiled code.
    pub(crate) fn code(&self) -> Result<&Arc<code::Cache>, Error> {
        if let Some(cache) = self.code.get() {
            return Ok(cache);
        }
        self.home.prepare()?;
        let key = self.home.secret_key()?;
        let cache = code::Cache::open(&self.home.code(), *key.expose()).map_err(Error::Cache)?;
        Ok(self.code.get_or_init(|| Arc::new(cache)))
    }

    /// What runs work on, as the command line, the environment and `networks.toml` say.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn networks(&self) -> Result<Networks, Error> {
        let variable = |name: &str| std::env::var_os(name);
        let (path, scratch) = (self.home.networks(), self.home.work());
        Ok(Networks::load(&path, self.network, scratch, variable)?)
    }

    /// Where the user's storage is, as the command line, the environment and `storage.toml` say.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn storage_settings(&self) -> Result<Storage, Error> {
        let variable = |name: &str| std::env::var_os(name);
        let (path, directory) = (self.home.storage(), self.home.dfs());
        Ok(Storage::load(&path, self.kind, directory, variable)?)
    }

    /// The user's storage. May block on the user, who is asked for a password that stands nowhere.
    ///
    /// # Errors
    /// When the settings or the storage cannot be used.
    pub async fn storage(&self) -> Result<&Arc<dyn Dfs>, Error> {
        self.storage
            .get_or_try_init(async || {
                self.home.prepare()?;
                let storage: Arc<dyn Dfs> = match self.storage_settings()? {
                    Storage::Local(local) => {
                        let caps = Caps::default();
                        Arc::new(LocalDfs::open(&local.directory, &local.user, caps)?)
                    }
                    Storage::Fairos(fairos) => {
                        let account = Account::new(fairos, &self.home)?;
                        Arc::new(account.open_asking(&*self.holder).await?)
                    }
                };
                Ok(storage)
            })
            .await
    }

    /// The Sovr protocol on the user's storage.
    ///
    /// # Errors
    /// As those of [`Host::storage`].
    pub async fn protocol(
        &self,
        observer: Arc<dyn sovr_protocol::Observer>,
    ) -> Result<Protocol, Error> {
        let storage = Arc::clone(self.storage().await?);
        Ok(Protocol::new(
            storage,
            self.home.registries_lock(),
            observer,
        ))
    }

    /// Step 1: reads the recipe and looks over the layout. `path` is the pod's directory or its recipe; `more` are
    /// arguments for the script after those of the recipe. Changes nothing on disk.
    ///
    /// # Errors
    /// When there is no pod, or it is not one that can run.
    pub fn load(&self, path: &Path, more: &[String]) -> Result<Loaded, Error> {
        let pod = Pod::load(path)?;
        let findings = pod.check_layout()?;
        let exec = pod.exec();
        let component = pod
            .tree()
            .open_read(&exec.component)
            .map_err(|source| Error::Tree {
                doing: "read the component",
                source,
            })?;
        let args = std::iter::once(exec.component.name())
            .chain(exec.args.iter().map(String::as_str))
            .chain(more.iter().map(String::as_str));
        let args = args.map(str::to_owned).collect();
        Ok(Loaded {
            pod,
            findings,
            component,
            args,
        })
    }

    /// Step 2: reads what the component imports and exports, without compiling it.
    ///
    /// # Errors
    /// When it is no wasm, or reading it takes too much.
    pub async fn examine(&self, loaded: Loaded) -> Result<Examined, Error> {
        let examined = self
            .code()?
            .examine(&loaded.component)
            .await
            .map_err(|source| Error::Component {
                path: loaded.pod.exec().component.as_str().into(),
                source,
            })?;
        let (grants, narrowings) = self.policy.grant(&loaded.pod.recipe().capabilities);
        let key = ConsentKey {
            component: examined.digest,
            capabilities: grants.digest(),
        };
        Ok(Examined {
            loaded,
            examined,
            grants,
            narrowings,
            key,
        })
    }

    /// The consent to exactly this, if one is remembered. Makes nothing on disk.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn consent(
        &self,
        pod: &Examined,
    ) -> Result<Option<sovr_capability::consent::Consent>, Error> {
        Ok(match ConsentStore::open_existing(&self.home)? {
            Some(store) => store.find(&pod.key)?,
            None => None,
        })
    }

    /// Step 3: whether the pod can run at all and the user agrees to what it would hold. May block on the user. A
    /// consent is remembered, however it was given.
    ///
    /// # Errors
    /// When the component cannot run here, or nobody agreed.
    pub fn decide(
        &self,
        pod: Examined,
        consent: Consent,
        ask: &mut dyn Ask,
    ) -> Result<Decided, Error> {
        if let Some(obstacle) = pod.obstacles().into_iter().next() {
            return Err(obstacle);
        }
        self.home.prepare()?;
        let store = ConsentStore::open(&self.home)?;
        let request = pod.request();
        let given_by = match consent {
            // Checked even if a consent is remembered: who names a digest wants that and nothing else.
            Consent::Exactly(given) if !given.contains(&request) => {
                return Err(Error::OtherRequest { given, request });
            }
            _ if store.find(&pod.key)?.is_some() => return Ok(Decided(pod)),
            Consent::Exactly(_) => GivenBy::Allow,
            Consent::Whatever => GivenBy::Yes,
            Consent::Ask => {
                let changed = store
                    .list()?
                    .iter()
                    .any(|consent| consent.key.component == pod.key.component);
                match ask.ask(&pod.question(changed)) {
                    Answer::Yes => GivenBy::Prompt,
                    Answer::No => return Err(Error::Refused),
                    Answer::NotAsked(why) => return Err(Error::ConsentNeeded { request, why }),
                }
            }
        };
        store.remember(&pod.key, &pod.name(), given_by)?;
        Ok(Decided(pod))
    }

    /// Step 4: what the pod works on. Takes the pod for this run alone, and lays out `payload/external`: the archives
    /// that its recipe names, held against `sovr.lock`, and over them what a task hands to it.
    ///
    /// # Errors
    /// When the pod is in use, or what it works on is not there, has changed, or is refused.
    pub async fn supply(
        &self,
        Decided(pod): Decided,
        handed: Vec<SourceDirectory>,
        observer: &Arc<dyn Observer>,
        mut interrupt: Interrupt,
    ) -> Result<Supplied, Error> {
        let loaded = &pod.loaded.pod;
        let lock = loaded.lock()?;
        let recipe = loaded.recipe();
        if pod.grants.capabilities().dfs.is_some() {
            // Whoever is asked for a password is asked before anything begins.
            self.storage().await?;
        }
        if recipe.external.is_empty() && handed.is_empty() {
            return Ok(Supplied { pod, lock });
        }
        let protocol = self
            .protocol(Arc::new(Forwarded(Arc::clone(observer))))
            .await?;
        let sources = Sources {
            archives: &recipe.external,
            packages: loaded.packages(),
            directories: handed,
        };
        let gathered = tokio::select! {
            gathered = protocol.gather(loaded.tree(), sources) => gathered?,
            () = interrupt.asked() => return Err(Error::Interrupted),
        };
        observer.observe(&Event::Supplied(gathered));
        loaded.check_layout_fetched()?;
        Ok(Supplied { pod, lock })
    }

    /// Step 5: native code, from the cache or freshly compiled. Ends early when `interrupt` asks for it.
    ///
    /// # Errors
    /// When the component cannot be compiled within its limits.
    pub async fn prepare(
        &self,
        Supplied { pod, lock }: Supplied,
        observer: &dyn Observer,
        mut interrupt: Interrupt,
    ) -> Result<Prepared, Error> {
        let path = pod.loaded.pod.exec().component.as_str();
        let failed = |source| Error::Compile {
            path: path.into(),
            source,
        };
        // By the digest that was examined and agreed to: the file need not be read again.
        let found = self
            .code()?
            .find(pod.examined.digest, Purpose::Script)
            .await;
        if let Some(compiled) = found.map_err(failed)? {
            return Ok(Prepared {
                pod,
                lock,
                compiled,
            });
        }
        observer.observe(&Event::Compiling {
            component: path.to_owned(),
            size: pod.examined.size,
        });
        let limits = CompileLimits::default();
        let compiled = tokio::select! {
            compiled = self.code()?.get_or_compile(&pod.loaded.component, Purpose::Script, &limits) => compiled,
            () = interrupt.asked() => return Err(Error::Interrupted),
        };
        let compiled = compiled.map_err(failed)?;
        if compiled.digest != pod.examined.digest {
            return Err(Error::Changed { path: path.into() });
        }
        Ok(Prepared {
            pod,
            lock,
            compiled,
        })
    }

    /// Steps 6 and 7: runs the script, serves its calls, settles everything. Only what keeps the run from beginning, or
    /// from being written down, is an error; how the script ended is in the report.
    ///
    /// # Errors
    /// When the run could not begin, or its audit log not be written.
    pub async fn run(
        &self,
        pod: Prepared,
        observer: Arc<dyn Observer>,
        interrupt: Interrupt,
    ) -> Result<Report, Error> {
        run::run(self, pod, observer, interrupt).await
    }
}

/// A pod whose recipe is valid and whose layout was looked over.
#[derive(Debug)]
pub struct Loaded {
    pub(crate) pod: Pod,
    pub(crate) findings: Vec<Finding>,
    pub(crate) component: File,
    pub(crate) args: Vec<String>,
}

impl Loaded {
    /// The pod.
    #[must_use]
    pub fn pod(&self) -> &Pod {
        &self.pod
    }

    /// What is odd about its layout and does not keep it from running.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Arguments of the script, its own name first.
    #[must_use]
    pub fn args(&self) -> &[String] {
        &self.args
    }
}

/// A pod whose component is known.
#[derive(Debug)]
pub struct Examined {
    pub(crate) loaded: Loaded,
    pub(crate) examined: code::Examined,
    pub(crate) grants: Grants,
    pub(crate) narrowings: Vec<Narrowing>,
    pub(crate) key: ConsentKey,
}

impl Examined {
    /// The step before.
    #[must_use]
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// What the component is.
    #[must_use]
    pub fn examination(&self) -> &Examination {
        &self.examined.examination
    }

    /// Digest of the component's file.
    #[must_use]
    pub fn component(&self) -> Digest {
        self.examined.digest
    }

    /// Bytes of the component's file.
    #[must_use]
    pub fn component_size(&self) -> u64 {
        self.examined.size
    }

    /// What the recipe asks for.
    #[must_use]
    pub fn asked(&self) -> &Capabilities {
        &self.loaded.pod.recipe().capabilities
    }

    /// What a run would hold: what is asked, within the policy.
    #[must_use]
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// What the policy cut.
    #[must_use]
    pub fn narrowings(&self) -> &[Narrowing] {
        &self.narrowings
    }

    /// What a run would hold and what not, in plain words.
    #[must_use]
    pub fn explanation(&self) -> Explanation {
        explain(&self.grants, &self.narrowings)
    }

    /// Digest of component and grants together: what `--allow` takes, and by which a consent is remembered. It covers
    /// what the run would hold and not what was asked, so that a wider policy asks again.
    #[must_use]
    pub fn request(&self) -> Digest {
        self.key.request()
    }

    /// What stands against running it: unknown imports, no entry point. Empty if it can run.
    #[must_use]
    pub fn obstacles(&self) -> Vec<Error> {
        imports::obstacles(self.examination())
    }

    /// Interfaces that it imports and that it would be granted nothing for. It runs; calls of these are refused.
    #[must_use]
    pub fn ungranted(&self) -> Vec<Ungranted> {
        imports::ungranted(self.examination(), &self.grants)
    }

    pub(crate) fn name(&self) -> Untrusted {
        Untrusted::new(self.loaded.pod.recipe().name.as_str())
    }

    fn question(&self, changed: bool) -> Question {
        Question {
            pod: self.name(),
            author: self.loaded.pod.recipe().author.clone(),
            component: self.component(),
            request: self.request(),
            explanation: self.explanation(),
            changed,
        }
    }
}

/// An import that the grants give nothing for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ungranted {
    /// The interface, e.g. `sovr:pod/golem@0.1.0`.
    pub import: String,
    /// The section of `capabilities` that would grant it, e.g. `golem`.
    pub section: &'static str,
}

/// A pod that the user agreed to run.
#[derive(Debug)]
pub struct Decided(Examined);

/// A pod that nobody else runs, with all that it works on.
#[derive(Debug)]
pub struct Supplied {
    pod: Examined,
    lock: PodLock,
}

impl Supplied {
    /// Digest of everything that a run would depend on: component, arguments, grants, script and payload.
    ///
    /// # Errors
    /// When the pod's files cannot be read.
    pub fn fingerprint(&self) -> Result<Digest, Error> {
        let tree = self.pod.loaded.pod.tree();
        let read = |area: Area| Ok::<_, sovr_pod::Error>(tree.digest(&area.into())?.to_string());
        let parts = json!([
            self.pod.request(),
            self.pod.loaded.args,
            read(Area::Script)?,
            read(Area::Payload)?,
        ]);
        Ok(Digest::of(parts.to_string()))
    }

    /// The pod.
    #[must_use]
    pub fn pod(&self) -> &Pod {
        &self.pod.loaded.pod
    }
}

/// A pod that is ready to run.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) pod: Examined,
    pub(crate) lock: PodLock,
    pub(crate) compiled: Compiled,
}
