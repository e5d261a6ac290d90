//! The workers: how late their loops are, and whom they serve.

use std::fmt;

use prometheus_client::registry::Unit;

use super::page::{Page, seconds};
use crate::hub::Census;
use crate::metrics::Totals;

pub(super) fn spell(page: &mut Page<'_>, totals: &Totals, census: &Census) -> fmt::Result {
    let names: Vec<_> = (0..totals.lag.len().max(census.by_worker.len())).map(|index| index.to_string()).collect();
    let named = || names.iter().map(String::as_str);
    page.gauges(
        &("pushstreamd_worker_subscribers", "Subscribers of each worker", None),
        "worker",
        named().zip(census.by_worker.iter().map(|count| *count as f64)),
    )?;
    page.gauges(
        &("pushstreamd_worker_lag", "How late a worker's loop is now, asked every two seconds", Some(Unit::Seconds)),
        "worker",
        named().zip(totals.lag.iter().map(|lag| seconds(*lag))),
    )?;
    page.times_each(
        &("pushstreamd_worker_loop_lag", "How late a worker's loop was when it was asked", Some(Unit::Seconds)),
        "worker",
        named().zip(totals.lags.iter().copied()),
    )
}
