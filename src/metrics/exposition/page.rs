//! The page a scrape gets, metric after metric: the library's encoder in the words of this room.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::metrics::histogram::{BOUNDS, Distribution};

/// A page in the making.
pub(super) struct Page<'a>(DescriptorEncoder<'a>);

/// A metric's name without its unit, what it says, and its unit.
pub(super) type Named<'n> = (&'n str, &'n str, Option<Unit>);

impl<'a> Page<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    /// A number that only goes up.
    pub(super) fn counter(&mut self, named: &Named<'_>, value: u64) -> fmt::Result {
        self.metric(named, MetricType::Counter)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    /// The same, of seconds.
    pub(super) fn counter_of_seconds(&mut self, named: &Named<'_>, value: f64) -> fmt::Result {
        self.metric(named, MetricType::Counter)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    /// Numbers that only go up, told apart by labels.
    pub(super) fn counters<'l, const N: usize>(
        &mut self,
        named: &Named<'_>,
        labels: [&str; N],
        values: impl IntoIterator<Item = ([&'l str; N], u64)>,
    ) -> fmt::Result {
        let mut metric = self.metric(named, MetricType::Counter)?;
        for (words, value) in values {
            let set = paired(labels, words);
            metric.encode_family(&set)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    /// A number that goes up and down.
    pub(super) fn gauge(&mut self, named: &Named<'_>, value: u64) -> fmt::Result {
        self.metric(named, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// The same, of seconds.
    pub(super) fn gauge_of_seconds(&mut self, named: &Named<'_>, value: f64) -> fmt::Result {
        self.metric(named, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// Numbers that go up and down, told apart by a label.
    pub(super) fn gauges<'l>(
        &mut self,
        named: &Named<'_>,
        label: &str,
        values: impl IntoIterator<Item = (&'l str, f64)>,
    ) -> fmt::Result {
        let mut metric = self.metric(named, MetricType::Gauge)?;
        for (word, value) in values {
            metric.encode_family(&paired([label], [word]))?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// What is true of the process for as long as it lives.
    pub(super) fn info(&mut self, named: &Named<'_>, labels: [(&str, &str); 1]) -> fmt::Result {
        self.metric(named, MetricType::Info)?.encode_info(&labels)
    }

    /// How long something took.
    pub(super) fn times(&mut self, named: &Named<'_>, distribution: &Distribution) -> fmt::Result {
        distribution.encode(self.metric(named, MetricType::Histogram)?)
    }

    /// The same, told apart by a label.
    pub(super) fn times_each<'l>(
        &mut self,
        named: &Named<'_>,
        label: &str,
        distributions: impl IntoIterator<Item = (&'l str, Distribution)>,
    ) -> fmt::Result {
        let mut metric = self.metric(named, MetricType::Histogram)?;
        for (word, distribution) in distributions {
            distribution.encode(metric.encode_family(&paired([label], [word]))?)?;
        }
        Ok(())
    }

    fn metric<'s>(&'s mut self, named: &'s Named<'_>, kind: MetricType) -> Result<MetricEncoder<'s>, fmt::Error> {
        let (name, help, unit) = named;
        self.0.encode_descriptor(name, help, unit.as_ref(), kind)
    }
}

fn paired<'p, const N: usize>(labels: [&'p str; N], words: [&'p str; N]) -> Vec<(&'p str, &'p str)> {
    labels.into_iter().zip(words).collect()
}

impl EncodeMetric for Distribution {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = BOUNDS.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(self.steps).collect();
        encoder.encode_histogram::<NoLabelSet>(seconds(self.sum), self.count(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// Microseconds as seconds.
pub(super) fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1_000_000.0
}
