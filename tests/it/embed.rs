//! The push server inside an application of axum: its routes over real sockets, and its functions without HTTP.

mod log;
mod nodes;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::HeaderName;
use pushstreamd::{End, Error, PushStream, Start};
use tokio::runtime::Runtime;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::support::{Client, Frame, Socket, eventually};

const PATIENCE: Duration = Duration::from_secs(30);

const SERVER: &str = "
    push_stream_message_template '~id~:~text~';
    location /pub { push_stream_publisher admin; push_stream_store_messages on; push_stream_channels_path $arg_id; client_max_body_size 1k; }
    location /stats { push_stream_channels_statistics; push_stream_channels_path $arg_id; }
    location ~ ^/sub/(.*)$ { push_stream_subscriber; push_stream_channels_path $1; }
    location ~ ^/ev/(.*)$ { push_stream_subscriber eventsource; push_stream_channels_path $1; }
    location ~ ^/lp/(.*)$ { push_stream_subscriber long-polling; push_stream_channels_path $1; push_stream_longpolling_connection_ttl 1s; }
    location ~ ^/ws/(.*)$ { push_stream_subscriber websocket; push_stream_channels_path $1; push_stream_websocket_allow_publish on; }
    location /own { allow 127.0.0.1; deny all; push_stream_channels_statistics; push_stream_channels_path $arg_id; }
    location /drop { return 444; }
    location /active { stub_status; }
    location ~ ^/brief/(.*)$ { push_stream_subscriber; push_stream_channels_path $1; send_timeout 300ms; }";

/// An application that is being served; its threads end with it.
struct Application {
    push: PushStream,
    address: SocketAddr,
    _runtime: Runtime,
}

impl Application {
    fn of(push: PushStream, app: impl FnOnce(&PushStream) -> Router) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let service = app(&push).into_make_service_with_connect_info::<SocketAddr>();
        runtime.spawn(async move { axum::serve(listener, service).await });
        Self { push, address, _runtime: runtime }
    }

    fn usual() -> Self {
        Self::of(PushStream::from_text(SERVER).unwrap(), PushStream::router)
    }

    fn connect(&self) -> Client {
        Client::open(self.address, PATIENCE)
    }

    fn await_subscribers(&self, count: u64) {
        eventually("subscribers are counted", || self.push.statistics().subscribers == count);
    }
}

#[test]
fn the_routes_answer_as_the_module_does() {
    let app = Application::usual();
    let mut client = app.connect();
    let refused = client.ask("GET /pub", &[], b"");
    assert_eq!(refused.status, 400);
    assert_eq!(refused.field("X-Nginx-PushStream-Explain"), Some("No channel id provided."));
    let told = client.ask("POST /pub?id=a", &[], b"one");
    assert_eq!(told.status, 200);
    assert!(
        told.text().contains("\"stored_messages\": \"1\"") || told.text().contains("\"stored_messages\": 1"),
        "{}",
        told.text()
    );
    assert_eq!(client.ask("POST /pub?id=a", &[], &[b'x'; 2000]).status, 413);
    let mut client = app.connect();
    assert_eq!(client.ask("DELETE /pub?id=a", &[], b"").field("X-Nginx-PushStream-Explain"), Some("Channel deleted."));
    assert_eq!(client.get("/own", "").status, 200);
    assert_eq!(client.get("/elsewhere", "").status, 404);
    assert_eq!(client.get("/drop", "").status, 500);
}

