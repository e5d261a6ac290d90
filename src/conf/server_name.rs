//! One word of `server_name`, which `valid_referers` knows too.

use super::compiler::Compiler;
use super::complex;
use super::error::{Fault, shown};
use super::settings::Regex;
use super::tables::host_mask;
use super::tree::Node;
use super::variable::HostMask;

/// What a word stands for.
pub(super) enum Name {
    Exact(Box<str>),
    /// The mask, and as written.
    Mask(HostMask, Box<str>),
    Regex(Regex),
}

/// Reads a word; the name as it is shown (in lower case, as nginx shows it), and what it stands for.
pub(super) fn read(node: &Node, word: &[u8], compiler: &mut Compiler) -> Result<(Box<str>, Name), Fault> {
    let text = shown(word);
    if let Some(pattern) = word.strip_prefix(b"~") {
        if pattern.is_empty() {
            return Err(Fault::emerg(format_args!("empty regex in server name \"{text}\""), &node.place));
        }
        let regex = complex::regex(pattern, true, &mut compiler.namespace, &node.place)?;
        return Ok((text.into(), Name::Regex(regex)));
    }
    if text == "$hostname" {
        let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let own: Box<str> = own.trim().to_ascii_lowercase().into();
        return Ok((own.clone(), Name::Exact(own)));
    }
    if word.contains(&b'/') {
        compiler.warn(format_args!("server name \"{text}\" has suspicious symbols"), &node.place);
    }
    let lower = text.to_ascii_lowercase();
    if let Some(mask) = host_mask(lower.as_bytes()) {
        return Ok((lower.strip_prefix('.').unwrap_or(&lower).into(), Name::Mask(mask, lower.into())));
    }
    if lower.contains('*') {
        return Err(Fault::emerg(format_args!("invalid server name or wildcard \"{text}\""), &node.place));
    }
    Ok((lower.clone().into(), Name::Exact(lower.into())))
}
