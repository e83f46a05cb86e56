//! References: sharing a pod, what a reference stands for, receiving it.

use std::sync::Arc;

use futures::FutureExt;
use serde_json::json;
use sovr_capability::Untrusted;

use super::dialect::{PodStat, ReceiveInfo, Refusal, Shared};
use super::http::Fault;
use super::loan::List;
use super::lock::Mode;
use super::session::Call;
use super::tree::Tree;
use super::{Inner, LIST};
use crate::{Access, Address, DfsPath, Error, Place, Pod, PodName, Reference, ShareInfo};

impl Inner {
    /// Whose pod a reference stands for, if it can still be read.
    pub(super) async fn info(
        self: &Arc<Self>,
        reference: &Reference,
        list: List,
    ) -> Result<ShareInfo, Error> {
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
    pub(super) async fn record(&self, reference: &Reference) -> Result<ShareInfo, Error> {
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
            let nonsense = || {
                Fault::Nonsense("the server gave something else than an address".to_owned())
                    .into_error(attempted())
            };
            Address::from_digits(digits).ok_or_else(nonsense)
        };
        Ok(ShareInfo {
            pod_name: Untrusted::new(info.pod_name),
            pod_address: address(&info.pod_address)?,
            user_address: address(&info.user_address)?,
        })
    }

    pub(super) async fn address_of(&self, pod: &str) -> Result<Option<Address>, Error> {
        let stat: Result<PodStat, Fault> = self
            .session
            .ask(Call::get("v1/pod/stat").with("podName", pod))
            .await;
        match stat {
            Ok(stat) => Ok(Address::from_digits(&stat.address)),
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

    pub(super) async fn share(&self, pod: &PodName) -> Result<Reference, Error> {
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
    pub(super) async fn share_once(self: &Arc<Self>, pod: &PodName) -> Result<Reference, Error> {
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
    pub(super) async fn forget_share(self: &Arc<Self>, pod: &PodName) -> Result<(), Error> {
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

    pub(super) async fn receive(
        self: Arc<Self>,
        reference: Reference,
        name: PodName,
    ) -> Result<Pod, Error> {
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
}
