//! Our client of the service bus, on the real one.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use sha3::{Digest as _, Sha3_256};
use sovr_golem::bus::gftp::{Location, Remote};
use sovr_golem::bus::{Address, Body, BusError, Call, Line, Service};
use sovr_golem::transfer::{Sink as _, Source as _};
use sovr_test_golem::{Files, Network};
use tokio::sync::watch;

use crate::scene::{Nothing, connect, runtime};

const LIMIT: Duration = Duration::from_secs(30);

/// Answers with who called, and what they said.
struct Echo;

#[async_trait]
impl Service for Echo {
    async fn call(&self, call: Call) {
        let caller = call.caller.clone();
        let (address, body, mut reply) = call.split();
        let body = Body::read(&body).unwrap().into_json();
        if address.ends_with("/Silent") {
            return;
        }
        if address.ends_with("/Parts") {
            assert!(reply.part(&1).await);
            return reply.end().await;
        }
        if address.ends_with("/Refused") {
            return reply.error(&json!({ "notFound": body })).await;
        }
        reply.ok(&json!({ "caller": caller, "body": body })).await;
    }
}

pub(crate) fn calls_reach_who_registered() {
    let network = Network::start();
    runtime().block_on(async {
        let node = network.provider();
        let address: Address = node.gsb_url().parse().unwrap();
        let line = Line::new(address, "test", Arc::new(Echo));
        line.register("/public/echo").await.unwrap();

        // From the other node; the daemon says which.
        let other = connect(network.requestor()).await;
        let far = format!("/net/{}/echo/Echo", node.id());
        let answer = other
            .call(&far, &json!(["a", 1]), LIMIT)
            .await
            .unwrap()
            .into_json();
        assert_eq!(answer["body"], json!(["a", 1]));
        let caller = answer["caller"].as_str().unwrap();
        assert_eq!(caller.trim_start_matches("/net/"), network.requestor().id());
        // Many at a time, each with its own answer.
        let calls = (0..300).map(|number| {
            let (other, far) = (other.clone(), far.clone());
            tokio::spawn(async move { other.call(&far, &number, LIMIT).await })
        });
        for (number, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
            assert_eq!(call.await.unwrap().unwrap().into_json()["body"], number);
        }

        let here = connect(node).await;
        let taken = here.register("/public/echo").await.unwrap_err();
        assert!(
            matches!(taken, BusError::Refused { code: 409, .. }),
            "{taken}"
        );
        let refused = here
            .call("/public/echo/Refused", &"x", LIMIT)
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("notFound"), "{refused}");
        let failed = here
            .call("/public/echo/Silent", &(), LIMIT)
            .await
            .unwrap_err();
        assert!(
            matches!(failed, BusError::Failed { code: 500, .. }),
            "{failed}"
        );
        // Parts are not mixed up with the whole.
        let empty = here
            .call("/public/echo/Parts", &(), LIMIT)
            .await
            .unwrap_err();
        assert!(matches!(empty, BusError::Empty { .. }), "{empty}");
        let nowhere = here
            .call("/public/nobody/Call", &(), LIMIT)
            .await
            .unwrap_err();
        assert!(
            matches!(nowhere, BusError::Failed { code: 400, .. }),
            "{nowhere}"
        );

        line.unregister("/public/echo").await;
        here.register("/public/echo").await.unwrap();
    });
}

pub(crate) fn a_lost_connection_is_made_anew() {
    let network = Network::start();
    let node = network.provider();
    runtime().block_on(async {
        let address: Address = node.gsb_url().parse().unwrap();
        let line = Line::new(address, "test", Arc::new(Echo));
        line.register("/public/echo").await.unwrap();
        let bus = line.bus().await.unwrap();
        node.kill();
        bus.lost().await;
        let lost = bus.call("/public/echo/Echo", &(), LIMIT).await.unwrap_err();
        assert!(matches!(lost, BusError::Lost(_)), "{lost}");
        let away = line.bus().await.map(drop).unwrap_err();
        assert!(matches!(away, BusError::Unreachable { .. }), "{away}");
        assert!(away.to_string().contains("GSB_URL"), "{away}");
        node.restart();
        line.bus().await.unwrap();
        let here = connect(node).await;
        here.call("/public/echo/Echo", &(), LIMIT).await.unwrap();
    });
}

pub(crate) fn files_of_another_node_come_and_go() {
    let network = Network::start();
    let files = Files::of(network.requestor());
    let runtime = runtime();
    let _inside = runtime.enter();
    let address: Address = network.provider().gsb_url().parse().unwrap();
    let line = Arc::new(Line::new(address, "test", Arc::new(Nothing)));
    let (stop, stopped) = watch::channel(false);
    let remote = |url: &str| {
        let location = Location::read(url).unwrap();
        Remote::new(Arc::clone(&line), location, stopped.clone())
    };
    let content: Vec<u8> = (0..=250).cycle().take(1_000_003).collect();
    let name = hex::encode(Sha3_256::digest(&content));
    let mut read = Vec::new();
    remote(&files.put(&name, &content))
        .open()
        .unwrap()
        .read_to_end(&mut read)
        .unwrap();
    assert!(read == content);
    // What has another hash than its name is not believed.
    let wrong = files.put(&hex::encode(Sha3_256::digest(b"else")), &content);
    let wrong = remote(&wrong).open().unwrap().read_to_end(&mut read);
    assert!(wrong.unwrap_err().to_string().contains("Incorrect hash"));
    let mut none = Vec::new();
    remote(&files.put("empty", b""))
        .open()
        .unwrap()
        .read_to_end(&mut none)
        .unwrap();
    assert!(none.is_empty());

    let sink = files.put("sink", b"");
    let mut partial = remote(&sink).create().unwrap();
    partial.write_all(&content).unwrap();
    partial.commit().unwrap();
    assert!(files.get("sink").unwrap() == content);

    let gone = remote(&sink.replace("/sink", "/gone"))
        .open()
        .map(drop)
        .unwrap_err();
    assert!(gone.to_string().contains("is not there"), "{gone}");
    stop.send_replace(true);
    let stopped = remote(&sink).open().map(drop).unwrap_err();
    assert!(stopped.to_string().contains("given up"), "{stopped}");
}
