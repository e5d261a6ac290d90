//! The routes of a configuration: its site is the service behind every path.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;

use super::pool::Pool;
use super::threads::Call;
use crate::request::peer::{Peer, PeerAddress};
use crate::site::location;

/// The routes.
pub(super) fn router(pool: &Arc<Pool>) -> Router {
    Router::new().fallback(answer).with_state(Arc::clone(pool))
}

/// Answers a request by the site.
pub(super) async fn answer(State(pool): State<Arc<Pool>>, request: Request) -> Response {
    let listener = listener_for(&pool, request.uri().path());
    let (sender, response) = oneshot::channel();
    let call = Call { peer: peer(&request), request, listener, response: sender };
    if !pool.call(call) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match response.await {
        Ok(response) => response.map(Body::new),
        // The site wants no answer (`return 444`), or what was asked has failed: the connection is not ours to close.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The listener of the first server that has a location for a path, else the first one.
fn listener_for(pool: &Pool, path: &str) -> usize {
    let claims = |server| location::claims(server, path.as_bytes());
    let listeners = &pool.settings().listeners;
    listeners.iter().position(|listener| claims(&listener.names.default)).unwrap_or(0)
}

/// Who has sent a request, as far as the application tells.
fn peer(request: &Request) -> Peer {
    let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let remote = info.map_or(PeerAddress::Unix, |ConnectInfo(address)| PeerAddress::Ip(*address));
    let local = match remote {
        PeerAddress::Unix => PeerAddress::Unix,
        PeerAddress::Ip(_) => PeerAddress::Ip(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
    };
    Peer { remote, local, tls: None, proxy: None, connection: 0 }
}
