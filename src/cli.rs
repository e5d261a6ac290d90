//! The command line: nginx's own switches, with long names, and the few of pushstreamd.
//!
//! Only parses; what the switches do is `server`'s business. nginx's spellings (`-t -c FILE -p DIR`, `-s reload`) all work.

use std::path::PathBuf;

use clap::{ArgAction, Parser, ValueEnum};

use crate::conf::settings::Line;

/// A push server in place of nginx-push-stream-module: same nginx.conf, same URLs, same bytes.
#[derive(Parser, Debug)]
#[command(name = "pushstreamd", disable_version_flag = true, disable_help_flag = true, max_term_width = 100)]
pub struct Cli {
    /// Show this help and exit
    #[arg(short = 'h', short_alias = '?', long, action = ArgAction::Help)]
    pub help: Option<bool>,

    /// Show the version and exit
    #[arg(short = 'v', long)]
    pub version: bool,

    /// Show the version and how the binary was built, and exit
    #[arg(short = 'V', long)]
    pub build: bool,

    /// Test the configuration and exit
    #[arg(short = 't', long)]
    pub test: bool,

    /// Test the configuration, print it and exit
    #[arg(short = 'T', long)]
    pub dump: bool,

    /// Print only errors while testing the configuration
    #[arg(short = 'q', long)]
    pub quiet: bool,

    /// Send a signal to the running server: stop, quit, reopen or reload
    #[arg(short = 's', long, value_name = "SIGNAL")]
    pub signal: Option<String>,

    /// Prefix of relative paths
    #[arg(short = 'p', long, value_name = "DIR", default_value = "/etc/pushstreamd/")]
    pub prefix: PathBuf,

    /// Error log until the configuration names one
    #[arg(short = 'e', long, value_name = "FILE")]
    pub error_log: Option<PathBuf>,

    /// Configuration file; without it the embedded Bitrix layout is served
    #[arg(short = 'c', long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Certificate chain (PEM) for port 8894 of the embedded layout
    #[arg(long, value_name = "FILE", requires = "ssl_certificate_key", conflicts_with = "config")]
    pub ssl_certificate: Option<PathBuf>,

    /// Key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "ssl_certificate")]
    pub ssl_certificate_key: Option<PathBuf>,

    /// Global directives, read before the configuration file
    #[arg(short = 'g', long, value_name = "DIRECTIVES", default_value = "")]
    pub global: String,

    /// Whose wire is spoken where the versions of the module differ
    #[arg(long, value_name = "VERSION", default_value = "auto")]
    pub compat: CompatLine,

    /// Exactly the module: no improvement a test suite or monitor could see
    #[arg(long)]
    pub strict: bool,

    /// Print the embedded default configuration and exit
    #[arg(long)]
    pub print_default_config: bool,
}

/// Value of `--compat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompatLine {
    /// 0.5, or the 0.3.x line where the configuration uses a spelling that only that line had
    #[value(name = "auto")]
    Auto,
    /// 0.3.4
    #[value(name = "0.3.4")]
    V034,
    /// 0.3.5
    #[value(name = "0.3.5")]
    V035,
    /// 0.4.0
    #[value(name = "0.4.0", alias = "0.4")]
    V040,
    /// 0.5.0 to 0.6.0
    #[value(name = "0.5", aliases = ["0.5.5", "0.5.4", "0.6", "0.6.0"])]
    V05,
}

impl CompatLine {
    /// The line, if one was named.
    pub fn line(self) -> Option<Line> {
        match self {
            Self::Auto => None,
            Self::V034 => Some(Line::V034),
            Self::V035 => Some(Line::V035),
            Self::V040 => Some(Line::V040),
            Self::V05 => Some(Line::V05),
        }
    }
}
