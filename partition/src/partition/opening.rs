//! A partition from its folder to its recovered state, with nothing running.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use engine_core::catalog::Catalog;
use engine_core::error::{Error, ErrorKind, Result};

use super::Shared;
use crate::board::{Board, Projecting};
use crate::checkpoint;
use crate::folder::{Facts, checkpoint_folder, log_folder, store_folder};
use crate::host::Logger;
use crate::ids::Window;
use crate::lineup::Lineup;
use crate::log::{CommandLog, LogReader, MemoryLog, Owner, Position, SegmentLog, SegmentOptions};
use crate::platform::Platform;
use crate::program::Program;
use crate::record::{Entry, Group};
use crate::state::{Progress, State, log_error};
use crate::store::StorePlace;

/// The largest group of the log: two entries of the largest size.
const MAX_GROUP: usize = 256 << 20;

/// What a partition is opened with.
pub(crate) struct Opening {
    pub(crate) program: Arc<Program>,
    pub(crate) lineup: Arc<Lineup>,
    pub(crate) number: u32,
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) logger: Arc<Logger>,
    pub(crate) notices: Arc<dyn Fn(&str) + Send + Sync>,
    /// The partition's folder, or none for a volatile one.
    pub(crate) folder: Option<PathBuf>,
    /// What the data folder says of itself once something is written to it.
    pub(crate) facts: Option<Arc<Facts>>,
    /// Whether jobs run.
    pub(crate) jobs: bool,
}

/// A partition with its state, before anything of it runs.
pub(crate) struct Recovered {
    pub(super) shared: Arc<Shared>,
    pub(super) log: Box<dyn CommandLog>,
    pub(super) state: State,
    pub(super) jobs: bool,
}

impl Recovered {
    pub(crate) fn state(&self) -> &State {
        &self.state
    }
}

impl Opening {
    fn log(&self, notices: &mut Vec<String>) -> Result<Box<dyn CommandLog>> {
        let app = self.program.spec();
        let spec = &app.partition;
        let Some(folder) = &self.folder else {
            return Ok(Box::new(MemoryLog::open(&Default::default())));
        };
        let options = SegmentOptions {
            segment_size: spec.segment_bytes,
            max_group: MAX_GROUP,
            owner: Owner::new(&app.name, self.number),
            ..SegmentOptions::default()
        };
        // Before the log, which may be in need of the space.
        checkpoint::remove_draft(&*self.platform, &checkpoint_folder(folder))?;
        let folder = log_folder(folder);
        let (log, report) =
            SegmentLog::open(self.platform.clone(), &folder, options).map_err(log_error)?;
        notices.extend(report.notices.iter().map(ToString::to_string));
        Ok(Box::new(log))
    }

    fn recover_state(&self, log: &dyn CommandLog, notices: &mut Vec<String>) -> Result<State> {
        let spec = self.program.spec();
        let reader = log.reader();
        let catalog = &spec.catalog;
        let ids = Window {
            ids: spec.partition.ids,
            bytes: spec.partition.ids_bytes,
        };
        match &self.folder {
            Some(folder) => {
                let place = StorePlace {
                    kind: spec.partition.store,
                    platform: &*self.platform,
                    folder: store_folder(folder),
                    memory: spec.partition.store_bytes,
                };
                State::recover(&place, folder, catalog, ids, &*reader, notices)
            }
            None => Ok(State::new(catalog.clone(), ids)),
        }
    }

    /// Where an asynchronous projector goes on. One that can never count what is missing would hold the log for ever.
    fn start_of(
        &self,
        projector: usize,
        state: &State,
        log: &dyn LogReader,
        notices: &mut Vec<String>,
    ) -> Result<Progress> {
        let name = self.program.name_of(projector);
        let progress = state.projections.get(name).copied().unwrap_or_default();
        let oldest = log.oldest();
        if Position::from_u64(progress.after) >= oldest || progress.through >= state.offset {
            return Ok(progress);
        }
        let first = first_command(log, &state.catalog)?.unwrap_or(state.offset);
        if first <= progress.through {
            return Ok(progress);
        }
        let missing = format!(
            "asynchronous projector `{name}` has still to count the commands from {} on, and the log goes back to command \
             {first} only, since its retention was too short",
            progress.through
        );
        if !self.program.spec().extensions[projector].from_oldest {
            return Err(Error::new(
                ErrorKind::Manifest,
                format!(
                    "partition {}: {missing}: write `from = \"oldest\"` in `[extensions.{name}]` to begin there and do \
                     without the commands before, remove the projector, or run all commands again into another folder",
                    self.number
                ),
            ));
        }
        notices.push(format!("{missing}: it begins there"));
        Ok(Progress {
            through: first,
            after: oldest.to_u64(),
        })
    }

    /// Recovers the state, with nothing running.
    ///
    /// # Errors
    /// `corrupt` and `io`, `busy` where another process has the partition open, `manifest` where the log lacks what a
    /// projector has still to count.
    pub(crate) fn recover(self) -> Result<Recovered> {
        let mut notices = Vec::new();
        let log = self.log(&mut notices)?;
        let state = self.recover_state(&*log, &mut notices)?;
        let reader = log.reader();
        let mut projections = BTreeMap::new();
        for projector in self.program.async_projectors() {
            let progress = self.start_of(projector, &state, &*reader, &mut notices)?;
            let failed = None;
            let name = self.program.name_of(projector).to_owned();
            projections.insert(name, Projecting { progress, failed });
        }
        let shared = Arc::new(Shared {
            program: self.program,
            lineup: self.lineup,
            number: self.number,
            platform: self.platform,
            logger: self.logger,
            notices: self.notices,
            board: Board::default(),
            depth: AtomicUsize::new(0),
            checkpoints: self.folder.as_deref().map(checkpoint_folder),
            facts: self.facts,
        });
        notices.iter().for_each(|notice| shared.notice(notice));
        shared.board.update(|standing| {
            standing.position = state.position;
            standing.offset = state.offset;
            standing.projections = projections;
        });
        Ok(Recovered {
            shared,
            log,
            state,
            jobs: self.jobs,
        })
    }
}

/// The offset of the oldest command that the log has.
fn first_command(log: &dyn LogReader, catalog: &Catalog) -> Result<Option<u64>> {
    let mut cursor = log.read(log.oldest()).map_err(log_error)?;
    while let Some(group) = cursor.next_group().map_err(log_error)? {
        let group = Group::read(group.bytes, catalog)?;
        let first = group.entries.iter().find_map(|entry| match entry {
            Entry::Command(command) => Some(command.offset),
            Entry::Projection(_) | Entry::Job(_) => None,
        });
        if first.is_some() {
            return Ok(first);
        }
    }
    Ok(None)
}