#[test]
fn every_mode_brings_each_message_once_and_leaves_nothing_behind() {
    let app = Application::usual();
    app.push.publish("a", "stored").unwrap();
    let (mut stream, mut events, mut poll) = (app.connect(), app.connect(), app.connect());
    stream.send("GET /sub/a.b1 HTTP/1.1\r\nHost: h\r\n\r\n");
    events.send("GET /ev/a HTTP/1.1\r\nHost: h\r\n\r\n");
    poll.send("GET /lp/a HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut socket = Socket::open(app.connect(), "/ws/a", b"");
    stream.until("1:stored");
    app.await_subscribers(4);
    app.push.publish("a", "now").unwrap();
    stream.until("2:now");
    events.until("data: 2:now");
    let answer = poll.reply();
    assert_eq!((answer.status, answer.text().as_str()), (200, "2:now"));
    assert!(answer.field("Etag").is_some_and(|tag| tag.starts_with("W/")) && answer.field("Last-Modified").is_some());
    assert_eq!(socket.frame(), Frame::text("2:now"));
    socket.send(0x81, b"back");
    stream.until("3:back");
    app.await_subscribers(3);
    drop((stream, events, socket));
    app.await_subscribers(0);
}

#[test]
fn a_long_listing_comes_in_pages_and_whole() {
    const CHANNELS: usize = 5000;
    let app = Application::usual();
    for number in 0..CHANNELS {
        app.push.publish(&format!("channel-{number}"), "text").unwrap();
    }
    let names = |text: &str| -> Vec<String> {
        let list: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:.200}"));
        list["infos"].as_array().unwrap().iter().map(|info| info["channel"].as_str().unwrap().to_owned()).collect()
    };
    let reply = app.connect().get("/stats?id=ALL", "");
    assert_eq!((reply.status, reply.field("transfer-encoding")), (200, Some("chunked")), "{}", reply.head);
    let mut all = names(&reply.text());
    all.sort();
    all.dedup();
    assert_eq!(all.len(), CHANNELS);
    assert_eq!(names(&app.connect().get("/stats?id=channel-49*", "").text()).len(), 111);
    // One that is not taken is not made: whoever asks a hundred times holds a few pages a question, and harms nobody.
    let question = "GET /stats?id=ALL HTTP/1.1\r\nHost: t\r\n\r\n";
    let mut idle: Vec<_> = (0..20).map(|_| app.connect()).collect();
    for client in &mut idle {
        client.send(question);
    }
    let whole = names(&app.connect().get("/stats?id=ALL", "").text());
    assert_eq!(whole.len(), CHANNELS);
    // And it goes on, however late it is taken, over the channels that were there.
    app.push.publish("later", "text").unwrap();
    let late = names(&idle.pop().unwrap().reply().text());
    assert!(late.len() >= CHANNELS, "{}", late.len());
}

#[test]
fn a_client_that_takes_nothing_is_let_go_and_can_tell_that_its_body_is_not_whole() {
    let app = Application::usual();
    let mut client = app.connect();
    client.send("GET /brief/a HTTP/1.1\r\nHost: h\r\n\r\n");
    app.await_subscribers(1);
    // More than sockets hold, less than is kept for a subscriber beside them.
    let text = "x".repeat(100_000);
    let mut published = 0;
    eventually("it is let go", || {
        if published < 120 {
            app.push.publish("a", text.as_str()).unwrap();
            published += 1;
        }
        app.push.statistics().subscribers == 0
    });
    // It still takes nothing, and nothing is kept for it: the one that is left asks.
    eventually("its request is over", || {
        app.connect().get("/active", "").text().contains("Reading: 0 Writing: 1 Waiting: 0")
    });
    let got = client.end();
    assert!(got.len() > 100_000 && !got.ends_with("0\r\n\r\n"), "{} bytes, and the end of the body", got.len());
}

#[test]
fn a_poll_in_vain_says_where_to_go_on_and_a_client_that_goes_on_misses_nothing() {
    let app = Application::usual();
    app.push.publish("a", "first").unwrap();
    let mut client = app.connect();
    let none = client.get("/lp/a", "");
    assert_eq!(none.status, 304);
    let (time, tag) = (none.field("Last-Modified").unwrap().to_owned(), none.field("Etag").unwrap().to_owned());
    app.push.publish("a", "second").unwrap();
    let validators = format!("If-Modified-Since: {time}\r\nIf-None-Match: {tag}\r\n");
    assert_eq!(client.get("/lp/a", &validators).text(), "2:second");
}

