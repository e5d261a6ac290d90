//! The configuration that is served without `-c`: Bitrix's layout.

/// The text, an nginx.conf that can be edited and passed back with `-c`.
pub(super) const TEXT: &str = include_str!("../../nginx-conf-examples/default.conf");
