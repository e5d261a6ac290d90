//! The configuration that is served without `-c`: Bitrix's layout, with TLS where a certificate is given.

use std::io;
use std::path::Path;

/// The layout, an nginx.conf that can be edited and passed back with `-c`.
const LAYOUT: &str = include_str!("../../nginx-conf-examples/default.conf");
/// What a certificate adds to it, in the place of [`GAP`].
const TLS: &str = include_str!("../../nginx-conf-examples/default-tls.conf");
const GAP: &str = "        # Port 8894 (TLS) is added here when a certificate is given on the command line.\n";

/// The text of the configuration; with `tls` (chain and key, relative to the working directory) it listens on 8894 too.
pub(super) fn text(tls: Option<(&Path, &Path)>) -> io::Result<String> {
    let Some((chain, key)) = tls else { return Ok(LAYOUT.to_owned()) };
    let tls = TLS.replace("fullchain.pem", &quoted(chain)?).replace("privkey.pem", &quoted(key)?);
    Ok(LAYOUT.replace(GAP, &tls))
}

/// A path as a word of the configuration.
fn quoted(path: &Path) -> io::Result<String> {
    let path = std::path::absolute(path)?;
    let text = path.to_str().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_adds_port_8894_and_nothing_else() {
        let plain = text(None).unwrap();
        assert!(plain.contains(GAP) && !plain.contains("listen 8894"));
        let with = text(Some((Path::new("/a b/chain"), Path::new("/k\"ey")))).unwrap();
        let added = "        listen 8894 ssl;\n        ssl_certificate \"/a b/chain\";\n        \
                     ssl_certificate_key \"/k\\\"ey\";\n";
        assert_eq!(with, plain.replace(GAP, added));
    }
}
