//! TLS at the addresses that were named, as a client meets it: whether it is trusted, and for how long.

use super::Finding;
use super::server::certificate;
use crate::cli::tools::Doctor;
use crate::server::expiry;
use crate::tools::ToolError;
use crate::tools::address::{Address, Pattern};
use crate::tools::line;
use crate::tools::position::Position;
use crate::tools::trust::Trust;

/// One finding for each address with TLS; none of one that says why it cannot be reached, which is looked at elsewhere.
pub(super) async fn look(wanted: &Doctor, url: &str) -> Result<Vec<Finding>, ToolError> {
    let mut addresses: Vec<Address> = Vec::new();
    for url in [url, &wanted.publish_url] {
        let address = Pattern::new(url)?.address("", &Position::default())?;
        if address.tls && !addresses.iter().any(|known| known.place() == address.place()) {
            addresses.push(address);
        }
    }
    let trust = Trust::new(wanted.reach.cacert.as_deref(), !addresses.is_empty())?;
    let mut findings = Vec::new();
    for address in addresses {
        findings.extend(endpoint(&address, &trust).await?);
    }
    Ok(findings)
}

async fn endpoint(address: &Address, trust: &Trust) -> Result<Option<Finding>, ToolError> {
    let stream = match line::shake(address, trust).await {
        Ok(stream) => stream,
        Err(ToolError::Untrusted { place, why }) => {
            let advice = "clients refuse it too, unless they trust another authority (--cacert FILE here): the server has to send the certificate of this name and those between it and its authority (fullchain.pem)";
            return Ok(Some(Finding::bad("tls", format!("{place}: {why}"), advice)));
        }
        Err(error @ ToolError::Asked(_)) => return Err(error),
        Err(_) => return Ok(None),
    };
    let (_, session) = stream.get_ref();
    let end = session.peer_certificates().and_then(|chain| expiry(chain.first()?));
    Ok(Some(certificate("tls", &format!("{}, which is trusted,", address.place()), end)))
}
