//! Reading what is shared on a server of the older dialect.
//!
//! Such a server reads out only what is on the user's own list, so a pod that is read by its reference is received,
//! opened, read and taken off the list again. That changes the list, so it happens under the list's lock: readers by
//! reference take turns there. The server keeps a received pod under the name that its owner gave it; where the user
//! has another pod of that name, the shared one cannot be read at all.
//!
//! If the program is killed in between, the pod stays on the list. It is shown as a received one then, and can be
//! taken off like one.

use std::sync::Arc;

use serde_json::json;
use sovr_capability::Untrusted;
use tokio::runtime::Handle;

use super::dialect::Refusal;
use super::http::Fault;
use super::lock::{Held, Mode};
use super::look::Keeping;
use super::session::Call;
use super::tree::View;
use super::{Inner, LIST, to_the_end};
use crate::{Error, PodName, Reference};

/// Whether the caller has the list of pods for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Free,
    Held,
}

/// A pod that is on the user's list as long as this lives.
pub(super) struct Loan(Option<Lent>);

struct Lent {
    inner: Arc<Inner>,
    name: String,
    _list: Option<Held>,
}

impl Loan {
    /// Takes the pod off the list again. If that fails it stays there, as after a crash.
    pub(super) async fn end(mut self) {
        if let Some(lent) = self.0.take() {
            // It goes on if nobody waits for it.
            let _ = tokio::spawn(lent.give_back()).await;
        }
    }
}

impl Lent {
    async fn receive(self, reference: Reference) -> Result<Loan, Error> {
        let text = reference.to_string();
        // It changes something, so it is not tried again by itself.
        let receive = Call::get("v1/pod/receive").with("sharingRef", &text).once();
        match self.inner.session.tell(receive).await {
            Ok(()) => Ok(Loan(Some(self))),
            Err(fault) if fault.refusal() == Some(Refusal::PodExists) => {
                Err(name_taken(&self.name, &reference))
            }
            Err(fault) => Err(fault.into_error(format!("read what is shared as {reference}"))),
        }
    }

    async fn give_back(self) {
        let body = json!({ "podName": self.name });
        let _ = self
            .inner
            .session
            .tell(Call::delete("v1/pod/delete", body))
            .await;
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        // Whoever read has lost interest.
        if let (Some(lent), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(lent.give_back());
        }
    }
}

impl Inner {
    /// Makes what is shared readable under a name on the server.
    pub(super) async fn borrow(
        self: &Arc<Self>,
        reference: &Reference,
        list: List,
    ) -> Result<(View, Keeping), Error> {
        let held = match list {
            List::Free => Some(self.hold(LIST, Mode::Write).await?),
            List::Held => None,
        };
        let info = self.record(reference).await?;
        let name = info.pod_name.raw().to_owned();
        let view = View::Borrowed {
            name: name.clone(),
            reference: *reference,
        };
        let pods = self.listed().await?;
        if pods.pods.contains(&name) || pods.shared_pods.contains(&name) {
            if self.address_of(&name).await?.as_ref() != Some(&info.pod_address) {
                return Err(name_taken(&name, reference));
            }
            let reading = match name.parse::<PodName>() {
                Ok(pod) => Some(self.reading(&pod).await?),
                Err(_) => None,
            };
            return Ok((
                view,
                Keeping {
                    reading,
                    loan: None,
                },
            ));
        }
        // Whoever waits may go away while the server is at it.
        let lent = Lent {
            inner: self.clone(),
            name,
            _list: held,
        };
        let loan = Some(to_the_end(lent.receive(*reference)).await?);
        let reading = None;
        Ok((view, Keeping { reading, loan }))
    }
}

fn name_taken(name: &str, reference: &Reference) -> Error {
    match name.parse() {
        Ok(pod) => Error::Unsupported {
            pod,
            attempted: "read by its reference",
            reason: "this older server has a shared pod only under the name that its owner gave it, and the user has \
                     another pod of that name",
            next: "ask its owner to share a pod of another name, or use a newer server",
        },
        Err(_) => Fault::Nonsense(format!(
            "the server has another pod of the name {}",
            Untrusted::new(name).escaped()
        ))
        .into_error(format!("read what is shared as {reference}")),
    }
}
