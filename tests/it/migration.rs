//! `pushstreamd migrate`, applied: what it prints is done to the layouts there are, word for word, and Debian's nginx keeps the
//! site and passes push requests on.
//!
//! Needs nginx in one of the usual places.

mod sites;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::{
    Client, PATIENCE, Prefix, Running, Socket, eventually, exchange, free_port, nginx, request, said,
};

const SUB: &str = "location ~ ^/sub/(.*)$ {
    push_stream_subscriber;
    push_stream_channels_path $1;
    push_stream_message_template '{\"text\":\"~text~\"}\\n';
}";
const PUB: &str = "location = /pub {
    push_stream_publisher admin;
    push_stream_channels_path $arg_id;
    allow 127.0.0.1;
    deny all;
}";
const WS: &str = "location ~ ^/ws/(.*)$ {
    push_stream_subscriber websocket;
    push_stream_channels_path $1;
}";

/// nginx's files below `etc`, and pushstreamd's below `own`.
struct Machine {
    prefix: Prefix,
    nginx: &'static str,
    /// First local port of `migrate`.
    local: u16,
    /// nginx's prefix.
    front: PathBuf,
    running: Vec<Running>,
}

impl Machine {
    fn new(name: &str) -> Self {
        let nginx = nginx();
        let prefix = Prefix::new(name);
        for directory in ["own", "log", "run", "www", "etc/conf.d"] {
            fs::create_dir_all(prefix.path(directory)).unwrap();
        }
        prefix.write("www/page.txt", "the site");
        let front = prefix.dir.clone();
        Self { prefix, nginx, local: free_port(), front, running: Vec::new() }
    }

    /// Writes nginx's files, with the places of this machine in them.
    fn write(&self, name: &str, text: &str) {
        let text =
            text.replace("@DIR@", &self.prefix.dir.to_string_lossy()).replace("@PORT@", &self.prefix.port.to_string());
        self.prefix.write(name, &text);
    }

