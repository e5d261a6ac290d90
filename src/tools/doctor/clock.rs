//! Whether something sets the clock: times are positions, which clients bring back to this machine or to another one.
//!
//! Asked of the kernel itself, which every keeper of time (systemd-timesyncd, chrony, ntpd, a host for its guest) tells how far
//! the clock may be off, so that it is known in containers too. Judged as systemd judges it: by that bound, which grows while nobody
//! sets the clock, and not by the flag beside it, which some keepers leave as it is.
//!
//! Holds `unsafe` for the one call, that no crate wraps: it is a question and changes nothing.
#![allow(unsafe_code, reason = "see the head of the file")]

use std::mem::MaybeUninit;
use std::time::Duration;

use super::Finding;

/// How far off a clock may be that somebody sets; the kernel's bound stops here.
const LOST: Duration = Duration::from_secs(16);

pub(super) fn look() -> Finding {
    judge(bound())
}

fn judge(bound: Option<Duration>) -> Finding {
    match bound {
        Some(bound) if bound < LOST => {
            Finding::fine("clock", format!("set by a time server, at most {:.0} ms off", bound.as_secs_f64() * 1000.0))
        }
        Some(_) => Finding::bad(
            "clock",
            "the kernel knows of nothing that sets it",
            "messages are found again by their time: apt install systemd-timesyncd (or chrony), then timedatectl set-ntp true; for a container, on its host",
        ),
        None => Finding::note(
            "clock",
            "the kernel does not tell whether it is set",
            "see that chrony or systemd-timesyncd runs",
        ),
    }
}

/// The most the clock may be off, as far as the kernel knows.
fn bound() -> Option<Duration> {
    let mut told = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: the pointer is to a whole `timex` of zeros, whose `modes` of 0 asks and sets nothing; zeros are a valid `timex`,
    // also where the kernel has filled in none of it.
    let told = unsafe { (libc::adjtimex(told.as_mut_ptr()) >= 0).then(|| told.assume_init()) }?;
    Some(Duration::from_micros(told.maxerror.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::doctor::Grade;

    #[test]
    fn a_clock_that_nobody_sets_is_bad_and_one_that_is_set_says_how_well() {
        assert_eq!(judge(Some(LOST)).grade, Grade::Bad);
        assert_eq!(judge(None).grade, Grade::Note);
        let set = judge(Some(Duration::from_micros(31_400)));
        assert_eq!((set.grade, &*set.found), (Grade::Fine, "set by a time server, at most 31 ms off"));
    }

    #[test]
    fn the_kernel_tells_a_bound_that_it_never_lets_grow_beyond_where_a_clock_counts_as_lost() {
        assert!(bound().unwrap() <= LOST);
    }
}
