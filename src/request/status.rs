//! Status lines and the HTML pages that come with errors and redirections.
//!
//! The one table of reasons; a status nginx has no reason for is sent with none.

use bytes::Bytes;

/// `Server` with `server_tokens on`.
pub(crate) const SERVER_FULL: &str = concat!("pushstreamd/", env!("CARGO_PKG_VERSION"));
/// `Server` with `server_tokens off`.
pub(crate) const SERVER: &str = "pushstreamd";

/// Request header or cookie too large: answered as 400, with a page of its own.
pub(crate) const HEADER_TOO_LARGE: u16 = 494;
/// The client certificate was not accepted: 400.
pub(crate) const CERTIFICATE_ERROR: u16 = 495;
/// No client certificate was sent: 400.
pub(crate) const NO_CERTIFICATE: u16 = 496;
/// Plain HTTP on a TLS port: 400.
pub(crate) const PLAIN_TO_TLS: u16 = 497;
/// The connection is closed without an answer.
pub(crate) const DROP: u16 = 444;
/// The client is gone: nobody is there to be answered.
pub(crate) const GONE: u16 = 499;

/// Reason of a status line, as nginx words it.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Time-out",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        415 => "Unsupported Media Type",
        416 => "Requested Range Not Satisfiable",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}

/// The status that goes over the wire: nginx's own codes of a bad request are a 400.
pub(crate) fn sent_status(status: u16) -> u16 {
    match status {
        HEADER_TOO_LARGE | CERTIFICATE_ERROR | NO_CERTIFICATE | PLAIN_TO_TLS => 400,
        status => status,
    }
}

/// Whether an error with this status ends the connection: what follows on it cannot be trusted.
pub(crate) fn ends_connection(status: u16) -> bool {
    matches!(status, 400 | 413 | 414 | CERTIFICATE_ERROR | NO_CERTIFICATE | PLAIN_TO_TLS | 500 | 501)
}

/// The HTML page of a status; empty for those that have none.
pub(crate) fn page(status: u16, server_tokens: bool) -> Bytes {
    let (title, heading, note) = match status {
        302 => ("302 Found".to_owned(), None, ""),
        401 => ("401 Authorization Required".to_owned(), None, ""),
        HEADER_TOO_LARGE => bad_request("Request Header Or Cookie Too Large"),
        CERTIFICATE_ERROR => bad_request("The SSL certificate error"),
        NO_CERTIFICATE => bad_request("No required SSL certificate was sent"),
        PLAIN_TO_TLS => bad_request("The plain HTTP request was sent to HTTPS port"),
        _ if status < 300 || status == 304 || reason(status).is_empty() => return Bytes::new(),
        status => (format!("{status} {}", reason(status)), None, ""),
    };
    let heading = heading.unwrap_or(title.as_str());
    let note = if note.is_empty() { String::new() } else { format!("<center>{note}</center>\r\n") };
    let server = if server_tokens { SERVER_FULL } else { SERVER };
    Bytes::from(format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{heading}</h1></center>\r\n{note}\
         <hr><center>{server}</center>\r\n</body>\r\n</html>\r\n"
    ))
}

fn bad_request(note: &'static str) -> (String, Option<&'static str>, &'static str) {
    (format!("400 {note}"), Some("400 Bad Request"), note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_the_shape_of_nginx() {
        assert_eq!(
            page(404, false),
            "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not Found</h1></center>\r\n\
             <hr><center>pushstreamd</center>\r\n</body>\r\n</html>\r\n"
        );
        let text = String::from_utf8(page(PLAIN_TO_TLS, true).to_vec()).unwrap();
        assert!(text.contains("<title>400 The plain HTTP request was sent to HTTPS port</title>"));
        assert!(text.contains("<h1>400 Bad Request</h1></center>\r\n<center>The plain HTTP request"));
        assert!(page(418, true).is_empty() && page(204, true).is_empty());
    }
}
