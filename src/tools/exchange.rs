//! A request over HTTP/1.1, and what its answer says where it is a no.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::ToolError;
use super::address::Address;
use super::line;
use super::trust::Trust;

/// Bytes of a refusal that are read.
const REFUSAL: usize = 16 * 1024;

/// A connection over which one request is sent after the other.
pub(super) struct Exchange {
    sender: SendRequest<Full<Bytes>>,
}

impl Exchange {
    async fn open(address: &Address, trust: &Trust) -> Result<Self, ToolError> {
        let line = line::open(address, trust).await?;
        let (sender, connection) = handshake(TokioIo::new(line)).await.map_err(|error| lost(address, &error))?;
        // Its end shows in the answers.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { sender })
    }

    /// The one that was kept, if it can still be used; else a new one.
    pub(super) async fn again(kept: Option<Self>, address: &Address, trust: &Trust) -> Result<Self, ToolError> {
        if let Some(mut kept) = kept
            && kept.sender.ready().await.is_ok()
        {
            return Ok(kept);
        }
        Self::open(address, trust).await
    }

    /// Sends a request; fields with empty values are left out.
    pub(super) async fn ask(
        &mut self,
        method: &str,
        address: &Address,
        fields: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response<Incoming>, ToolError> {
        let mut request = Request::builder().method(method).uri(&address.target).header("Host", address.authority());
        if let Some(authorization) = &address.authorization {
            request = request.header("Authorization", authorization);
        }
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|error| ToolError::Asked(error.to_string()))?;
        self.sender.send_request(request).await.map_err(|error| lost(address, &error))
    }
}

/// That a server was lost.
pub(super) fn lost(address: &Address, error: &hyper::Error) -> ToolError {
    let why = std::error::Error::source(error).map_or_else(|| error.to_string(), |inner| format!("{error}: {inner}"));
    ToolError::Lost { place: address.place(), why }
}

/// The answer, if it is a yes: 200, 304; else what it says.
pub(super) async fn accepted(address: &Address, response: Response<Incoming>) -> Result<Response<Incoming>, ToolError> {
    let status = response.status();
    if status.is_success() || status == 304 {
        return Ok(response);
    }
    if let Some(place) = response.headers().get("location").filter(|_| status.is_redirection()) {
        // Whom it leads to was not asked for: a message is not sent twice, nor to somebody else.
        let why = format!(
            "the server sends on to {}: that URL may be the right one",
            String::from_utf8_lossy(place.as_bytes())
        );
        return Err(ToolError::Refused { place: address.place(), status: status.as_u16(), why });
    }
    let explain = response.headers().get("x-nginx-pushstream-explain").and_then(|value| value.to_str().ok());
    let why = if let Some(explain) = explain {
        explain.to_owned()
    } else {
        let body = Limited::new(response.into_body(), REFUSAL).collect().await.map(http_body_util::Collected::to_bytes);
        let text = body.map(|body| String::from_utf8_lossy(&body).trim().to_owned()).unwrap_or_default();
        // A page says no more than its status.
        let said = text.lines().next().filter(|line| !line.starts_with('<')).map(str::to_owned);
        said.unwrap_or_else(|| status.canonical_reason().unwrap_or_default().to_owned())
    };
    let why = if status == 401 { format!("{why}; user:password@ before the host of the URL, or -H") } else { why };
    Err(ToolError::Refused { place: address.place(), status: status.as_u16(), why })
}

/// Reads an answer to its end.
pub(super) async fn whole(address: &Address, response: Response<Incoming>) -> Result<Bytes, ToolError> {
    let body = response.into_body().collect().await.map_err(|error| lost(address, &error))?;
    Ok(body.to_bytes())
}
