//! Checkpoints: the state of a partition in one file, from which recovery goes on with the log.
//!
//! A file is a magic number and then frames `{u32 length, u32 crc32c, payload}`, little-endian, each payload one
//! MessagePack array: `[0, version, position, offset, time, storage names, projectors, jobs]` first, with `[projector,
//! through, after]` and `[job, through]` for each, then ids `[1, [[id, offset, hash, result?]]]`, rows
//! `[2, storage, [[key, value]]]`, and `[3, ids, rows]` at the end.
//! Where the store keeps its rows in files of its own, they are made durable first, and the checkpoint has none of them.
//! It is written beside its place, made durable and renamed, so a file under its name is whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_core::error::Result;

use crate::folder::io;
use crate::ids::Order;
use crate::log::Position;
use crate::platform::Platform;
use crate::state::Progress;
use crate::store::Snapshot;

mod read;
mod write;

pub(crate) use read::read;
pub(crate) use write::{remove_draft, write};

const MAGIC: &[u8; 8] = b"EXTCKPT1";
const VERSION: i64 = 3;
/// How many checkpoints are kept.
pub(crate) const KEPT: usize = 2;

/// What a checkpoint is written from: shared with the partition, which goes on.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) position: Position,
    pub(crate) offset: u64,
    pub(crate) time: i64,
    pub(crate) projections: Vec<(String, Progress)>,
    pub(crate) jobs: Vec<(String, i64)>,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Arc;

    use engine_core::catalog::Catalog;
    use engine_core::error::ErrorKind;
    use engine_core::schema::Schema;
    use proptest::prelude::*;

    use super::{Content, file_name, read, write};
    use crate::ids::{Accepted, Window};
    use crate::log::Position;
    use crate::platform::sim::{Fault, SimPlatform};
    use crate::platform::{Access, Platform};
    use crate::rows;
    use crate::state::{Progress, State};
    use crate::store::Write;

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
        let mut state = State::new(catalog(), Window::ALL);
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
                id: format!("id{offset}").into_bytes().into(),
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
        state.jobs = BTreeMap::from([("J".to_owned(), -8), ("K".to_owned(), 1 << 50)]);
        (state.offset, state.position, state.time) = (ids, position, -3);
        state
    }

    /// The bytes of a state's checkpoint.
    fn bytes_of(platform: &SimPlatform, state: &State) -> Vec<u8> {
        write_to(platform, state).unwrap();
        let path = Path::new(FOLDER).join(file_name(state.position));
        platform.files().read(&path).unwrap()
    }

    fn write_to(platform: &SimPlatform, state: &State) -> engine_core::error::Result<u64> {
        let content = Content {
            position: state.position,
            offset: state.offset,
            time: state.time,
            projections: state.projections.clone().into_iter().collect(),
            jobs: state.jobs.clone().into_iter().collect(),
            ids: state.ids.snapshot(),
            rows: state.store.snapshot().unwrap(),
        };
        write(platform, Path::new(FOLDER), &state.catalog, &content)
    }

    #[test]
    fn a_checkpoint_that_found_no_space_takes_none() {
        let state = state(100, 10);
        for operation in 0.. {
            let platform = SimPlatform::new(0);
            platform.fail_after(operation, Fault::Full);
            let written = write_to(&platform, &state);
            let draft = platform.files().read(&Path::new(FOLDER).join("draft"));
            assert!(
                draft.is_err(),
                "a draft is left behind operation {operation}"
            );
            if written.is_ok() {
                assert!(operation > 4, "only {operation} operations");
                return;
            }
        }
    }

    /// Reads bytes as a checkpoint.
    fn read_bytes(bytes: &[u8]) -> engine_core::error::Result<State> {
        let platform = SimPlatform::new(1);
        let files = platform.files();
        files.create_dir_all(Path::new(FOLDER)).unwrap();
        let path = Path::new(FOLDER).join("x.checkpoint");
        let file = files.open(&path, Access::Truncate).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        let mut state = State::new(catalog(), Window::ALL);
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
            assert_eq!(after.jobs, before.jobs);
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
