//! The command as a whole: what each switch does.
//!
//! Lines and exit codes are nginx's, with another program name: 0 when all is well, 1 otherwise. The life of a server is
//! told in `service`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;

use super::health;
use super::listen;
use super::log::ErrorLogs;
use super::log_line::name;
use super::log_paths::{log_paths, make_logs, try_each};
use super::origin::Origin;
use super::process;
use super::service::{Server, not_opened};
use super::state;
use super::status;
use super::zones;
use crate::cli::console::{print, say};
use crate::cli::{self, Cli, Command, Migrate, Part, Shell};
use crate::conf::default_layout;
use crate::conf::ports::Ports;
use crate::conf::settings::LogLevel;
use crate::conf::{self, ConfError, LoadOptions, Loaded, Note};
use crate::migrate::{Division, Paths, nginx_part, own_part};

/// Where the configuration is looked for below the prefix: as an nginx built from source has it, as packages have it.
const CONFIGS: [&str; 2] = ["conf/nginx.conf", "nginx.conf"];
/// What is said to a signal that nobody can be sent.
const NONE_RUNS: &str = "; no server runs with this configuration, or it was started with another -c or -p";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the command; the exit code.
pub fn run(cli: &Cli) -> u8 {
    if cli.print_default_config {
        return match default_text(cli, default_layout::text) {
            Ok(text) => print(text.as_bytes()),
            Err(error) => refuse(&error),
        };
    }
    if cli.version || cli.build {
        print_version(cli.build);
        return 0;
    }
    let origin = match origin(cli) {
        Ok(origin) => origin,
        Err(error) => return refuse(&error),
    };
    match &cli.command {
        Some(Command::Completions { shell }) => return print_completions(*shell),
        Some(Command::Man { dir }) => return print_manual(dir.as_deref()),
        Some(Command::Health { address, certificate }) => return health::ask(*address, certificate.as_deref()),
        Some(Command::Migrate(wanted)) => return migrate(cli, wanted, &origin),
        // Those have a room of their own.
        Some(Command::Tool(_)) => {}
        None => {
            if let Some(word) = &cli.signal {
                return send_signal(word, &origin);
            }
            return load_and_run(cli, origin);
        }
    }
    0
}

/// What a server starts from.
pub(super) fn origin(cli: &Cli) -> anyhow::Result<Origin> {
    Ok(Origin {
        options: load_options(cli)?,
        error_log: cli.error_log.clone(),
        take_over: cli.take_over,
        status: cli.status,
        status_token_file: cli.status_token_file.clone(),
        status_certificate: cli.status_certificate.clone().zip(cli.status_certificate_key.clone()),
        backplane: cli.backplane.clone(),
        state: cli.state.clone(),
        state_sync: cli.state_sync,
    })
}

fn load_and_run(cli: &Cli, origin: Origin) -> u8 {
    let style = cli.log_format.unwrap_or_default();
    let logs = ErrorLogs::default();
    logs.spell(style);
    if cli.error_log.is_some()
        && let Err((path, error)) = logs.open(&[origin.default_log()], style)
    {
        let text = format!("could not open error log file: {}", not_opened(&path, &error));
        logs.announce(LogLevel::Alert, &text);
    }
    let testing = cli.test || cli.dump;
    let (loaded, tls) = match origin.load_all() {
        Ok(loaded) => loaded,
        Err(ConfError { notes }) => {
            announce(&logs, &notes);
            if testing {
                say(format_args!("pushstreamd: configuration file {} test failed", origin.options.file.display()));
            }
            return 1;
        }
    };
    if testing {
        return test(cli, &origin, &loaded);
    }
    logs.spell(loaded.settings.log_lines.style);
    announce(&logs, loaded.notes.iter().filter(|note| note.level >= LogLevel::Warn));
    announce(&logs, Some(&loaded.wire).filter(|wire| wire.level >= LogLevel::Notice));
    match Server::start(origin, loaded.settings, tls, logs.clone()) {
        Ok(running) => running.run(),
        Err(error) => {
            logs.announce(LogLevel::Emerg, &format!("{error:#}"));
            1
        }
    }
}

fn announce<'n>(logs: &ErrorLogs, notes: impl IntoIterator<Item = &'n Note>) {
    for note in notes {
        logs.announce(note.level, &note.text);
    }
}

fn print_version(build: bool) {
    say(format_args!("pushstreamd version: pushstreamd/{VERSION}"));
    if build {
        say(format_args!(
            "in place of nginx with nginx-push-stream-module, versions 0.3.4, 0.3.5, 0.4.0 and 0.5.0 to 0.6.0"
        ));
        say(format_args!("TLS SNI support enabled"));
        say(format_args!("allocator: {}", process::allocator()));
        // Menus of virtual machines look for the module among these words.
        say(format_args!(
            "the next line is for programs that look for the module among nginx's words; nothing was configured so"
        ));
        say(format_args!(
            "configure arguments: --with-http_ssl_module --with-http_realip_module --add-module=nginx-push-stream-module"
        ));
    }
}

