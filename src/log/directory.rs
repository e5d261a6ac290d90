//! The disk that is a directory: `NUMBER.log` files, a `lock` with the id of the process, `damaged/` with copies set aside,
//! `before/` with what another process left in a directory that this one could not open when it started.
//!
//! It does not know what stands in the files. The lock is the kernel's: it is free when its process is gone, however it went.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, Flock, FlockArg, fallocate};

use super::LogError;
use super::disk::{Disk, Growing};

/// Copies of damaged files that are kept, the newest ones.
const SET_ASIDE: usize = 2;
/// The file that is locked.
const LOCK: &str = "lock";

/// A directory, locked while it can be.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// `None` before the directory could be opened.
    lock: Option<Flock<File>>,
}

impl Directory {
    /// Makes the directory if it is missing, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, LogError> {
        let lock = lock(path)?;
        let directory = Self { path: path.to_owned(), lock: Some(lock) };
        directory.claim();
        Ok(directory)
    }

    /// One that is not held, so that nothing in it is changed: it cannot be opened now, which [`Disk::hold`] tries, or is another
    /// process's.
    pub(super) fn unheld(path: &Path) -> Self {
        Self { path: path.to_owned(), lock: None }
    }

    /// Whether the lock that is held is the one that others see.
    fn is_held(&self) -> bool {
        let Some(lock) = &self.lock else { return false };
        let same =
            |seen: fs::Metadata| lock.metadata().is_ok_and(|held| (held.dev(), held.ino()) == (seen.dev(), seen.ino()));
        fs::metadata(self.path.join(LOCK)).is_ok_and(same)
    }

    /// Nothing is changed among the files of somebody else.
    fn check_held(&self) -> io::Result<()> {
        self.lock.as_ref().map(drop).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn sync_names(&self) -> io::Result<()> {
        sync_names(&self.path)
    }
}

/// Has the names in a directory survive a power cut.
fn sync_names(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes a directory, if it is missing, that survives a power cut.
fn make(dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
    fs::create_dir_all(dir)?;
    for made in missing {
        let above = made.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // One above may be written and not read; where names cannot be synced the system does it in its own time.
        let _ = sync_names(above);
    }
    Ok(())
}

/// Makes the directory, if it is missing, and locks it.
fn lock(path: &Path) -> Result<Flock<File>, LogError> {
    make(path).map_err(|error| LogError::Io { path: path.to_owned(), error })?;
    let lock = path.join(LOCK);
    let io = |error| LogError::Io { path: lock.clone(), error };
    let open = |write| OpenOptions::new().read(true).write(write).create(write).truncate(false).mode(0o640).open(&lock);
    // A disk that became read-only can still be read, and may come back.
    let mut file = open(true).or_else(|error| open(false).map_err(|_| error)).map_err(io)?;
    let mut holder = String::new();
    file.read_to_string(&mut holder).map_err(io)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, Errno::EWOULDBLOCK)) => {
            Err(LogError::InUse { dir: path.to_owned(), pid: holder.trim().parse().unwrap_or(0) })
        }
        Err((_, error)) => Err(io(error.into())),
    }
}

/// The number in the name of a segment.
fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

