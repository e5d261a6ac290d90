//! The numbers as text: OpenMetrics, and the older format of Prometheus for whoever does not ask for it.
//!
//! A [`Snapshot`] is plain numbers of one moment, and every group of metrics a file that spells its part of it; a new group
//! is one more field and one more file. docs/METRICS.md is made of what is spelled here, so that no name is in
//! one and not in the other.

mod aliases;
mod backplane_state;
mod connections;
mod log;
mod messages;
mod page;
mod process;
mod workers;
mod zones;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;

use self::page::Page;
use super::process::Process;
use super::reloads::ReloadView;
use super::totals::Totals;
use crate::backplane;
use crate::hub::Census;
use crate::log::HealthView;

/// Everything there is to tell, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What the workers count.
    pub totals: Totals,
    /// What the hubs of all zones count.
    pub census: Census,
    /// What each of them counts, where there are several.
    pub zones: Vec<ZoneCensus>,
    /// Bytes held for all connections.
    pub held: u64,
    /// The log, if there is one.
    pub log: Option<HealthView>,
    /// The process.
    pub process: Process,
    /// Configurations.
    pub reloads: ReloadView,
    /// Certificates by file, and when they expire, seconds since the epoch.
    pub certificates: Vec<(String, i64)>,
    /// Whether the server is about to end.
    pub leaving: bool,
    /// The backplane, if there is one.
    pub backplane: Option<backplane::HealthView>,
}

/// What the hub of a zone counts.
#[derive(Clone, Debug, Default)]
pub struct ZoneCensus {
    /// The zone's name.
    pub zone: String,
    /// Its numbers.
    pub census: Census,
}

/// In which words a scrape is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Classic,
}

impl Format {
    /// What a scraper asks for; whoever asks for nothing gets what everybody can read.
    pub fn choose(accept: &str) -> Self {
        let wanted = accept.split(',').any(|kind| {
            let mut parts = kind.split(';').map(str::trim);
            let named = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
            named && !parts.any(|part| matches!(part, "q=0" | "q=0.0"))
        });
        if wanted { Self::OpenMetrics } else { Self::Classic }
    }

    /// Its content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

impl Snapshot {
    /// As text.
    pub fn text(self, format: Format) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::with_capacity(16 * 1024);
        // Writing to a String cannot fail.
        let _ = match format {
            Format::OpenMetrics => text::encode(&mut text, &registry),
            Format::Classic => prometheus_text::encode(&mut text, &registry),
        };
        text
    }
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut page = Page::new(encoder);
        process::spell(&mut page, self)?;
        connections::spell(&mut page, self)?;
        messages::spell(&mut page, &self.totals, &self.census)?;
        workers::spell(&mut page, &self.totals, &self.census)?;
        if let Some(health) = &self.log {
            log::spell(&mut page, health, &self.census)?;
        }
        if let Some(health) = &self.backplane {
            backplane_state::spell(&mut page, health)?;
        }
        if !self.zones.is_empty() {
            zones::spell(&mut page, &self.zones)?;
        }
        aliases::spell(&mut page, &self.census)
    }
}

#[cfg(test)]
mod tests;