fn print_completions(shell: Shell) -> u8 {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut cli::command(), "pushstreamd", &mut text);
    print(&text)
}

fn print_manual(dir: Option<&Path>) -> u8 {
    let mut text = Vec::new();
    let made = match dir {
        Some(dir) => clap_mangen::generate_to(cli::command(), dir),
        None => clap_mangen::Man::new(cli::command()).render(&mut text),
    };
    made.map_or_else(|error| refuse(&error.into()), |()| print(&text))
}

fn load_options(cli: &Cli) -> anyhow::Result<LoadOptions> {
    let (file, text) = match &cli.config {
        // Below the prefix, as nginx has it; else where the person is.
        Some(file) if !cli.prefix.join(file).exists() && file.exists() => {
            (std::path::absolute(file).unwrap_or_else(|_| file.clone()), None)
        }
        Some(file) => (file.clone(), None),
        None => match CONFIGS.iter().find(|config| cli.prefix.join(config).exists()) {
            None => (PathBuf::from("default.conf"), Some(default_text(cli, default_layout::served)?)),
            Some(found) if cli.ssl_certificate.is_some() => {
                let found = cli.prefix.join(found);
                bail!("--ssl-certificate goes with the embedded configuration, but there is {}", found.display());
            }
            Some(found) => (PathBuf::from(found), None),
        },
    };
    Ok(LoadOptions {
        file: cli.prefix.join(file),
        prefix: cli.prefix.clone(),
        global_directives: cli.global_directives.clone(),
        compat: cli.compat.line(),
        strict: cli.strict,
        // Whoever only sends a signal lets nobody in.
        accept_unguarded: cli.accept_unguarded || cli.signal.is_some(),
        text,
        log_style: cli.log_format,
        zones: Vec::new(),
    })
}

/// The embedded configuration, printed or served, as the command line completes it.
fn default_text(
    cli: &Cli,
    text: impl Fn(Option<(&Path, &Path)>, bool) -> std::io::Result<String>,
) -> anyhow::Result<String> {
    let tls = cli.ssl_certificate.as_deref().zip(cli.ssl_certificate_key.as_deref());
    text(tls, cli.strict).context("the certificate has no usable path")
}

fn refuse(error: &anyhow::Error) -> u8 {
    say(format_args!("pushstreamd: [emerg] {error:#}"));
    1
}

/// `-t` and `-T`, for a configuration that could be compiled: whether a server could start with it.
fn test(cli: &Cli, origin: &Origin, loaded: &Loaded) -> u8 {
    let file = origin.options.file.display();
    let least = if cli.quiet { LogLevel::Error } else { LogLevel::Debug };
    for note in loaded.notes.iter().filter(|note| note.level >= least) {
        say(format_args!("pushstreamd: [{}] {}", name(note.level), note.text));
    }
    let ports = Ports::of(&loaded.settings, origin.take_over);
    if !cli.quiet {
        // The module's nginx says nothing where there is nothing to decide.
        let told = !loaded.settings.compat.strict || ports.leaves_some();
        let wire = (name(loaded.wire.level), &loaded.wire.text);
        if told {
            say(format_args!("pushstreamd: [{}] {}", wire.0, wire.1));
        }
        for line in ports.table().iter().filter(|_| told) {
            say(format_args!("pushstreamd: [notice] {line}"));
        }
        say(format_args!("pushstreamd: the configuration file {file} syntax is ok"));
    }
    let judged = ports.judge(&file.to_string()).map_err(anyhow::Error::msg);
    for note in judged.iter().flatten().filter(|note| note.level >= least) {
        say(format_args!("pushstreamd: [{}] {}", name(note.level), note.text));
    }
    if let Err(error) = judged.and_then(|_| try_out(origin, loaded, &ports)) {
        say(format_args!("pushstreamd: [emerg] {error:#}"));
        say(format_args!("pushstreamd: configuration file {file} test failed"));
        return 1;
    }
    if !cli.quiet {
        say(format_args!("pushstreamd: configuration file {file} test is successful"));
    }
    if cli.dump {
        let file = |(path, text): &(PathBuf, Vec<u8>)| {
            format!("# configuration file {}:\n{}\n\n", path.display(), String::from_utf8_lossy(text))
        };
        return print(loaded.files.iter().map(file).collect::<String>().as_bytes());
    }
    0
}

