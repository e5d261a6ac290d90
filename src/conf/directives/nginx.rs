//! The rows of nginx's own directives that pushstreamd applies.
//!
//! Contexts and numbers of words are nginx's. Directives it only accepts stand in `accepted`.

use super::row::Kind::{
    Block, Complex, Flag, Handler, List, Milliseconds, Number, Offset, Seconds, Size, Step, Text, Words,
};
use super::row::{
    Contents, Contexts, Directive, EVENTS, HS, HSL, HTTP, LIMIT_EXCEPT, LOCATION, LOCATION_IF, MAIN, SERVER, SERVER_IF,
    UPSTREAM, at_least, between, row, take,
};

const ANY: Contexts = Contexts::of(&[HSL, LOCATION_IF]);
const ACCESS: Contexts = Contexts::of(&[HSL, LIMIT_EXCEPT]);
const REWRITE: Contexts = Contexts::of(&[SERVER, SERVER_IF, LOCATION, LOCATION_IF]);
const MAIN_HTTP: Contexts = Contexts::of(&[MAIN, HTTP]);

/// Blocks.
pub(super) const BLOCKS: &[Directive] = &[
    row("events", MAIN, take(0), Block(Contents::Directives(EVENTS)), "", "Values of connection processing."),
    row("http", MAIN, take(0), Block(Contents::Directives(HTTP)), "", "The HTTP servers."),
    row("server", HTTP, take(0), Block(Contents::Directives(SERVER)), "", "A virtual server."),
    row(
        "location",
        Contexts::of(&[SERVER, LOCATION]),
        between(1, 2),
        Block(Contents::Directives(LOCATION)),
        "",
        "Values for a part of the URIs.",
    ),
    row(
        "if",
        Contexts::of(&[SERVER, LOCATION]),
        at_least(1),
        Block(Contents::Directives(LOCATION_IF)),
        "",
        "Values and operations under a condition.",
    ),
    row(
        "limit_except",
        LOCATION,
        at_least(1),
        Block(Contents::Directives(LIMIT_EXCEPT)),
        "",
        "Access rules for all methods but these.",
    ),
    row(
        "upstream",
        HTTP,
        take(1),
        Block(Contents::Directives(UPSTREAM)),
        "",
        "Servers of a backend that `auth_request` asks.",
    ),
    row("types", HSL, take(0), Block(Contents::Words), "(html, gif, jpg)", "Content types by file extension."),
    row("map", HTTP, take(2), Block(Contents::Words), "", "A variable that depends on another value."),
    row("geo", HTTP, between(1, 2), Block(Contents::Words), "", "A variable that depends on the client's address."),
    row("split_clients", HTTP, take(2), Block(Contents::Words), "", "A variable for shares of the clients."),
];

/// The process.
pub(super) const PROCESS: &[Directive] = &[
    row("daemon", MAIN, take(1), Flag, "on", "Become a daemon."),
    row("pid", MAIN, take(1), Text, "logs/nginx.pid", "File that holds the process id."),
    row("user", MAIN, between(1, 2), Words, "(nobody)", "User and group of the workers."),
    row("worker_processes", MAIN, take(1), Words, "1", "Number of workers, or `auto`."),
    row("worker_rlimit_nofile", MAIN, take(1), Number, "", "Most open files."),
    row("worker_shutdown_timeout", MAIN, take(1), Milliseconds, "(none)", "Longest graceful stop."),
    row("worker_connections", EVENTS, take(1), Number, "512", "Most connections of a worker."),
    row(
        "error_log",
        MAIN_HTTP,
        at_least(1),
        List,
        "(logs/error.log error)",
        "Where errors are logged, and from which level on. One log for all: that of `http` counts where main has none.",
    ),
];

