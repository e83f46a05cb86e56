//! Two nodes that know each other.

use crate::{FakeChain, Node, Router};

/// Secrets of identities, so that a log of today can be read beside one of yesterday.
const REQUESTOR: u8 = 0x11;
const PROVIDER: u8 = 0x22;

/// A network of two daemons. Dropping it ends all of it.
pub struct Network {
    requestor: Node,
    provider: Node,
    router: Router,
    chain: FakeChain,
}

impl Network {
    /// Starts everything and waits until the daemons are connected. It takes a second or two and about 350 MB.
    ///
    /// Networks of one test program do not see each other.
    ///
    /// # Panics
    ///
    /// Where the daemon is not installed, [`crate::prepare`] was not called, or a daemon does not start.
    pub fn start() -> Network {
        let chain = FakeChain::start();
        let router = Router::start();
        let node = |name, secret| Node::start(name, secret, &router, &chain);
        // At the same time: most of it is waiting.
        let (requestor, provider) = std::thread::scope(|scope| {
            let requestor = scope.spawn(|| node("requestor", REQUESTOR));
            let provider = node("provider", PROVIDER);
            let requestor = requestor.join();
            let requestor = requestor.unwrap_or_else(|why| std::panic::resume_unwind(why));
            (requestor, provider)
        });
        let network = Network {
            requestor,
            provider,
            router,
            chain,
        };
        network.wait_until_joined(&network.requestor);
        network.wait_until_joined(&network.provider);
        network
    }

    /// The node that asks for work.
    pub fn requestor(&self) -> &Node {
        &self.requestor
    }

    /// The node that offers work.
    pub fn provider(&self) -> &Node {
        &self.provider
    }

    /// What joins them.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Where their funds are.
    pub fn chain(&self) -> &FakeChain {
        &self.chain
    }

    /// Waits until a node that was started again can be called by others.
    pub fn wait_until_joined(&self, node: &Node) {
        // That it answers is no proof: it does so without a network, too.
        node.wait_until("join the network", || self.router.knows(node.id()));
    }
}