impl Disk for Directory {
    fn list(&self) -> io::Result<Vec<(u64, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if let Some(number) = entry.file_name().to_str().and_then(number) {
                found.push((number, entry.metadata()?.blocks() * 512));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn hold(&mut self) -> io::Result<bool> {
        if self.is_held() {
            return Ok(false);
        }
        self.lock = None;
        self.lock = Some(lock(&self.path).map_err(io::Error::other)?);
        self.claim();
        Ok(true)
    }

    fn claim(&self) {
        let Some(lock) = &self.lock else { return };
        // Only told to others: a disk that is full must not keep anybody from starting.
        let pid = format!("{}\n", std::process::id());
        let _ = lock.write_all_at(pid.as_bytes(), 0).and_then(|()| lock.set_len(pid.len() as u64));
    }

    fn read(&self, number: u64) -> io::Result<Vec<u8>> {
        fs::read(self.path(number))
    }

    fn create(&self, number: u64, room: u64) -> io::Result<Box<dyn Growing>> {
        self.check_held()?;
        let path = self.path(number);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&path)?;
        // With its room a file has its place on the disk: a full disk shows here, not in the middle of a record.
        let made = match fallocate(&file, FallocateFlags::empty(), 0, i64::try_from(room).unwrap_or(i64::MAX)) {
            Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        };
        match made.and_then(|()| file.sync_all()).and_then(|()| self.sync_names()) {
            Ok(()) => Ok(Box::new(Segment(file))),
            Err(error) => {
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    fn cut(&self, number: u64, length: u64) -> io::Result<()> {
        self.check_held()?;
        let file = OpenOptions::new().write(true).open(self.path(number))?;
        file.set_len(length)?;
        file.sync_all()
    }

    fn remove(&self, number: u64) -> io::Result<()> {
        fs::remove_file(self.path(number))?;
        // A later one must not go for good before it.
        self.sync_names()
    }

    fn set_aside(&self, number: u64) -> io::Result<PathBuf> {
        self.check_held()?;
        let dir = self.path.join("damaged");
        fs::create_dir_all(&dir)?;
        let mut kept: Vec<PathBuf> = fs::read_dir(&dir)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        kept.sort_unstable();
        let aside = dir.join(format!("{number:016}.log"));
        if kept.contains(&aside) {
            return Ok(aside);
        }
        for old in kept.iter().rev().skip(SET_ASIDE - 1) {
            fs::remove_file(old)?;
        }
        fs::copy(self.path(number), &aside)?;
        Ok(aside)
    }

    fn put_aside(&self, numbers: &[u64]) -> io::Result<PathBuf> {
        let dir = self.path.join("before");
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => make(&dir)?,
        }
        for &number in numbers {
            fs::rename(self.path(number), dir.join(format!("{number:016}.log")))?;
        }
        sync_names(&dir).and_then(|()| self.sync_names())?;
        Ok(dir)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:016}.log"))
    }
}

/// A file that was made by [`Directory::create`].
struct Segment(File);

impl Growing for Segment {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::temporary;
    use super::*;

    #[test]
    fn a_directory_in_use_names_its_process() {
        let dir = temporary("in-use");
        let held = Directory::open(&dir).unwrap();
        let refused = Directory::open(&dir).unwrap_err();
        let text = format!("{} is in use by process {}", dir.display(), std::process::id());
        assert_eq!(refused.to_string(), text);
        drop(held);
        Directory::open(&dir).unwrap();
    }

    #[test]
    fn files_are_listed_in_order_and_strangers_are_left_alone() {
        let dir = temporary("listed");
        let disk = Directory::open(&dir).unwrap();
        for number in [10, 2, 3] {
            disk.create(number, 4096).unwrap().append(b"text").unwrap();
        }
        fs::write(dir.join("notes.log"), "x").unwrap();
        fs::write(dir.join("5.log"), "x").unwrap();
        disk.remove(3).unwrap();
        let listed: Vec<u64> = disk.list().unwrap().into_iter().map(|(number, _)| number).collect();
        assert_eq!(listed, [2, 10]);
        disk.cut(10, 2).unwrap();
        assert_eq!(disk.read(10).unwrap(), b"te");
    }

    #[test]
    fn only_the_newest_damaged_files_are_kept() {
        let dir = temporary("aside");
        let disk = Directory::open(&dir).unwrap();
        for number in 1..5 {
            disk.create(number, 4096).unwrap();
            disk.set_aside(number).unwrap();
        }
        let kept: Vec<_> = fs::read_dir(dir.join("damaged")).unwrap().collect();
        assert_eq!(kept.len(), SET_ASIDE);
        assert!(disk.set_aside(4).unwrap().exists());
    }

    #[test]
    fn a_directory_that_is_gone_is_made_anew_and_one_that_is_somebodys_is_left_alone() {
        let dir = temporary("gone");
        let mut disk = Directory::open(&dir).unwrap();
        disk.create(1, 4096).unwrap();
        assert!(!disk.hold().unwrap());
        fs::remove_dir_all(&dir).unwrap();
        assert!(disk.create(2, 4096).is_err());
        assert!(disk.hold().unwrap() && !disk.hold().unwrap());
        let mut other = Directory::unheld(&dir);
        let refused = other.hold().unwrap_err().to_string();
        assert!(refused.ends_with(&format!("is in use by process {}", std::process::id())), "{refused}");
        assert!(other.create(3, 4096).is_err());
        drop(disk);
        assert!(other.hold().unwrap());
        other.create(3, 4096).unwrap().append(b"kept").unwrap();
        other.put_aside(&[3]).unwrap();
        assert_eq!(other.list().unwrap(), []);
        assert!(fs::read(dir.join("before/0000000000000003.log")).unwrap().starts_with(b"kept"));
    }

    #[test]
    fn a_name_that_is_taken_is_an_error_and_not_overwritten() {
        let dir = temporary("taken");
        let disk = Directory::open(&dir).unwrap();
        disk.create(1, 4096).unwrap().append(b"first").unwrap();
        assert!(disk.create(1, 4096).is_err());
        assert!(disk.read(1).unwrap().starts_with(b"first"));
    }
}