/// Servers, sockets, TLS.
pub(super) const SERVERS: &[Directive] = &[
    row("listen", SERVER, at_least(1), List, "(*:80)", "A socket of the server."),
    row("server_name", SERVER, at_least(1), List, "\"\"", "Names of the server: exact, masks, regular expressions."),
    row("http2", HS, take(1), Flag, "off", "HTTP/2 on all TLS sockets of the server."),
    row("client_header_timeout", HS, take(1), Milliseconds, "60s", "Longest wait for the request head."),
    row("large_client_header_buffers", HS, take(2), Words, "4 8k", "Longest request line and header."),
    row("merge_slashes", HS, take(1), Flag, "on", "`//` in a URI counts as `/`."),
    row("underscores_in_headers", HS, take(1), Flag, "off", "Header names may have underscores."),
    row("ignore_invalid_headers", HS, take(1), Flag, "on", "Headers with invalid names are dropped."),
    row("ssl", HS, take(1), Flag, "off", "TLS on all sockets of the server (old; now a parameter of `listen`)."),
    row("ssl_certificate", HS, take(1), List, "", "Certificate chain, PEM."),
    row("ssl_certificate_key", HS, take(1), List, "", "Key of the certificate, PEM."),
    row("ssl_protocols", HS, at_least(1), List, "TLSv1.2 TLSv1.3", "TLS versions; those before 1.2 are left out."),
    row("ssl_ciphers", HS, take(1), Text, "(HIGH:!aNULL:!MD5)", "Cipher suites of TLS 1.2."),
    row("ssl_client_certificate", HS, take(1), Text, "", "Authorities that client certificates are checked against."),
    row("ssl_verify_client", HS, take(1), Words, "off", "Whether clients need a certificate."),
    row(
        "ssl_reject_handshake",
        HS,
        take(1),
        Flag,
        "off",
        "Clients who ask for a name of the server are refused at the handshake; it needs no certificate.",
    ),
    row("ssl_session_tickets", HS, take(1), Flag, "on", "Resumption by tickets."),
    row("ssl_session_timeout", HS, take(1), Seconds, "5m", "How long a session may be resumed."),
];

/// What answers a location.
pub(super) const HANDLERS: &[Directive] = &[
    row(
        "stub_status",
        Contexts::of(&[SERVER, LOCATION]),
        between(0, 1),
        Handler,
        "",
        "Answers connection counters here.",
    ),
    row("root", ANY, take(1), Words, "html", "Directory of static files."),
    row("alias", LOCATION, take(1), Words, "", "Directory that stands for the location.").means("root"),
    row("index", HSL, at_least(1), List, "index.html", "Files that answer for a directory."),
    row(
        "try_files",
        Contexts::of(&[SERVER, LOCATION]),
        at_least(2),
        Words,
        "",
        "The first of these files that exists, or else a URI or `=CODE`.",
    ),
    row("internal", LOCATION, take(0), Words, "", "Only for internal redirects."),
];

/// The rewrite phase.
pub(super) const REWRITES: &[Directive] = &[
    row("set", REWRITE, take(2), Step, "", "Gives a variable a value."),
    row("return", REWRITE, between(1, 2), Step, "", "Answers at once."),
    row("rewrite", REWRITE, between(2, 3), Step, "", "Changes the URI or redirects."),
    row("break", REWRITE, take(0), Step, "", "Ends the rewrite operations."),
];

/// Who may come in, and how often.
pub(super) const ACCESS_CONTROL: &[Directive] = &[
    row("allow", ACCESS, take(1), List, "", "Lets an address or network in."),
    row("deny", ACCESS, take(1), List, "", "Keeps an address or network out.").means("allow"),
    row("satisfy", HSL, take(1), Words, "all", "Whether `all` access checks must pass or `any`."),
    row("auth_basic", ACCESS, take(1), Complex, "off", "Realm of password protection."),
    row("auth_basic_user_file", ACCESS, take(1), Words, "", "Password file."),
    row("auth_request", HSL, take(1), Words, "off", "Asks another location whether the request may pass."),
    row("auth_request_set", HSL, take(2), List, "", "Keeps a value of the answer of `auth_request`."),
    row("secure_link", HSL, take(1), Complex, "", "Hash and expiry time of a protected link."),
    row("secure_link_md5", HSL, take(1), Complex, "", "What the hash of a protected link is made of."),
    row(
        "valid_referers",
        Contexts::of(&[SERVER, LOCATION]),
        at_least(1),
        List,
        "",
        "Referers that `$invalid_referer` is empty for.",
    ),
    row("secure_link_secret", HSL, take(1), Text, "", "The word a protected link is hashed with."),
    row("set_real_ip_from", HSL, take(1), List, "", "Proxies that are believed about the client's address."),
    row("real_ip_header", HSL, take(1), Words, "X-Real-IP", "Header that holds the client's address."),
    row("real_ip_recursive", HSL, take(1), Flag, "off", "Skip all believed proxies in the header."),
    row("limit_conn_zone", HTTP, take(2), List, "", "Keys of connection limits."),
    row("limit_zone", HTTP, take(3), List, "", "`limit_conn_zone` in nginx before 1.1.8: name, key, size."),
    row("limit_conn", HSL, take(2), List, "", "Most connections of a key."),
    row("limit_conn_status", HSL, take(1), Number, "503", "Status over the connection limit."),
    row("limit_req_zone", HTTP, between(3, 4), List, "", "Keys and rate of request limits."),
    row("limit_req", HSL, between(1, 3), List, "", "Requests of a key above its rate."),
    row("limit_req_status", HSL, take(1), Number, "503", "Status over the request limit."),
];

