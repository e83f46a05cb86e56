//! The user's pods: which there are, what a name stands for, making and deleting them.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use sovr_capability::Untrusted;
use tokio::io::AsyncReadExt;

use super::Inner;
use super::dialect::{Pods, Refusal};
use super::http::{Fault, WHOLE_POD};
use super::look::open;
use super::received::{self, Received};
use super::session::Call;
use super::tree::View;
use crate::{Error, OpenFile, PodName, Reference};

/// How long a pod of the user's own is taken to be one without asking again.
const KNOWN: Duration = Duration::from_secs(10);

/// What a name stands for.
pub(super) enum Known {
    Own,
    /// Received by another program, under the server's list.
    Listed,
    Received(Reference),
}

/// All pods of the user.
pub(super) struct Catalogue {
    pub(super) own: Vec<String>,
    pub(super) listed: Vec<String>,
    pub(super) received: Vec<(PodName, Reference)>,
}

impl Inner {
    fn is_own(&self, pod: &PodName) -> bool {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.get(pod).is_some_and(|since| since.elapsed() < KNOWN)
    }

    pub(super) fn set_own(&self, pod: &PodName, is: bool) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if is {
            own.insert(pod.clone(), Instant::now());
        } else {
            own.remove(pod);
        }
    }

    pub(super) async fn listed(&self) -> Result<Pods, Error> {
        let pods = self.session.ask(Call::get("v1/pod/ls")).await;
        pods.map_err(|fault| fault.into_error("list the pods".to_owned()))
    }

    pub(super) async fn catalogue(&self) -> Result<Catalogue, Error> {
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
    pub(super) async fn known(&self, pod: &PodName) -> Result<Known, Error> {
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
    pub(super) async fn owned(&self, pod: &PodName, attempted: &'static str) -> Result<(), Error> {
        match self.known(pod).await? {
            Known::Own => Ok(()),
            Known::Listed | Known::Received(_) => Err(Error::ReadOnly {
                pod: pod.clone(),
                attempted,
            }),
        }
    }

    pub(super) async fn received(&self) -> Result<Received, Error> {
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
    pub(super) async fn change_received(
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
    pub(super) async fn free(&self, pod: &PodName) -> Result<(), Error> {
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

    pub(super) async fn make_pod(&self, pod: &PodName) -> Result<(), Error> {
        let held = self.writing(pod).await?;
        let made = self
            .session
            .tell(Call::post("v1/pod/new", json!({ "podName": pod.as_str() })))
            .await;
        made.map_err(|fault| self.not_made(fault, pod))?;
        self.set_own(pod, true);
        held.done().await
    }

    pub(super) fn not_made(&self, fault: Fault, pod: &PodName) -> Error {
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
    pub(super) async fn drop_pod(&self, pod: &PodName) -> Result<(), Error> {
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

    /// The list in the user's own pod, if there is one.
    pub(super) async fn kept_list(&self) -> Result<Option<Received>, Error> {
        if self.listed().await?.pods.iter().any(|p| p == received::POD) {
            return Ok(Some(self.received().await?));
        }
        Ok(None)
    }
}