#[test]
fn routes_nest_below_any_path_and_layers_apply() {
    let layer = SetResponseHeaderLayer::overriding(HeaderName::from_static("x-app"), HeaderValue::from_static("mine"));
    let push = PushStream::from_text(SERVER).unwrap();
    let app = Application::of(push, |push| Router::new().nest("/deep/push", push.router()).layer(layer));
    let mut client = app.connect();
    let told = client.ask("POST /deep/push/pub?id=a", &[], b"x");
    assert_eq!((told.status, told.field("x-app")), (200, Some("mine")));
    assert_eq!(app.connect().get("/pub?id=a", "").status, 404);
    let mut stream = app.connect();
    stream.send("GET /deep/push/sub/a HTTP/1.1\r\nHost: h\r\n\r\n");
    app.await_subscribers(1);
    app.push.publish("a", "y").unwrap();
    stream.until("2:y");
}

#[test]
fn the_layout_of_bitrix_has_its_routes() {
    let app = Application::of(PushStream::bitrix().unwrap(), PushStream::router);
    let mut client = app.connect();
    assert_eq!(client.get("/bitrix/sub/?CHANNEL_ID=a", "").status, 403);
    assert_eq!(client.ask("POST /bitrix/pub/?CHANNEL_ID=a/b", &[], b"\"hi\"").status, 200);
    let mut poll = app.connect();
    let missed = poll.get("/bitrix/sub/?CHANNEL_ID=a/b&time=Thu,+01+Jan+1970+00:00:00+GMT&tag=0&rnd=5", "");
    assert_eq!(missed.status, 200);
    assert!(
        missed.text().contains("\"channel\":\"a\"") && missed.text().contains("\"channel\":\"b\""),
        "{}",
        missed.text()
    );
    let socket = Socket::open(app.connect(), "/bitrix/subws/?CHANNEL_ID=a", b"");
    app.await_subscribers(1);
    drop(socket);
    let all = client.get("/channels-stats?id=ALL", "").text();
    assert!(all.contains("\"channels\"") && all.contains("\"a\""), "{all}");
    assert_eq!(client.get("/anything", "").status, 403);
}

#[test]
fn an_application_that_does_not_tell_addresses_gets_what_is_guarded_by_them_refused() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let guarded = "set_real_ip_from unix:; set_real_ip_from 0.0.0.0/0; real_ip_header X-Real-IP;
        location /unix { allow unix:; deny all; push_stream_channels_statistics; push_stream_channels_path $arg_id; }
        location /named { allow 192.0.2.1; deny all; push_stream_channels_statistics; push_stream_channels_path $arg_id; }
        location /others { deny 192.0.2.1; allow all; push_stream_channels_statistics; push_stream_channels_path $arg_id; }
        location /all { push_stream_channels_statistics; push_stream_channels_path $arg_id; }";
    let guarded = PushStream::from_text(guarded).unwrap().router();
    let app = PushStream::bitrix().unwrap().router().nest("/guarded", guarded);
    runtime.spawn(async move { axum::serve(listener, app).await });
    let mut client = Client::open(address, PATIENCE);
    assert_eq!(client.ask("POST /bitrix/pub/?CHANNEL_ID=a", &[], b"x").status, 403);
    for (path, status) in [("unix", 403), ("named", 403), ("others", 403), ("all", 200)] {
        assert_eq!(client.get(&format!("/guarded/{path}"), "X-Real-IP: 192.0.2.1\r\n").status, status, "{path}");
    }
}

