//! The directives of the operators' listener.

use std::net::{Ipv4Addr, SocketAddr};

use super::compiler::Compiler;
use super::error::Fault;
use super::objection::invalid_value;
use super::scope::{Entry, Scope};
use super::settings::Status;

/// Compiles the values of `http`.
pub(super) fn compile(http: &Scope<'_, '_>, compiler: &Compiler) -> Result<Status, Fault> {
    let named = http.text("push_stream_status_token_file").filter(|file| *file != b"off");
    let token_file = named.map(|file| compiler.in_prefix(file));
    let address = match http.entry("push_stream_status") {
        Some(entry) if entry.node.arg(0) != b"off" => {
            Some(address(entry.node.arg(0)).ok_or_else(|| invalid_value(entry.node))?)
        }
        _ => None,
    };
    let certificate = http.entry("push_stream_status_certificate");
    let certificate =
        certificate.map(|Entry { node, .. }| (compiler.in_directory(node.arg(0)), compiler.in_directory(node.arg(1))));
    Ok(Status { address, token_file, certificate, messages: http.flag("push_stream_status_messages") })
}

/// `ADDRESS:PORT`, or a port of the loopback interface: what tells so much is not for everybody because somebody was brief.
fn address(word: &[u8]) -> Option<SocketAddr> {
    let word = std::str::from_utf8(word).ok()?;
    let port = || word.parse().ok().filter(|port| *port != 0).map(|port: u16| (Ipv4Addr::LOCALHOST, port).into());
    word.parse().ok().or_else(port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::{LoadOptions, load};

    fn loaded(words: &str, strict: bool) -> Result<Status, String> {
        let text = format!("events {{}} http {{ {words} push_stream_shared_memory_size 1m; server {{ listen 1; }} }}");
        let options = LoadOptions { text: Some(text), strict, ..LoadOptions::default() };
        load(&options).map(|loaded| loaded.settings.status).map_err(|error| error.notes[0].text.clone())
    }

    #[test]
    fn an_address_or_a_port_of_the_loopback_interface() {
        let address = |words: &str| loaded(words, false).unwrap().address.map(|address| address.to_string());
        assert_eq!(address(""), None);
        assert_eq!(address("push_stream_status off;"), None);
        assert_eq!(address("push_stream_status 8896;").as_deref(), Some("127.0.0.1:8896"));
        assert_eq!(address("push_stream_status 10.0.0.1:80;").as_deref(), Some("10.0.0.1:80"));
        assert_eq!(address("push_stream_status [::1]:80;").as_deref(), Some("[::1]:80"));
    }

    #[test]
    fn a_certificate_lies_beside_the_configuration_and_texts_are_hidden_unless_asked_for() {
        let usual = loaded("push_stream_status 8896;", false).unwrap();
        assert_eq!((usual.certificate, usual.messages), (None, false));
        let asked =
            loaded("push_stream_status_certificate a.pem /b.key; push_stream_status_messages on;", false).unwrap();
        assert_eq!((asked.certificate, asked.messages), (Some(("a.pem".into(), "/b.key".into())), true));
    }

    #[test]
    fn anything_else_is_refused_and_the_module_knows_none() {
        for word in ["localhost", "70000", "0", "10.0.0.1", "unix:/s"] {
            let refused = loaded(&format!("push_stream_status {word};"), false).unwrap_err();
            assert!(refused.contains("invalid value") && refused.contains("push_stream_status"), "{refused}");
        }
        assert!(loaded("push_stream_status 8896;", true).unwrap_err().contains("unknown directive"));
    }
}
