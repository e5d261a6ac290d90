//! The tools of the one binary, against a server of the same: `pub`, `tail`, `bench`, `doctor`.

mod bench;
mod doctor;
mod front;
mod reach;
mod secure;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{PATIENCE, Prefix, Running, binary, eventually, free_port, said};

const LOCATIONS: &str = "
    location /pub { push_stream_publisher admin; push_stream_channels_path $arg_id; push_stream_store_messages on; }
    location /stats { push_stream_channels_statistics; push_stream_channels_path $arg_id; }
    location /poll {
        push_stream_subscriber long-polling; push_stream_channels_path $arg_id; push_stream_longpolling_connection_ttl 2s;
    }
    location /polling { push_stream_subscriber polling; push_stream_channels_path $arg_id; }
    location /known {
        push_stream_subscriber long-polling; push_stream_channels_path $arg_id; push_stream_authorized_channels_only on;
    }
    location /stream {
        push_stream_subscriber; push_stream_channels_path $arg_id;
        push_stream_last_received_message_time $arg_time; push_stream_last_received_message_tag $arg_tag;
        push_stream_message_template '{\"time\":\"~time~\",\"tag\":\"~tag~\",\"text\":\"~text~\"}\\n';
    }
    location /events { push_stream_subscriber eventsource; push_stream_channels_path $arg_id; }
    location /ws {
        push_stream_subscriber websocket; push_stream_channels_path $arg_id;
        push_stream_last_received_message_time $arg_time; push_stream_last_received_message_tag $arg_tag;
        push_stream_message_template '{\"time\":\"~time~\",\"tag\":\"~tag~\",\"text\":\"~text~\"}';
    }
    location /knownws {
        push_stream_subscriber websocket; push_stream_channels_path $arg_id; push_stream_authorized_channels_only on;
    }";

/// What is asked for by mode, and the path of it.
const MODES: [(&str, &str); 5] = [
    ("long-polling", "/poll?id={}"),
    ("polling", "/polling?id={}"),
    ("streaming", "/stream?id={}&time={time}&tag={tag}"),
    ("eventsource", "/events?id={}"),
    ("websocket", "/ws?id={}&time={time}&tag={tag}"),
];

fn prefix() -> Prefix {
    let prefix = Prefix::new("tools");
    prefix.configure(&format!(
        "daemon off; pid logs/nginx.pid; error_log logs/error.log notice; events {{ }}
        http {{
            push_stream_shared_memory_size 16m; push_stream_state state;
            server {{ listen 127.0.0.1:@PORT@; {LOCATIONS} }}
        }}"
    ));
    prefix
}

fn serve(prefix: &Prefix) -> Running {
    let running = prefix.spawn(&[]);
    prefix.wait_until_serving();
    running
}

fn url(prefix: &Prefix, path: &str) -> String {
    format!("http://{}{path}", prefix.address())
}

fn tool(words: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(words).stdin(Stdio::null());
    command
}

