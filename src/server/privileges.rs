//! What is left of the privileges of a root start once the process has become another user.
//!
//! The user is the whole process's, capabilities are a thread's own. The main thread keeps what nginx's master needs its root for,
//! and keeps it put away: it takes it up for the length of a reload, a rotation of logs, a change of binary, the end. The log's
//! thread, which writes files and talks to nobody, opens them as root did. Workers, who serve clients, have nothing to take up. A
//! process that was not started by root, or that `user` has stay root, keeps nothing and changes nothing.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_keep_capabilities};

use super::process::{self, Owner};

/// Files whoever they belong to, ports below 1024, and a new binary that starts as this one did.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID);

/// Of those, what files need.
const FILES: CapabilitySet = CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::FOWNER);

/// The process has become another user, and its main thread keeps something.
static KEEPS: AtomicBool = AtomicBool::new(false);

/// Becomes another user, but for what the calling thread, the main one, keeps.
pub(super) fn become_user(owner: &Owner) -> io::Result<()> {
    if owner.is_root() {
        return process::become_user(owner);
    }
    let kept = KEPT & capabilities(None)?.permitted;
    set_keep_capabilities(true)?;
    let changed = process::become_user(owner);
    set_keep_capabilities(false)?;
    changed?;
    put_away(kept)?;
    KEEPS.store(true, Ordering::Relaxed);
    Ok(())
}

/// Whether the process has become another user and can be what it was.
pub(super) fn keeps() -> bool {
    KEEPS.load(Ordering::Relaxed)
}

/// Gives up whatever the calling thread could take up, for good.
pub(super) fn renounce() -> io::Result<()> {
    if keeps() {
        put_away(CapabilitySet::empty())?;
    }
    Ok(())
}

fn put_away(kept: CapabilitySet) -> io::Result<()> {
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: kept, inheritable: none })?;
    Ok(())
}

/// Takes up what is kept until the guard is dropped. For the main thread.
pub(super) fn take_up() -> Taken {
    take(KEPT)
}

/// Opens files whoever they belong to; a thread that is started meanwhile goes on to do so. For the main thread.
pub(super) fn with_files<T>(open: impl FnOnce() -> T) -> T {
    let _taken = take(FILES);
    open()
}

fn take(some: CapabilitySet) -> Taken {
    if keeps()
        && let Ok(sets) = capabilities(None)
        && let Err(error) = set_capabilities(None, CapabilitySets { effective: some & sets.permitted, ..sets })
    {
        tracing::error!("capset() failed ({})", super::listen::errno_text(&error.into()));
    }
    Taken
}

/// Puts away again what was taken up.
#[must_use]
pub(super) struct Taken;

impl Drop for Taken {
    fn drop(&mut self) {
        if keeps()
            && let Ok(sets) = capabilities(None)
        {
            // What is kept may be put away: this cannot fail.
            let _ = put_away(sets.permitted);
        }
    }
}
