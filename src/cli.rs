//! The command line: nginx's own switches, with long names, and the few of pushstreamd.
//!
//! Only parses; what the switches do is `server`'s business. nginx's spellings (`-t -c FILE -p DIR`, `-s reload`, `-tq`)
//! all work, and what cannot be parsed is told in nginx's words and with what could be meant ([`complaint`]). The tools of a client are in
//! [`tools`]; what is printed goes through [`console`].

pub mod console;
pub mod tools;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::conf::settings::{Address, LogStyle, durability};
use crate::model::{Durability, Line};

/// Where relative paths begin if nobody says so.
pub const PREFIX: &str = "/etc/pushstreamd/";

/// A push server in place of nginx-push-stream-module: same nginx.conf, same URLs, same bytes.
#[derive(Parser, Debug)]
#[command(
    name = "pushstreamd",
    disable_version_flag = true,
    disable_help_flag = true,
    disable_help_subcommand = true,
    args_override_self = true,
    max_term_width = 100,
    after_help = "Signals: HUP reload, QUIT quit, TERM and INT stop, USR1 reopen logs, USR2 start the new binary, WINCH accept \
                  no more.\nWithout -c, PREFIX/conf/nginx.conf is read, else PREFIX/nginx.conf; if there is neither, the embedded Bitrix layout \
                  is served (subscribers on 8893, publisher on 127.0.0.1:8895)."
)]
pub struct Cli {
    /// Show this help and exit
    #[arg(short = 'h', short_alias = '?', long, action = ArgAction::HelpShort, global = true)]
    pub help: Option<bool>,

    /// Show the version and exit
    #[arg(short = 'v', long)]
    pub version: bool,

    /// Show the version and what the binary can do, and exit
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
    #[arg(short = 'p', long, value_name = "DIR", default_value = PREFIX, global = true)]
    pub prefix: PathBuf,

    /// Error log until and unless the configuration names one; `stderr` is one too
    #[arg(short = 'e', long, value_name = "FILE")]
    pub error_log: Option<PathBuf>,

    /// How log lines are spelled: `text` as nginx does, or `json`, an object each; before `push_stream_log_format`
    #[arg(long, value_name = "FORMAT", value_parser = log_format)]
    pub log_format: Option<LogStyle>,

    /// Configuration file: below the prefix, else here
    #[arg(short = 'c', long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Certificate chain (PEM) for port 8894 of the embedded layout
    #[arg(long, value_name = "FILE", requires = "ssl_certificate_key", conflicts_with = "config")]
    pub ssl_certificate: Option<PathBuf>,

    /// Key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "ssl_certificate")]
    pub ssl_certificate_key: Option<PathBuf>,

    /// Global directives, read before the configuration file
    #[arg(short = 'g', long = "global", id = "global", value_name = "DIRECTIVES", default_value = "")]
    pub global_directives: String,

    /// Whose wire is spoken where the versions of the module differ
    #[arg(long, value_name = "VERSION", default_value = "auto", global = true)]
    pub compat: CompatLine,

    /// Exactly the module: no improvement a test suite or monitor could see
    #[arg(long, global = true)]
    pub strict: bool,

    /// Bind also the ports of servers that serve a site beside push (nginx keeps them otherwise)
    #[arg(long)]
    pub take_over: bool,

    /// Serve push locations although guards of theirs cannot be applied (lua, auth_jwt, ...); each is warned of
    #[arg(long, global = true)]
    pub accept_unguarded: bool,

    /// Directory of the log that lets channels and messages outlive the process; before `push_stream_state`, `off` for none
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,

    /// When the log is on the medium: `always` (before a publish is answered), `1s` (within a second) or `off`
    #[arg(long, value_name = "WHEN", value_parser = state_sync)]
    pub state_sync: Option<Durability>,

    /// Redis or Valkey that nodes share their channels over (docs/SCALING.md); before `push_stream_backplane`, `off` for none
    #[arg(long, value_name = "URL", value_parser = backplane)]
    pub backplane: Option<Backplane>,

    /// Show a status page, metrics and health on an address of their own (/, /metrics, /healthz); before `push_stream_status`
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = operators)]
    pub status: Option<SocketAddr>,

    /// File with the token that the status address asks for; without one other addresses than the loopback's tell health alone
    #[arg(long, value_name = "FILE")]
    pub status_token_file: Option<PathBuf>,

    /// Certificate chain (PEM) with which the status address speaks TLS; before `push_stream_status_certificate`
    #[arg(long, value_name = "FILE", requires = "status_certificate_key")]
    pub status_certificate: Option<PathBuf>,

    /// Key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "status_certificate")]
    pub status_certificate_key: Option<PathBuf>,

    /// Print the embedded default configuration and exit
    #[arg(long)]
    pub print_default_config: bool,

    /// What to do instead of serving
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What pushstreamd does beside serving.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Print how to put pushstreamd beside nginx: changes of nginx's configuration, and a configuration of its own
    Migrate(Migrate),
    /// What is done from the side of a client
    #[command(flatten)]
    Tool(tools::Tool),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    Man {
        /// Write the pages of all commands into a directory instead
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Ask a running server whether it is ready, for health checks: exit code 0 if it is
    Health {
        /// Where its `--status` listens
        #[arg(value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8896", value_parser = operators)]
        address: SocketAddr,

        /// It speaks TLS and shows the first certificate of this file (PEM); not needed on the loopback interface
        #[arg(long, value_name = "FILE")]
        certificate: Option<PathBuf>,
    },
}

