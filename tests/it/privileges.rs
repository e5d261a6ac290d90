//! A server started by root that becomes another user: who may do what afterwards, and that reloads, rotated logs, new binaries
//! and the end need nothing that this user has not.
//!
//! Only root can start such a server; elsewhere there is nothing to be tested.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User};

use crate::support::{Prefix, eventually, exchange, free_port};
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

/// Nobody's privileges, but for what the main thread has put away. A worker renounces what it was born with before it serves,
/// under a name that its thread takes just before: both are waited for.
fn assert_put_away(process: i32, user: u32) {
    eventually("two workers serve, and can take up nothing", || {
        let threads = threads(process);
        let mut workers = threads.iter().filter(|(_, thread)| thread.name.starts_with("worker-"));
        workers.clone().count() == 2 && workers.all(|(_, thread)| thread.permitted == 0)
    });
    for (id, thread) in threads(process) {
        assert_eq!((thread.user, thread.effective), (user, 0), "{thread:?}");
        if id == process {
            // CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID, NET_BIND_SERVICE
            assert_eq!(thread.permitted, 1 | 1 << 1 | 1 << 3 | 1 << 6 | 1 << 7 | 1 << 10);
        }
    }
}

#[test]
fn whoever_serves_has_no_privileges_and_nothing_needs_them() {
    if !Uid::effective().is_root() {
        eprintln!("only root can become another user: not tested");
        return;
    }
    let user = User::from_name("nobody").unwrap().expect("Debian has it").uid.as_raw();
    let dir = std::env::temp_dir().join(format!("pushstreamd-privileges-{}", std::process::id()));
    fs::create_dir_all(dir.join("logs")).unwrap();
    fs::create_dir_all(dir.join("keys")).unwrap();
    let prefix = Prefix { dir, port: free_port() };
    self_signed(&prefix.path("keys"), "own");
    fs::set_permissions(prefix.path("keys"), fs::Permissions::from_mode(0o700)).unwrap();
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
    prefix.publish("a", "text");
    eventually("a worker writes to it", || prefix.read("logs/access.log").contains("POST /pub?id=a"));

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
