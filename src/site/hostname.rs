//! The name of this machine, as `$hostname` and the statistics tell it.

use std::sync::LazyLock;

/// Lower-cased host name; `localhost` where the system does not tell one. Read once.
pub(crate) fn hostname() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        let told = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let told = if told.trim().is_empty() { std::env::var("HOSTNAME").unwrap_or_default() } else { told };
        let name = told.trim().to_ascii_lowercase();
        if name.is_empty() { "localhost".to_owned() } else { name }
    });
    &NAME
}
