//! What operators are told: a page for people, metrics for Prometheus, JSON, and health for balancers.
//!
//! `/` is the page, fed by `/live`; `/healthz` (`/health`) answers 200 while the process lives, `/readyz` until it is about to
//! end; `/metrics` is for Prometheus, `/status`, `/channels?zone=Z&prefix=P&after=K&limit=N` and, where that is
//! allowed, `/messages?zone=Z&place=K&before=N` are JSON. It binds no socket: whoever has one hands it in, with a [`Guard`] that fits its address. Reads
//! only: nothing a client sends here changes anything.

mod guard;
mod json;
mod live;
mod messages;
mod page;
mod sources;
mod tls;

pub use guard::Guard;
pub use sources::{Sources, Zone};
pub use tls::Certificate;

use std::fmt::Debug;
use std::io;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{any_service, get};
use axum::serve::Listener;
use tower_http::catch_panic::CatchPanicLayer;

use self::live::Live;
use self::tls::TlsListener;
use crate::metrics::Format;

/// Answers on a socket for ever, with TLS where there is a certificate.
pub async fn serve(
    listener: std::net::TcpListener,
    certificate: Option<Certificate>,
    sources: Sources,
    guard: Guard,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    match certificate {
        Some(certificate) => answer(TlsListener::new(listener, certificate)?, sources, guard.with_certificate()).await,
        None => answer(listener, sources, guard).await,
    }
}

async fn answer<L>(listener: L, sources: Sources, guard: Guard) -> io::Result<()>
where
    L: Listener,
    L::Addr: Debug,
{
    match Live::new(sources.clone()) {
        Ok(live) => {
            let router = router(sources, guard, live.router());
            tokio::select! {
                ended = axum::serve(listener, router) => ended,
                () = live.publish() => Ok(()),
            }
        }
        Err(error) => {
            tracing::warn!("the status page will not move: {error}");
            axum::serve(listener, router(sources, guard, Router::new())).await
        }
    }
}

/// The routes; `live`: those of the event stream.
fn router(sources: Sources, guard: Guard, live: Router) -> Router {
    let guarded = Router::new()
        .route("/", get(page::page))
        .route("/status.html", get(page::page))
        .route("/metrics", get(metrics))
        .route("/status", get(json::status))
        .route("/channels", get(json::channels))
        .route("/messages", get(messages::messages))
        .with_state(sources.clone())
        .route("/live", any_service(live))
        .layer(from_fn_with_state(guard, guard::guard));
    Router::new()
        .route("/health", get(health))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .with_state(sources)
        .merge(guarded)
        .layer(map_response(with_fields))
        .layer(CatchPanicLayer::new())
}

async fn with_fields(mut response: Response) -> Response {
    for (name, value) in page::FIELDS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// That the process serves, and what is wrong with it all the same.
async fn health(State(sources): State<Sources>) -> String {
    match sources.log_health().and_then(|log| log.gap) {
        None => "ok\n".to_owned(),
        Some(gap) => format!("ok\nthe log has a gap: {gap}\n"),
    }
}

/// Whether balancers may send more.
async fn ready(State(sources): State<Sources>) -> (StatusCode, String) {
    if sources.is_leaving() {
        return (StatusCode::SERVICE_UNAVAILABLE, "leaving\n".to_owned());
    }
    match sources.unready() {
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        None => (StatusCode::OK, "ready\n".to_owned()),
    }
}

async fn metrics(State(sources): State<Sources>, fields: HeaderMap) -> impl IntoResponse {
    let accept: Vec<_> = fields.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::choose(&accept.join(","));
    ([(header::CONTENT_TYPE, format.content_type())], sources.snapshot().text(format))
}
