//! Each metric that the model of `mod` does not count moves when what it tells of happens; and a law: no metric is without a test that
//! asks for it.

use std::path::Path;

use nix::sys::signal::Signal;

use super::{Watched, page_of};
use crate::support::{Prefix, exchange, free_port, request};

#[test]
fn the_names_of_the_modules_exporter_say_the_same_as_ours() {
    let watched = Watched::start("push_stream_wildcard_channel_prefix w_;");
    for channel in ["a", "b", "w_c"] {
        watched.server.publish(&format!("/pub?id={channel}"), "text");
    }
    let page = watched.page();
    for (alias, name, value) in [
        ("channels", "channels", 2.0),
        ("wildcard_channels", "wildcard_channels", 1.0),
        ("published_messages", "messages_published_total", 3.0),
        ("stored_messages", "messages_stored", 3.0),
    ] {
        assert_eq!(page.value(&format!("nginx_push_stream_module_{alias}")), value, "{alias}");
        assert_eq!(page.value(&format!("pushstreamd_{name}")), value, "{name}");
    }
    assert_eq!(page.value("nginx_push_stream_module_up"), 1.0);
    assert_eq!(page.value("pushstreamd_build_info{version=\"0.1.0\"}"), 1.0);
    for name in ["channels_in_delete", "channels_in_trash", "messages_in_trash"] {
        assert_eq!(page.value(&format!("nginx_push_stream_module_{name}")), 0.0);
    }
    assert_eq!(watched.server.ask("DELETE /pub?id=a", &[], b"").status, 200);
    let told = |name: &str| watched.page().value(&format!("nginx_push_stream_module_{name}")) > 0.0;
    let mut missing = vec!["channels_in_delete", "channels_in_trash", "messages_in_trash"];
    watched.server.eventually("what was deleted is told", || {
        missing.retain(|name| !told(name));
        missing.is_empty()
    });
}

#[test]
fn the_process_and_its_connections_are_told() {
    let watched = Watched::start("push_stream_connections_memory 2m;");
    let begun = watched.page();
    assert!(begun.value("process_threads") >= 3.0);
    assert!(begun.value("process_virtual_memory_bytes") > begun.value("process_resident_memory_bytes"));
    assert!(begun.value("process_max_fds") > begun.value("process_open_fds"));
    let subscriber = watched.server.subscribe("/long-polling/a");
    let grows = |name: &str| watched.server.eventually(name, || watched.page().value(name) > begun.value(name));
    grows("pushstreamd_connections_state{state=\"writing\"}");
    grows("process_open_fds");
    drop(subscriber);
    // What a body takes grows by doubling: one is within the bound, four are not.
    let send_body = || {
        let mut publisher = watched.server.connect();
        publisher.send(request("POST", "/pub?id=a", "Content-Length: 600000\r\n"));
        publisher.send(vec![b'x'; 590_000]);
        publisher
    };
    let mut publishers = vec![send_body()];
    grows("pushstreamd_connections_memory_bytes");
    publishers.extend((0..3).map(|_| send_body()));
    grows("pushstreamd_bodies_refused_total");
    grows("process_cpu_seconds_total");
}

#[test]
fn who_is_cut_off_or_turned_away_is_told() {
    let watched = Watched::start("send_timeout 1s; push_stream_address_connections 3;");
    let deaf = watched.server.subscribe("/streaming/a");
    watched.server.eventually("it is there", || watched.page().sum("pushstreamd_subscribers") == 1.0);
    let mut publisher = watched.server.connect();
    watched.server.eventually("it is cut off", || {
        assert_eq!(publisher.ask("POST /pub?id=a", &[], &vec![b'x'; 900_000]).status, 200);
        watched.page().sum("pushstreamd_connections_cut_total") >= 1.0
    });
    drop(deaf);
    let away = "pushstreamd_connections_turned_away_total{bound=\"address\"}";
    assert_eq!(watched.page().value(away), 0.0);
    let mut crowd = Vec::new();
    watched.server.eventually("one too many", || {
        crowd.push(watched.server.connect());
        watched.page().value(away) >= 1.0
    });
    assert_eq!(watched.page().value("pushstreamd_connections_turned_away_total{bound=\"worker_connections\"}"), 0.0);
}

#[test]
fn a_server_that_is_about_to_leave_says_so() {
    let watched = Watched::start("push_stream_drain_delay 5s;");
    assert_eq!(watched.page().value("pushstreamd_leaving"), 0.0);
    watched.server.signal(Signal::SIGQUIT);
    watched.server.eventually("it leaves", || watched.page().value("pushstreamd_leaving") == 1.0);
}

