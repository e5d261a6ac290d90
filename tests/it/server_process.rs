//! The process from outside: what its connections count for, what it does without descriptors, what it says and where.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use h2::client;
use http::Request;
use nix::sys::signal::Signal;

use crate::support::{Client, PATIENCE, Prefix, Running, Server, eventually, exchange, free_port, request, said};
use crate::tls_server::TlsServer;

const SUB: &str = "location /sub { push_stream_subscriber; push_stream_channels_path $arg_id; }
    location /st { stub_status; }
    location /ok { return 204; }";

/// The numbers of a `stub_status` page: active, accepts, handled, requests, reading, writing, waiting.
fn numbers(page: &str) -> Vec<u64> {
    page.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
}

fn silent(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn stub_status_counts_as_nginx_counts() {
    let server = Server::start("", SUB);
    let mut asking = server.connect();
    let mut ask = || numbers(&asking.get("/st", "").text());
    // The start was seen by a connection, which may be accepted after it has gone.
    server.eventually("the connection of the start has come and gone", || ask()[..2] == [1, 2]);
    let before = ask();
    let mut idle = server.connect();
    assert_eq!(idle.get("/ok", "").status, 204);
    let mut subscriber = server.subscribe("/sub?id=a");
    subscriber.head();
    let mut half = server.connect();
    half.send("GET /ok HTTP/1.1\r\nHo");
    let fresh = server.connect();
    // Asked over a fifth connection, which is being answered; two wait: one between requests, one before its first.
    server.eventually("all are there", || ask()[4..] == [1, 2, 2]);
    let now = ask();
    assert_eq!((now[0], now[1] - before[1], now[2] - before[2]), (5, 4, 4));
    assert!(now[3] > before[3] + 3);
    assert_eq!(ask()[3], now[3] + 1, "each question is a request");
    // And so is one of which a part has come, once.
    let mut asked = 0;
    let counted = now[3] + 1;
    let mut late = server.connect();
    late.send("GET /o");
    let mut last = 0;
    server.eventually("it is read", || {
        asked += 1;
        let numbers = ask();
        last = numbers[3];
        numbers[4] == 2
    });
    assert_eq!(last, counted + asked + 1);
    late.send("k HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(late.reply().status, 204);
    assert_eq!(ask()[3], last + 1);
    drop(late);
    drop((idle, subscriber, half, fresh));
    server.eventually("nobody is left", || ask()[0] == 1 && ask()[4..] == [0, 1, 0]);
}

#[test]
fn a_connection_the_server_closes_is_not_counted_any_more_when_the_client_sees_it() {
    let server = Server::start("", SUB);
    let mut asking = server.connect();
    server.eventually("the connection of the start has come and gone", || {
        numbers(&asking.get("/st", "").text())[..2] == [1, 2]
    });
    for _ in 0..50 {
        let mut client = server.connect();
        client.send(request("GET", "/ok", "Connection: close\r\n"));
        client.end();
        assert_eq!(numbers(&asking.get("/st", "").text())[0], 1);
    }
}

#[test]
fn handshakes_count_from_accept_on_and_time_out() {
    let server =
        TlsServer::with_events("client_header_timeout 2s; location /st { stub_status; }", "worker_connections 10;");
    let full = 20;
    let port = server.plain().peer_addr().unwrap().port();
    let active = || numbers(exchange(port, "GET", "/st", "").unwrap().split_once("\r\n\r\n").unwrap().1);
    eventually("the connections of the start are gone", || active().first() == Some(&1));
    let crowd: Vec<TcpStream> = (0..50).map(|_| silent(server.tls_port)).collect();
    let mut open = 0;
    for mut stream in crowd {
        // Those that were let in are closed when their time is over, the others at once.
        let begin = std::time::Instant::now();
        let read = stream.read(&mut [0; 100]);
        assert!(matches!(read, Ok(0) | Err(_)), "a client that says nothing is told nothing");
        open += usize::from(begin.elapsed() > Duration::from_millis(500));
    }
    assert!(open <= full, "{open} were let in");
    server.await_log("20 worker_connections are not enough");
    eventually("there is room again", || active().first() == Some(&1));
}

#[tokio::test]
async fn streams_of_http2_take_no_connections() {
    let server = TlsServer::with_events("", "worker_connections 2;");
    let tcp = tokio::net::TcpStream::connect(("127.0.0.1", server.http2_port)).await.unwrap();
    let (mut client, connection) = client::handshake(tcp).await.unwrap();
    tokio::spawn(connection);
    let mut streams = Vec::new();
    for _ in 0..50 {
        client = client.ready().await.unwrap();
        let get = Request::get("http://a.example/sse?id=x").body(()).unwrap();
        streams.push(client.send_request(get, true).unwrap().0.await.unwrap().into_body());
    }
    server.subscribers(50).await;
    let plain = server.plain().peer_addr().unwrap().port();
    assert!(exchange(plain, "GET", "/who", "").unwrap().starts_with("HTTP/1.1 200"));
}

#[test]
fn a_server_without_descriptors_tells_so_and_goes_on_when_there_are_some() {
    let prefix = Prefix::new("emfile");
    prefix.write_conf("", "");
    let command = prefix.command(&["-g", "daemon off;"]);
    let child = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 60; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = Running(child);
    prefix.wait_until_serving();
    eventually("a line in the access log", || {
        prefix.request("GET", "/pub?id=a", "").is_ok() && prefix.path("logs/access.log").exists()
    });
    let crowd: Vec<TcpStream> = (0..100).map(|_| silent(prefix.port)).collect();
    prefix.error_log_has("[crit]");
    prefix.error_log_has("accept() failed (24: Too many open files)");
    // Rotated meanwhile: neither log can be opened anew.
    for log in ["logs/access.log", "logs/error.log"] {
        std::fs::rename(prefix.path(log), prefix.path(&format!("{log}.1"))).unwrap();
    }
    server.signal(Signal::SIGUSR1);
    eventually("it is told", || {
        prefix.read("logs/error.log.1").contains("error.log\" failed (24: Too many open files)")
    });
    drop(crowd);
    eventually("it serves again", || prefix.request("GET", "/pub?id=a", "").is_ok());
    prefix.error_log_has("the error log is reopened at last");
    eventually("the access log is a new one", || {
        let _ = prefix.request("GET", "/pub?id=later", "");
        prefix.read("logs/access.log").contains("id=later")
    });
}

#[test]
fn standard_error_is_let_go_once_the_server_serves() {
    let prefix = Prefix::new("stderr");
    prefix.write_conf("", "");
    let mut command = prefix.command(&["-g", "daemon off;"]);
    let mut server = Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut text = String::new();
    server.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    // The pipe has ended, the server has not.
    prefix.wait_until_serving();
    assert!(server.ended().is_none());
    let line = format!("[notice] listening on 127.0.0.1:{}: publisher /pub, streaming ~ ^/sub/(.*)\n", prefix.port);
    assert!(text.contains(&line), "{text}");
}

#[test]
fn after_a_reload_by_worker_shows_new_numbers_and_uptimes() {
    let server =
        Server::start("", "location /stats { push_stream_channels_statistics; push_stream_channels_path $arg_id; }");
    let workers = || {
        let summary: serde_json::Value = serde_json::from_str(&server.get("/stats").text()).unwrap();
        let workers = summary["by_worker"].as_array().unwrap().clone();
        workers.iter().map(|worker| worker["pid"].as_str().unwrap().parse::<u64>().unwrap()).collect::<Vec<_>>()
    };
    // The second of them may have just begun.
    eventually("the numbers are those of two threads", || {
        let numbers = workers();
        let is_thread = |number: &u64| server.proc("task").join(number.to_string()).exists();
        numbers.len() == 2 && numbers[0] != numbers[1] && numbers.iter().all(is_thread)
    });
    let before = workers();
    server.reload("", "location /stats { push_stream_channels_statistics; push_stream_channels_path $arg_id; }");
    let after = workers();
    assert!(after.len() == 2 && after.iter().all(|number| !before.contains(number)), "{before:?} {after:?}");
    assert!(after.iter().all(|number| *number > 4_194_304), "no process has such a number");
}

#[test]
fn the_embedded_layout_needs_no_directory() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_pushstreamd"))
        .args(["-t", "-p", "/proc/none"])
        .output()
        .unwrap();
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("[warn] /proc/none cannot be written: there is no pid file and messages"), "{text}");
}

