//! Compiled code kept on disk between runs of the host, for engines whose compilation takes time.
//!
//! Compiled code is machine code that the host will run, so an entry is used only if this host wrote it: the folder and
//! every file in it belong to the host's user and to nobody else, and each entry carries a keyed hash, by a secret that
//! lies in the folder, over its name and its content. Whatever fails a check is compiled anew. Whoever can act as the
//! host's user can replace the host itself and is not kept out.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{Error, ErrorKind, Result};

/// How many bytes of entries a folder holds, unless it is told otherwise.
const CAPACITY: u64 = 256 << 20;

const SECRET: &str = "secret";
const SECRET_BYTES: usize = 32;
const EXTENSION: &str = "code";

/// A folder of compiled code.
pub struct CodeCache {
    folder: PathBuf,
    secret: [u8; SECRET_BYTES],
    capacity: u64,
}

/// What an entry is found by: everything that its content depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeKey([u8; 32]);

impl CodeKey {
    /// The key of code that an engine compiled with settings; `settings` names its version and whatever else matters.
    pub fn new(engine: &str, settings: &str, code: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in [engine.as_bytes(), settings.as_bytes(), code] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }
}

impl CodeCache {
    /// Opens a folder, and makes it where it is not there: readable and writable by this user alone.
    ///
    /// # Errors
    /// `io` where that is not possible, or where the folder is somebody else's or open to others.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        let secret = prepare(&folder).map_err(|error| {
            let message = format!(
                "the folder `{}` cannot keep compiled code: {error}; choose another folder, or remove this one",
                folder.display()
            );
            Error::new(ErrorKind::Io, message).with_source(error)
        })?;
        Ok(Self {
            folder,
            secret,
            capacity: CAPACITY,
        })
    }

    /// Sets how many bytes of entries the folder holds; those that were used least recently are removed.
    #[must_use]
    pub fn with_capacity(mut self, bytes: u64) -> Self {
        self.capacity = bytes;
        self
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The content that was put under this key; nothing where there is none that can be trusted.
    pub fn get(&self, key: &CodeKey) -> Option<Vec<u8>> {
        let path = self.path(key);
        check_owned(&path, false).ok()?;
        let entry = fs::read(&path).ok()?;
        let (hash, content) = entry.split_first_chunk::<32>()?;
        // Compared in constant time by its type.
        if self.hash(key, content) != blake3::Hash::from_bytes(*hash) {
            return None;
        }
        // So that what is in use is removed last; if that fails, it is only removed sooner.
        if let Ok(file) = File::open(&path) {
            let _ = file.set_modified(SystemTime::now());
        }
        Some(content.to_vec())
    }

    /// Keeps content under a key; on a full disk, or wherever else it fails, nothing is kept.
    ///
    /// # Safety
    /// The content is what the key's engine compiled from the key's code under the key's settings: who finds it under the
    /// key runs it as machine code.
    #[allow(unsafe_code, reason = "what is put is run as machine code")]
    pub unsafe fn put(&self, key: &CodeKey, content: &[u8]) {
        let hash = self.hash(key, content);
        let _ = with_draft(&self.folder, &[hash.as_bytes(), content], |draft| {
            fs::rename(draft, self.path(key))
        });
        let _ = self.shrink();
    }

    fn path(&self, key: &CodeKey) -> PathBuf {
        let name = blake3::Hash::from_bytes(key.0).to_hex();
        self.folder.join(format!("{name}.{EXTENSION}"))
    }

    fn hash(&self, key: &CodeKey, content: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(&key.0);
        hasher.update(content);
        hasher.finalize()
    }

    /// Removes what was used least recently, and drafts of processes that died, until the folder is within its capacity.
    fn shrink(&self) -> io::Result<()> {
        const STALE_SECONDS: u64 = 600;
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let Ok(facts) = fs::symlink_metadata(&path) else {
                continue;
            };
            let used = facts.modified()?;
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(EXTENSION) => entries.push((used, facts.len(), path)),
                Some("draft")
                    if used
                        .elapsed()
                        .is_ok_and(|age| age.as_secs() > STALE_SECONDS) =>
                {
                    fs::remove_file(path)?;
                }
                _ => {}
            }
        }
        entries.sort();
        let mut bytes: u64 = entries.iter().map(|(_, len, _)| len).sum();
        for (_, len, path) in entries {
            if bytes <= self.capacity {
                break;
            }
            fs::remove_file(path)?;
            bytes -= len;
        }
        Ok(())
    }
}

impl fmt::Debug for CodeCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeCache")
            .field("folder", &self.folder)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

/// Makes or checks the folder and gives its secret.
fn prepare(folder: &Path) -> io::Result<[u8; SECRET_BYTES]> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    match make_private(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => check_owned(folder, true)?,
    }
    let path = folder.join(SECRET);
    match read_secret(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read,
    }
    // Another opening may make it at the same time; a linked draft is whole, and the first one stays.
    match with_draft(folder, &[&random::<SECRET_BYTES>()?], |draft| {
        fs::hard_link(draft, &path)
    }) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => read_secret(&path),
    }
}

fn read_secret(path: &Path) -> io::Result<[u8; SECRET_BYTES]> {
    check_owned(path, false)?;
    fs::read(path)?
        .try_into()
        .map_err(|_| io::Error::other(format!("its file `{SECRET}` has another length")))
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Writes a file and gives it its place; nothing of the draft is left, however that ends.
fn with_draft(
    folder: &Path,
    parts: &[&[u8]],
    place: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    // A folder may be shared by processes of one number, as in containers, so only chance tells drafts apart.
    let number = u128::from_ne_bytes(random()?);
    let draft = folder.join(format!("{number:032x}.draft"));
    let placed = write_new(&draft, parts).and_then(|()| place(&draft));
    let _ = fs::remove_file(&draft);
    placed
}

#[cfg(unix)]
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn make_private(folder: &Path) -> io::Result<()> {
    fs::create_dir(folder)
}

/// Refuses what is no folder or plain file of this user's alone.
#[cfg(unix)]
fn check_owned(path: &Path, is_folder: bool) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let facts = fs::symlink_metadata(path)?;
    if facts.is_dir() != is_folder || facts.is_file() == is_folder {
        return Err(io::Error::other("it is of another kind"));
    }
    if facts.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    if facts.mode() & 0o077 != 0 {
        return Err(io::Error::other("others may read or change it"));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_owned(path: &Path, is_folder: bool) -> io::Result<()> {
    let facts = fs::symlink_metadata(path)?;
    if facts.is_dir() != is_folder || facts.is_file() == is_folder {
        return Err(io::Error::other("it is of another kind"));
    }
    Ok(())
}

/// Writes a new file that only this user may read.
fn write_new(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    parts.iter().try_for_each(|part| file.write_all(part))
}
