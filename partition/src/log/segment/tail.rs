//! The segment that is appended to.

use std::path::{Path, PathBuf};

use super::header::{HEADER, Header, file_name};
use super::scan::Scanner;
use crate::log::LogError;
use crate::platform::{Access, File, Files};

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A file that is zeros to its end, from some place on.
#[derive(Debug)]
pub(super) struct Zeros {
    file: Box<dyn File>,
    path: PathBuf,
    /// The size of the file, in bytes.
    filled: u64,
}

impl Zeros {
    /// Opens a file that is empty.
    pub(super) fn open(files: &dyn Files, path: &Path, access: Access) -> Result<Self, LogError> {
        let file = files
            .open(path, access)
            .map_err(LogError::io("create", path))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            filled: 0,
        })
    }

    /// Extends the file with written zeros to at least `size` bytes. A sync
    /// that need not allocate space or change the file's size is a third cheaper.
    pub(super) fn fill(&mut self, size: u64) -> Result<(), LogError> {
        if self.filled < size {
            self.zero(self.filled, size)?;
            self.filled = size;
        }
        Ok(())
    }

    /// The size of the file, in bytes.
    pub(super) fn filled(&self) -> u64 {
        self.filled
    }

    /// Writes zeros from one offset to another.
    pub(super) fn zero(&self, mut from: u64, to: u64) -> Result<(), LogError> {
        while from < to {
            let len = (to - from).min(ZEROS.len() as u64);
            self.write(&ZEROS[..len as usize], from)?;
            from += len;
        }
        Ok(())
    }

    /// Writes bytes at an offset.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> Result<(), LogError> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(LogError::io("write to", &self.path))
    }

    /// Makes everything written durable.
    pub(super) fn sync(&self) -> Result<(), LogError> {
        self.file
            .sync_data()
            .map_err(LogError::io("sync", &self.path))
    }
}

/// An open segment whose file is zeros from the last record to its end.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) zeros: Zeros,
    pub(super) header: Header,
}

impl Tail {
    /// Makes a segment, durably, of a spare or with some zeros of its own. Nothing but its header is in it.
    pub(super) fn create(
        files: &dyn Files,
        folder: &Path,
        header: Header,
        spare: Option<Zeros>,
        fill: u64,
    ) -> Result<Self, LogError> {
        let path = folder.join(file_name(header.first));
        let is_new = spare.is_none();
        let mut zeros = match spare {
            Some(spare) => spare,
            None => Zeros::open(files, &path, Access::CreateNew)?,
        };
        zeros.write(&header.encode(), 0)?;
        zeros.filled = zeros.filled.max(HEADER as u64);
        zeros.fill(fill)?;
        zeros.sync()?;
        if !is_new {
            files
                .rename(&zeros.path, &path)
                .map_err(LogError::io("rename", &zeros.path))?;
            zeros.path = path;
        }
        files
            .sync_dir(folder)
            .map_err(LogError::io("sync", folder))?;
        Ok(Self { zeros, header })
    }

    /// Opens the segment that `scanner` reads, of `size` bytes, for appending.
    pub(super) fn open(files: &dyn Files, scanner: &Scanner, size: u64) -> Result<Self, LogError> {
        let path = scanner.path.clone();
        let file = files
            .open(&path, Access::Write)
            .map_err(LogError::io("open", &path))?;
        Ok(Self {
            zeros: Zeros {
                file,
                path,
                filled: size,
            },
            header: scanner.header,
        })
    }
}
