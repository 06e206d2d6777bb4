//! The one seam through which time, randomness, threads and files reach this crate.
//!
//! Everything here that is not a pure function of its input goes through a
//! [`Platform`], so that [`sim::SimPlatform`] can stand in for the machine and
//! lose power, fail a write or move the clock at a chosen step.

use std::fmt;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Instant;

use crossbeam_channel::Receiver;
use engine_core::error::{Error, ErrorKind, Result};

mod os;
mod random;
pub mod sim;

pub use os::OsPlatform;

/// The machine as a partition sees it.
pub trait Platform: Send + Sync + fmt::Debug {
    /// Wall clock in microseconds since the Unix epoch. It may jump, also backwards.
    fn now(&self) -> i64;

    /// Thirty-two bytes that nobody outside the process can predict.
    fn random(&self) -> [u8; 32];

    /// What gives something when the wall clock is at `time`, in microseconds since the Unix epoch, or before that: for a
    /// thread that waits for other things too, and looks at the clock again.
    fn alarm(&self, time: i64) -> Alarm;

    /// Runs `task` on a thread of its own.
    ///
    /// # Errors
    /// Whatever the operating system says when it has no thread to give.
    fn spawn(&self, name: &str, task: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle>;

    /// The file system.
    fn files(&self) -> &dyn Files;
}

/// Gives something once, at some time.
pub type Alarm = Receiver<Instant>;

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading only; the file must exist.
    Read,
    /// Reading and writing; the file must exist and keeps its content.
    Write,
    /// Reading and writing; the file must not exist yet.
    CreateNew,
    /// Reading and writing; the file is made if missing and emptied if not.
    Truncate,
}

/// A file system: folders, names and locks.
///
/// No name is durable until [`Files::sync_dir`] has returned for its folder,
/// and no content until [`File::sync_data`] has. Errors are the operating
/// system's own; callers branch on [`io::ErrorKind`].
pub trait Files: Send + Sync + fmt::Debug {
    /// Makes a folder and the missing ones above it, durably; also durable then is one that another process had made
    /// before it was killed.
    fn create_dir_all(&self, folder: &Path) -> io::Result<()>;

    /// The names in a folder, sorted. Names that are not UTF-8 are left out.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Opens a file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn File>>;

    /// Whether a file or folder has this name.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Gives a file a new name in the same folder, in place of what had it before.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. A handle that is open on it goes on reading.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_dir(&self, folder: &Path) -> io::Result<()>;

    /// Locks a folder for this holder alone, until the lock is dropped or the process ends.
    ///
    /// The lock is advisory: it keeps out only those who ask for it.
    /// Fails with [`io::ErrorKind::WouldBlock`] when another holds it.
    fn lock(&self, folder: &Path) -> io::Result<FolderLock>;

    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, Access::Read)?;
        let size = usize::try_from(file.size()?)
            .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let mut bytes = vec![0; size];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// An open file, read and written at offsets in bytes; usable from many threads at once.
pub trait File: Send + Sync + fmt::Debug {
    /// The size in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Reads some bytes at `offset`; 0 means the end of the file.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes some of `bytes` at `offset`. A gap beyond the old end reads as zeros.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Cuts or extends with zeros. The zeros may take no space on the disk yet.
    fn set_size(&self, size: u64) -> io::Result<()>;

    /// Makes the content, and the size as far as the content needs it, durable.
    ///
    /// After an error, what was written since the last success may or may not
    /// be durable, and a later success says nothing about it.
    fn sync_data(&self) -> io::Result<()>;

    /// Fills `bytes` from `offset`; fails with [`io::ErrorKind::UnexpectedEof`] at the end.
    fn read_exact_at(&self, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.read_at(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    bytes = &mut bytes[n..];
                    offset += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Writes all of `bytes` at `offset`. After an error a part may be written.
    fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_at(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    bytes = &bytes[n..];
                    offset += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// A held lock on a folder; dropping it releases the folder.
pub struct FolderLock {
    _held: Box<dyn Send + Sync>,
}

impl FolderLock {
    /// A lock that is released when `held` is dropped.
    pub fn new(held: impl Send + Sync + 'static) -> Self {
        Self {
            _held: Box::new(held),
        }
    }
}

impl fmt::Debug for FolderLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FolderLock")
    }
}

/// A thread that [`Platform::spawn`] started. Dropping the handle lets the thread run on.
pub struct JoinHandle {
    join: Box<dyn FnOnce() -> thread::Result<()> + Send + Sync>,
}

impl JoinHandle {
    /// A handle whose [`join`](Self::join) calls `join`.
    pub fn new(join: impl FnOnce() -> thread::Result<()> + Send + Sync + 'static) -> Self {
        Self {
            join: Box::new(join),
        }
    }

    /// Waits for the thread to end.
    ///
    /// # Errors
    /// What the thread panicked with.
    pub fn join(self) -> thread::Result<()> {
        (self.join)()
    }
}

impl fmt::Debug for JoinHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinHandle")
    }
}

/// Runs `task` on a thread of its own, with the contract's error.
///
/// # Errors
/// `io` where there is no thread to have.
pub(crate) fn spawn(
    platform: &dyn Platform,
    name: &str,
    task: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle> {
    platform.spawn(name, Box::new(task)).map_err(|source| {
        Error::new(ErrorKind::Io, format!("no thread `{name}`: {source}")).with_source(source)
    })
}

/// Starts a named thread of the operating system.
fn spawn_thread(name: &str, task: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(task)?;
    Ok(JoinHandle::new(move || thread.join()))
}