/// `pushstreamd migrate`
#[derive(clap::Args, Clone, Debug)]
pub struct Migrate {
    /// First local port for the push locations of servers that stay nginx's
    #[arg(long, value_name = "PORT", default_value_t = 8896)]
    pub port: u16,

    /// Print one part only
    #[arg(long, value_name = "PART", default_value = "all")]
    pub print: Part,

    /// For the systemd unit of the packages: logs, pid file and messages in its directories, its user and no other
    #[arg(long)]
    pub unit: bool,
}

/// What `migrate` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Both, with the configuration as the second part
    All,
    /// What to change in nginx's configuration
    Nginx,
    /// The configuration pushstreamd runs
    Own,
}

/// Shells with completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
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

/// Commands to which the server's switches mean nothing; they are understood there, and not shown.
const WITHOUT_SERVER: [&str; 6] = ["pub", "tail", "bench", "completions", "man", "health"];

/// The command line as it is explained.
pub fn command() -> clap::Command {
    let command = Cli::command();
    let foreign: Vec<Arg> = command
        .get_arguments()
        .filter(|argument| argument.is_global_set() && argument.get_id() != "help")
        .map(|argument| argument.clone().hide(true))
        .collect();
    WITHOUT_SERVER.iter().fold(command, |command, name| command.mut_subcommand(name, |of| of.args(&foreign)))
}

/// Reads a command line.
pub fn read(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&command().try_get_matches_from(words)?)
}

/// What is wrong with the command line, in nginx's words; `None` where the error is a text somebody asked for (help).
pub fn complaint(error: &clap::Error) -> Option<String> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let argument =
        context(ContextKind::InvalidArg).or_else(|| context(ContextKind::InvalidSubcommand)).unwrap_or_default();
    let word = context(ContextKind::InvalidValue).unwrap_or_default();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => None,
        ErrorKind::MissingRequiredArgument => {
            let missing = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::Strings(missing)) => missing.join(", "),
                _ => String::new(),
            };
            Some(format!("{missing} is missing{}", usage(error)))
        }
        ErrorKind::InvalidValue | ErrorKind::WrongNumberOfValues if word.is_empty() => {
            let (flag, value) = wanting(argument);
            Some(format!("option \"{flag}\" requires {value}"))
        }
        ErrorKind::ValueValidation if argument.starts_with("--backplane") => {
            // The word may hold a password.
            let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            Some(format!("invalid value of option \"--backplane\": {why}"))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let (flag, _) = wanting(argument);
            let why = match (error.get(ContextKind::ValidValue), std::error::Error::source(error)) {
                (Some(ContextValue::Strings(accepted)), _) => format!(", accepted: {}", accepted.join(", ")),
                (_, Some(why)) => format!(": {why}"),
                _ => String::new(),
            };
            Some(format!("invalid value \"{word}\" of option \"{flag}\"{why}"))
        }
        // A single dash and a letter is said without the dash, as nginx does.
        _ if argument.starts_with('-') && !argument.starts_with("--") => {
            Some(format!("invalid option: \"{}\"{}", argument.trim_start_matches('-'), meant(error)))
        }
        _ if !argument.is_empty() => Some(format!("invalid option: \"{argument}\"{}", meant(error))),
        _ => Some(error.to_string().lines().next().unwrap_or_default().to_owned()),
    }
}

/// What could be meant, or where one finds what there is.
fn meant(error: &clap::Error) -> String {
    let suggested = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg].into_iter().find_map(|kind| {
        match error.get(kind)? {
            ContextValue::String(word) => Some(word.clone()),
            ContextValue::Strings(words) => words.last().cloned(),
            _ => None,
        }
    });
    match suggested {
        Some(word) => format!(", did you mean \"{word}\"?"),
        None => "; pushstreamd --help tells what there is".to_owned(),
    }
}

/// How the command is used, in one line.
fn usage(error: &clap::Error) -> String {
    let Some(ContextValue::StyledStr(text)) = error.get(ContextKind::Usage) else { return String::new() };
    let text = text.to_string();
    let line = text.lines().next().unwrap_or_default();
    format!("; {}", line.trim_start_matches("Usage: "))
}

