//! The machine itself: the operating system's clock, randomness, threads and files.

use std::fs;
use std::io;
use std::io::ErrorKind::{InvalidInput, NotFound, PermissionDenied, ReadOnlyFilesystem};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::random::Random;
use super::{Access, Alarm, File, Files, FolderLock, JoinHandle, Platform, spawn_thread};

/// The name of the file in a folder whose lock stands for the folder's.
const LOCK_FILE: &str = "lock";

/// The platform that real partitions run on.
#[derive(Debug)]
pub struct OsPlatform {
    random: Random,
}

impl OsPlatform {
    /// Seeds this platform's randomness from the operating system.
    ///
    /// # Errors
    /// The operating system has no randomness to give.
    pub fn new() -> io::Result<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(Self {
            random: Random::new(seed),
        })
    }
}

impl Platform for OsPlatform {
    fn now(&self) -> i64 {
        let micros = |d: Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => micros(after),
            Err(before) => -micros(before.duration()),
        }
    }

    fn alarm(&self, time: i64) -> Alarm {
        let micros = u64::try_from(time.saturating_sub(self.now())).unwrap_or_default();
        // The clock may be put forward meanwhile.
        crossbeam_channel::after(Duration::from_micros(micros).min(Duration::from_secs(5)))
    }

    fn random(&self) -> [u8; 32] {
        self.random.block()
    }

    fn spawn(&self, name: &str, task: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle> {
        spawn_thread(name, task)
    }

    fn files(&self) -> &dyn Files {
        &OsFiles
    }
}

#[derive(Debug)]
struct OsFiles;

impl Files for OsFiles {
    fn create_dir_all(&self, folder: &Path) -> io::Result<()> {
        // `a` alone has the empty parent, which means the current folder.
        let parent = match folder.parent() {
            Some(p) if p.as_os_str().is_empty() => Path::new("."),
            Some(p) => p,
            None => Path::new("/"),
        };
        if folder.is_dir() {
            // Whoever made it may have been killed before its name was durable; above it all was durable by then. Where the
            // parent cannot be synced, it was none of us.
            return match self.sync_dir(parent) {
                Err(e) if matches!(e.kind(), PermissionDenied | InvalidInput) => Ok(()),
                synced => synced,
            };
        }
        self.create_dir_all(parent)?;
        match fs::create_dir(folder) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            other => other?,
        }
        self.sync_dir(parent)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match access {
            Access::Read => &mut options,
            Access::Write => options.write(true),
            Access::CreateNew => options.write(true).create_new(true),
            Access::Truncate => options.write(true).create(true).truncate(true),
        };
        Ok(Box::new(OsFile(options.open(path)?)))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        fs::File::open(folder)?.sync_all()
    }

    fn lock(&self, folder: &Path) -> io::Result<FolderLock> {
        let path = folder.join(LOCK_FILE);
        let mut options = fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(false);
        let file = match options.open(&path) {
            // A lock needs no right to write, nor does whoever only reads there.
            Err(error) if matches!(error.kind(), ReadOnlyFilesystem | PermissionDenied) => {
                match fs::File::open(&path) {
                    // Whoever reads there looks for one who writes elsewhere, and without the file there is none.
                    Err(missing)
                        if missing.kind() == NotFound && error.kind() == ReadOnlyFilesystem =>
                    {
                        return Ok(FolderLock::new(()));
                    }
                    opened => opened.map_err(|_| error)?,
                }
            }
            opened => opened?,
        };
        file.try_lock().map_err(io::Error::from)?;
        Ok(FolderLock::new(file))
    }
}

#[derive(Debug)]
struct OsFile(fs::File);

impl File for OsFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(&self.0, bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(&self.0, bytes, offset)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{Files, OsFiles, fs};

    #[test]
    fn a_lock_that_is_there_needs_no_right_to_write() {
        let folder = tempfile::tempdir().unwrap();
        drop(OsFiles.lock(folder.path()).unwrap());
        let path = folder.path().join("lock");
        fs::set_permissions(path, fs::Permissions::from_mode(0o444)).unwrap();
        let held = OsFiles.lock(folder.path()).unwrap();
        let refused = OsFiles.lock(folder.path()).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::WouldBlock);
        drop(held);
        OsFiles.lock(folder.path()).unwrap();
    }

    #[test]
    fn a_folder_that_exists_is_taken_even_where_the_one_above_it_cannot_be_read() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("a/b");
        for mode in [0o311, 0o111, 0o755] {
            OsFiles.create_dir_all(&folder).unwrap();
            fs::set_permissions(above.path().join("a"), fs::Permissions::from_mode(mode)).unwrap();
            OsFiles.create_dir_all(&folder).unwrap();
        }
    }
}
