//! `pushstreamd doctor`: what it finds, of a start and of the server that runs.

use serde_json::Value;

use super::{LOCATIONS, prefix, serve, tool};
use crate::support::{Prefix, free_port, said};
use crate::tls_server::self_signed;

/// What doctor finds: grade and text by what it looked at.
pub(super) fn doctor(prefix: &Prefix, words: &[&str]) -> (Option<i32>, Vec<Value>) {
    let dir = prefix.dir.to_string_lossy().into_owned();
    let output = tool(&[&["doctor", "--json", "-p", &dir, "-c", "nginx.conf"], words].concat()).output().unwrap();
    let found = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    (output.status.code(), found)
}

pub(super) fn finding<'v>(found: &'v [Value], of: &str) -> &'v Value {
    found.iter().find(|finding| finding["of"] == of).unwrap_or_else(|| panic!("nothing of {of}: {found:?}"))
}

#[test]
fn a_doctor_finds_what_is_wrong_and_says_what_to_do() {
    let prefix = prefix();
    let (_, found) = doctor(&prefix, &[]);
    assert_eq!(finding(&found, "configuration")["grade"], "fine");
    assert_eq!(finding(&found, "socket")["found"], format!("{} is free", prefix.address()));
    assert_eq!(finding(&found, "log")["grade"], "fine");
    for of in ["open files", "net.core.somaxconn", "local ports", "clock"] {
        finding(&found, of);
    }
    // A port that is taken, a directory that is none, a configuration that is none.
    let holder = std::net::TcpListener::bind(prefix.address()).unwrap();
    std::fs::write(prefix.path("state"), "no directory").unwrap();
    let (code, found) = doctor(&prefix, &[]);
    assert_eq!(code, Some(1));
    let socket = finding(&found, "socket");
    assert!(
        socket["grade"] == "bad"
            && socket["found"].as_str().unwrap().contains(&format!("(pid {})", std::process::id()))
    );
    assert!(socket["advice"].as_str().unwrap().contains("migrate"));
    assert_eq!(finding(&found, "log")["grade"], "bad");
    drop(holder);
    prefix.write("nginx.conf", "events {} http { nonsense_on; server { push_stream_publisher nonsense; } }");
    let (code, found) = doctor(&prefix, &[]);
    assert_eq!((code, finding(&found, "configuration")["grade"].as_str()), (Some(1), Some("bad")));
}

#[test]
fn a_doctor_tells_how_long_a_certificate_lasts() {
    let prefix = prefix();
    let listen =
        format!("listen 127.0.0.1:{} ssl; ssl_certificate cert.pem; ssl_certificate_key key.pem;", prefix.port);
    prefix.write(
        "nginx.conf",
        &format!("events {{}} http {{ push_stream_shared_memory_size 1m; server {{ {listen} {LOCATIONS} }} }}"),
    );
    std::fs::create_dir_all(prefix.path("conf")).unwrap();
    for (days, grade, words) in [(400, "fine", "days"), (3, "bad", "ends in 2 days"), (-2, "bad", "ended at")] {
        let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        let end = jiff::Timestamp::now().as_second() + days * 86_400;
        let end = jiff::Timestamp::from_second(end).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        // The beginning of that day.
        params.not_after = rcgen::date_time_ymd(end.year().into(), end.month() as u8, end.day() as u8);
        let key = rcgen::KeyPair::generate().unwrap();
        prefix.write("cert.pem", &params.self_signed(&key).unwrap().pem());
        prefix.write("key.pem", &key.serialize_pem());
        let (_, found) = doctor(&prefix, &[]);
        let certificate = finding(&found, "certificate");
        let said = certificate["found"].as_str().unwrap();
        assert!(certificate["grade"] == grade && said.contains(words), "{certificate}");
    }
}

#[test]
fn a_doctor_judges_the_server_that_runs_by_its_own_limits() {
    let prefix = prefix();
    let configure = |connections: u32, more: &str| {
        prefix.configure(&format!(
            "daemon off; pid logs/nginx.pid; worker_processes 1; worker_rlimit_nofile 300;
            events {{ worker_connections {connections}; }}
            http {{ push_stream_shared_memory_size 1m; server {{ listen 127.0.0.1:@PORT@; {more} {LOCATIONS} }} }}"
        ));
    };
    configure(200, "");
    let (_, found) = doctor(&prefix, &[]);
    assert_eq!(finding(&found, "server")["grade"], "note");
    assert!(finding(&found, "open files")["found"].as_str().unwrap().contains("started from this shell"), "{found:?}");
    let server = serve(&prefix);
    let pid = server.0.id();
    let own = format!("process {pid} may have 300 open");
    let (_, found) = doctor(&prefix, &[]);
    assert!(finding(&found, "server")["found"].as_str().unwrap().contains(&format!("process {pid} runs")), "{found:?}");
    let files = finding(&found, "open files");
    assert!(files["grade"] == "fine" && files["found"].as_str().unwrap().contains(&own), "{files}");
    let socket = finding(&found, "socket");
    assert!(socket["grade"] == "fine" && socket["found"].as_str().unwrap().contains("held by"), "{socket}");
    // What the file says now is not what the server runs with.
    let other = free_port();
    configure(250, &format!("listen 127.0.0.1:{other} backlog=2000000000;"));
    let (code, found) = doctor(&prefix, &[]);
    let files = finding(&found, "open files");
    assert!(files["grade"] == "bad" && files["found"].as_str().unwrap().contains(&own), "{files}");
    assert!(files["advice"].as_str().unwrap().contains("LimitNOFILE=314"), "{files}");
    let mut unheard = found.iter().filter(|finding| finding["of"] == "socket" && finding["grade"] == "bad");
    assert!(unheard.next_back().unwrap()["found"].as_str().unwrap().contains(&other.to_string()), "{found:?}");
    let waiting = finding(&found, "net.core.somaxconn");
    assert!(waiting["grade"] == "bad" && waiting["advice"].as_str().unwrap().contains("sysctl.d"), "{waiting}");
    assert_eq!(code, Some(1));
}

#[test]
fn a_doctor_without_a_configuration_speaks_of_the_embedded_layout_and_of_no_file() {
    let prefix = Prefix::new("doctor");
    let dir = prefix.dir.to_string_lossy().into_owned();
    let output = tool(&["doctor", "--json", "-p", &dir]).output().unwrap();
    let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let configuration = finding(&found, "configuration")["found"].as_str().unwrap();
    assert!(configuration.contains("embedded layout") && !configuration.contains("default.conf"), "{configuration}");
}

#[test]
fn a_doctor_looks_at_the_operators_listener_and_its_certificate_too() {
    let (prefix, port) = (Prefix::new("doctor-status"), free_port());
    self_signed(&prefix.dir, "s");
    prefix.write_conf("", &format!("push_stream_status {port}; push_stream_status_certificate s.crt s.key;"));
    let (_, found) = doctor(&prefix, &[]);
    assert!(finding(&found, "certificate")["found"].as_str().unwrap().contains("s.crt"), "{found:?}");
    assert!(found.iter().any(|finding| finding["found"] == format!("127.0.0.1:{port} is free")), "{found:?}");
}
