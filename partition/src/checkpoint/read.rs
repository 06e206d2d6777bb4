//! Reading a checkpoint.

use std::path::Path;

use engine_core::catalog::StorageId;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::value::{Reader, Token};

use super::{MAGIC, VERSION, io};
use crate::ids::Accepted;
use crate::log::Position;
use crate::platform::{Access, File, Platform};
use crate::state::{Progress, State};
use crate::store::Write;

/// The largest frame that is read: a frame and one row of the largest size.
const MAX_FRAME: u32 = 1 << 30;

/// Reads a checkpoint into an empty state.
///
/// # Errors
/// `corrupt` with the file and the byte where it is damaged; `io`.
pub(crate) fn read(platform: &dyn Platform, path: &Path, state: &mut State) -> Result<()> {
    let file = platform
        .files()
        .open(path, Access::Read)
        .map_err(io("open", path))?;
    let mut source = Source {
        file: &*file,
        path,
        at: 0,
        size: file.size().map_err(io("measure", path))?,
        frame: Vec::new(),
    };
    state.checkpoint = source.size;
    let mut magic = [0; MAGIC.len()];
    source.take(&mut magic)?;
    if magic != *MAGIC {
        return Err(source.damaged("it is no checkpoint of this version"));
    }
    let mut storages = Vec::new();
    let (mut ids, mut rows) = (0, 0);
    loop {
        let start = source.at;
        let frame = source.frame()?;
        let mut items = Items(Reader::new(&frame));
        let done = items
            .frame(state, &mut storages, &mut ids, &mut rows)
            .map_err(|error| {
                Error::new(
                    ErrorKind::Corrupt,
                    format!(
                        "{} is damaged in the frame at byte {start}: {}",
                        path.display(),
                        error.message()
                    ),
                )
            })?;
        source.frame = frame;
        if done {
            return Ok(());
        }
    }
}

struct Source<'a> {
    file: &'a dyn File,
    path: &'a Path,
    at: u64,
    size: u64,
    frame: Vec<u8>,
}

impl Source<'_> {
    fn take(&mut self, bytes: &mut [u8]) -> Result<()> {
        if self.size - self.at < bytes.len() as u64 {
            return Err(self.damaged("it ends early"));
        }
        self.file
            .read_exact_at(bytes, self.at)
            .map_err(io("read", self.path))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn frame(&mut self) -> Result<Vec<u8>> {
        let (mut len, mut crc) = ([0; 4], [0; 4]);
        self.take(&mut len)?;
        self.take(&mut crc)?;
        let len = u32::from_le_bytes(len);
        if len > MAX_FRAME || u64::from(len) > self.size - self.at {
            return Err(self.damaged("a frame is longer than the file"));
        }
        let mut frame = std::mem::take(&mut self.frame);
        frame.resize(len as usize, 0);
        self.take(&mut frame)?;
        if crc32c::crc32c(&frame) != u32::from_le_bytes(crc) {
            return Err(self.damaged("a checksum does not agree"));
        }
        Ok(frame)
    }

    fn damaged(&self, what: &str) -> Error {
        Error::new(
            ErrorKind::Corrupt,
            format!(
                "{} is damaged before byte {}: {what}",
                self.path.display(),
                self.at
            ),
        )
    }
}

struct Items<'a>(Reader<'a>);

impl<'a> Items<'a> {
    /// Takes one frame into the state; true at the end of the checkpoint.
    fn frame(
        &mut self,
        state: &mut State,
        storages: &mut Vec<Option<StorageId>>,
        ids: &mut i64,
        rows: &mut i64,
    ) -> Result<bool> {
        self.list()?;
        match self.int()? {
            0 => {
                if self.int()? != VERSION {
                    return Err(form());
                }
                state.position = Position::from_u64(self.number()?);
                state.offset = self.number()?;
                state.time = self.int()?;
                for _ in 0..self.list()? {
                    // One without rows may be of a manifest that nothing was written under.
                    storages.push(state.catalog.id(self.text()?));
                }
                for _ in 0..self.list()? {
                    self.list()?;
                    let projector = self.text()?.to_owned();
                    let through = self.number()?;
                    let after = self.number()?;
                    state
                        .projections
                        .insert(projector, Progress { through, after });
                }
                for _ in 0..self.list()? {
                    self.list()?;
                    let job = self.text()?.to_owned();
                    state.jobs.insert(job, self.int()?);
                }
            }
            1 => {
                for _ in 0..self.list()? {
                    self.list()?;
                    *ids += 1;
                    state.ids.remember(Accepted {
                        id: self.bytes()?.into(),
                        offset: self.number()?,
                        hash: self.bytes()?.try_into().map_err(|_| form())?,
                        result: match self.0.token()? {
                            Token::Bytes(result) => Some(result.into()),
                            Token::Null => None,
                            _ => return Err(form()),
                        },
                    });
                }
            }
            2 => {
                let number = usize::try_from(self.number()?).map_err(|_| form())?;
                let storage = storages.get(number).ok_or_else(form)?.ok_or_else(|| {
                    let what = "it has rows of a storage that the manifest does not declare";
                    Error::new(ErrorKind::Corrupt, what)
                })?;
                let count = self.list()?;
                let mut writes = Vec::new();
                for _ in 0..count {
                    self.list()?;
                    *rows += 1;
                    writes.push(Write {
                        storage,
                        key: self.bytes()?.into(),
                        value: Some(self.bytes()?.into()),
                    });
                }
                state.store.apply(state.position, &mut writes.into_iter())?;
            }
            3 => {
                if (self.int()?, self.int()?) != (*ids, *rows) {
                    return Err(form());
                }
                return Ok(true);
            }
            _ => return Err(form()),
        }
        Ok(false)
    }

    fn list(&mut self) -> Result<u32> {
        match self.0.token()? {
            Token::List(len) => Ok(len),
            _ => Err(form()),
        }
    }

    fn int(&mut self) -> Result<i64> {
        match self.0.token()? {
            Token::Int(value) => Ok(value),
            _ => Err(form()),
        }
    }

    fn number(&mut self) -> Result<u64> {
        u64::try_from(self.int()?).map_err(|_| form())
    }

    fn text(&mut self) -> Result<&'a str> {
        match self.0.token()? {
            Token::Text(value) => Ok(value),
            _ => Err(form()),
        }
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        match self.0.token()? {
            Token::Bytes(value) => Ok(value),
            _ => Err(form()),
        }
    }
}

fn form() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "it has another form than this build writes",
    )
}