/// Runs `pub` for a channel of the server, with this on standard input.
fn publish(prefix: &Prefix, channel: &str, words: &[&str], input: &str) -> Output {
    let url = url(prefix, "/pub?id={}");
    let mut command = tool(&[&["pub", "--url", &url, channel], words].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn stored(prefix: &Prefix, channel: &str) -> Vec<String> {
    let url = url(prefix, "/polling?id={}");
    let output =
        tool(&["tail", "--mode", "polling", "--from", "start", "--json", "--count", "1", "--url", &url, channel])
            .output()
            .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// A tool that runs on; killed when dropped.
struct Tail {
    child: Child,
    lines: Receiver<String>,
    log: std::path::PathBuf,
}

impl Tail {
    fn start(prefix: &Prefix, words: &[&str]) -> Self {
        let log = prefix.path("tail");
        let stderr = std::fs::File::create(&log).unwrap();
        let mut child = tool(words).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, log }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line comes")
    }

    fn has_said(&self, text: &str) {
        let said = || std::fs::read_to_string(&self.log).unwrap();
        eventually(&format!("tail says {text:?}"), || said().contains(text));
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_message_is_published_from_an_argument_a_file_or_standard_input_whatever_it_holds() {
    let prefix = prefix();
    let _server = serve(&prefix);
    let text = "it's \"so\" $x `y` \\n ünï %41 +&=?#";
    for (channel, words, input) in
        [("argument", vec![text], ""), ("input", vec![], text), ("end-of-line", vec![], &*format!("{text}\n"))]
    {
        let output = publish(&prefix, channel, &words, input);
        assert!(output.status.success() && output.stdout.starts_with(b"{\"channel\""), "{}", said(&output));
        let line: Value = serde_json::from_str(&stored(&prefix, channel)[0]).unwrap();
        assert_eq!(line["text"], text, "{channel}");
    }
    prefix.write("message", "first\nsecond\n\n");
    let file = prefix.path("message").to_string_lossy().into_owned();
    assert!(publish(&prefix, "whole", &["--file", &file], "").status.success());
    let line: Value = serde_json::from_str(&stored(&prefix, "whole")[0]).unwrap();
    assert_eq!(line["text"], "first\nsecond");
    assert!(
        publish(&prefix, "lines/more", &["--file", &file, "--lines", "--quote", "-H", "X-A: b"], "").status.success()
    );
    let stats = prefix.request("GET", "/stats?id=lines", "").unwrap();
    assert!(stats.contains("\"stored_messages\": 2"), "{stats}");
    let line: Value = serde_json::from_str(&stored(&prefix, "more")[0]).unwrap();
    assert_eq!(line["text"], "\"first\"");
}

#[test]
fn a_refusal_is_said_and_is_the_exit_code() {
    let prefix = prefix();
    let _server = serve(&prefix);
    let output = publish(&prefix, "ALL", &["x"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains(": 403 "), "{}", said(&output));
    // Once, with its reason, in the server's log too.
    prefix.error_log_has("[notice] ");
    prefix.error_log_has("push stream module: 403: ");
    let log = prefix.read("logs/error.log");
    assert_eq!(log.matches("push stream module: 403: ").count(), 1, "{log}");
    assert!(
        log.contains("client: 127.0.0.1, server: ") && log.contains("request: \"POST /pub?id=ALL HTTP/1.1\""),
        "{log}"
    );
    let nobody = format!("http://127.0.0.1:{}/pub?id={{}}", free_port());
    let output = tool(&["pub", "--url", &nobody, "a", "x"]).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("refused"), "{}", said(&output));
    let output = tool(&["pub", "--url", "http://127.0.0.1/pub", "a", "x"]).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("{} where the channels go"), "{}", said(&output));
}

#[test]
fn every_mode_prints_as_it_comes_and_goes_on_where_it_was() {
    for (mode, path) in MODES {
        let prefix = prefix();
        let mut server = serve(&prefix);
        let url = url(&prefix, path);
        publish(&prefix, "a", &["--event-id", "e0", "before"], "");
        let tail = Tail::start(&prefix, &["tail", "--mode", mode, "--from", "start", "--json", "--url", &url, "a"]);
        let text = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{mode}: {line:?}"));
            let text = line["text"].as_str().unwrap().to_owned();
            // Where the template says more than the text.
            serde_json::from_str::<Value>(&text).map_or(text, |whole| whole["text"].as_str().unwrap().to_owned())
        };
        assert_eq!(text(&tail.line()), "before", "{mode}");
        tail.has_said("connected to ");
        publish(&prefix, "a", &["--event-id", "e1", "live"], "");
        assert_eq!(text(&tail.line()), "live", "{mode}");
        server.signal(Signal::SIGTERM);
        server.wait();
        tail.has_said("trying again");
        let server = serve(&prefix);
        publish(&prefix, "a", &["--event-id", "e2", "missed"], "");
        publish(&prefix, "a", &["--event-id", "e3", "and more"], "");
        assert_eq!([text(&tail.line()), text(&tail.line())], ["missed", "and more"], "{mode}");
        tail.has_said(" again, going on from ");
        drop(server);
    }
}

#[test]
fn a_channel_that_is_not_there_yet_is_waited_for_and_said_once() {
    let prefix = prefix();
    let _server = serve(&prefix);
    for (mode, path) in [("long-polling", "/known?id={}"), ("websocket", "/knownws?id={}")] {
        let url = url(&prefix, path);
        let mut tail = Tail::start(&prefix, &["tail", "--mode", mode, "--count", "1", "--url", &url, mode]);
        tail.has_said("403 Subscriber could not create channels.");
        std::thread::sleep(std::time::Duration::from_secs(1));
        publish(&prefix, mode, &["opens it"], "");
        tail.has_said("connected to ");
        publish(&prefix, mode, &["comes"], "");
        assert_eq!(tail.line(), "comes");
        assert!(tail.child.wait().unwrap().success());
        let said = std::fs::read_to_string(&tail.log).unwrap();
        assert_eq!(said.matches("403 ").count(), 1, "{said}");
    }
}

#[test]
fn tools_are_extra_and_the_switches_of_nginx_are_what_they_were() {
    let prefix = prefix();
    for words in [&["-t"][..], &["-tq"], &["-T"]] {
        assert!(prefix.run(words).status.success(), "{words:?}");
    }
    assert_eq!(tool(&["-v"]).output().unwrap().status.code(), Some(0));
    let output = tool(&["publish"]).output().unwrap();
    assert_eq!(said(&output), "pushstreamd: invalid option: \"publish\", did you mean \"pub\"?\n");
    for word in ["pub", "tail", "bench", "doctor"] {
        let output = tool(&[word, "--help"]).output().unwrap();
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("--"), "{word}");
        let manual = tool(&["man"]).output().unwrap();
        assert!(String::from_utf8_lossy(&manual.stdout).contains(&format!("pushstreamd\\-{word}")), "{word}");
        let completions = tool(&["completions", "bash"]).output().unwrap();
        assert!(String::from_utf8_lossy(&completions.stdout).contains(&format!("pushstreamd,{word}")), "{word}");
    }
    assert!(Path::new(&binary()).exists());
}
