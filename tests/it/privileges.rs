//! A server started by root that becomes another user: who may do what afterwards, and that reloads, rotated logs, new binaries
//! and the end need nothing that this user has not.
//!
//! Only root can start such a server; elsewhere there is nothing to be tested.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Group, Pid, Uid, User};

use crate::support::{Prefix, Running, binary, eventually, exchange, free_port, nginx};
use crate::tls_server::self_signed;

/// Sockets below 1024 are root's to bind.
fn low_port() -> u16 {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (600..1000).rev().find(free).expect("a port below 1024")
}

/// What a thread may do: its name, user, and capabilities in effect and kept.
#[derive(Debug, PartialEq, Eq)]
struct Thread {
    name: String,
    user: u32,
    effective: u64,
    permitted: u64,
}

fn threads(process: i32) -> Vec<(i32, Thread)> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let mut threads: Vec<_> = tasks
        .filter_map(|task| {
            let id = task.unwrap().file_name().into_string().unwrap();
            let status = fs::read_to_string(format!("/proc/{process}/task/{id}/status")).ok()?;
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                line.split_whitespace().next().unwrap_or_default().to_owned()
            };
            let set = |name| u64::from_str_radix(&field(name), 16).unwrap();
            let thread = Thread {
                name: field("Name:"),
                user: field("Uid:").parse().unwrap(),
                effective: set("CapEff:"),
                permitted: set("CapPrm:"),
            };
            Some((id.parse().unwrap(), thread))
        })
        .collect();
    threads.sort_by_key(|(id, _)| *id);
    threads
}

/// Those that files need: DAC_OVERRIDE, FOWNER.
const FILES: u64 = 1 << 1 | 1 << 3;

/// Nobody's privileges, but for what the main thread has put away and what the log's has for its files. A worker renounces what it
/// was born with before it serves, under a name that its thread takes just before: both are waited for.
fn assert_put_away(process: i32, user: u32) {
    eventually("two workers serve, and can take up nothing", || {
        let threads = threads(process);
        let mut workers = threads.iter().filter(|(_, thread)| thread.name.starts_with("worker-"));
        workers.clone().count() == 2 && workers.all(|(_, thread)| thread.permitted == 0)
    });
    for (id, thread) in threads(process) {
        let effective = if thread.name == "log" { FILES } else { 0 };
        assert_eq!((thread.user, thread.effective), (user, effective), "{thread:?}");
        if id == process {
            // CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID, NET_BIND_SERVICE
            assert_eq!(thread.permitted, 1 | 1 << 1 | 1 << 3 | 1 << 6 | 1 << 7 | 1 << 10);
        }
    }
}

/// A prefix that everybody may enter, as those of the other tests need not be; none where this process is not root.
fn prefix(name: &str) -> Option<Prefix> {
    if !Uid::effective().is_root() {
        eprintln!("only root can become another user: not tested");
        return None;
    }
    let dir = std::env::temp_dir().join(format!("pushstreamd-privileges-{name}-{}", std::process::id()));
    for name in ["logs", "keys", "private/logs", "private/site", "site"] {
        fs::create_dir_all(dir.join(name)).unwrap();
    }
    for name in ["keys", "private"] {
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o700)).unwrap();
    }
    Some(Prefix { dir, port: free_port() })
}

fn nobody() -> User {
    User::from_name("nobody").unwrap().expect("Debian has it")
}

