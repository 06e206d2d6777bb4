//! The recovered state of a partition: what its checkpoint and its log say, and nothing else.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use engine_core::catalog::Catalog;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::intent::Intents;
use engine_core::manifest::Verb;

use crate::checkpoint;
use crate::ids::{self, Accepted, Ids};
use crate::log::{LogError, LogReader, Position};
use crate::platform::Platform;
use crate::record::{Command, Entry, Group};
use crate::store::{MemoryStore, StateStore, Write};

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
    /// Bytes of groups behind the last checkpoint.
    pub(crate) since_checkpoint: u64,
}

impl State {
    /// The state before the first command.
    pub(crate) fn new(catalog: Arc<Catalog>, ids: usize) -> Self {
        Self {
            store: Box::new(MemoryStore::new(catalog.len())),
            catalog,
            ids: Ids::new(ids),
            offset: 0,
            position: Position::START,
            time: i64::MIN,
            projections: BTreeMap::new(),
            since_checkpoint: 0,
        }
    }

    /// The state of the last readable checkpoint, or the empty one.
    ///
    /// A damaged checkpoint is passed over with a word in `notices`, as long as the log reaches back far enough to do
    /// without it.
    ///
    /// # Errors
    /// `io`, and `corrupt` where neither a checkpoint nor the log has the beginning.
    pub(crate) fn from_checkpoint(
        platform: &dyn Platform,
        folder: &Path,
        catalog: &Arc<Catalog>,
        ids: usize,
        oldest: Position,
        notices: &mut Vec<String>,
    ) -> Result<Self> {
        let mut damage = None;
        for (_, path) in checkpoint::list(platform, folder)? {
            let mut state = Self::new(catalog.clone(), ids);
            match checkpoint::read(platform, &path, &mut state) {
                Ok(()) => return Ok(state),
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    notices.push(format!("passed over a checkpoint: {}", error.message()));
                    damage = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match damage {
            Some(error) if oldest > Position::START => Err(error),
            _ => Ok(Self::new(catalog.clone(), ids)),
        }
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

    /// Applies one group of the log.
    fn apply(&mut self, group: Group, position: Position) -> Result<()> {
        for entry in group.entries {
            match entry {
                Entry::Command(command) => {
                    if command.offset != self.offset {
                        return Err(Error::new(
                            ErrorKind::Corrupt,
                            format!(
                                "the log has command {} where command {} is due",
                                command.offset, self.offset
                            ),
                        ));
                    }
                    self.offset += 1;
                    for step in &command.steps {
                        self.apply_intents(&step.intents)?;
                    }
                    self.remember(command);
                }
                Entry::Projection(projection) => {
                    for (_, intents) in &projection.events {
                        self.apply_intents(intents)?;
                    }
                    self.projections.insert(
                        projection.projector,
                        Progress {
                            through: projection.through,
                            after: projection.after,
                        },
                    );
                }
            }
        }
        self.position = position;
        self.time = group.head.time;
        Ok(())
    }

    fn apply_intents(&mut self, intents: &Intents) -> Result<()> {
        self.store.apply(&mut intents.iter().map(|intent| Write {
            storage: intent.storage,
            key: intent.key.into(),
            value: (intent.verb != Verb::Delete).then(|| intent.value.into()),
        }))
    }

    fn remember(&mut self, command: Command) {
        let Some(id) = command.id else { return };
        self.ids.remember(Accepted {
            id: id.into(),
            offset: command.offset,
            hash: ids::hash(&command.name, &command.args),
            result: command.results.into_iter().next().map(Into::into),
        });
    }
}

/// A failure of the log in the contract's terms.
pub(crate) fn log_error(error: LogError) -> Error {
    let kind = match error {
        // What a checkpoint or a projector has counted must be in the log.
        LogError::Corrupt { .. } | LogError::OutOfRange { .. } => ErrorKind::Corrupt,
        LogError::Locked { .. } => ErrorKind::Busy,
        _ => ErrorKind::Io,
    };
    Error::new(kind, error.to_string()).with_source(error)
}
