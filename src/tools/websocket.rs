//! A websocket from the client's side.

use std::future::poll_fn;
use std::pin::Pin;

use futures_core::Stream;
use http::{HeaderName, HeaderValue};
use serde_json::Value;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::ToolError;
use super::address::Address;
use super::line::{self, Line};
use super::trust::Trust;

/// An open websocket.
pub(super) struct Socket(WebSocketStream<Line>);

impl Socket {
    pub(super) async fn open(address: &Address, trust: &Trust, fields: &[(String, String)]) -> Result<Self, ToolError> {
        let asked = |why: String| ToolError::Asked(why);
        let url = format!("ws://{}{}", address.authority(), address.target);
        let mut request = url.into_client_request().map_err(|error| asked(error.to_string()))?;
        for (name, value) in fields {
            let name: HeaderName = name.parse().map_err(|_| asked(format!("{name} is no name of a field")))?;
            let value = HeaderValue::from_str(value).map_err(|_| asked(format!("{value} is no value of a field")))?;
            request.headers_mut().insert(name, value);
        }
        if let Some(authorization) =
            address.authorization.as_deref().and_then(|value| HeaderValue::from_str(value).ok())
        {
            request.headers_mut().entry("authorization").or_insert(authorization);
        }
        let line = line::open(address, trust).await?;
        match client_async(request, line).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(error) => Err(told(address, &error)),
        }
    }

    /// The next message.
    pub(super) async fn next(&mut self, address: &Address) -> Result<Bytes, ToolError> {
        let lost = |why: String| ToolError::Lost { place: address.place(), why };
        loop {
            let next = poll_fn(|cx| Pin::new(&mut self.0).poll_next(cx)).await;
            match next.ok_or_else(|| lost("the server has closed the connection".to_owned()))? {
                Ok(Message::Text(text)) => return Ok(text.into()),
                Ok(Message::Binary(bytes)) => return Ok(bytes),
                Ok(Message::Close(frame)) => return Err(farewell(address, frame)),
                // Pings are answered by the library.
                Ok(_) => {}
                Err(error) => return Err(told(address, &error)),
            }
        }
    }
}

fn told(address: &Address, error: &Error) -> ToolError {
    let place = address.place();
    let Error::Http(answer) = error else { return ToolError::Lost { place, why: error.to_string() } };
    let explain = answer.headers().get("x-nginx-pushstream-explain").and_then(|value| value.to_str().ok());
    let why = explain.or(answer.status().canonical_reason()).unwrap_or_default().to_owned();
    ToolError::Refused { place, status: answer.status().as_u16(), why }
}

/// A close frame; one of the module's refusals has in it what HTTP would have said.
fn farewell(address: &Address, frame: Option<CloseFrame>) -> ToolError {
    let place = address.place();
    let Some(frame) = frame else { return ToolError::Lost { place, why: "closed by the server".to_owned() } };
    let said: Value = serde_json::from_str(&frame.reason).unwrap_or_default();
    match said.get("http_status").and_then(Value::as_u64) {
        Some(status) => {
            let why = said.get("explain").and_then(Value::as_str).unwrap_or_default().to_owned();
            ToolError::Refused { place, status: status as u16, why }
        }
        None => {
            ToolError::Lost { place, why: format!("closed by the server with code {} {}", frame.code, frame.reason) }
        }
    }
}
