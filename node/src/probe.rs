//! What those that watch over a node ask: does the process live, may clients be sent here, how is it. Of the first two
//! nobody is asked who it is; metrics are for who holds VIEWCLUSTERMETADATA.

use std::time::Duration;

use grantd_catalog::privilege::Privilege;
use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::sync::watch;

use crate::gate::{Freshness, Gate};
use crate::http::Route;
use crate::http::answer::{Answer, body, json, refused};
use crate::http::caller::{Caller, requires};
use crate::metrics;

/// The text format of Prometheus.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How long a node without a read lease may take to reach the leader before it calls itself not ready.
const READY_TIME_MAX: Duration = Duration::from_secs(1);

/// What is answered. `stopping`: whether the node takes leave of its clients.
pub fn routes(gate: &Gate, stopping: &watch::Receiver<bool>) -> Vec<Route> {
    let (gate, stopping, measured) = (gate.clone(), stopping.clone(), gate.clone());
    vec![
        Route::known(Method::GET, "/metrics", move |caller, _| measures(measured.clone(), caller)),
        Route::open(Method::GET, "/health", |_| async { json(StatusCode::OK, &json!({ "alive": true })) }),
        Route::open(Method::GET, "/ready", move |_| ready(gate.clone(), stopping.clone())),
    ]
}

async fn measures(gate: Gate, caller: Caller) -> Answer {
    match requires(&gate, &caller, Privilege::ViewClusterMetadata).await {
        Ok(()) => body(StatusCode::OK, METRICS, metrics::render().into()),
        Err(refused) => refused,
    }
}

/// Ready is a node that can decide: by its read lease, or because it reaches the leader.
async fn ready(gate: Gate, stopping: watch::Receiver<bool>) -> Answer {
    let not = |why: &str| refused(StatusCode::SERVICE_UNAVAILABLE, why);
    if *stopping.borrow() {
        return not("this node is stopping");
    }
    let decided = gate.decide(Freshness::Local, |view| view.version());
    match tokio::time::timeout(READY_TIME_MAX, decided).await {
        Ok(Ok(version)) => json(StatusCode::OK, &json!({ "ready": true, "version": version.0 })),
        Ok(Err(refusal)) => not(&refusal.message),
        Err(_elapsed) => not("this node holds no read lease and does not reach the leader"),
    }
}
