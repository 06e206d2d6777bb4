//! The recovered state of a partition: what its checkpoint and its log say, and nothing else.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use engine_core::catalog::Catalog;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::intent::Intents;

use crate::checkpoint;
use crate::folder::checkpoint_folder;
use crate::ids::{self, Accepted, Ids, Window};
use crate::log::{LogError, LogReader, Position};
use crate::overlay::value_behind;
use crate::platform::Platform;
use crate::record::{Command, Entry, Group};
use crate::store::{MemoryStore, StateStore, StoreKind, StorePlace, Write};

/// How far an asynchronous projector is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Every event below this offset is counted.
    pub(crate) through: u64,
    /// The position in the log up to which every event is counted.
    pub(crate) after: u64,
}

/// Everything that a partition knows.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) store: Box<dyn StateStore>,
    pub(crate) ids: Ids,
    /// The offset of the next command.
    pub(crate) offset: u64,
    /// The position of the last group that is in the state.
    pub(crate) position: Position,
    /// The time of that group.
    pub(crate) time: i64,
    pub(crate) projections: BTreeMap<String, Progress>,
    /// Up to which time each job has run for its due times.
    pub(crate) jobs: BTreeMap<String, i64>,
    /// The position of the last checkpoint that is whole, and how many bytes it has.
    pub(crate) checkpointed: Option<Position>,
    pub(crate) checkpoint: u64,
    /// Bytes of groups behind it.
    pub(crate) since_checkpoint: u64,
}

impl State {
    /// The state before the first command, in memory.
    pub(crate) fn new(catalog: Arc<Catalog>, ids: Window) -> Self {
        let store = Box::new(MemoryStore::new(catalog.len()));
        Self::over(store, catalog, ids)
    }

    /// The state before the first command, over a store that may have the rows of later ones: those are passed over
    /// when the log is followed.
    pub(crate) fn over(store: Box<dyn StateStore>, catalog: Arc<Catalog>, ids: Window) -> Self {
        Self {
            store,
            catalog,
            ids: Ids::new(ids),
            offset: 0,
            position: Position::START,
            time: i64::MIN,
            projections: BTreeMap::new(),
            jobs: BTreeMap::new(),
            checkpointed: None,
            checkpoint: 0,
            since_checkpoint: 0,
        }
    }

    /// The state at the end of the log: that of its store and of the last checkpoint that can be used, and what the log
    /// has behind them.
    ///
    /// A store or a checkpoint that is damaged is done without, with a word in `notices`, as long as the log reaches back
    /// far enough for that.
    ///
    /// # Errors
    /// `io`, and `corrupt` where nothing that is whole has the beginning.
    pub(crate) fn recover(
        place: &StorePlace<'_>,
        folder: &Path,
        catalog: &Arc<Catalog>,
        ids: Window,
        log: &dyn LogReader,
        notices: &mut Vec<String>,
    ) -> Result<Self> {
        let store = match place.kind {
            StoreKind::Memory => None,
            StoreKind::Disk => Some(match place.open(catalog) {
                Err(error)
                    if error.kind() == ErrorKind::Corrupt && log.oldest() == Position::START =>
                {
                    notices.push(format!(
                        "made a store anew from the log: {}",
                        error.message()
                    ));
                    place.remove()?;
                    place.open(catalog)?
                }
                opened => opened?,
            }),
        };
        let folder = checkpoint_folder(folder);
        let oldest = log.oldest();
        let mut state = Self::from_checkpoint(
            place.platform,
            &folder,
            store,
            catalog,
            ids,
            oldest,
            notices,
        )?;
        state.follow(log)?;
        state.check_store()?;
        Ok(state)
    }

