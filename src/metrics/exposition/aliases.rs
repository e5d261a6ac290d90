//! The names of the exporter that scraped the module's statistics, so that old dashboards go on.

use std::fmt;

use super::page::Page;
use crate::hub::Census;

pub(super) fn spell(page: &mut Page<'_>, census: &Census) -> fmt::Result {
    let old = [
        ("up", "1, always", 1),
        ("channels", "As pushstreamd_channels", census.channels.into()),
        ("wildcard_channels", "As pushstreamd_wildcard_channels", census.wildcard_channels.into()),
        ("published_messages", "As pushstreamd_messages_published_total", census.published),
        ("stored_messages", "As pushstreamd_messages_stored", census.stored),
        ("messages_in_trash", "Messages dropped within the last seconds", census.messages_in_trash),
        ("channels_in_delete", "Channels deleted within the last second", census.channels_in_delete.into()),
        ("channels_in_trash", "Channels gone within the last seconds", census.channels_in_trash.into()),
        ("subscribers", "Subscribers that are connected", census.subscribers),
    ];
    old.into_iter().try_for_each(|(name, help, value)| {
        page.gauge(&(&format!("nginx_push_stream_module_{name}"), help, None), value)
    })
}
