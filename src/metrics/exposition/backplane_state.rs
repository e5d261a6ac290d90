//! The backplane, where nodes share their channels.

use std::fmt;

use super::page::Page;
use crate::backplane::HealthView;

pub(super) fn spell(page: &mut Page<'_>, health: &HealthView) -> fmt::Result {
    page.gauge(
        &("pushstreamd_backplane_joined", "1 while this node has all there is, and publishes", None),
        u64::from(health.joined && health.fault.is_none()),
    )?;
    page.counter(&("pushstreamd_backplane_applied", "Entries of the shared log applied", None), health.applied)?;
    page.counter(&("pushstreamd_backplane_snapshots", "Times the whole zone was read", None), health.snapshots)?;
    page.counter(
        &("pushstreamd_backplane_losses", "Times the server had lost what this node had applied", None),
        health.losses,
    )?;
    page.counter(
        &("pushstreamd_backplane_passed_over", "Messages not shown here, since their place had been passed", None),
        health.passed_over,
    )?;
    page.gauge(&("pushstreamd_backplane_nodes", "Nodes that share the channels", None), health.nodes.len() as u64)?;
    page.gauges(
        &("pushstreamd_backplane_node_subscribers", "Subscribers of each node, as it tells the others", None),
        "node",
        health.nodes.iter().map(|node| (node.name.as_str(), node.subscribers as f64)),
    )
}
