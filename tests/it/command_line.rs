//! nginx's own habits on the command line, driven against the real binary: start, test, reload, reopen, quit, stop.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Prefix, Running, binary, eventually, exchange, free_port, said};
use nix::sys::signal::Signal;

#[test]
fn a_good_configuration_is_tested_with_the_words_of_nginx() {
    let prefix = Prefix::new("t-good");
    prefix.write_conf("", "");
    let file = prefix.path("nginx.conf");
    let file = file.display();
    let words = format!(
        "pushstreamd: the configuration file {file} syntax is ok\n\
         pushstreamd: configuration file {file} test is successful\n"
    );
    let output = prefix.run(&["-t", "--strict"]);
    assert!(output.status.success());
    assert_eq!(said(&output), words);
    let port = prefix.port;
    let table = format!(
        "pushstreamd: [info] the wire is that of 0.5 and 0.6, by no word of an older version\n\
         pushstreamd: [notice] 127.0.0.1:{port} ({file}:10) is served: push locations of the server in {file}:9\n"
    );
    assert_eq!(said(&prefix.run(&["-t"])), table + &words);
    assert!(prefix.path("logs/error.log").exists(), "-t opens the logs");
    assert!(prefix.path("logs/access.log").exists(), "-t opens the logs");
    assert!(!prefix.path("logs/nginx.pid").exists(), "-t leaves no pid file");
    assert_eq!(said(&prefix.run(&["-t", "-q"])), "");
    let dump = prefix.run(&["-T"]);
    assert!(dump.status.success());
    assert!(String::from_utf8_lossy(&dump.stdout).starts_with(&format!("# configuration file {file}:\npid logs")));
}

