//! What operators are told: the routes of a listener of their own.
//!
//! `/healthz` (`/health`) answers 200 while the process lives, `/readyz` until it is about to end; `/metrics` is for Prometheus,
//! `/status` and `/channels?prefix=P&limit=N` are JSON. It knows no socket: whoever has one binds it and serves the router. Reads
//! only: nothing a client sends here changes anything.

mod json;
mod sources;

pub use sources::Sources;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;

use crate::metrics::Format;

/// The routes.
pub fn router(sources: Sources) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(json::status))
        .route("/channels", get(json::channels))
        .layer(CatchPanicLayer::new())
        .with_state(sources)
}

/// That the process serves, and what is wrong with it all the same.
async fn health(State(sources): State<Sources>) -> String {
    match sources.hub.log_health().and_then(|log| log.gap) {
        None => "ok\n".to_owned(),
        Some(gap) => format!("ok\nthe log has a gap: {gap}\n"),
    }
}

/// Whether balancers may send more.
async fn ready(State(sources): State<Sources>) -> (StatusCode, String) {
    if sources.is_leaving() {
        return (StatusCode::SERVICE_UNAVAILABLE, "leaving\n".to_owned());
    }
    match sources.backplane.as_ref().and_then(|backplane| backplane.unready()) {
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        None => (StatusCode::OK, "ready\n".to_owned()),
    }
}

async fn metrics(State(sources): State<Sources>, fields: HeaderMap) -> impl IntoResponse {
    let accept: Vec<_> = fields.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::choose(&accept.join(","));
    ([(header::CONTENT_TYPE, format.content_type())], sources.snapshot().text(format))
}