/// The short flag of an argument as clap shows it (`--config <FILE>`), and what nginx says it requires.
fn wanting(argument: &str) -> (&str, &'static str) {
    let name = argument.split([' ', '=']).next().unwrap_or_default();
    match name {
        "--config" => ("-c", "file name"),
        "--error-log" => ("-e", "file name"),
        "--prefix" => ("-p", "directory name"),
        "--global" => ("-g", "parameter"),
        "--signal" => ("-s", "parameter"),
        other => (other, "parameter"),
    }
}

/// Value of `--backplane`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backplane {
    /// `off`
    Off,
    /// Where it is.
    At(Address),
}

fn backplane(word: &str) -> Result<Backplane, String> {
    if word == "off" { Ok(Backplane::Off) } else { word.parse().map(Backplane::At) }
}

/// An address, or a port of the loopback interface.
fn operators(word: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = word.parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    word.parse().map_err(|_| "it is a port, or an address and a port, as in 127.0.0.1:8896".to_owned())
}

fn log_format(word: &str) -> Result<LogStyle, String> {
    LogStyle::named(word.as_bytes()).ok_or_else(|| "it is text or json".to_owned())
}

fn state_sync(word: &str) -> Result<Durability, String> {
    durability(word.as_bytes()).ok_or_else(|| "it is always, 1s or off".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        read(std::iter::once("pushstreamd").chain(line.split_whitespace()))
    }

    fn complained(line: &str) -> String {
        complaint(&parse(line).unwrap_err()).unwrap()
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn switches_may_be_joined_and_repeated_as_in_nginx() {
        let cli = parse("-tq -t -cnginx.conf -p /tmp -sreload").unwrap();
        assert!(cli.test && cli.quiet);
        assert_eq!(cli.config.unwrap(), PathBuf::from("nginx.conf"));
        assert_eq!(cli.signal.unwrap(), "reload");
    }

    #[test]
    fn mistakes_are_told_in_the_words_of_nginx() {
        assert_eq!(complained("-x"), "invalid option: \"x\"; pushstreamd --help tells what there is");
        assert_eq!(complained("-tx"), "invalid option: \"x\"; pushstreamd --help tells what there is");
        assert_eq!(complained("start"), "invalid option: \"start\"; pushstreamd --help tells what there is");
        assert_eq!(complained("benhc"), "invalid option: \"benhc\", did you mean \"bench\"?");
        assert_eq!(complained("--versoin"), "invalid option: \"--versoin\", did you mean \"--version\"?");
        assert_eq!(complained("pub --qoute a b"), "invalid option: \"--qoute\", did you mean \"--quote\"?");
        assert_eq!(complained("-c"), "option \"-c\" requires file name");
        assert_eq!(complained("-p"), "option \"-p\" requires directory name");
        assert_eq!(complained("-s"), "option \"-s\" requires parameter");
        assert_eq!(
            complained("--compat 9"),
            "invalid value \"9\" of option \"--compat\", accepted: auto, 0.3.4, 0.3.5, 0.4.0, 0.5"
        );
        assert!(complained("--ssl-certificate a").starts_with("--ssl-certificate-key <FILE> is missing; pushstreamd "));
        assert_eq!(complained("pub"), "<CHANNELS> is missing; pushstreamd pub <CHANNELS> [MESSAGE]");
        assert!(
            complained("--status 8896x").ends_with(": it is a port, or an address and a port, as in 127.0.0.1:8896")
        );
        assert_eq!(parse("--status 8896").unwrap().status, Some((Ipv4Addr::LOCALHOST, 8896).into()));
        let told = complained("--backplane redis://u:secret@h");
        assert!(told.contains("password_file") && !told.contains("secret"), "{told}");
    }

    #[test]
    fn tools_do_not_show_the_switches_of_the_server_and_understand_them() {
        let mut command = command();
        command.build();
        let shown = |name: &str| command.clone().find_subcommand_mut(name).unwrap().render_help().to_string();
        for name in WITHOUT_SERVER {
            let help = shown(name);
            for switch in ["--config", "--prefix", "--compat", "--strict", "--accept-unguarded"] {
                assert!(!help.contains(switch), "{name} {switch}: {help}");
            }
        }
        assert!(shown("doctor").contains("--config") && shown("migrate").contains("--prefix"));
        assert_eq!(parse("pub a b -p /x").unwrap().prefix, PathBuf::from("/x"));
        assert_eq!(parse("-c y tail a").unwrap().config.unwrap(), PathBuf::from("y"));
    }

    #[test]
    fn a_file_may_be_named_behind_the_subcommand() {
        let cli = parse("migrate -c nginx.conf -p /tmp --port 9000").unwrap();
        assert_eq!(cli.config.unwrap(), PathBuf::from("nginx.conf"));
        assert!(matches!(cli.command, Some(Command::Migrate(Migrate { port: 9000, print: Part::All, unit: false }))));
    }
}