#[test]
fn a_subscription_without_http_replays_and_goes_on_in_order() {
    let push = PushStream::from_text(SERVER).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for number in 0..300 {
        push.publish(if number % 3 == 0 { "a" } else { "b" }, number.to_string()).unwrap();
    }
    let mut subscription = push.subscribe("a/b", Start::Stored).unwrap();
    for number in 300..600 {
        push.publish_event("a", number.to_string(), Some(&format!("e{number}")), Some("kind")).unwrap();
    }
    runtime.block_on(async {
        let mut next = async || tokio::time::timeout(PATIENCE, subscription.next()).await.unwrap();
        let mut last = None;
        for number in 0..600 {
            let message = next().await.unwrap();
            assert_eq!(message.text, number.to_string());
            assert!(last < Some((message.time, message.tag)));
            last = Some((message.time, message.tag));
        }
        assert!(push.delete("a").unwrap() && push.delete("b").unwrap() && !push.delete("b").unwrap());
        assert_eq!(next().await, None);
        assert_eq!(subscription.end(), Some(End::Deleted));
        let mut rest = push.subscribe("a", Start::AfterEvent("e598".into())).unwrap();
        push.publish("a", "later").unwrap();
        let later = tokio::time::timeout(PATIENCE, rest.next()).await.unwrap().unwrap();
        assert_eq!((later.id, later.text.as_ref()), (1, &b"later"[..]));
    });
    eventually("nobody is counted any more", || push.statistics().subscribers == 0);
}

#[test]
fn a_subscriber_that_does_not_read_is_let_go_and_can_go_on() {
    let push = PushStream::from_text(SERVER).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut slow = push.subscribe("a", Start::Now).unwrap();
    for number in 0..5000 {
        push.publish("a", number.to_string()).unwrap();
    }
    eventually("it is let go", || push.statistics().subscribers == 0);
    runtime.block_on(async {
        let mut seen = 0;
        let mut last = Start::Now;
        assert_eq!(slow.end(), None, "there is something left to be read");
        while let Some(message) = slow.next().await {
            assert_eq!(message.text, seen.to_string());
            last = Start::After { time: message.time, tag: message.tag };
            seen += 1;
        }
        assert_eq!(slow.end(), Some(End::TooSlow));
        let mut again = push.subscribe("a", last).unwrap();
        while seen < 5000 {
            let message = tokio::time::timeout(PATIENCE, again.next()).await.unwrap().unwrap();
            assert_eq!(message.text, seen.to_string());
            seen += 1;
        }
    });
}

#[test]
fn each_server_can_be_served_on_a_socket_of_its_own() {
    let push = PushStream::from_text(
        "events {} http { push_stream_shared_memory_size 4m;
         server { listen 127.0.0.1:81; location ~ ^/ev/(.*)$ { push_stream_subscriber eventsource; push_stream_channels_path $1; } }
         server { listen 127.0.0.1:82; location /pub { push_stream_publisher; push_stream_channels_path $arg_id; }
                  location /where { return 200 $server_port; } } }",
    )
    .unwrap();
    let serve = |at: usize| {
        let (address, router) = push.sites().swap_remove(at);
        assert_eq!(address.port(), 81 + at as u16);
        Application::of(push.clone(), |_| router)
    };
    let (public, private) = (serve(0), serve(1));
    assert_eq!(public.connect().ask("POST /pub?id=a", &[], b"x").status, 404);
    let mut events = public.connect();
    events.send("GET /ev/a HTTP/1.1\r\nHost: h\r\n\r\n");
    public.await_subscribers(1);
    assert_eq!(private.connect().ask("POST /pub?id=a", &[], b"heard").status, 200);
    events.until("data: heard");
    assert_eq!(private.connect().get("/ev/a", "").status, 404);
    assert_eq!(private.connect().get("/where", "").text(), "82");
}

#[test]
fn paths_start_at_the_prefix_and_strictness_is_a_choice() {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("embed");
    std::fs::create_dir_all(dir.join("html")).unwrap();
    std::fs::write(dir.join("html/page.txt"), "page").unwrap();
    std::fs::write(dir.join("site.conf"), "events {} http { server { listen 81; root html; } }").unwrap();
    let served = |push| Application::of(push, PushStream::router).connect().get("/page.txt", "").text();
    assert_eq!(served(PushStream::from_file(dir.join("site.conf")).unwrap()), "page");
    assert_eq!(served(PushStream::options().prefix(&dir).from_text("root html;").unwrap()), "page");
    let own = "push_stream_state state;";
    let within =
        |options: pushstreamd::Options| options.from_text(&format!("events {{}} http {{ {own} server {{}} }}"));
    assert!(within(PushStream::options().prefix(&dir)).is_ok());
    assert!(within(PushStream::options().strict(true)).unwrap_err().to_string().contains("unknown directive"));
}

