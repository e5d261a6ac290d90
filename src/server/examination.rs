//! What a start would meet, looked at without starting: for people who want to know before.
//!
//! Binds nothing for longer than a moment and changes nothing.

use std::io;
use std::net::TcpListener;
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
    /// The configuration.
    pub file: PathBuf,
    /// What is wrong with its limits, and what to do.
    pub limits: Vec<String>,
    /// The sockets of the server, and who holds those that are not free.
    pub sockets: Vec<(String, Option<String>)>,
    /// The certificate files it serves with, and the last second of the first certificate in each.
    pub certificates: Vec<(PathBuf, Option<i64>)>,
    /// Where messages outlive the process.
    pub state: Option<PathBuf>,
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
    let mut certificates: Vec<PathBuf> = files.map(|(certificate, _)| certificate.clone()).collect();
    certificates.sort();
    certificates.dedup();
    Ok(Examined {
        certificates: certificates.into_iter().map(|file| (file.clone(), end_of(&file))).collect(),
        file: origin.options.file.clone(),
        limits: process::limit_warnings(&settings.process, worker_count(settings)),
        sockets: ports.own().map(|listener| (listen::shown(&listener.address), busy(&listener.address))).collect(),
        state: settings.state.dir.clone(),
    })
}

fn end_of(certificate: &Path) -> Option<i64> {
    expiry(&CertificateDer::from_pem_file(certificate).ok()?)
}

/// Who holds an address, if it is not free; some other reason why it cannot be had.
fn busy(address: &ListenAddress) -> Option<String> {
    if let Some(holder) = holder::of(address) {
        return Some(format!("held by {holder}"));
    }
    let ListenAddress::Ip(address) = address else { return None };
    match TcpListener::bind(address) {
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Some("in use".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}