#[test]
fn whoever_serves_has_no_privileges_and_nothing_needs_them() {
    let Some(prefix) = prefix("user") else { return };
    let user = nobody().uid.as_raw();
    self_signed(&prefix.path("keys"), "own");
    let (tls, low) = (free_port(), low_port());
    let conf = |low: &str| {
        format!(
            "user nobody; worker_processes 2; pid @DIR@/logs/nginx.pid; error_log @DIR@/logs/error.log info; events {{}}
            http {{
                access_log @DIR@/logs/access.log; push_stream_shared_memory_size 8m;
                server {{
                    listen 127.0.0.1:@PORT@; listen 127.0.0.1:{tls} ssl; {low}
                    ssl_certificate @DIR@/keys/own.crt; ssl_certificate_key @DIR@/keys/own.key;
                    location /pub {{ push_stream_publisher admin; push_stream_channels_path $arg_id; }}
                    location /sub {{ push_stream_subscriber; push_stream_channels_path $arg_id; }}
                }}
            }}"
        )
    };
    prefix.configure(&conf(""));
    let mut running = prefix.start(&[]);
    let process = prefix.pid().unwrap();
    assert_put_away(process, user);

    // Keys of root alone, another port below 1024, and the user directive read again.
    prefix.configure(&conf(&format!("listen 127.0.0.1:{low};")));
    running.signal(Signal::SIGHUP);
    prefix.error_log_has("reconfigured");
    eventually("the low port is served", || TcpStream::connect((Ipv4Addr::LOCALHOST, low)).is_ok());
    let log = prefix.read("logs/error.log");
    assert!(!log.contains("needs a restart") && !log.contains("makes sense only"), "{log}");
    assert_put_away(process, user);

    // Logs that are moved away, in a directory that is root's.
    for name in ["access.log", "error.log"] {
        fs::rename(prefix.path("logs").join(name), prefix.path("logs").join(format!("{name}.1"))).unwrap();
    }
    running.signal(Signal::SIGUSR1);
    eventually("both are made anew", || {
        ["access.log", "error.log"].iter().all(|name| prefix.path("logs").join(name).exists())
    });
    assert_eq!(fs::metadata(prefix.path("logs/access.log")).unwrap().uid(), user);
    // Each worker opens it anew in its own time.
    eventually("a worker writes to it", || {
        prefix.publish("a", "text");
        prefix.read("logs/access.log").contains("POST /pub?id=a")
    });

    // A new binary begins as this one did, and the old one ends.
    running.signal(Signal::SIGUSR2);
    eventually("the new one has its name", || prefix.pid().is_some_and(|pid| pid != process));
    assert!(prefix.path("logs/nginx.pid.oldbin").exists());
    let successor = prefix.pid().unwrap();
    assert_put_away(successor, user);
    running.signal(Signal::SIGQUIT);
    assert!(running.wait().success());
    eventually("the old name is gone", || !prefix.path("logs/nginx.pid.oldbin").exists());
    eventually("the new one answers", || {
        exchange(low, "POST", "/pub?id=a", "x").is_ok_and(|answer| answer.contains(" 200 "))
    });
    kill(Pid::from_raw(successor), Signal::SIGTERM).unwrap();
    eventually("it takes its pid file along", || !prefix.path("logs/nginx.pid").exists());
    eventually("it ends", || kill(Pid::from_raw(successor), None).is_err());
}

/// Everything where only root may go; `main` is what is said of the user.
fn private(prefix: &Prefix, main: &str) {
    for site in ["site", "private/site"] {
        prefix.write(&format!("{site}/page.txt"), "text");
    }
    prefix.configure(&format!(
        "{main} worker_processes 2; pid @DIR@/private/nginx.pid; error_log @DIR@/private/logs/error.log info; events {{}}
        http {{
            access_log @DIR@/private/logs/access.log; access_log /dev/stdout;
            push_stream_shared_memory_size 8m; push_stream_state @DIR@/private/state;
            server {{
                listen 127.0.0.1:@PORT@; listen unix:@DIR@/private/socket;
                location /pub {{ push_stream_publisher admin; push_stream_channels_path $arg_id; push_stream_store_messages on; }}
                location /site {{ root @DIR@; }}
                location /private/site {{ root @DIR@; }}
            }}
        }}"
    ));
}

/// Starts it; standard output is a file of root's, as a container's is a pipe of root's.
fn start(prefix: &Prefix) -> Running {
    let output = fs::File::create(prefix.path("output")).unwrap();
    output.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    let running = Running(prefix.command(&["--take-over", "-g", "daemon off;"]).stdout(output).spawn().unwrap());
    eventually("it serves", || prefix.request("GET", "/site/page.txt", "").is_ok());
    running
}

fn status(prefix: &Prefix, uri: &str) -> String {
    prefix.request("GET", uri, "").unwrap()[9..12].to_owned()
}

#[test]
fn root_becomes_nobody_unless_it_is_told_otherwise_and_keeps_logs_and_messages_where_it_had_them() {
    let Some(prefix) = prefix("default") else { return };
    private(&prefix, "");
    let running = start(&prefix);
    let process = running.0.id().try_into().unwrap();
    let user = nobody();
    assert_put_away(process, user.uid.as_raw());
    let group = ["nobody", "nogroup"].iter().find_map(|name| Group::from_name(name).unwrap()).expect("Debian has one");
    let told = fs::read_to_string(running.proc("status")).unwrap();
    let groups = |name| told.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().replace('\t', " ");
    assert_eq!(groups("Gid:"), [group.gid.to_string().as_str(); 4].join(" "));
    assert_eq!(groups("Groups:"), group.gid.to_string(), "none of root's");

    // Sites are read by whoever serves them.
    assert_eq!(
        (status(&prefix, "/site/page.txt"), status(&prefix, "/private/site/page.txt")),
        ("200".into(), "403".into())
    );

    // A log is written where only root can make it, before and after a rotation.
    let log = "private/logs/access.log";
    eventually("both logs have the line", || {
        [log, "output"].iter().all(|name| prefix.read(name).contains("GET /private/site/page.txt"))
    });
    fs::rename(prefix.path(log), prefix.path("private/logs/access.log.1")).unwrap();
    running.signal(Signal::SIGUSR1);
    eventually("it is made anew", || prefix.path(log).exists());
    prefix.publish("a", "first");
    // Each worker opens it anew in its own time.
    eventually("lines go there", || {
        status(&prefix, "/pub?id=a") == "200" && prefix.read(log).contains("GET /pub?id=a")
    });

    // A directory of messages that is lost is made again beside what is root's, and what it holds is served by the next process.
    fs::remove_dir_all(prefix.path("private/state")).unwrap();
    eventually("it is there again", || prefix.path("private/state/lock").exists());
    prefix.publish("a", "second");
    let mut running = running;
    running.signal(Signal::SIGQUIT);
    assert!(running.wait().success());
    for name in ["private/nginx.pid", "private/socket"] {
        assert!(!prefix.path(name).exists(), "{name} is left behind");
    }
    assert_eq!(fs::metadata(prefix.path("private/state")).unwrap().uid(), user.uid.as_raw());
    let log = prefix.read("private/logs/error.log");
    let denied = log.lines().filter(|line| line.contains("Permission denied") && !line.contains("page.txt"));
    assert!(denied.count() == 0 && !log.contains("[emerg]"), "{log}");
    let _running = start(&prefix);
    assert!(prefix.request("GET", "/pub?id=a", "").unwrap().contains("\"stored_messages\": 2"));
}

