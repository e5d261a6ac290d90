//! The tools over TLS: whom they trust, and that they do there what they do without it.

use serde_json::Value;

use super::doctor::{doctor, finding};
use super::{LOCATIONS, MODES, Tail, serve, tool};
use crate::support::{Prefix, Running, said};

/// A server whose certificate has signed itself as `openssl req -x509` does: as an authority.
fn secure() -> (Prefix, Running, String) {
    let prefix = Prefix::new("tools-tls");
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    prefix.write("cert.pem", &params.self_signed(&key).unwrap().pem());
    prefix.write("key.pem", &key.serialize_pem());
    prefix.configure(&format!(
        "daemon off; pid logs/nginx.pid; error_log logs/error.log notice; events {{ }}
         http {{
             push_stream_shared_memory_size 16m;
             server {{ listen 127.0.0.1:@PORT@ ssl; ssl_certificate cert.pem; ssl_certificate_key key.pem; {LOCATIONS} }}
         }}"
    ));
    let running = serve(&prefix);
    let certificate = prefix.path("cert.pem").to_string_lossy().into_owned();
    (prefix, running, certificate)
}

fn url(prefix: &Prefix, path: &str) -> String {
    let scheme = if path.starts_with("/ws") { "wss" } else { "https" };
    format!("{scheme}://localhost:{}{path}", prefix.port)
}

#[test]
fn every_mode_is_followed_over_tls() {
    let (prefix, _server, certificate) = secure();
    let publish = url(&prefix, "/pub?id={}");
    for (mode, path) in MODES {
        let (url, channel) = (url(&prefix, path), mode);
        let words = ["tail", "--mode", mode, "--json", "--url", &url, "--cacert", &certificate, channel];
        let tail = Tail::start(&prefix, &words);
        tail.has_said("connected to localhost:");
        let output = tool(&["pub", "--url", &publish, "--cacert", &certificate, channel, "over TLS"]).output().unwrap();
        assert!(output.status.success(), "{mode}: {}", said(&output));
        let line = tail.line();
        assert!(line.contains("over TLS"), "{mode}: {line}");
    }
}

#[test]
fn a_bench_runs_over_tls() {
    let (prefix, _server, certificate) = secure();
    for (mode, path) in [("websocket", "/ws?id={}"), ("long-polling", "/poll?id={}"), ("eventsource", "/events?id={}")]
    {
        let (url, publish) = (url(&prefix, path), url(&prefix, "/pub?id={}"));
        let size = ["--subscribers", "6", "--channels", "2", "--rate", "20", "--seconds", "1", "--json"];
        let reach = ["bench", "--mode", mode, "--cacert", &certificate, "--url", &url, "--publish-url", &publish];
        let output = tool(&[&reach[..], &size].concat()).output().unwrap();
        assert!(output.status.success(), "{mode}: {}", said(&output));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&told["delivered"], &told["lost"]), (&60.into(), &0.into()), "{mode}: {told}");
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_ends_a_tool_and_is_said() {
    let (prefix, _server, certificate) = secure();
    let (poll, publish) = (url(&prefix, "/poll?id={}"), url(&prefix, "/pub?id={}"));
    for words in [&["tail", "--url", &poll, "a"][..], &["pub", "--url", &publish, "a", "x"]] {
        let output = tool(words).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(said(&output).contains("its certificate is not trusted: "), "{words:?}: {}", said(&output));
    }
    // Trusted, and of another name.
    let elsewhere = format!("https://127.0.0.1:{}/poll?id={{}}", prefix.port);
    let output = tool(&["tail", "--cacert", &certificate, "--url", &elsewhere, "a"]).output().unwrap();
    assert!(said(&output).contains("its certificate is not trusted: "), "{}", said(&output));
}

#[test]
fn a_doctor_looks_at_tls_as_clients_meet_it() {
    let (prefix, _server, certificate) = secure();
    let (poll, publish) = (url(&prefix, "/poll?id={}"), url(&prefix, "/pub?id={}"));
    let (_, found) = doctor(&prefix, &["--url", &poll, "--publish-url", &publish, "--cacert", &certificate]);
    let tls: Vec<&Value> = found.iter().filter(|finding| finding["of"] == "tls").collect();
    assert_eq!(tls.len(), 1, "one address, looked at once: {tls:?}");
    assert!(
        tls[0]["grade"] == "fine" && tls[0]["found"].as_str().unwrap().contains("which is trusted, ends in "),
        "{tls:?}"
    );
    assert_eq!(finding(&found, "front")["grade"], "fine");
    let (code, found) = doctor(&prefix, &["--url", &poll, "--publish-url", &publish]);
    let tls = finding(&found, "tls");
    assert_eq!((code, tls["grade"].as_str()), (Some(1), Some("bad")), "{tls}");
    assert!(tls["advice"].as_str().unwrap().contains("--cacert"), "{tls}");
}
