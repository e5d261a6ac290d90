//! A page of OpenMetrics, read without mercy: whatever the specification does not allow panics.

use std::collections::{BTreeMap, BTreeSet};

/// The samples of a page, by name and labels as they are written.
pub(super) struct Page(BTreeMap<String, f64>);

/// The family whose samples are being read.
struct Family {
    name: String,
    kind: String,
}

impl Page {
    pub(super) fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
        let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
        let mut family = Family { name: String::new(), kind: String::new() };
        for line in body.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let (word, rest) = comment.split_once(' ').unwrap();
                let (name, rest) = rest.split_once(' ').unwrap();
                match word {
                    "HELP" => {
                        assert!(families.insert(name.to_owned()), "{name} stands in two places");
                        family = Family { name: name.to_owned(), kind: String::new() };
                        assert!(!rest.trim().is_empty());
                    }
                    "TYPE" => {
                        assert_eq!(name, family.name);
                        assert!(matches!(rest, "counter" | "gauge" | "histogram" | "info"), "{line}");
                        rest.clone_into(&mut family.kind);
                    }
                    "UNIT" => assert!(name == family.name && name.ends_with(&format!("_{rest}")), "{line}"),
                    _ => panic!("{line}"),
                }
                continue;
            }
            let (key, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap();
            family.assert_owns(key, value);
            assert!(samples.insert(key.to_owned(), value).is_none(), "{key} is told twice");
        }
        let page = Self(samples);
        page.assert_histograms();
        page
    }

    /// The value of a sample, which must be there.
    pub(super) fn value(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("{name} is not told"))
    }

    /// The sum of all samples of a name, whatever their labels.
    pub(super) fn sum(&self, name: &str) -> f64 {
        let of_name = self.0.iter().filter(|(key, _)| key.split('{').next() == Some(name));
        let values: Vec<f64> = of_name.map(|(_, value)| *value).collect();
        assert!(!values.is_empty(), "{name} is not told");
        values.iter().sum()
    }

    /// Buckets are cumulative, the last of them is without bound and the count.
    fn assert_histograms(&self) {
        let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (key, value) in self.0.iter().filter(|(key, _)| key.contains("_bucket{")) {
            let (name, labels) = key.split_once("_bucket{").unwrap();
            let (bounds, others): (Vec<_>, Vec<_>) =
                labels.trim_end_matches('}').split(',').partition(|label| label.starts_with("le="));
            let bound = bounds[0].trim_start_matches("le=").trim_matches('"');
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
            let others = if others.is_empty() { String::new() } else { format!("{{{}}}", others.join(",")) };
            buckets.entry(format!("{name}_count{others}")).or_default().push((bound, *value));
        }
        assert!(!buckets.is_empty());
        for (count, mut steps) in buckets {
            steps.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(steps.is_sorted_by(|a, b| a.1 <= b.1), "{count}: {steps:?}");
            assert_eq!(steps.last(), Some(&(f64::INFINITY, self.value(&count))), "{count}");
        }
    }
}

impl Family {
    fn assert_owns(&self, key: &str, value: f64) {
        let (name, labels) = key.split_once('{').map_or((key, ""), |(name, labels)| (name, labels));
        assert!(labels.is_empty() || labels.ends_with("\"}"), "{key}");
        let suffix = name.strip_prefix(&self.name).unwrap_or_else(|| panic!("{key} is not of {}", self.name));
        let fits = match self.kind.as_str() {
            "counter" => suffix == "_total" && value >= 0.0,
            "gauge" => suffix.is_empty(),
            "info" => suffix == "_info" && value == 1.0,
            "histogram" => matches!(suffix, "_bucket" | "_sum" | "_count") && value >= 0.0,
            kind => panic!("{key}: {kind:?}"),
        };
        assert!(fits, "{key} {value} is no sample of a {}", self.kind);
    }
}
