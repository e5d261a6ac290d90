//! What a request on a TLS socket needs before it is looked at: TLS itself, and a client certificate where a server wants one.
//!
//! The handshake lets every client in, because nginx tells the rest in an HTTP answer. Does not know certificates: the
//! verdict comes with the connection.

use std::fmt::Arguments;
use std::sync::Arc;

use super::exchange::Exchange;
use super::log_context;
use super::server_name::find_server;
use crate::conf::settings::{Listener, VerifyClient};
use crate::request::peer::TlsInfo;
use crate::request::status::{CERTIFICATE_ERROR, NO_CERTIFICATE, PLAIN_TO_TLS};

/// The server is another one than the client has shown its certificate to.
const MISDIRECTED: u16 = 421;

/// The status that refuses the request, if it is to be refused.
pub(crate) fn refusal(exchange: &Exchange<'_>) -> Option<u16> {
    let listener = exchange.listener;
    let Some(tls) = &exchange.peer.tls else {
        if !listener.ssl {
            return None;
        }
        tell(
            exchange,
            format_args!("client sent plain HTTP request to HTTPS port while reading client request headers"),
        );
        return Some(PLAIN_TO_TLS);
    };
    let verify = exchange.server.tls.as_ref().map_or(VerifyClient::Off, |tls| tls.verify_client);
    if verify == VerifyClient::Off {
        return None;
    }
    if !is_negotiated(exchange, listener, tls) {
        tell(
            exchange,
            format_args!("client attempted to request the server name different from the one that was negotiated"),
        );
        return Some(MISDIRECTED);
    }
    match &*tls.verify {
        "NONE" if verify == VerifyClient::On => {
            tell(
                exchange,
                format_args!("client sent no required SSL certificate while reading client request headers"),
            );
            Some(NO_CERTIFICATE)
        }
        "SUCCESS" | "NONE" => None,
        _ if verify == VerifyClient::OptionalNoCa && tls.issuer_unknown => None,
        failed => {
            tell(
                exchange,
                format_args!("client SSL certificate verify error: ({failed}) while reading client request headers"),
            );
            Some(CERTIFICATE_ERROR)
        }
    }
}

/// In nginx's words.
fn tell(exchange: &Exchange<'_>, text: Arguments<'_>) {
    log_context::refuse(exchange, "bad_request", text);
}

/// Whether the server that answers is the one whose authorities judged the certificate.
fn is_negotiated(exchange: &Exchange<'_>, listener: &Listener, tls: &TlsInfo) -> bool {
    let negotiated = match &tls.server_name {
        Some(name) => find_server(&listener.names, name.as_bytes()).0,
        None => &listener.names.default,
    };
    Arc::ptr_eq(negotiated, exchange.server)
}
