//! Checkpoints: the state of a partition in one file, from which recovery goes on with the log.
//!
//! A file is a magic number and then frames `{u32 length, u32 crc32c, payload}`, little-endian, each payload one
//! MessagePack array: `[0, version, position, offset, time, storage names, [[projector, through, after]]]` first, then
//! ids `[1, [[id, offset, hash, result?]]]`, rows `[2, storage, [[key, value]]]`, and `[3, ids, rows]` at the end.
//! Where the store keeps its rows in files of its own, they are made durable first, and the checkpoint has none of them.
//! It is written beside its place, made durable and renamed, so a file under its name is whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_core::catalog::{Catalog, StorageId};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::value::{Reader, Token, Writer};

use crate::ids::{Accepted, Order};
use crate::log::Position;
use crate::platform::{Access, File, Platform};
use crate::state::{Progress, State};
use crate::store::{Snapshot, Write, for_each_row};

const MAGIC: &[u8; 8] = b"EXTCKPT1";
const VERSION: i64 = 1;
/// From how many bytes on a frame is written.
const FRAME: usize = 256 << 10;
/// The largest frame that is read: a frame and one row of the largest size.
const MAX_FRAME: u32 = 1 << 30;
/// How many checkpoints are kept.
pub(crate) const KEPT: usize = 2;

/// What a checkpoint is written from: shared with the partition, which goes on.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) position: Position,
    pub(crate) offset: u64,
    pub(crate) time: i64,
    pub(crate) projections: Vec<(String, Progress)>,
    pub(crate) ids: Order,
    pub(crate) rows: Arc<dyn Snapshot>,
}

fn file_name(position: Position) -> String {
    format!("{:020}.checkpoint", position.to_u64())
}

/// The checkpoints in a folder, newest first.
pub(crate) fn list(platform: &dyn Platform, folder: &Path) -> Result<Vec<(Position, PathBuf)>> {
    let files = platform.files();
    if !files.exists(folder).map_err(io("look for", folder))? {
        return Ok(Vec::new());
    }
    let names = files.list(folder).map_err(io("list", folder))?;
    let mut found: Vec<_> = names
        .iter()
        .filter_map(|name| {
            let position = name.strip_suffix(".checkpoint")?.parse().ok()?;
            Some((Position::from_u64(position), folder.join(name)))
        })
        .collect();
    found.sort_by_key(|(position, _)| std::cmp::Reverse(*position));
    Ok(found)
}

/// Writes a checkpoint durably and removes all but the last two; gives its size in bytes.
///
/// # Errors
/// `io`; the checkpoints before it are then as they were.
pub(crate) fn write(
    platform: &dyn Platform,
    folder: &Path,
    catalog: &Catalog,
    content: &Content,
) -> Result<u64> {
    let persisted = content.rows.persist()?;
    let files = platform.files();
    files.create_dir_all(folder).map_err(io("create", folder))?;
    let path = folder.join(file_name(content.position));
    let draft = folder.join("draft");
    let file = files
        .open(&draft, Access::Truncate)
        .map_err(io("create", &draft))?;
    let mut sink = Sink {
        file: &*file,
        path: &draft,
        at: 0,
        frame: Vec::new(),
    };
    sink.put(MAGIC)?;
    sink.head(catalog, content)?;
    sink.ids(&content.ids)?;
    let mut rows = 0;
    let storages = catalog.storages().filter(|_| !persisted);
    for (storage, _) in storages {
        rows += sink.rows(&*content.rows, storage)?;
    }
    let mut end = Writer(&mut sink.frame);
    end.list(3);
    end.int(3);
    end.int(content.ids.len() as i64);
    end.int(rows);
    sink.flush()?;
    file.sync_data().map_err(io("sync", &draft))?;
    files.rename(&draft, &path).map_err(io("rename", &draft))?;
    files.sync_dir(folder).map_err(io("sync", folder))?;
    for (_, old) in list(platform, folder)?.into_iter().skip(KEPT) {
        files.remove(&old).map_err(io("remove", &old))?;
    }
    // The log forgets what the old ones need: they must not come back.
    files.sync_dir(folder).map_err(io("sync", folder))?;
    Ok(sink.at)
}

struct Sink<'a> {
    file: &'a dyn File,
    path: &'a Path,
    at: u64,
    frame: Vec<u8>,
}

