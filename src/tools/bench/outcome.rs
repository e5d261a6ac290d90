//! What a run has come to, as text with a histogram or as JSON.

use std::io::Write;
use std::time::Duration;

use clap::ValueEnum;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::Tally;
use crate::cli::tools::Bench;

/// The longest bar of the histogram.
const BAR: u64 = 40;

/// The figures.
#[derive(Serialize)]
pub(super) struct Outcome {
    subscribers: usize,
    channels: usize,
    mode: String,
    message_bytes: usize,
    seconds: f64,
    published: u64,
    /// Publishes that were refused or broke off.
    pub(super) failed: u64,
    /// How long after it was due a message was sent at most: how far the publishers were kept waiting.
    sent_late_ms: f64,
    delivered: u64,
    /// Messages that did not come to a subscriber they should have come to.
    pub(super) lost: u64,
    delivered_per_second: f64,
    /// Times that subscribers lost their connection.
    connections_lost: u64,
    first_trouble: Option<String>,
    latency_ms: Latency,
}

#[derive(Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p999: f64,
    max: f64,
    mean: f64,
}

impl Outcome {
    pub(super) fn of(wanted: &Bench, tally: &Tally, expected: u64, took: Duration) -> Self {
        let quantile = |at: f64| tally.ways.value_at_quantile(at) as f64 / 1000.0;
        let seconds = took.as_secs_f64();
        Self {
            subscribers: wanted.subscribers,
            channels: tally.published.len(),
            mode: wanted.mode.to_possible_value().map(|mode| mode.get_name().to_owned()).unwrap_or_default(),
            message_bytes: wanted.size,
            seconds,
            published: tally.published.iter().sum(),
            failed: tally.failed,
            sent_late_ms: tally.late.as_secs_f64() * 1000.0,
            delivered: tally.delivered,
            lost: expected.saturating_sub(tally.delivered),
            delivered_per_second: tally.delivered as f64 / seconds.max(0.001),
            connections_lost: tally.lost,
            first_trouble: tally.trouble.clone(),
            latency_ms: Latency {
                p50: quantile(0.5),
                p90: quantile(0.9),
                p99: quantile(0.99),
                p999: quantile(0.999),
                max: tally.ways.max() as f64 / 1000.0,
                mean: tally.ways.mean() / 1000.0,
            },
        }
    }

    pub(super) fn print(&self, json: bool, ways: &Histogram<u64>) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        if json {
            serde_json::to_writer_pretty(&mut out, self)?;
            return writeln!(out);
        }
        let Self { subscribers, channels, mode, message_bytes, seconds, .. } = self;
        let Latency { p50, p90, p99, p999, max, .. } = self.latency_ms;
        writeln!(
            out,
            "{subscribers} subscribers ({mode}) on {channels} channels, {message_bytes} bytes a message, {seconds:.1} s"
        )?;
        let Self { published, failed, sent_late_ms, .. } = self;
        writeln!(out, "published  {published}, {failed} failed; sent at most {sent_late_ms:.2} ms after it was due")?;
        writeln!(
            out,
            "delivered  {}, {:.0} a second; {} lost; connections lost {} times",
            self.delivered, self.delivered_per_second, self.lost, self.connections_lost
        )?;
        if let Some(trouble) = &self.first_trouble {
            writeln!(out, "first      {trouble}")?;
        }
        writeln!(out, "on the way p50 {p50:.2} ms, p90 {p90:.2}, p99 {p99:.2}, p99.9 {p999:.2}, longest {max:.2}")?;
        let rows: Vec<(u64, u64)> = ways
            .iter_log(50, 2.0)
            .map(|row| (row.value_iterated_to(), row.count_since_last_iteration()))
            .skip_while(|(_, count)| *count == 0)
            .collect();
        let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
        for (upper, count) in rows {
            let bar = "#".repeat((count * BAR).div_ceil(most) as usize);
            writeln!(out, "<= {:>9.2} ms {count:>9} {bar}", (upper + 1) as f64 / 1000.0)?;
        }
        Ok(())
    }
}