#[test]
fn a_configuration_is_looked_for_below_the_prefix_and_then_here() {
    let (prefix, here) = (Prefix::new("prefix"), Prefix::new("here"));
    here.write_conf("", "");
    std::fs::rename(here.path("nginx.conf"), here.path("own.conf")).unwrap();
    let test = |prefix: &Prefix| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pushstreamd"));
        command.current_dir(&here.dir).args(["-t", "-c", "own.conf", "-p"]).arg(&prefix.dir);
        said(&command.output().unwrap())
    };
    let text = test(&prefix);
    assert!(text.contains(&format!("{} syntax is ok", here.path("own.conf").display())), "{text}");
    prefix.write("own.conf", "nonsense");
    assert!(test(&prefix).contains("test failed"), "what is below the prefix comes first");
}

#[test]
fn a_second_server_on_a_unix_socket_is_an_error_and_takes_nothing_away() {
    let prefix = Prefix::new("unix");
    let conf = |pid: &str| {
        format!(
            "pid {pid}; error_log logs/error.log info; events {{ }}
            http {{ access_log off; push_stream_shared_memory_size 8m;
                server {{ listen unix:@DIR@/s; listen 127.0.0.1:@PORT@;
                    location /pub {{ push_stream_publisher; push_stream_channels_path $arg_id; }} }} }}"
        )
    };
    prefix.configure(&conf("logs/nginx.pid"));
    let _server = prefix.start(&[]);
    prefix.configure(&conf("logs/other.pid").replace("listen 127.0.0.1:@PORT@;", ""));
    let output = prefix.run(&["-g", "daemon off;"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("failed (98: Address already in use)"), "{}", said(&output));
    let mut client = std::os::unix::net::UnixStream::connect(prefix.path("s")).unwrap();
    client.write_all(request("GET", "/pub?id=a", "Connection: close\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[test]
fn a_busy_port_of_operators_is_an_error() {
    let prefix = Prefix::new("status-busy");
    prefix.write_conf("", "");
    let port = free_port();
    let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let output = prefix.run(&["-g", "daemon off;", "--status", &format!("127.0.0.1:{port}")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains(&format!("bind() to 127.0.0.1:{port} failed (98: Address already in use)")));
}

#[test]
fn slow_passwords_keep_no_other_client_waiting() {
    let prefix = Prefix::new("bcrypt");
    prefix.write("users", &format!("bob:{}\n", bcrypt::hash("secret", 9).unwrap()));
    std::fs::set_permissions(prefix.path("users"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let locations = "location /in { auth_basic in; auth_basic_user_file users; push_stream_channels_statistics; push_stream_channels_path $arg_id; } location /ok { return 204; }";
    prefix.configure(&format!(
        "pid logs/nginx.pid; error_log logs/error.log info; worker_processes 1; events {{ }}
        http {{ access_log off; push_stream_shared_memory_size 8m;
            server {{ listen 127.0.0.1:@PORT@; {locations}
                location /pub {{ push_stream_publisher; push_stream_channels_path $arg_id; }} }} }}"
    ));
    let _server = prefix.start(&[]);
    // "bob:wrong" and "bob:secret".
    let ask = |credentials: &str| {
        let mut client = Client::open(prefix.address(), PATIENCE);
        client.send(request("GET", "/in", &format!("Authorization: Basic {credentials}\r\n")));
        client
    };
    let mut wrong: Vec<Client> = (0..8).map(|_| ask("Ym9iOndyb25n")).collect();
    assert_eq!(Client::open(prefix.address(), PATIENCE).get("/ok", "").status, 204);
    assert!(wrong[7].is_silent_for(Duration::from_millis(1)), "its hash is still being computed");
    for client in &mut wrong {
        assert_eq!(client.reply().status, 401);
    }
    for _ in 0..3 {
        assert_eq!(ask("Ym9iOnNlY3JldA==").reply().status, 200);
    }
}
