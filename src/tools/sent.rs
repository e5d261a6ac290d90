//! A publisher: a connection that is opened again when it was lost, over which messages are sent one after the other.

use hyper::body::Bytes;

use super::ToolError;
use super::address::Pattern;
use super::exchange::{self, Exchange};
use super::position::Position;
use super::trust::Trust;
use crate::cli::tools::Reach;

/// A publisher.
pub(super) struct Publisher<'a> {
    pattern: Pattern,
    trust: Trust,
    fields: Vec<(&'a str, &'a str)>,
    exchange: Option<Exchange>,
}

impl<'a> Publisher<'a> {
    pub(super) fn new(url: &str, reach: &'a Reach) -> Result<Self, ToolError> {
        let pattern = Pattern::new(url)?;
        let tls = pattern.address("", &Position::default())?.tls;
        let trust = Trust::new(reach.cacert.as_deref(), tls)?;
        let fields = reach.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        Ok(Self { pattern, trust, fields, exchange: None })
    }

    /// Sends a header field with each message.
    pub(super) fn with(mut self, name: &'a str, value: &'a str) -> Self {
        self.fields.push((name, value));
        self
    }

    /// Publishes; what the server answers.
    pub(super) async fn publish(&mut self, channels: &str, text: Bytes) -> Result<Bytes, ToolError> {
        let address = self.pattern.address(channels, &Position::default())?;
        let mut exchange = Exchange::again(self.exchange.take(), &address, &self.trust).await?;
        let response = exchange.ask("POST", &address, &self.fields, text).await?;
        let answer = exchange::whole(&address, exchange::accepted(&address, response).await?).await?;
        self.exchange = Some(exchange);
        Ok(answer)
    }
}