#[test]
fn a_bad_configuration_fails_the_test_and_the_start() {
    let prefix = Prefix::new("t-bad");
    prefix.write("nginx.conf", "events {}\nhttp { push_stream_nonsense on; }\n");
    let file = prefix.path("nginx.conf");
    let emerg = format!("pushstreamd: [emerg] unknown directive \"push_stream_nonsense\" in {}:2\n", file.display());
    let failed = format!("pushstreamd: configuration file {} test failed\n", file.display());
    for words in [&["-t"][..], &["-t", "-q"], &["-T"]] {
        let output = prefix.run(words);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(said(&output), format!("{emerg}{failed}"));
    }
    let output = prefix.run(&["-e", "early.log"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(said(&output), emerg);
    assert!(prefix.read("early.log").contains("[emerg] "), "-e takes what happens before the configuration is read");
}

#[test]
fn a_log_that_cannot_be_opened_fails_the_test() {
    let prefix = Prefix::new("t-log");
    prefix.write_conf("", "");
    fs::remove_dir_all(prefix.path("logs")).unwrap();
    let output = prefix.run(&["-t"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("failed (2: No such file or directory)"), "{}", said(&output));
    assert!(said(&output).contains("test failed"));
}

#[test]
fn global_directives_count_and_may_not_be_repeated() {
    let prefix = Prefix::new("g");
    prefix.write_conf("", "");
    assert!(prefix.run(&["-t", "-g", "worker_processes 2; daemon off;"]).status.success());
    let output = prefix.run(&["-t", "-g", "pid other.pid;"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("[emerg] \"pid\" directive is duplicate in "), "{}", said(&output));
}

#[test]
fn wrong_words_are_told_in_the_words_of_nginx() {
    let prefix = Prefix::new("words");
    prefix.write_conf("", "");
    for (words, line) in [
        (&["-s", "foo"][..], "pushstreamd: invalid option: \"-s foo\"\n"),
        (&["-x"], "pushstreamd: invalid option: \"x\"; pushstreamd --help tells what there is\n"),
        (&["foo"], "pushstreamd: invalid option: \"foo\"; pushstreamd --help tells what there is\n"),
        (&["-g"], "pushstreamd: option \"-g\" requires parameter\n"),
    ] {
        let output = prefix.run(words);
        assert_eq!((output.status.code(), said(&output).as_str()), (Some(1), line));
    }
    let output = prefix.run(&["-s", "reload"]);
    assert_eq!(output.status.code(), Some(1));
    let pid = prefix.path("logs/nginx.pid");
    let line = format!("pushstreamd: [error] open() \"{}\" failed (2: No such file or directory); ", pid.display());
    assert!(said(&output).starts_with(&line) && said(&output).ends_with("another -c or -p\n"), "{}", said(&output));
    prefix.write("logs/nginx.pid", "\n");
    let output = prefix.run(&["-s", "stop"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("[error] invalid PID number \"\" in "), "{}", said(&output));
}

#[test]
fn version_help_completions_and_manual_are_printed() {
    let prefix = Prefix::new("help");
    let output = prefix.run(&["-v"]);
    assert!(output.status.success() && said(&output).starts_with("pushstreamd version: pushstreamd/"));
    let output = prefix.run(&["-V"]);
    assert!(output.status.success() && said(&output).contains("nginx-push-stream-module"));
    assert!(said(&output).contains("\nallocator: jemalloc "), "{}", said(&output));
    for flag in ["-h", "-?"] {
        let output = prefix.run(&[flag]);
        assert!(output.status.success() && said(&output).contains("Usage:"), "{flag}: {}", said(&output));
    }
    let stdout = |words: &[&str]| {
        let output = prefix.run(words);
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(stdout(&["--help"]).contains("Usage:"));
    assert!(stdout(&["completions", "bash"]).contains("_pushstreamd"));
    assert!(stdout(&["completions", "zsh"]).contains("#compdef pushstreamd"));
    assert!(stdout(&["completions", "fish"]).contains("complete -c pushstreamd"));
    assert!(stdout(&["man"]).contains(".TH pushstreamd"));
    assert_eq!(stdout(&["man", "--dir", prefix.dir.to_str().unwrap()]), "");
    for page in ["pushstreamd.1", "pushstreamd-migrate.1"] {
        assert!(fs::read_to_string(prefix.path(page)).unwrap().contains(".TH pushstreamd"), "{page}");
    }
}

#[test]
fn without_a_file_named_the_configuration_is_looked_for_in_both_usual_places() {
    let prefix = Prefix::new("places");
    let tested = |file: &str| {
        let output = Command::new(binary()).arg("-t").arg("-p").arg(&prefix.dir).output().unwrap();
        said(&output).contains(&format!("{} test is successful", prefix.path(file).display()))
    };
    prefix.write_conf("", "");
    assert!(tested("nginx.conf"));
    fs::create_dir(prefix.path("conf")).unwrap();
    fs::copy(prefix.path("nginx.conf"), prefix.path("conf/nginx.conf")).unwrap();
    assert!(tested("conf/nginx.conf"));
}

#[test]
fn a_log_that_root_makes_by_a_test_belongs_to_whom_its_directory_does() {
    let prefix = Prefix::new("test-logs");
    prefix.write_conf("error_log logs/made.log;", "");
    if !nix::unistd::Uid::effective().is_root() {
        // Nobody else could give it away.
        return;
    }
    std::os::unix::fs::chown(prefix.path("logs"), Some(65532), Some(65532)).unwrap();
    let output = prefix.run(&["-t"]);
    assert!(output.status.success(), "{}", said(&output));
    let owner = fs::metadata(prefix.path("logs/made.log")).unwrap();
    assert_eq!((owner.uid(), owner.gid()), (65532, 65532));
}

#[test]
fn a_server_in_the_background_is_reloaded_and_stopped_by_its_pid_file() {
    let prefix = Prefix::new("daemon");
    prefix.write_conf("worker_processes 2;", "");
    let output = prefix.run(&[]);
    assert!(output.status.success(), "{}", said(&output));
    prefix.wait_until_serving();
    let pid = prefix.pid().unwrap();
    prefix.publish("a", "one");
    prefix.write_conf("worker_processes 2;", "add_header X-New yes;");
    assert!(prefix.run(&["-s", "reload"]).status.success());
    eventually("the new header", || prefix.request("GET", "/pub?id=a", "").unwrap().contains("X-New: yes"));
    assert_eq!(prefix.pid(), Some(pid));
    assert!(prefix.run(&["-s", "stop"]).status.success());
    eventually("the pid file is gone", || prefix.pid().is_none());
    eventually("the port is closed", || TcpStream::connect(("127.0.0.1", prefix.port)).is_err());
}

#[test]
fn logs_are_reopened_after_rotation() {
    let prefix = Prefix::new("reopen");
    prefix.write_conf("", "");
    let mut server = prefix.start(&[]);
    prefix.publish("before", "x");
    eventually("a line in the access log", || prefix.read("logs/access.log").contains("id=before"));
    for log in ["logs/access.log", "logs/error.log"] {
        fs::rename(prefix.path(log), prefix.path(&format!("{log}.1"))).unwrap();
    }
    assert!(prefix.run(&["-s", "reopen"]).status.success());
    eventually("a new error log", || prefix.path("logs/error.log").exists());
    eventually("a line in the new access log", || {
        prefix.publish("after", "x");
        prefix.read("logs/access.log").contains("id=after")
    });
    assert!(!prefix.read("logs/access.log").contains("id=before"));
    assert!(prefix.run(&["-s", "quit"]).status.success());
    assert!(server.wait().success());
    assert!(!prefix.path("logs/nginx.pid").exists());
}

/// Runs a command line of the shell in which `$P` is the program.
fn shell(prefix: &Prefix, line: &str) -> std::process::Output {
    let mut command = Command::new("bash");
    command.args(["-o", "pipefail", "-c", line]).env("P", binary()).current_dir(&prefix.dir);
    command.output().unwrap()
}

#[test]
fn whoever_prints_to_nobody_does_not_panic() {
    let prefix = Prefix::new("nobody");
    prefix.write_conf("", "");
    let conf = prefix.path("nginx.conf");
    let conf = conf.to_str().unwrap();
    let words = [
        "--print-default-config",
        "--help",
        "-h",
        "-V",
        "man",
        "completions zsh",
        "-t -p .",
        "-T -p .",
        "-x",
        "health 1",
    ];
    let migrate = format!("migrate -c {conf}");
    for words in words.iter().copied().chain([&*migrate]) {
        for line in [
            format!("$P {words} | head -c 1"),
            format!("$P {words} 2>&1 | true"),
            format!("$P {words} >/dev/full"),
            format!("$P {words} 2>/dev/full"),
            format!("$P {words} >&- 2>&-"),
        ] {
            let output = shell(&prefix, &line);
            let code = output.status.code();
            assert!(matches!(code, Some(0 | 1)), "{line}: {code:?} {}", said(&output));
            assert!(!said(&output).contains("panicked"), "{line}: {}", said(&output));
        }
    }
    let output = shell(&prefix, "$P --print-default-config >/dev/full");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("nothing can be written to standard output"), "{}", said(&output));
}

#[test]
fn an_operators_listener_on_a_port_of_a_server_fails_the_test_and_the_start() {
    let prefix = Prefix::new("same-port");
    prefix.write_conf("", &format!("push_stream_status {};", prefix.port));
    let wanted = format!("[emerg] \"push_stream_status\" wants 127.0.0.1:{}, which \"listen\" ", prefix.port);
    for words in [&["-t"][..], &["-g", "daemon off;"]] {
        let output = prefix.run(words);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(&wanted), "{}", said(&output));
    }
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    prefix.write_conf("", &format!("push_stream_status {port};"));
    assert!(prefix.run(&["-t"]).status.success(), "a busy port is no mistake of the configuration");
    let output = prefix.run(&["-g", "daemon off;"]);
    let held = format!(" (pid {})\n", std::process::id());
    let lines = said(&output);
    let line = lines.lines().find(|line| line.contains("98: Address already in use")).unwrap();
    assert!(line.contains("; it is held by ") && (line.to_owned() + "\n").ends_with(&held), "{line}");
}

#[test]
fn a_file_with_a_byte_order_mark_is_told_for_what_it_is() {
    let prefix = Prefix::new("mark");
    prefix.write_conf("", "");
    let conf = fs::read(prefix.path("nginx.conf")).unwrap();
    for mark in [&b"\xef\xbb\xbf"[..], b"\xff\xfe"] {
        fs::write(prefix.path("nginx.conf"), [mark, &conf].concat()).unwrap();
        let output = prefix.run(&["-t"]);
        assert!(said(&output).contains("[emerg] the file begins with a byte order mark"), "{}", said(&output));
    }
}

#[test]
fn quit_says_farewell_and_ends_with_success() {
    let prefix = Prefix::new("quit");
    prefix.write_conf("", "push_stream_footer_template BYE;");
    let mut server = prefix.start(&[]);
    let mut subscriber = prefix.subscribe("a");
    assert!(prefix.run(&["-s", "quit"]).status.success());
    subscriber.until_line("BYE");
    assert!(server.wait().success());
    prefix.error_log_has("signal 3 (SIGQUIT) received, shutting down");
}

#[test]
fn a_busy_port_is_tried_five_times() {
    let prefix = Prefix::new("busy");
    prefix.write_conf("", "");
    let _taken = TcpListener::bind(("127.0.0.1", prefix.port)).unwrap();
    let begin = Instant::now();
    let output = prefix.run(&["-g", "daemon off;"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(begin.elapsed() >= Duration::from_secs(2));
    let try_line =
        format!("pushstreamd: [emerg] bind() to 127.0.0.1:{} failed (98: Address already in use)\n", prefix.port);
    let holder = format!(" (pid {})\n", std::process::id());
    let (lines, told): (Vec<&str>, Vec<&str>) = {
        let text = said(&output);
        let text: &str = text.leak();
        text.split_inclusive('\n').partition(|line| !line.contains(" is held by "))
    };
    assert_eq!(lines.concat(), try_line.repeat(5) + "pushstreamd: [emerg] still could not bind()\n");
    assert!(told.len() == 1 && told[0].ends_with(&holder), "who holds it is said once: {told:?}");
    assert!(!prefix.path("logs/nginx.pid").exists());
    assert!(prefix.run(&["-t"]).status.success(), "a busy port is no mistake of the configuration");
}

#[test]
fn a_second_server_does_not_take_the_pid_file_of_the_first() {
    let prefix = Prefix::new("double");
    prefix.write_conf("worker_processes 2;", "");
    let server = prefix.start(&[]);
    assert_eq!(prefix.run(&["-g", "daemon off;"]).status.code(), Some(1));
    assert_eq!(prefix.pid(), Some(server.0.id() as i32));
    prefix.publish("a", "still here");
}

#[test]
fn a_new_binary_takes_over_without_refusing_a_connection() {
    let prefix = Prefix::new("usr2");
    prefix.write_conf("worker_processes 2;", "");
    let mut old = prefix.start(&[]);
    let old_pid = old.0.id() as i32;
    let port = prefix.port;
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let client = std::thread::spawn({
        let over = std::sync::Arc::clone(&over);
        move || {
            let mut answered = 0;
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                let answer = exchange(port, "POST", "/pub?id=a", "x").unwrap();
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                answered += 1;
            }
            answered
        }
    });
    old.signal(Signal::SIGUSR2);
    eventually("the successor's pid file", || prefix.pid().is_some_and(|pid| pid != old_pid));
    assert_eq!(prefix.read("logs/nginx.pid.oldbin").trim(), old_pid.to_string());
    let new_pid = prefix.pid().unwrap();
    old.signal(Signal::SIGQUIT);
    assert!(old.wait().success());
    assert!(!prefix.path("logs/nginx.pid.oldbin").exists());
    std::thread::sleep(Duration::from_millis(300));
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(client.join().unwrap() > 0);
    assert_eq!(prefix.pid(), Some(new_pid));
    assert!(prefix.run(&["-s", "stop"]).status.success());
    eventually("the port is closed", || TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn a_new_binary_that_does_not_start_changes_nothing() {
    let prefix = Prefix::new("usr2-bad");
    prefix.write_conf("", "");
    let server = prefix.start(&[]);
    prefix.write("nginx.conf", "nonsense");
    server.signal(Signal::SIGUSR2);
    prefix.error_log_has("the new binary process");
    eventually("the pid file is back", || prefix.pid() == Some(server.0.id() as i32));
    assert!(!prefix.path("logs/nginx.pid.oldbin").exists());
    prefix.publish("a", "still here");
}

#[test]
fn sockets_of_systemd_are_used() {
    let prefix = Prefix::new("listen-fds");
    prefix.write_conf("worker_processes 2;", "");
    let listener = TcpListener::bind(("127.0.0.1", prefix.port)).unwrap();
    // A shell gives the socket number 3 and its own pid, as systemd does.
    let script = "exec 3<&\"$SOCKET\"; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";
    let copy = nix::unistd::dup(&listener).unwrap();
    let command = prefix.command(&["-g", "daemon off;"]);
    let child = std::process::Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .env("SOCKET", std::os::fd::AsRawFd::as_raw_fd(&copy).to_string())
        .spawn()
        .unwrap();
    drop((copy, listener));
    let _server = Running(child);
    prefix.wait_until_serving();
    for _ in 0..20 {
        prefix.publish("a", "x");
    }
}

#[test]
fn ports_of_a_site_are_left_to_nginx() {
    let prefix = Prefix::new("foreign");
    let site = free_port();
    let server = format!("server {{ listen 127.0.0.1:{site}; location / {{ proxy_pass http://127.0.0.1:1; }} }}");
    prefix.write_conf("", &server);
    let said_by_test = said(&prefix.run(&["-t"]));
    assert!(said_by_test.contains(&format!("[notice] 127.0.0.1:{site} (")), "{said_by_test}");
    assert!(said_by_test.contains("is left to nginx because of \"proxy_pass\""), "{said_by_test}");
    {
        let _server = prefix.start(&[]);
        assert!(TcpStream::connect(("127.0.0.1", site)).is_err());
    }
    let _server = prefix.start(&["--take-over"]);
    assert!(exchange(site, "GET", "/", "").unwrap().starts_with("HTTP/1.1 502"));
}

#[test]
fn connections_beyond_worker_connections_are_refused_politely() {
    let prefix = Prefix::new("full");
    prefix.write_conf("", "");
    let conf = prefix.read("nginx.conf").replace("worker_connections 20000", "worker_connections 2");
    prefix.write("nginx.conf", &conf);
    let _server = prefix.start(&[]);
    eventually("the connections of the start are gone", || prefix.request("GET", "/pub?id=a", "").is_ok());
    let subscribers = [prefix.subscribe("a"), prefix.subscribe("a")];
    let mut answer = String::new();
    let mut refused = TcpStream::connect(("127.0.0.1", prefix.port)).unwrap();
    std::io::Read::read_to_string(&mut refused, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    prefix.error_log_has("2 worker_connections are not enough");
    drop(subscribers);
    eventually("room again", || {
        prefix.request("GET", "/pub?id=a", "").is_ok_and(|answer| !answer.starts_with("HTTP/1.1 503"))
    });
}