/// Requests and answers.
pub(super) const ANSWERS: &[Directive] = &[
    row("add_header", ANY, between(2, 3), List, "", "Adds a header to answers."),
    row("expires", ANY, between(1, 2), Words, "off", "Expires and Cache-Control of answers."),
    row("etag", HSL, take(1), Flag, "on", "ETag of files."),
    row(
        "if_modified_since",
        HSL,
        take(1),
        Words,
        "exact",
        "When a file a client has is not sent again: off, exact, before.",
    ),
    row("default_type", HSL, take(1), Text, "text/plain", "Content type where `types` has none."),
    row("charset", ANY, take(1), Words, "off", "Charset that is told in Content-Type; nothing is converted."),
    row(
        "charset_types",
        HSL,
        at_least(1),
        List,
        "text/html text/xml text/plain text/vnd.wap.wml application/javascript application/rss+xml",
        "Content types the charset is told for.",
    ),
    row("error_page", ANY, at_least(2), List, "", "What answers instead of an error."),
    row("recursive_error_pages", HSL, take(1), Flag, "off", "Error pages may lead to error pages."),
    row("client_max_body_size", HSL, take(1), Offset, "1m", "Longest body; 0: any."),
    row("client_body_timeout", HSL, take(1), Milliseconds, "60s", "Longest wait between reads of a body."),
    row("send_timeout", HSL, take(1), Milliseconds, "60s", "Longest wait between writes of an answer."),
    row("keepalive_timeout", HSL, between(1, 2), Words, "75s", "Idle time of a connection, and its header."),
    row("keepalive_requests", HSL, take(1), Number, "1000", "Most requests of a connection."),
    row("chunked_transfer_encoding", HSL, take(1), Flag, "on", "Chunked answers."),
    row("server_tokens", HSL, take(1), Words, "on", "Version in the Server header."),
    row("absolute_redirect", HSL, take(1), Flag, "on", "Redirects name the host."),
    row("port_in_redirect", HSL, take(1), Flag, "on", "Redirects name the port."),
    row("server_name_in_redirect", HSL, take(1), Flag, "off", "Redirects name the first server_name."),
    row("gzip", ANY, take(1), Flag, "off", "Compress answers."),
    row("gzip_types", HSL, at_least(1), List, "text/html", "Content types that are compressed."),
    row("gzip_min_length", HSL, take(1), Size, "20", "Least length of an answer that is compressed."),
    row("gzip_comp_level", HSL, take(1), Number, "1", "Effort of compression."),
    row("gzip_http_version", HSL, take(1), Words, "1.1", "Least HTTP version of a request."),
    row("gzip_vary", HSL, take(1), Flag, "off", "`Vary: Accept-Encoding`."),
    row("gzip_proxied", HSL, at_least(1), List, "off", "Compress answers to proxies."),
    row("gzip_disable", HSL, at_least(1), List, "", "User agents that get no compression."),
];

/// Logs.
pub(super) const LOGS: &[Directive] = &[
    row("log_format", HTTP, at_least(2), List, "(combined)", "Names a line of the access log."),
    row(
        "access_log",
        Contexts::of(&[ANY, LIMIT_EXCEPT]),
        at_least(1),
        List,
        "logs/access.log combined",
        "Where requests are logged.",
    ),
    row(
        "open_log_file_cache",
        HSL,
        between(1, 4),
        Words,
        "off",
        "Files of access logs whose path has variables that stay open.",
    ),
    row("log_not_found", HSL, take(1), Flag, "on", "Log files that do not exist."),
];
