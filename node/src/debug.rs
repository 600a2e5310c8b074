//! What an operator who looks for a fault may see over HTTPS: a CPU profile, counts of tasks, the release.
//!
//! Whether a caller may is decided by the gate at each request: VIEWDEBUG, or admin. What is not here: data, statements,
//! other principals' activity. One profile is taken at a time.

mod profile;

use std::sync::Arc;
use std::time::Duration;

use grantd_catalog::privilege::Privilege;
use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::http::answer::{Answer, body, json, refused};
use crate::http::caller::{Caller, requires};
use crate::http::{Asked, Route};
use crate::sql::execute::Engine;

/// How long a profile takes unless the client says so.
const SECONDS: u64 = 10;

const PROFILE: &str = "/debug/pprof/profile";
const TASKS: &str = "/debug/tasks";
const VERSION: &str = "/debug/version";

struct Debug {
    engine: Engine,
    profiles: Semaphore,
}

/// What is answered to who holds VIEWDEBUG.
pub fn routes(engine: &Engine) -> Vec<Route> {
    let debug = Arc::new(Debug { engine: engine.clone(), profiles: Semaphore::new(1) });
    let route = |path| {
        let debug = Arc::clone(&debug);
        Route::known(Method::GET, path, move |caller, asked| answer(Arc::clone(&debug), path, caller, asked))
    };
    [PROFILE, TASKS, VERSION].map(route).into()
}

async fn answer(debug: Arc<Debug>, path: &'static str, caller: Caller, asked: Asked) -> Answer {
    let user = &caller.user;
    if let Err(refused) = requires(debug.engine.gate(), &caller, Privilege::ViewDebug).await {
        info!(%user, path, "debug request refused");
        return refused;
    }
    info!(%user, path, "debug request");
    match path {
        PROFILE => take_profile(&debug, &asked.query).await,
        TASKS => tasks(&debug),
        _ => json(
            StatusCode::OK,
            &json!({
                "node_id": debug.engine.activity().own().node(),
                "release": env!("CARGO_PKG_VERSION"),
                "debug_build": cfg!(debug_assertions),
                "uptime_ms": debug.engine.activity().own().uptime_ms(),
            }),
        ),
    }
}

async fn take_profile(debug: &Debug, query: &str) -> Answer {
    let Some(seconds) = seconds(query) else {
        let message = format!("seconds must be a whole number from 1 to {}", profile::SECONDS_MAX);
        return refused(StatusCode::BAD_REQUEST, &message);
    };
    let Ok(_one) = debug.profiles.try_acquire() else {
        return refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "another profile is being taken; try again when it is done",
        );
    };
    match profile::take(Duration::from_secs(seconds)).await {
        Ok(bytes) => body(StatusCode::OK, "application/octet-stream", bytes.into()),
        Err(reason) => {
            warn!(%reason, "a profile cannot be taken");
            refused(StatusCode::INTERNAL_SERVER_ERROR, &format!("a profile cannot be taken: {reason}"))
        }
    }
}

fn seconds(query: &str) -> Option<u64> {
    let given = query.split('&').find_map(|pair| pair.strip_prefix("seconds="));
    let seconds = given.map_or(Some(SECONDS), |text| text.parse().ok())?;
    (1..=profile::SECONDS_MAX).contains(&seconds).then_some(seconds)
}

/// What the runtime counts. Tasks have no names and no stacks here: only an unstable build of the runtime keeps them.
fn tasks(debug: &Debug) -> Answer {
    let metrics = tokio::runtime::Handle::current().metrics();
    let workers = 0..metrics.num_workers();
    let busy_ms =
        |worker| u64::try_from(metrics.worker_total_busy_duration(worker).as_millis()).unwrap_or(u64::MAX);
    json(
        StatusCode::OK,
        &json!({
            "workers": metrics.num_workers(),
            "alive_tasks": metrics.num_alive_tasks(),
            "global_queue_depth": metrics.global_queue_depth(),
            "worker_busy_ms": workers.clone().map(busy_ms).collect::<Vec<_>>(),
            "worker_parks": workers.map(|worker| metrics.worker_park_count(worker)).collect::<Vec<_>>(),
            "sessions": debug.engine.activity().own().len(),
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_has_bounds() {
        assert_eq!(seconds(""), Some(SECONDS));
        assert_eq!(seconds("x=1&seconds=60"), Some(60));
        for wrong in ["seconds=0", "seconds=61", "seconds=", "seconds=-1", "seconds=1s"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