#[test]
fn what_the_disk_does_is_told() {
    let watched = Watched::start("push_stream_state state;");
    watched.server.publish("/pub?id=a", "text");
    watched.server.eventually("it is written and safe", || {
        let page = watched.page();
        page.value("pushstreamd_log_written_bytes_total") > 0.0
            && page.value("pushstreamd_log_syncs_total") >= 1.0
            && page.value("pushstreamd_log_slowest_step_seconds") > 0.0
            && page.value("pushstreamd_log_files") >= 1.0
            && page.value("pushstreamd_log_sync_age_seconds") < 2.0
    });
    let page = watched.page();
    assert_eq!((page.value("pushstreamd_log_gaps_total"), page.value("pushstreamd_log_damaged_total")), (0.0, 0.0));
    std::fs::remove_dir_all(watched.server.dir().join("state")).unwrap();
    watched.server.eventually("a gap", || watched.page().value("pushstreamd_log_gaps_total") == 1.0);
}

#[test]
fn a_damaged_file_is_counted_at_the_start_that_finds_it() {
    let (prefix, port) = (Prefix::new("damaged-metric"), free_port());
    prefix.write_conf("", &format!("push_stream_state state; push_stream_status {port};"));
    let serve = || {
        let running = prefix.start(&[]);
        crate::support::eventually("the operators' listener", || exchange(port, "GET", "/readyz", "").is_ok());
        running
    };
    let mut running = serve();
    for _ in 0..3 {
        assert!(prefix.request("POST", "/pub?id=a", "text").is_ok());
    }
    running.signal(Signal::SIGTERM);
    running.wait();
    let log = prefix.path("state/0000000000000001.log");
    let mut bytes = std::fs::read(&log).unwrap();
    let at = bytes.windows(4).position(|four| four == b"text").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let _running = serve();
    assert!(page_of(port).value("pushstreamd_log_damaged_total") >= 1.0);
}

#[test]
fn each_zone_is_told_by_itself() {
    let other = free_port();
    let watched = Watched::start(&format!(
        "push_stream_wildcard_channel_prefix w_; server {{ listen 127.0.0.1:{other}; push_stream_zone other;
         location /pub {{ push_stream_publisher; push_stream_channels_path $arg_id; push_stream_store_messages on; }} }}"
    ));
    watched.server.publish("/pub?id=a", "text");
    for _ in 0..2 {
        assert!(exchange(other, "POST", "/pub?id=w_a", "text").unwrap().contains(" 200 "));
    }
    let page = watched.page();
    for (name, here, there) in [
        ("channels", 1.0, 0.0),
        ("wildcard_channels", 0.0, 1.0),
        ("messages_stored", 1.0, 2.0),
        ("messages_published_total", 1.0, 2.0),
        ("subscribers", 0.0, 0.0),
    ] {
        let of = |zone: &str| page.value(&format!("pushstreamd_zone_{name}{{zone=\"{zone}\"}}"));
        assert_eq!((of("default"), of("other")), (here, there), "{name}");
    }
    let used = |zone: &str| page.value(&format!("pushstreamd_zone_memory_used_bytes{{zone=\"{zone}\"}}"));
    assert!(used("other") > 0.0 && used("default") > 0.0);
    assert_eq!(used("other") + used("default"), page.value("pushstreamd_memory_used_bytes"));
    assert!(page.value("pushstreamd_zone_memory_limit_bytes{zone=\"other\"}") > used("other"));
}

/// All texts of tests below a directory.
fn tests(dir: &Path, text: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, text);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn each_metric_has_a_test_that_asks_for_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    tests(&root.join("tests/it"), &mut text);
    let page = std::fs::read_to_string(root.join("docs/METRICS.md")).unwrap();
    let names: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(names.len() > 70);
    // In the tests above and in those of zones some are asked for by the rest of their name.
    let begins = ["nginx_push_stream_module_", "pushstreamd_zone_", "pushstreamd_"];
    let asked = |name: &str| {
        let rest = begins.iter().filter_map(|begin| name.strip_prefix(*begin));
        text.contains(name) || rest.map(|rest| format!("\"{rest}\"")).any(|rest| text.contains(&rest))
    };
    let unasked: Vec<&str> = names.into_iter().filter(|name| !asked(name)).collect();
    assert!(unasked.is_empty(), "nobody asks for {unasked:?}");
}