impl Sink<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all_at(bytes, self.at)
            .map_err(io("write", self.path))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let frame = std::mem::take(&mut self.frame);
        self.put(&(frame.len() as u32).to_le_bytes())?;
        self.put(&crc32c::crc32c(&frame).to_le_bytes())?;
        self.put(&frame)?;
        self.frame = frame;
        self.frame.clear();
        Ok(())
    }

    fn head(&mut self, catalog: &Catalog, content: &Content) -> Result<()> {
        let mut out = Writer(&mut self.frame);
        out.list(7);
        out.int(0);
        out.int(VERSION);
        out.int(content.position.to_u64() as i64);
        out.int(content.offset as i64);
        out.int(content.time);
        out.list(catalog.len());
        for (_, storage) in catalog.storages() {
            out.text(&storage.name);
        }
        out.list(content.projections.len());
        for (projector, progress) in &content.projections {
            out.list(3);
            out.text(projector);
            out.int(progress.through as i64);
            out.int(progress.after as i64);
        }
        self.flush()
    }

    fn ids(&mut self, ids: &Order) -> Result<()> {
        let mut items = Vec::new();
        let mut count = 0;
        for accepted in ids.iter() {
            let mut out = Writer(&mut items);
            out.list(4);
            out.text(&accepted.id);
            out.int(accepted.offset as i64);
            out.bytes(&accepted.hash);
            match &accepted.result {
                Some(result) => out.bytes(result),
                None => out.null(),
            }
            count += 1;
            if items.len() >= FRAME {
                self.list_frame(&[1], count, &items)?;
                items.clear();
                count = 0;
            }
        }
        self.list_frame(&[1], count, &items)
    }

    fn rows(&mut self, view: &dyn Snapshot, storage: StorageId) -> Result<i64> {
        let mut items = Vec::new();
        let mut count = 0;
        let mut total = 0;
        let head = [2, i64::from(storage.0)];
        for_each_row(view, storage, |key, value| {
            let mut out = Writer(&mut items);
            out.list(2);
            out.bytes(key);
            out.bytes(value);
            count += 1;
            total += 1;
            if items.len() >= FRAME {
                self.list_frame(&head, count, &items)?;
                items.clear();
                count = 0;
            }
            Ok(())
        })?;
        self.list_frame(&head, count, &items)?;
        Ok(total)
    }

    /// Writes a frame of some numbers and a list, unless the list is empty.
    fn list_frame(&mut self, head: &[i64], count: usize, items: &[u8]) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let mut out = Writer(&mut self.frame);
        out.list(head.len() + 1);
        for number in head {
            out.int(*number);
        }
        out.list(count);
        self.frame.extend_from_slice(items);
        self.flush()
    }
}

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
        storages: &mut Vec<StorageId>,
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
                    let name = self.text()?;
                    storages.push(state.catalog.id(name).ok_or_else(|| {
                        Error::new(
                            ErrorKind::Corrupt,
                            format!("the manifest does not declare its storage `{name}`"),
                        )
                    })?);
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
            }
            1 => {
                for _ in 0..self.list()? {
                    self.list()?;
                    *ids += 1;
                    state.ids.remember(Accepted {
                        id: self.text()?.into(),
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
                let storage = *storages.get(number).ok_or_else(form)?;
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

fn io<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Error + 'a {
    move |source| {
        Error::new(
            ErrorKind::Io,
            format!("cannot {what} {}: {source}", path.display()),
        )
        .with_source(source)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Arc;

    use engine_core::catalog::Catalog;
    use engine_core::error::ErrorKind;
    use engine_core::schema::Schema;
    use proptest::prelude::*;

    use super::{Content, Write, file_name, read, write};
    use crate::ids::Accepted;
    use crate::log::Position;
    use crate::platform::sim::SimPlatform;
    use crate::platform::{Access, Platform};
    use crate::rows;
    use crate::state::{Progress, State};

    const FOLDER: &str = "/checkpoints";

    fn catalog() -> Arc<Catalog> {
        let mut catalog = Catalog::default();
        let schema = |text| Schema::parse(text).unwrap();
        for name in ["a", "b"] {
            catalog
                .add(name, schema("id: int"), schema("text: text"))
                .unwrap();
        }
        Arc::new(catalog)
    }

    /// A state with some rows, ids and projectors.
    fn state(rows: i64, ids: u64) -> State {
        let mut state = State::new(catalog(), 1_000_000);
        let storage = state.catalog.id("b").unwrap();
        let row = |id: i64| {
            let value = engine_core::value::Value::Text("x".repeat((id % 5000) as usize));
            Write {
                storage,
                key: engine_core::key::encode(&[engine_core::value::Value::Int(id)])
                    .unwrap()
                    .into(),
                value: Some(engine_core::value::encode(&[value]).into()),
            }
        };
        let position = Position::from_u64(99);
        state
            .store
            .apply(position, &mut (0..rows).map(row))
            .unwrap();
        for offset in 0..ids {
            state.ids.remember(Accepted {
                id: format!("id{offset}").into(),
                offset,
                hash: [7; 16],
                result: (offset % 2 == 0).then(|| [0x90][..].into()),
            });
        }
        let progress = Progress {
            through: 5,
            after: 77,
        };
        state.projections = BTreeMap::from([("P".to_owned(), progress)]);
        (state.offset, state.position, state.time) = (ids, position, -3);
        state
    }

    /// The bytes of a state's checkpoint.
    fn bytes_of(platform: &SimPlatform, state: &State) -> Vec<u8> {
        let content = Content {
            position: state.position,
            offset: state.offset,
            time: state.time,
            projections: state.projections.clone().into_iter().collect(),
            ids: state.ids.snapshot(),
            rows: state.store.snapshot().unwrap(),
        };
        write(platform, Path::new(FOLDER), &state.catalog, &content).unwrap();
        let path = Path::new(FOLDER).join(file_name(state.position));
        platform.files().read(&path).unwrap()
    }

    /// Reads bytes as a checkpoint.
    fn read_bytes(bytes: &[u8]) -> engine_core::error::Result<State> {
        let platform = SimPlatform::new(1);
        let files = platform.files();
        files.create_dir_all(Path::new(FOLDER)).unwrap();
        let path = Path::new(FOLDER).join("x.checkpoint");
        let file = files.open(&path, Access::Truncate).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        let mut state = State::new(catalog(), 1_000_000);
        read(&platform, &path, &mut state).map(|()| state)
    }

    #[test]
    fn a_checkpoint_of_many_frames_reads_back_as_it_was() {
        for (rows, ids) in [(0, 0), (1, 1), (2000, 10_000)] {
            let before = state(rows, ids);
            let after = read_bytes(&bytes_of(&SimPlatform::new(0), &before)).unwrap();
            let hash = |state: &State| {
                rows::hash(&state.catalog, &[state.store.snapshot().unwrap()]).unwrap()
            };
            assert_eq!(hash(&after), hash(&before));
            assert!(after.ids.snapshot().iter().eq(before.ids.snapshot().iter()));
            assert_eq!(after.projections, before.projections);
            assert_eq!(
                (after.offset, after.position, after.time),
                (before.offset, before.position, before.time)
            );
        }
    }

    /// Frames whose checksums are right, whatever is in them.
    fn framed(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = super::MAGIC.to_vec();
        for payload in payloads {
            bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
            bytes.extend_from_slice(payload);
        }
        bytes
    }

    fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut rest = &bytes[super::MAGIC.len()..];
        let mut frames = Vec::new();
        while let Some((len, more)) = rest.split_first_chunk::<4>() {
            let (frame, more) = more[4..].split_at(u32::from_le_bytes(*len) as usize);
            frames.push(frame.to_vec());
            rest = more;
        }
        frames
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_corrupt_and_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
        ) {
            for bytes in [bytes, framed(&payloads)] {
                let refused = read_bytes(&bytes).unwrap_err();
                prop_assert_eq!(refused.kind(), ErrorKind::Corrupt);
            }
        }

        #[test]
        fn a_checkpoint_that_is_cut_or_has_a_flipped_bit_is_corrupt(
            at in any::<prop::sample::Index>(), bit in 0..8u8,
        ) {
            let mut bytes = bytes_of(&SimPlatform::new(0), &state(20, 20));
            let at = at.index(bytes.len());
            let cut = read_bytes(&bytes[..at]).unwrap_err();
            prop_assert_eq!(cut.kind(), ErrorKind::Corrupt);
            bytes[at] ^= 1 << bit;
            let flipped = read_bytes(&bytes).unwrap_err();
            prop_assert_eq!(flipped.kind(), ErrorKind::Corrupt);
        }

        #[test]
        fn changed_content_under_right_checksums_never_panics(
            frame in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
            bytes in prop::collection::vec(any::<u8>(), 1..9),
        ) {
            let whole = bytes_of(&SimPlatform::new(0), &state(20, 20));
            let mut payloads = frames(&whole);
            prop_assert_eq!(framed(&payloads), whole);
            let frame = frame.index(payloads.len());
            let payload = &mut payloads[frame];
            let at = at.index(payload.len());
            let end = payload.len().min(at + bytes.len());
            payload.splice(at..end, bytes);
            if let Err(error) = read_bytes(&framed(&payloads)) {
                prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
            }
        }
    }
}
