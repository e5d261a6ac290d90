//! What a start would meet, looked at without starting: for people who want to know before.
//!
//! Binds nothing for longer than a moment and changes nothing.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::command::origin;
use super::expiry::expiry;
use super::service::worker_count;
use super::{holder, listen, process};
use crate::cli::Cli;
use crate::conf::ConfError;
use crate::conf::ports::Ports;
use crate::conf::settings::ListenAddress;

/// What was found.
pub(crate) struct Examined {
    /// The configuration; none where the embedded layout is served.
    pub file: Option<PathBuf>,
    /// Where the running server tells its process, and that process if there is one.
    pub server: (PathBuf, Option<u32>),
    /// How many files may be open: in the running server, else in one that is started here.
    pub files: Option<u64>,
    /// How many may come to be needed.
    pub files_wanted: u64,
    /// The most connections that a socket asks the kernel to keep until they are accepted.
    pub backlog: i32,
    /// The sockets of the server.
    pub sockets: Vec<(String, Standing)>,
    /// The certificate files it serves with, and the last second of the first certificate in each.
    pub certificates: Vec<(PathBuf, Option<i64>)>,
    /// Where messages outlive the process.
    pub state: Option<PathBuf>,
}

/// Whether a socket can be had.
pub(crate) enum Standing {
    /// Yes.
    Free,
    /// Held by: `nginx (pid 12)`.
    Held(String),
    /// Held by somebody who cannot be told.
    Taken,
    /// No, for another reason.
    Refused(io::Error),
}

/// Looks at the configuration that the command line names, or says why it cannot be used.
pub(crate) fn examine(cli: &Cli) -> Result<Examined, String> {
    let origin = origin(cli).map_err(|error| format!("{error:#}"))?;
    let (loaded, _) = origin
        .load_all()
        .map_err(|ConfError { notes }| notes.iter().map(|note| note.text.clone()).collect::<Vec<_>>().join("; "))?;
    let settings = &loaded.settings;
    let ports = Ports::of(settings, origin.take_over);
    let servers = ports.own().filter(|listener| listener.ssl).flat_map(|listener| listener.names.all());
    let files = servers.filter_map(|server| server.tls.as_ref()).flat_map(|tls| &tls.certificates);
    let of_status = settings.status.address.and(settings.status.certificate.as_ref());
    let mut certificates: Vec<PathBuf> = files.chain(of_status).map(|(certificate, _)| certificate.clone()).collect();
    certificates.sort();
    certificates.dedup();
    let pid = process::running(&settings.process.pid);
    let status = settings.status.address.map(ListenAddress::Ip);
    let addresses = ports.own().map(|listener| &listener.address).chain(&status);
    Ok(Examined {
        certificates: certificates.into_iter().map(|file| (file.clone(), end_of(&file))).collect(),
        file: origin.options.text.is_none().then(|| origin.options.file.clone()),
        files: pid.map_or_else(|| process::files_of_start(&settings.process), process::files_of),
        files_wanted: process::files_wanted(&settings.process, worker_count(settings)),
        server: (settings.process.pid.clone(), pid),
        backlog: ports.own().map(listen::backlog).max().unwrap_or_default(),
        sockets: addresses.map(|address| (listen::shown(address), standing(address))).collect(),
        state: settings.state.dir.clone(),
    })
}

fn end_of(certificate: &Path) -> Option<i64> {
    expiry(&CertificateDer::from_pem_file(certificate).ok()?)
}

fn standing(address: &ListenAddress) -> Standing {
    if let Some(holder) = holder::of(address) {
        return Standing::Held(holder);
    }
    match address {
        ListenAddress::Unix(path) => UnixStream::connect(path).map_or(Standing::Free, |_| Standing::Taken),
        ListenAddress::Ip(address) => match TcpListener::bind(address) {
            Ok(_) => Standing::Free,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Standing::Taken,
            Err(error) => Standing::Refused(error),
        },
    }
}