/// nginx with its workers; a master that is killed would leave them behind.
struct Nginx(Running);

impl Drop for Nginx {
    fn drop(&mut self) {
        self.0.signal(Signal::SIGTERM);
        self.0.wait();
    }
}

#[test]
fn files_that_requests_name_are_made_by_whoever_serves_as_with_nginx() {
    let (Some(own), Some(other)) = (prefix("names"), prefix("names-nginx")) else { return };
    for prefix in [&own, &other] {
        for (name, mode) in [("open", 0o777), ("shut", 0o700)] {
            fs::create_dir_all(prefix.path(name)).unwrap();
            fs::set_permissions(prefix.path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        prefix.configure(
            "user nobody nogroup; daemon off; pid @DIR@/private/nginx.pid; error_log @DIR@/private/logs/error.log info; events {}
            http {
                client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
                access_log @DIR@/open/$arg_name.log; access_log @DIR@/shut/$arg_name.log; access_log @DIR@/shut/fixed.log;
                server { listen 127.0.0.1:@PORT@; root @DIR@/site; return 204; }
            }",
        );
    }
    let _own = Running(own.command(&["--take-over"]).stderr(Stdio::null()).spawn().unwrap());
    let mut there = Command::new(nginx());
    there
        .arg("-p")
        .arg(&other.dir)
        .arg("-c")
        .arg(other.path("nginx.conf"))
        .arg("-e")
        .arg(other.path("private/logs/error.log"));
    let _other = Nginx(Running(there.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()));
    let told = [&own, &other].map(|prefix| {
        eventually("it serves", || prefix.request("GET", "/?name=a", "").is_ok());
        eventually("it has logged", || prefix.read("open/a.log").contains("GET /?name=a"));
        let made = fs::metadata(prefix.path("open/a.log")).unwrap();
        let refused = "open() \"@DIR@/shut/a.log\" failed (13: Permission denied)"
            .replace("@DIR@", &prefix.dir.to_string_lossy());
        eventually("it has told what it cannot open", || prefix.read("private/logs/error.log").contains(&refused));
        // That of a fixed name was opened by root, before.
        eventually("the other log has the line", || prefix.read("shut/fixed.log").contains("GET /?name=a"));
        (made.uid(), made.mode(), prefix.path("shut/a.log").exists())
    });
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], (nobody().uid.as_raw(), 0o100_644, false));
}

#[test]
fn root_stays_root_where_the_configuration_says_so() {
    let Some(prefix) = prefix("root") else { return };
    private(&prefix, "user root;");
    let running = start(&prefix);
    assert_eq!(status(&prefix, "/private/site/page.txt"), "200");
    for (_, thread) in threads(running.0.id().try_into().unwrap()) {
        assert!(thread.user == 0 && thread.effective & FILES == FILES, "{thread:?}");
    }
}

#[test]
fn root_without_the_means_to_become_another_stays_what_it_is_and_says_so() {
    let Some(prefix) = prefix("bounded") else { return };
    private(&prefix, "");
    let output = prefix.path("stderr");
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set", "-setuid,-setgid", "--inh-caps", "-setuid,-setgid"])
        .arg(binary())
        .arg("-p")
        .arg(&prefix.dir);
    command
        .args(["-c", "nginx.conf", "--take-over", "-g", "daemon off;"])
        .stdout(Stdio::null())
        .stderr(fs::File::create(output).unwrap());
    let mut running = Running(command.spawn().expect("setpriv is part of util-linux"));
    eventually("it serves, or has ended", || {
        running.ended().is_some() || prefix.request("GET", "/site/page.txt", "").is_ok()
    });
    assert_eq!(running.ended(), None, "{}", prefix.read("stderr"));
    assert!(
        prefix.read("stderr").contains("[warn] the process may not become \"nobody\""),
        "{}",
        prefix.read("stderr")
    );
}
