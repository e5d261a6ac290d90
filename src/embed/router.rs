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
use crate::conf::settings::ListenAddress;
use crate::request::peer::{Peer, PeerAddress};
use crate::site::location;

/// Servers of a configuration, as they answer a router's requests.
#[derive(Clone)]
pub(super) struct Site {
    pool: Arc<Pool>,
    /// The one listener that counts; `None`: all.
    only: Option<usize>,
}

impl Site {
    /// All servers.
    pub(super) fn all(pool: &Arc<Pool>) -> Self {
        Self { pool: Arc::clone(pool), only: None }
    }

    /// The servers of one listener.
    pub(super) fn one(pool: &Arc<Pool>, listener: usize) -> Self {
        Self { pool: Arc::clone(pool), only: Some(listener) }
    }

    /// The routes.
    pub(super) fn router(self) -> Router {
        Router::new().fallback(answer).with_state(self)
    }

    /// The listener whose servers answer for a path: of all listeners the first whose default server has a location for it, else
    /// the first one.
    fn listener_for(&self, path: &str) -> usize {
        let claims = |server| location::claims(server, path.as_bytes());
        let mut listeners = self.pool.settings().listeners.iter();
        self.only.or_else(|| listeners.position(|listener| claims(&listener.names.default))).unwrap_or(0)
    }

    /// Our end of a connection.
    fn local(&self) -> SocketAddr {
        let listener = self.only.and_then(|at| self.pool.settings().listeners.get(at));
        match listener.map(|listener| &listener.address) {
            Some(ListenAddress::Ip(address)) => *address,
            Some(ListenAddress::Unix(_)) | None => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        }
    }

    /// Who has sent a request, as far as the application tells.
    fn peer(&self, request: &Request) -> Peer {
        let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let (remote, local) = match info {
            Some(ConnectInfo(address)) => (PeerAddress::Ip(*address), PeerAddress::Ip(self.local())),
            None => (PeerAddress::Untold, PeerAddress::Untold),
        };
        Peer { remote, local, tls: None, proxy: None, connection: 0 }
    }
}

/// Answers a request by the site.
pub(super) async fn answer(State(site): State<Site>, request: Request) -> Response {
    let listener = site.listener_for(request.uri().path());
    let (sender, response) = oneshot::channel();
    let call = Call { peer: site.peer(&request), request, listener, response: sender };
    if !site.pool.call(call) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match response.await {
        Ok(response) => response.map(Body::new),
        // The site wants no answer (`return 444`), or what was asked has failed: the connection is not ours to close.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