    fn migrate(&self, file: &str, part: &str) -> String {
        let port = self.local.to_string();
        let file = self.prefix.path(file);
        let words = ["migrate", "-c", file.to_str().unwrap(), "--port", &port, "--print", part];
        let output = Command::new(crate::support::binary()).args(words).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Does what is printed, and starts both programs.
    fn divide(&mut self, file: &str) {
        let (said_to_nginx, own) = (self.migrate(file, "nginx"), self.migrate(file, "own"));
        apply(&said_to_nginx);
        self.prefix.write("own/nginx.conf", &own);
        let tested = self.pushstreamd(&["-t"]).output().unwrap();
        assert!(tested.status.success(), "{}\n{own}", said(&tested));
        let server = self.pushstreamd(&["-g", "daemon off;"]).stdin(Stdio::null()).spawn().unwrap();
        self.running.push(Running(server));
        let local = self.local;
        eventually("pushstreamd serves", || TcpStream::connect(("127.0.0.1", local)).is_ok());
        let front = self.front.to_str().unwrap();
        let file = self.prefix.path(file);
        let log = self.prefix.path("log/front.log");
        let words = ["-p", front, "-c", file.to_str().unwrap(), "-e", log.to_str().unwrap()];
        let tested = Command::new(self.nginx).args(words).arg("-t").output().unwrap();
        assert!(tested.status.success(), "{}\n{said_to_nginx}", said(&tested));
        let daemon = if fs::read_to_string(&file).unwrap().contains("daemon off;") { "" } else { "daemon off;" };
        let front = Command::new(self.nginx).args(words).args(["-g", &format!("{daemon} master_process off;")]).spawn();
        self.running.push(Running(front.unwrap()));
        let port = self.prefix.port;
        eventually("nginx serves", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    /// pushstreamd as docs/MIGRATION.md starts it; its prefix stands for /etc/pushstreamd.
    fn pushstreamd(&self, words: &[&str]) -> Command {
        let mut command = Command::new(crate::support::binary());
        command.arg("-p").arg(self.prefix.path("own")).arg("-c").arg(self.prefix.path("own/nginx.conf")).args(words);
        command
    }

    /// The site is served, and what is published comes to subscribers of these ports.
    fn assert_whole(&self, ports: &[u16]) {
        assert!(exchange(self.prefix.port, "GET", "/page.txt", "").unwrap().ends_with("the site"));
        let mut readers: Vec<Client> = ports.iter().map(|port| subscribed(*port)).collect();
        self.prefix.publish_at("/pub?id=a", "first");
        for reader in &mut readers {
            reader.until("{\"text\":\"first\"}");
        }
    }

    /// The values of a response field.
    fn field(&self, uri: &str, name: &str) -> Vec<String> {
        let mut client = connected(self.prefix.port);
        client.send(request("GET", uri, ""));
        let head = client.head();
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
    }
}

/// Does to the files what the text says, and nothing else.
fn apply(said: &str) {
    let mut changes: BTreeMap<(String, usize), String> = BTreeMap::new();
    let place = |text: &str| {
        let (file, line) = text.rsplit_once(':').unwrap();
        (file.to_owned(), line.parse::<usize>().unwrap())
    };
    let mut lines = said.lines();
    let mut server = None;
    while let Some(line) = lines.next() {
        if let Some(set) = line.strip_prefix("#         add to it: ") {
            let (file, line): (String, usize) = server.clone().unwrap();
            let text = fs::read_to_string(&file).unwrap().lines().nth(line - 1).unwrap().to_owned();
            changes.insert((file, line), format!("{text}\n{set}\0"));
        } else if let Some(rest) = line.strip_prefix("#     server in ") {
            let (at, names) = rest.split_once(" (").unwrap();
            server = Some(place(at));
            if names.starts_with("listen") {
                changes.insert(place(at), String::new());
            }
        } else if let Some((_, at)) = line.strip_prefix("#     ").and_then(|line| line.rsplit_once(" in ")) {
            changes.insert(place(at), String::new());
        } else if let Some(at) = line.strip_prefix("# was at ") {
            let mut location = String::new();
            for line in lines.by_ref() {
                location += line;
                location.push('\n');
                if line == "}" {
                    break;
                }
            }
            changes.insert(place(at), location);
        }
    }
    assert!(!changes.is_empty(), "{said}");
    // From the last line to the first: what is above keeps its number.
    for ((file, line), by) in changes.into_iter().rev() {
        let text = fs::read_to_string(&file).unwrap();
        let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
        let (by, end) = match by.strip_suffix('\0') {
            Some(line_with_more) => (line_with_more.to_owned(), start + text[start..].find('\n').unwrap()),
            None => (by, start + end_of_directive(&text[start..])),
        };
        fs::write(&file, format!("{}{by}{}", &text[..start], &text[end..])).unwrap();
    }
}

/// Where a directive ends: behind its semicolon or its closing brace.
fn end_of_directive(text: &str) -> usize {
    let (mut depth, mut quote) = (0, None);
    for (at, letter) in text.char_indices() {
        match quote {
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None => match letter {
                '"' | '\'' => quote = Some(letter),
                '{' => depth += 1,
                ';' if depth == 0 => return at + 1,
                '}' if depth == 1 => return at + 1,
                '}' => depth -= 1,
                _ => {}
            },
        }
    }
    panic!("no end of the directive at {}", &text[..text.len().min(60)]);
}

fn connected(port: u16) -> Client {
    Client::open(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)
}

/// A subscriber of channel `a` that the server knows of.
fn subscribed(port: u16) -> Client {
    let mut client = connected(port);
    client.send(request("GET", "/sub/a", ""));
    assert_eq!(client.status(), 200);
    client
}

/// Directories of temporary files, which nginx wants to be its own.
const TEMPORARY: &str = "client_body_temp_path @DIR@/run/a; proxy_temp_path @DIR@/run/b; fastcgi_temp_path @DIR@/run/c;
uwsgi_temp_path @DIR@/run/d; scgi_temp_path @DIR@/run/e;";

/// A site with push locations, and a server for push alone on `push_only`.
fn site_and_push(push_only: u16) -> String {
    format!(
        "push_stream_shared_memory_size 32m;
server {{
    listen 127.0.0.1:@PORT@;
    location / {{
        root @DIR@/www;
    }}
{SUB}
{PUB}
{WS}
}}
server {{
    listen 127.0.0.1:{push_only};
{SUB}
    location / {{
        deny all;
    }}
}}
"
    )
}

#[test]
fn a_distributions_layout_is_divided() {
    let mut machine = Machine::new("migrate-distribution");
    let push_only = free_port();
    machine.write(
        "etc/nginx.conf",
        &format!(
            "worker_processes 1;\npid @DIR@/run/nginx.pid;\nevents {{\n    worker_connections 512;\n}}\nhttp {{\n{TEMPORARY}\n\
             access_log @DIR@/log/access.log;\nerror_log @DIR@/log/error.log;\ninclude @DIR@/etc/conf.d/*.conf;\n}}\n"
        ),
    );
    machine.write("etc/conf.d/site.conf", &site_and_push(push_only));
    machine.divide("etc/nginx.conf");
    machine.assert_whole(&[machine.prefix.port, push_only]);
    let denied = exchange(machine.prefix.port, "GET", "/sub/", "").unwrap();
    assert!(denied.starts_with("HTTP/1.1 400") && denied.contains("X-Nginx-PushStream-Explain"), "{denied}");
    Socket::open(connected(machine.prefix.port), "/ws/a", b"");
    // Logs and pid file beside nginx's, and no file shared.
    for name in ["log/pushstreamd.log", "run/pushstreamd.pid", "log/pushstreamd-access.log"] {
        assert!(machine.prefix.path(name).exists(), "{name}");
    }
}

#[test]
fn a_build_from_source_with_relative_paths_is_divided() {
    let mut machine = Machine::new("migrate-source");
    let push_only = free_port();
    machine.front = machine.prefix.path("usr");
    for directory in ["usr/conf", "usr/logs"] {
        fs::create_dir_all(machine.prefix.path(directory)).unwrap();
    }
    machine.write(
        "usr/conf/nginx.conf",
        &format!(
            "worker_processes 1;\nerror_log logs/error.log;\npid logs/nginx.pid;\nevents {{\n    worker_connections 512;\n}}\n\
             http {{\naccess_log logs/access.log;\n{TEMPORARY}\ninclude sites/*.conf;\n}}\n"
        ),
    );
    fs::create_dir_all(machine.prefix.path("usr/conf/sites")).unwrap();
    machine.write("usr/conf/sites/site.conf", &site_and_push(push_only));
    machine.divide("usr/conf/nginx.conf");
    machine.assert_whole(&[machine.prefix.port, push_only]);
    for name in ["pushstreamd.log", "pushstreamd.pid", "pushstreamd-access.log"] {
        assert!(machine.prefix.path("usr/logs").join(name).exists(), "{name}");
    }
    assert!(!machine.prefix.path("own/logs").exists());
}

#[test]
fn a_containers_layout_keeps_its_logs_and_its_foreground() {
    let machine = Machine::new("migrate-container");
    let push_only = free_port();
    machine.write(
        "etc/nginx.conf",
        &format!(
            "daemon off;\nworker_processes 1;\nerror_log /dev/stderr warn;\npid @DIR@/run/nginx.pid;\nevents {{\n}}\n\
             http {{\naccess_log @DIR@/log/access.log;\n{TEMPORARY}\ninclude conf.d/*.conf;\n}}\n"
        ),
    );
    machine.write("etc/conf.d/default.conf", &site_and_push(push_only));
    // As the images of nginx have it.
    std::os::unix::fs::symlink("/dev/stdout", machine.prefix.path("log/access.log")).unwrap();
    let own = machine.migrate("etc/nginx.conf", "own");
    for line in ["daemon off;", "error_log /dev/stderr warn;", "access_log /dev/stdout;"] {
        assert!(own.contains(line), "{line}\n{own}");
    }
    // What an entrypoint does: the configuration decides about the foreground.
    let own = own.replace("daemon off;\n", "");
    machine.prefix.write("own/nginx.conf", &own);
    assert!(machine.pushstreamd(&["-t"]).output().unwrap().status.success());
    let said = machine.migrate("etc/nginx.conf", "nginx");
    apply(&said);
    let mut tested = Command::new(machine.nginx);
    let tested = tested.arg("-t").arg("-c").arg(machine.prefix.path("etc/nginx.conf")).arg("-p").arg(&machine.front);
    let tested = tested.output().unwrap();
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
}

#[test]
fn each_header_comes_once_whoever_adds_it() {
    let mut machine = Machine::new("migrate-headers");
    machine.write(
        "etc/nginx.conf",
        &format!(
            "pid @DIR@/run/nginx.pid;\nerror_log @DIR@/log/error.log;\nevents {{\n}}\nhttp {{\n{TEMPORARY}\naccess_log off;
push_stream_shared_memory_size 32m;
add_header X-Http 1;
server {{
    listen 127.0.0.1:@PORT@;
    add_header Access-Control-Allow-Origin * always;
    add_header X-Frame-Options DENY;
    location / {{
        root @DIR@/www;
    }}
    location ~ ^/plain/(.*)$ {{
        push_stream_subscriber eventsource;
        push_stream_channels_path $1;
    }}
    location ~ ^/own/(.*)$ {{
        push_stream_subscriber eventsource;
        push_stream_channels_path $1;
        add_header X-Own $1;
    }}
    location ~ ^/if/(.*)$ {{
        push_stream_subscriber eventsource;
        push_stream_channels_path $1;
        if ($arg_x) {{
            add_header X-If 1;
        }}
    }}
}}
}}
"
        ),
    );
    machine.divide("etc/nginx.conf");
    let values = |uri: &str| {
        ["Access-Control-Allow-Origin", "X-Frame-Options", "X-Own", "X-If", "X-Http", "X-Pushstreamd"]
            .map(|name| machine.field(uri, name).join(","))
    };
    assert_eq!(values("/page.txt"), ["*", "DENY", "", "", "", ""]);
    assert_eq!(values("/plain/a"), ["*", "DENY", "", "", "", ""]);
    assert_eq!(values("/own/a"), ["", "", "a", "", "", ""]);
    assert_eq!(values("/if/a"), ["*", "DENY", "", "", "", ""]);
    assert_eq!(values("/if/a?x=1"), ["", "", "", "1", "", ""]);
}

#[test]
fn a_file_that_several_servers_include_is_changed_once() {
    let mut machine = Machine::new("migrate-shared");
    let other = free_port();
    machine.write("etc/push.conf", &format!("{SUB}\n{PUB}\n"));
    let server = |port: &str, values: &str| {
        format!(
            "server {{\n    listen 127.0.0.1:{port};\n    {values}\n    location / {{\n        root @DIR@/www;\n    }}\n    \
             include push.conf;\n}}\n"
        )
    };
    machine.write(
        "etc/nginx.conf",
        &format!(
            "pid @DIR@/run/nginx.pid;\nerror_log @DIR@/log/error.log;\nevents {{\n}}\nhttp {{\n{TEMPORARY}\naccess_log off;
push_stream_shared_memory_size 32m;
{}{}}}\n",
            server("@PORT@", "push_stream_footer_template one;"),
            server(&other.to_string(), "add_header X-Other 1;")
        ),
    );
    machine.divide("etc/nginx.conf");
    assert!(fs::read_to_string(machine.prefix.path("etc/push.conf")).unwrap().matches("proxy_pass").count() == 2);
    machine.assert_whole(&[machine.prefix.port, other]);
}
