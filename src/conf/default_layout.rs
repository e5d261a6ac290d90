//! The configuration that is served without `-c`: Bitrix's layout, with TLS where a certificate is given.

use std::io;
use std::path::Path;

use super::try_it;

/// The layout, an nginx.conf that can be edited and passed back with `-c`.
const LAYOUT: &str = include_str!("../../nginx-conf-examples/default.conf");
/// What a certificate adds to it, in the place of [`GAP`].
const TLS: &str = include_str!("../../nginx-conf-examples/default-tls.conf");
const GAP: &str = "        # Port 8894 (TLS) is added here when a certificate is given on the command line.\n";

/// What the module does not know.
const OWN: &str = "    # Channels and messages outlive the process, in this directory below the prefix.\n    push_stream_state state;\n";

/// Where the page to try it goes: before these.
const STATISTICS: &str = "        # All channels: /channels-stats?id=ALL";
const PUBLIC: &str = "        location ^~ /bitrix/subws/ {";

/// What is served: the text with the page to try it, which is nobody's configuration. The strict have none: the module has none.
pub(crate) fn served(tls: Option<(&Path, &Path)>, strict: bool) -> io::Result<String> {
    let layout = text(tls, strict)?;
    if strict {
        return Ok(layout);
    }
    let layout = layout.replace(PUBLIC, &format!("{}{PUBLIC}", try_it::SIGNPOST));
    Ok(layout.replace(STATISTICS, &format!("{}{STATISTICS}", try_it::locations())))
}

/// The text of the configuration; with `tls` (chain and key, relative to the working directory) it listens on 8894 too. `strict`
/// leaves out what the module does not know.
pub(crate) fn text(tls: Option<(&Path, &Path)>, strict: bool) -> io::Result<String> {
    let layout = if strict { LAYOUT.replace(OWN, "") } else { LAYOUT.to_owned() };
    let Some((chain, key)) = tls else { return Ok(layout) };
    let tls = TLS.replace("fullchain.pem", &quoted(chain)?).replace("privkey.pem", &quoted(key)?);
    Ok(layout.replace(GAP, &tls))
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
    fn the_strict_have_no_word_that_the_module_does_not_know() {
        let strict = text(None, true).unwrap();
        assert!(!strict.contains("push_stream_state") && text(None, false).unwrap().contains("push_stream_state"));
        for strict in [false, true] {
            let options = crate::conf::LoadOptions {
                text: Some(text(None, strict).unwrap()),
                strict,
                ..crate::conf::LoadOptions::default()
            };
            assert!(crate::conf::load(&options).is_ok());
        }
    }

    #[test]
    fn what_is_served_has_the_page_and_what_is_printed_has_not() {
        let served = served(None, false).unwrap();
        assert_eq!(served.matches("location = / {").count(), 2);
        assert!(
            !text(None, false).unwrap().contains("try.js") && !super::served(None, true).unwrap().contains("try.js")
        );
        let options = crate::conf::LoadOptions { text: Some(served), ..crate::conf::LoadOptions::default() };
        assert!(crate::conf::load(&options).is_ok());
    }

    #[test]
    fn a_certificate_adds_port_8894_and_nothing_else() {
        let plain = text(None, false).unwrap();
        assert!(plain.contains(GAP) && !plain.contains("listen 8894"));
        let with = text(Some((Path::new("/a b/chain"), Path::new("/k\"ey"))), false).unwrap();
        let added = "        listen 8894 ssl;\n        ssl_certificate \"/a b/chain\";\n        \
                     ssl_certificate_key \"/k\\\"ey\";\n";
        assert_eq!(with, plain.replace(GAP, added));
    }
}
