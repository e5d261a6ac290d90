//! The main context and `events`: what concerns the process and not a request.
//!
//! Changes nothing of the process; looks only whether the user exists.

use std::path::PathBuf;

use nix::unistd::{Group, User};
use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, capabilities};

use super::compiler::Compiler;
use super::error::{Fault, shown};
use super::logs;
use super::objection::invalid_value;
use super::scope::{Level, Scope};
use super::settings::{ErrorLog, Process};
use super::units;

/// Whom root becomes unless it is told otherwise.
const NOBODY: &str = "nobody";

/// Compiles the values of the main level and of `events`.
pub(super) fn compile(
    main: &Scope<'_, '_>,
    events: Option<&Scope<'_, '_>>,
    http: Option<&Level<'_>>,
    compiler: &mut Compiler,
) -> Result<Process, Fault> {
    let connections = events.map_or(0, |events| events.quantity("worker_connections"));
    Ok(Process {
        daemon: main.flag("daemon"),
        pid: pid(main, compiler),
        user: user(main, compiler)?,
        worker_processes: worker_processes(main)?,
        worker_connections: usize::try_from(connections).unwrap_or(usize::MAX),
        worker_rlimit_nofile: main.number("worker_rlimit_nofile"),
        worker_shutdown_timeout: main.number("worker_shutdown_timeout"),
        error_log: error_logs(main, http, compiler)?,
    })
}

fn pid(main: &Scope<'_, '_>, compiler: &Compiler) -> PathBuf {
    compiler.in_prefix(main.text("pid").unwrap_or_default())
}

/// There is one log for all: where main names none, that of `http`, as distributions have it.
fn error_logs(main: &Scope<'_, '_>, http: Option<&Level<'_>>, compiler: &mut Compiler) -> Result<Vec<ErrorLog>, Fault> {
    let own = main.list("error_log");
    let of_http = http.map_or(&[][..], |http| http.own("error_log"));
    if own.is_empty() {
        return logs::read_error_logs(of_http, compiler);
    }
    for entry in of_http {
        compiler.note_unapplied(entry.node);
    }
    logs::read_error_logs(own, compiler)
}

fn worker_processes(main: &Scope<'_, '_>) -> Result<Option<usize>, Fault> {
    match main.entry("worker_processes") {
        None => Ok(Some(1)),
        Some(entry) if entry.node.arg(0) == b"auto" => Ok(None),
        Some(entry) => {
            let count = units::number(entry.node.arg(0)).ok_or_else(|| invalid_value(entry.node))?;
            Ok(Some(usize::try_from(count).unwrap_or(usize::MAX).max(1)))
        }
    }
}

/// `user NAME [GROUP]`. Without privileges the directive is ignored; a user that does not exist is an error only for the
/// strict, otherwise the process stays what it is.
fn user(main: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<Option<(String, Option<String>)>, Fault> {
    let Some(entry) = main.entry("user") else { return default_user(compiler) };
    let node = entry.node;
    if !is_root() {
        let text =
            "the \"user\" directive makes sense only if the master process runs with super-user privileges, ignored";
        compiler.warn(text, &node.place);
        return Ok(None);
    }
    let name = shown(node.arg(0)).into_owned();
    let group = node.args().get(1).map(|group| shown(group).into_owned());
    let missing = if matches!(User::from_name(&name), Ok(Some(_))) {
        let group = group.as_deref().filter(|group| !matches!(Group::from_name(group), Ok(Some(_))));
        group.map(|group| format!("getgrnam(\"{group}\") failed"))
    } else {
        Some(format!("getpwnam(\"{name}\") failed"))
    };
    match missing {
        None => Ok(Some((name, group))),
        Some(text) if compiler.dialect.strict => Err(Fault::emerg(text, &node.place)),
        Some(text) => {
            compiler.warn(format_args!("{text}, the \"user\" directive is ignored"), &node.place);
            Ok(None)
        }
    }
}

/// Whom root becomes where the configuration says nothing: nginx's `nobody`, with the group of that name, or Debian's. A container
/// may have no such user, or root that may become nobody else: as root it could do nothing anyway, and goes on as it is.
fn default_user(compiler: &mut Compiler) -> Result<Option<(String, Option<String>)>, Fault> {
    if !is_root() {
        return Ok(None);
    }
    let Ok(Some(user)) = User::from_name(NOBODY) else {
        if compiler.dialect.strict {
            return Err(Fault::anywhere(format_args!("getpwnam(\"{NOBODY}\") failed")));
        }
        compiler.warn_of_all(format_args!("there is no user \"{NOBODY}\" to become: the process stays root"));
        return Ok(None);
    };
    let group = [NOBODY, "nogroup"].into_iter().find_map(|name| Group::from_name(name).ok().flatten());
    let gid = group.as_ref().map_or(user.gid, |group| group.gid);
    if !(may_become_another() && exists_here(user.uid.as_raw(), gid.as_raw())) {
        compiler.warn_of_all(format_args!(
            "the process may not become \"{NOBODY}\": it stays root, without its privileges"
        ));
        return Ok(None);
    }
    Ok(Some((NOBODY.to_owned(), group.map(|group| group.name))))
}

/// Whether a user namespace, if this is one, has these numbers, and lets groups be chosen.
fn exists_here(uid: u32, gid: u32) -> bool {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}"));
    // Lines of: first number inside, first number outside, how many.
    let maps = |name: &str, id: u32| {
        read(name).is_ok_and(|lines| {
            lines.lines().any(|line| {
                let mut numbers = line.split_whitespace().map(|number| number.parse().unwrap_or(0_u64));
                let (first, count) = (numbers.next().unwrap_or(0), numbers.nth(1).unwrap_or(0));
                (first..first + count).contains(&id.into())
            })
        })
    };
    // A system without them has no such files.
    let none = || read("uid_map").is_err();
    let allowed = read("setgroups").map_or(true, |word| word.trim() != "deny");
    none() || maps("uid_map", uid) && maps("gid_map", gid) && allowed
}

/// Whether the process has privileges, or has put them away.
pub(super) fn is_root() -> bool {
    geteuid().is_root() || may_become_another()
}

fn may_become_another() -> bool {
    capabilities(None).is_ok_and(|sets| sets.permitted.contains(CapabilitySet::SETUID | CapabilitySet::SETGID))
}
