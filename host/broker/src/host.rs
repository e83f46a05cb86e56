//! One invocation's view of the machine, and the steps from a directory to a finished run.
//!
//! Each step is a function that takes what the step before it made, so none can be left out: a pod that was not
//! examined cannot be decided on, one that was not decided on cannot be prepared, one that was not prepared cannot
//! run. `check`, `inspect` and `run` of the program stop at different steps of the same road.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use sovr_capability::consent::{ConsentKey, GivenBy};
use sovr_capability::explain::{Explanation, explain};
use sovr_capability::{
    Capabilities, ConsentStore, Digest, Grants, Home, Narrowing, Policy, Untrusted,
};
use sovr_pod::{Finding, Pod};
use sovr_runtime::code::{self, CompileLimits, Compiled, Purpose};
use sovr_runtime::examine::Examination;

use crate::consent::{Answer, Ask, Consent, Question};
use crate::error::Error;
use crate::event::{Event, Observer};
use crate::imports;
use crate::interrupt::Interrupt;
use crate::report::Report;
use crate::run;

/// One invocation's view of the machine: state directories and the user's policy.
#[derive(Debug)]
pub struct Host {
    home: Home,
    policy: Policy,
    code: OnceLock<Arc<code::Cache>>,
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
        })
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

    /// Whether a consent for exactly this is remembered.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn remembered(&self, pod: &Examined) -> Result<bool, Error> {
        self.home.prepare()?;
        Ok(ConsentStore::open(&self.home)?.find(&pod.key)?.is_some())
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
            Consent::Exactly(given) if given != request => {
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

    /// Step 4: native code, from the cache or freshly compiled. Ends early when `interrupt` asks for it.
    ///
    /// # Errors
    /// When the component cannot be compiled within its limits.
    pub async fn prepare(
        &self,
        Decided(pod): Decided,
        observer: &dyn Observer,
        mut interrupt: Interrupt,
    ) -> Result<Prepared, Error> {
        let path = pod.loaded.pod.exec().component.as_str();
        if !pod.examined.compiled {
            observer.observe(&Event::Compiling {
                component: path.to_owned(),
                size: pod.examined.size,
            });
        }
        let limits = CompileLimits::default();
        let compiled = tokio::select! {
            compiled = self.code()?.get_or_compile(&pod.loaded.component, Purpose::Script, &limits) => compiled,
            () = interrupt.asked() => return Err(Error::Interrupted),
        };
        let compiled = compiled.map_err(|source| Error::Compile {
            path: path.into(),
            source,
        })?;
        if compiled.digest != pod.examined.digest {
            return Err(Error::Changed { path: path.into() });
        }
        Ok(Prepared { pod, compiled })
    }

    /// Steps 5 and 6: runs the script, serves its calls, settles everything. Only what keeps the run from beginning, or
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

/// A pod that is ready to run.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) pod: Examined,
    pub(crate) compiled: Compiled,
}
