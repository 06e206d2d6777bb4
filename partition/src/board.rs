//! Where a partition's threads read how far it is.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use engine_core::error::{Error, Result};

use crate::answer;
use crate::log::Position;
use crate::state::Progress;
use crate::store::Snapshot;

/// How far a partition is, durably.
#[derive(Debug, Default)]
pub(crate) struct Board {
    standing: Mutex<Standing>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct Standing {
    pub(crate) position: Position,
    /// The offset of the next command.
    pub(crate) offset: u64,
    /// The state that the last query asked for, with its offset, until a group comes after it.
    pub(crate) snapshot: Option<(u64, Arc<dyn Snapshot>)>,
    pub(crate) projections: BTreeMap<String, Projecting>,
    /// What the writer failed at.
    pub(crate) stopped: Option<Error>,
    /// The partition is being closed.
    pub(crate) closing: bool,
}

/// How far one asynchronous projector is.
#[derive(Debug, Default)]
pub(crate) struct Projecting {
    pub(crate) progress: Progress,
    /// What keeps it from going on until the partition is opened again.
    pub(crate) failed: Option<Error>,
}

impl Board {
    pub(crate) fn read(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the board and wakes everyone who waits for a change.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.read());
        self.changed.notify_all();
    }

    /// Waits until `done` gives something.
    pub(crate) fn wait<T>(&self, mut done: impl FnMut(&Standing) -> Option<T>) -> T {
        let mut standing = self.read();
        loop {
            if let Some(found) = done(&standing) {
                return found;
            }
            standing = self
                .changed
                .wait(standing)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until every asynchronous projector has counted the commands that are durable now, or has failed.
    ///
    /// # Errors
    /// The failure of a projector, or what stopped the partition.
    pub(crate) fn settle(&self) -> Result<()> {
        let goal = self.read().offset;
        self.wait(|standing| {
            let (mut waiting, mut failed) = (false, None);
            for projecting in standing.projections.values() {
                if projecting.progress.through < goal {
                    match &projecting.failed {
                        Some(error) => failed = failed.or(Some(error)),
                        None => waiting = true,
                    }
                }
            }
            match &standing.stopped {
                _ if !waiting => Some(failed.cloned().map_or(Ok(()), Err)),
                Some(error) => Some(Err(error.clone())),
                None => standing.closing.then(|| Err(answer::stopped())),
            }
        })
    }
}
