//! The thread that flushes and compacts, and what waits for it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crossbeam_channel::Receiver;
use engine_core::error::{Error, ErrorKind, Result};
use lsm_tree::{AbstractTree, SeqNo};

use super::files::failure;
use super::locked;
use super::rows::Rows;
use crate::partition::catch;

/// How many full tables in memory may wait for the keeper before the writer waits too.
const WAITING: usize = 2;

/// From how many runs of tables on the newest level is compacted before another one comes. The tree keeps their number in
/// one byte, and does not notice where it is larger.
pub(super) const RUNS: usize = 200;

impl Rows {
    /// Below which sequence number only the last write of each key is needed.
    fn needed(&self) -> SeqNo {
        let held = locked(&self.held);
        let oldest = held.keys().next().copied();
        oldest.unwrap_or_else(|| self.whole.get()).saturating_sub(1)
    }

    /// Makes everything that is applied durable.
    pub(super) fn persist(&self) -> Result<()> {
        let group = locked(&self.group);
        self.tree.rotate_memtable();
        drop(group);
        self.flush()?;
        self.wake_keeper();
        Ok(())
    }

    /// Tells the keeper that there may be something to do.
    pub(super) fn wake_keeper(&self) {
        if let Some(wake) = &*locked(&self.wake) {
            // Where the channel is full, the keeper is yet to come.
            let _ = wake.try_send(());
        }
    }

    /// Writes the full tables in memory to files, durably.
    fn flush(&self) -> Result<()> {
        while self.tree.l0_run_count() >= RUNS {
            let before = self.levels();
            self.compact()?;
            if self.levels() == before {
                let what = "it has too many tables, and they cannot be merged";
                return Err(Error::new(ErrorKind::Internal, what));
            }
        }
        let one = self.tree.get_flush_lock();
        let flushed = self.tree.flush(&one, self.needed());
        drop(one);
        flushed.map_err(|error| failure(&self.folder, error))?;
        // Whoever waits holds this lock while it looks.
        drop(locked(&self.failed));
        self.kept.notify_all();
        Ok(())
    }

    /// The keeper: flushes and compacts whenever it is woken.
    pub(super) fn keep(&self, woken: &Receiver<()>) {
        while woken.recv().is_ok() {
            if let Err(error) = catch("the store's keeper", || self.tidy()) {
                *locked(&self.failed) = Some(error);
                self.kept.notify_all();
                return;
            }
        }
    }

    pub(super) fn tidy(&self) -> Result<()> {
        self.flush()?;
        let mut before = None;
        while !self.closing.load(Ordering::Relaxed) {
            // One step of compaction says nothing of itself; the tables are others where it did something.
            let now = self.levels();
            if before == Some(now) {
                return Ok(());
            }
            before = Some(now);
            self.compact()?;
            self.flush()?;
        }
        Ok(())
    }

    /// One step of compaction, behind the one that another thread is at, whose tables it could not have.
    fn compact(&self) -> Result<()> {
        let one = locked(&self.compacting);
        let compacted = self.tree.compact(self.strategy.clone(), self.needed());
        drop(one);
        compacted.map_err(|error| failure(&self.folder, error))
    }

    fn levels(&self) -> ([usize; 7], u64) {
        let tables = std::array::from_fn(|level| self.tree.level_table_count(level).unwrap_or(0));
        (tables, self.tree.disk_space())
    }

    /// Waits until fewer full tables are in memory than may wait.
    pub(super) fn wait_for_keeper(&self) -> Result<()> {
        let mut failed = locked(&self.failed);
        loop {
            if let Some(error) = &*failed {
                return Err(error.clone());
            }
            if self.tree.sealed_memtable_count() < WAITING {
                return Ok(());
            }
            failed = self
                .kept
                .wait(failed)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}