    /// Checks, at the end of the log, that the store is there too.
    ///
    /// # Errors
    /// `corrupt` where the store has rows of groups that the log does not have.
    pub(crate) fn check_store(&self) -> Result<()> {
        let (store, log) = (self.store.position(), self.position);
        if store <= log {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Corrupt,
            format!(
                "the store has the rows of position {store}, and the log ends at {log}: they do not belong together, or \
                 the log lost its end; restore the data folder from a copy"
            ),
        ))
    }

    /// The state of the last checkpoint that is readable and not ahead of the store, or the empty one.
    fn from_checkpoint(
        platform: &dyn Platform,
        folder: &Path,
        store: Option<Box<dyn StateStore>>,
        catalog: &Arc<Catalog>,
        ids: Window,
        oldest: Position,
        notices: &mut Vec<String>,
    ) -> Result<Self> {
        let mut damage = None;
        for (_, path) in checkpoint::list(platform, folder)? {
            let mut state = Self::new(catalog.clone(), ids);
            let read = checkpoint::read(platform, &path, &mut state);
            match read.and_then(|()| reaches(store.as_deref(), &state, &path)) {
                Ok(()) => {
                    state.store = store.unwrap_or(state.store);
                    state.checkpointed = Some(state.position);
                    return Ok(state);
                }
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    notices.push(format!("passed over a checkpoint: {}", error.message()));
                    damage = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match damage {
            Some(error) if oldest > Position::START => Err(error),
            _ => Ok(match store {
                Some(store) => Self::over(store, catalog.clone(), ids),
                None => Self::new(catalog.clone(), ids),
            }),
        }
    }

    /// Whether a checkpoint should be written that comes at the latest behind so many bytes of log: behind as many as
    /// the last one has, so that neither writing it nor reading the log behind it costs much more than the other, but
    /// not below a quarter of the most.
    pub(crate) fn is_checkpoint_due(&self, most: u64) -> bool {
        self.since_checkpoint >= self.checkpoint.clamp(most / 4, most)
    }

    /// Brings the state to the end of the log.
    ///
    /// # Errors
    /// `corrupt` and `io`.
    pub(crate) fn follow(&mut self, log: &dyn LogReader) -> Result<()> {
        self.follow_until(log, None, |_, _| Ok(()))
    }

    /// Applies the groups behind the state's position, up to `until`, and shows each before it is applied.
    ///
    /// # Errors
    /// `corrupt` and `io`, and those of `each`.
    pub(crate) fn follow_until(
        &mut self,
        log: &dyn LogReader,
        until: Option<Position>,
        mut each: impl FnMut(&mut Self, &Group) -> Result<()>,
    ) -> Result<()> {
        let mut cursor = log.read(self.position).map_err(log_error)?;
        while let Some(group) = cursor.next_group().map_err(log_error)? {
            if until.is_some_and(|until| group.position > until) {
                return Ok(());
            }
            let position = group.position;
            let len = group.bytes.len() as u64;
            let group = Group::read(group.bytes, &self.catalog)?;
            each(self, &group)?;
            self.apply(group, position)?;
            self.since_checkpoint += len;
        }
        Ok(())
    }

    /// Applies one group of the log. A store that is ahead has its rows already.
    fn apply(&mut self, group: Group, position: Position) -> Result<()> {
        let commands = group.entries.iter().filter_map(|entry| match entry {
            Entry::Command(command) => Some(command.offset),
            Entry::Projection(_) | Entry::Job(_) => None,
        });
        for (due, offset) in (self.offset..).zip(commands) {
            if offset != due {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    format!("the log has command {offset} where command {due} is due"),
                ));
            }
        }
        if position > self.store.position() {
            let mut writes = group.entries.iter().flat_map(writes);
            self.store.apply(position, &mut writes)?;
        }
        for entry in group.entries {
            match entry {
                Entry::Command(command) => {
                    self.offset += 1;
                    self.remember(command);
                }
                Entry::Projection(projection) => {
                    self.projections.insert(
                        projection.projector,
                        Progress {
                            through: projection.through,
                            after: projection.after,
                        },
                    );
                }
                Entry::Job(run) => {
                    self.jobs.insert(run.job, run.through);
                }
            }
        }
        self.position = position;
        self.time = group.head.time;
        Ok(())
    }

    fn remember(&mut self, command: Command) {
        let Some(id) = command.id else { return };
        self.ids.remember(Accepted {
            id: id.into_bytes().into(),
            offset: command.offset,
            hash: ids::hash(&command.name, &command.args),
            result: command.results.into_iter().next().map(Into::into),
        });
    }
}

/// The writes of one entry, in order.
fn writes(entry: &Entry) -> impl Iterator<Item = Write> {
    let (steps, events) = match entry {
        Entry::Command(command) => (&command.steps[..], &[][..]),
        Entry::Projection(projection) => (&[][..], &projection.events[..]),
        Entry::Job(_) => (&[][..], &[][..]),
    };
    let intents = steps.iter().map(|step| &step.intents);
    let intents = intents.chain(events.iter().map(|event| &event.intents));
    intents.flat_map(Intents::iter).map(|intent| Write {
        storage: intent.storage,
        key: intent.key.into(),
        value: value_behind(&intent),
    })
}

/// Whether a store that keeps its own rows has all that were applied before a checkpoint, which has none of them.
pub(crate) fn reaches(store: Option<&dyn StateStore>, state: &State, path: &Path) -> Result<()> {
    match store.map(StateStore::position) {
        Some(applied) if applied < state.position => Err(Error::new(
            ErrorKind::Corrupt,
            format!(
                "{} is of position {}, and the store has only the rows up to {applied}; where the log does not have the \
                 rest, restore the data folder from a copy",
                path.display(),
                state.position
            ),
        )),
        _ => Ok(()),
    }
}

/// A failure of the log in the contract's terms.
pub(crate) fn log_error(error: LogError) -> Error {
    let kind = match error {
        // What a checkpoint or a projector has counted must be in the log.
        LogError::Corrupt { .. } | LogError::OutOfRange { .. } | LogError::Owner { .. } => {
            ErrorKind::Corrupt
        }
        LogError::Locked { .. } => ErrorKind::Busy,
        _ => ErrorKind::Io,
    };
    Error::new(kind, error.to_string()).with_source(error)
}