/// Opens what a start would open, and keeps nothing of it.
fn try_out(origin: &Origin, loaded: &Loaded, ports: &Ports<'_>) -> anyhow::Result<()> {
    let settings = &loaded.settings;
    make_logs(settings, &origin.options);
    process::probe_pid(&settings.process.pid).map_err(|error| not_opened(&settings.process.pid, &error))?;
    try_each(&log_paths(settings, &origin.options.prefix)).map_err(|(path, error)| not_opened(&path, &error))?;
    process::owner(&settings.process).context("cannot look up the user")?;
    zones::states(settings).try_for_each(|state| state::probe(&state))?;
    if let Some(address) = settings.status.address {
        status::guard(address, settings.status.token_file.as_deref())?;
        status::is_apart(address, ports.own().map(|listener| &listener.address))?;
        listen::probe_alone(address)?;
    }
    ports.own().try_for_each(|listener| Ok(listen::probe(listener)?))
}

/// `-s stop|quit|reopen|reload`: tells the running server by its pid file.
fn send_signal(word: &str, origin: &Origin) -> u8 {
    let kind = match word {
        "stop" => Signal::SIGTERM,
        "quit" => Signal::SIGQUIT,
        "reopen" => Signal::SIGUSR1,
        "reload" => Signal::SIGHUP,
        _ => {
            say(format_args!("pushstreamd: invalid option: \"-s {word}\""));
            return 1;
        }
    };
    let loaded = match origin.load() {
        Ok(loaded) => loaded,
        Err(ConfError { notes }) => {
            announce(&ErrorLogs::default(), &notes);
            return 1;
        }
    };
    let path = &loaded.settings.process.pid;
    let pid = match process::read_pid(path) {
        Ok(pid) => pid,
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            say(format_args!("pushstreamd: [error] {error} in \"{}\"", path.display()));
            return 1;
        }
        Err(error) => {
            let why = not_opened(path, &error);
            // Where there is no file no server runs, or it has another one.
            let more = if error.kind() == std::io::ErrorKind::NotFound { NONE_RUNS } else { "" };
            say(format_args!("pushstreamd: [error] {why}{more}"));
            return 1;
        }
    };
    if let Err(error) = process::signal(pid, kind) {
        say(format_args!("pushstreamd: [alert] kill({pid}, {}) failed ({})", kind as i32, listen::errno_text(&error)));
        return 1;
    }
    0
}

/// `pushstreamd migrate`: the file is looked for where the person is, not below the prefix.
fn migrate(cli: &Cli, wanted: &Migrate, origin: &Origin) -> u8 {
    let file = cli.config.clone().unwrap_or_else(|| PathBuf::from("/etc/nginx/nginx.conf"));
    let file = std::path::absolute(&file).unwrap_or(file);
    let mut paths = Paths { unit: wanted.unit, ..Paths::guessed(&file) };
    if cli.prefix.as_os_str() != crate::cli::PREFIX {
        paths.prefix = std::path::absolute(&cli.prefix).unwrap_or_else(|_| cli.prefix.clone());
    }
    // What nginx keeps guards on; what moves must say itself that it has none.
    let options = LoadOptions {
        file,
        prefix: paths.prefix.clone(),
        text: None,
        accept_unguarded: true,
        ..origin.options.clone()
    };
    let read = conf::load(&options).and_then(|loaded| Ok((loaded, conf::outline(&options)?)));
    let (loaded, tree) = match read {
        Ok(read) => read,
        Err(ConfError { notes }) => {
            announce(&ErrorLogs::default(), &notes);
            return 1;
        }
    };
    let division = Division::of(&tree, &loaded, wanted.port);
    if division.moved.is_empty() && division.kept.is_empty() {
        say(format_args!("pushstreamd: [notice] no server of {} has push locations", options.file.display()));
        return 1;
    }
    let own = own_part(&tree, &division, &paths);
    let file = options.file.display();
    let mut parts: Vec<String> = Vec::new();
    if wanted.print != Part::Own {
        parts.push(format!("# What changes in nginx's configuration, {file}\n\n{}", nginx_part(&tree, &division)));
    }
    if wanted.print == Part::All {
        parts.push("\n# ---- pushstreamd's own configuration (--print own prints it alone) ----\n\n".to_owned());
    }
    if wanted.print != Part::Nginx {
        parts.push(own.clone());
    }
    let printed = print(parts.concat().as_bytes());
    // The result is a configuration like any other: say here what would be said of it later.
    match conf::load(&LoadOptions { text: Some(own), accept_unguarded: false, ..options }) {
        Ok(_) => printed,
        Err(ConfError { notes }) => {
            announce(&ErrorLogs::default(), &notes);
            1
        }
    }
}