#[test]
fn what_is_not_known_is_warned_of() {
    let lines = Lines::default();
    let writer = lines.clone();
    let traced = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    tracing::subscriber::with_default(traced, || {
        PushStream::from_text("events {} http { server { nonsense on; } }").unwrap();
    });
    let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let warned = |word: &str| lines.lines().any(|line| line.contains("WARN") && line.contains(word));
    assert!(warned("nonsense"), "{lines}");
}

/// What is traced.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_subscriber_that_does_not_read_is_let_go_for_bytes_too() {
    let push = PushStream::from_text(SERVER).unwrap();
    let (slow, mut witness) = (push.subscribe("a", Start::Now).unwrap(), push.subscribe("a", Start::Now).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let text = "x".repeat(1_000_000);
    let mut publish = || {
        push.publish("a", text.as_str()).unwrap();
        runtime.block_on(async { tokio::time::timeout(PATIENCE, witness.next()).await.unwrap().unwrap() });
    };
    (0..8).for_each(|_| publish());
    assert_eq!(push.statistics().subscribers, 2);
    publish();
    eventually("it is let go", || push.statistics().subscribers == 1);
    drop(slow);
}

#[test]
fn a_subscriber_without_room_for_a_message_is_given_none_behind_it() {
    let push = PushStream::from_text(SERVER).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let large = "x".repeat(8 * 1024 * 1024);
    for _ in 0..20 {
        let mut slow = push.subscribe("a", Start::Now).unwrap();
        for text in ["first", &large, "last"] {
            push.publish("a", text).unwrap();
        }
        runtime.block_on(async {
            let mut next = async || tokio::time::timeout(PATIENCE, slow.next()).await.unwrap();
            assert_eq!(next().await.unwrap().text, "first");
            // It may have been read before the second came, or not.
            match next().await {
                Some(message) => assert_eq!(message.text.len(), large.len()),
                None => assert_eq!(slow.end(), Some(End::TooSlow)),
            }
        });
    }
}
#[test]
fn what_cannot_be_is_said() {
    let push = PushStream::from_text(SERVER).unwrap();
    assert!(matches!(push.publish("a", ""), Err(Error::Empty)));
    assert!(matches!(push.publish("", "x"), Err(Error::Refused(_))));
    assert!(matches!(push.publish("ALL", "x"), Err(Error::Refused(_))));
    assert!(matches!(push.subscribe("", Start::Now), Err(Error::Refused(_))));
    let wrong = PushStream::from_text("location / { push_stream_subscriber nonsense; }").unwrap_err().to_string();
    assert!(wrong.contains("nonsense") || wrong.contains("invalid"), "{wrong}");
    let zones = |one, two| {
        let server = |zone| format!("server {{ push_stream_zone {zone}; }}");
        format!("events {{}} http {{ push_stream_shared_memory_size 8m; {} {} }}", server(one), server(two))
    };
    assert!(matches!(PushStream::from_text(&zones("chat", "shop")), Err(Error::Zones)));
    assert!(PushStream::from_text(&zones("default", "default")).is_ok());
    assert!(PushStream::from_text(&zones("chat", "chat")).is_ok());
    assert!(matches!(PushStream::from_file("/nonexistent/nginx.conf"), Err(Error::Configuration(_) | Error::Io(_))));
}

#[test]
fn the_threads_end_with_the_last_handle() {
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let name = |task: &std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        tasks.flatten().filter(|task| name(task).starts_with("push-")).count()
    };
    let before = threads();
    let push = PushStream::from_text(SERVER).unwrap();
    let (clone, router) = (push.clone(), push.router());
    eventually("threads have begun", || threads() > before);
    drop(push);
    drop(clone);
    assert!(threads() > before);
    drop(router);
    eventually("threads have ended", || threads() == before);
}
