//! Every name there is, spelled as both formats want it, and in docs/METRICS.md.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;

/// A snapshot in which everything is there to be told.
fn full() -> Snapshot {
    Snapshot {
        totals: crate::metrics::Tally::new(2).totals(),
        log: Some(HealthView::default()),
        zones: vec![ZoneCensus { zone: "chat".to_owned(), census: crate::hub::Census::default() }],
        certificates: vec![("/etc/a \"b\"\\c.pem".to_owned(), 1_800_000_000)],
        backplane: Some(crate::backplane::HealthView {
            joined: true,
            fault: None,
            server: "redis".to_owned(),
            epoch: 1,
            losses: 0,
            passed_over: 0,
            applied: 0,
            position: "0-0".to_owned(),
            snapshots: 0,
            nodes: vec![crate::backplane::NodeView { name: "a".to_owned(), subscribers: 3 }],
        }),
        ..Snapshot::default()
    }
}

/// The metrics of a page by name: type, help and the names of labels.
fn metrics(text: &str) -> BTreeMap<String, (String, String, String)> {
    let mut metrics = BTreeMap::new();
    let mut help = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, said)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help.insert(name.to_owned(), said.trim_end_matches('.').to_owned());
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let labels = text
                .lines()
                .find(|line| line.starts_with(name) && !line.contains("{le="))
                .and_then(|line| line.split_once('{')?.1.rsplit_once('}'))
                .map_or(String::new(), |(labels, _)| {
                    let names = labels.split("\",").filter_map(|pair| pair.split_once('=')).map(|(name, _)| name);
                    names.filter(|name| *name != "le").collect::<Vec<_>>().join(", ")
                });
            metrics.insert(name.to_owned(), (kind.to_owned(), help.remove(name).unwrap(), labels));
        }
    }
    metrics
}

#[test]
fn the_page_of_metrics_is_current() {
    let mut page = String::from(
        "# Metrics\n\n`/metrics` on the operators' listener ([OPERATIONS.md](OPERATIONS.md)); names as they are asked for, \
         counters with `_total`, of histograms the stem of `_bucket`, `_sum` and `_count`. Made of the code by \
         `UPDATE_DOCS=1 cargo test page_of_metrics`.\n\nNo label holds a channel id. Counters go on through reloads and begin \
         at 0 with the process; `pushstreamd_messages_published_total` goes on where a log brings the count back. Those named `pushstreamd_log_...` \
         are there where there is a log, `pushstreamd_backplane_...` where nodes share their channels, `pushstreamd_zone_...` where there are several zones, certificates where TLS is served.\n\n| name | type | labels | what it says |\n|---|---|---|---|\n",
    );
    for (name, (kind, help, labels)) in metrics(&full().text(Format::Classic)) {
        let help = help.trim_end_matches('.');
        page.extend(["| `", &name, "` | ", &kind, " | ", &labels, " | ", help, " |\n"]);
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/METRICS.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    assert!(std::fs::read_to_string(file).unwrap() == page, "UPDATE_DOCS=1 cargo test page_of_metrics");
}

#[test]
fn both_formats_tell_the_same_metrics_and_samples() {
    let (new, old) = (full().text(Format::OpenMetrics), full().text(Format::Classic));
    assert!(new.ends_with("# EOF\n"), "{new}");
    // Formats differ in the order of labels and in how a bound is spelled.
    let samples = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.contains("le="));
        let mut samples: Vec<_> = lines.map(str::to_owned).collect();
        samples.sort();
        samples
    };
    assert!(samples(&new) == samples(&old));
    assert_eq!(new.matches("le=\"+Inf\"").count(), 3);
    assert_eq!(old.matches("le=\"").count(), new.matches("le=\"").count());
    let (new, old) = (metrics(&new), metrics(&old));
    assert_eq!(new.len(), old.len());
    for (name, (kind, _, labels)) in new {
        let (name, kind) = match kind.as_str() {
            "counter" => (format!("{name}_total"), "counter"),
            "info" => (format!("{name}_info"), "gauge"),
            kind => (name, kind),
        };
        let told = &old.get(&name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!((told.0.as_str(), &told.2), (kind, &labels), "{name}");
    }
}

#[test]
fn what_is_not_there_is_not_told() {
    let text = Snapshot::default().text(Format::OpenMetrics);
    assert!(!text.contains("pushstreamd_log_"));
    assert!(!text.contains("certificate="));
}

#[test]
fn labels_are_escaped() {
    let text = full().text(Format::OpenMetrics);
    let expiry = r#"pushstreamd_certificate_expiry_timestamp_seconds{certificate="/etc/a \"b\"\\c.pem"} 1800000000.0"#;
    assert!(text.contains(expiry), "{text}");
}

#[test]
fn a_scraper_gets_the_format_it_asks_for() {
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    assert_eq!(Format::choose(prometheus), Format::OpenMetrics);
    for accept in ["", "*/*", "text/plain;version=0.0.4", "application/openmetrics-text;q=0, text/plain"] {
        assert_eq!(Format::choose(accept), Format::Classic, "{accept}");
    }
}
