//! When the writer's state goes into a checkpoint, and what the log may forget behind it.

use engine_core::error::{Error, Result};

use super::{Message, Writer};
use crate::answer;
use crate::appender::Task;
use crate::checkpoint;
use crate::ids::Order;
use crate::log::Position;
use crate::partition::catch;
use crate::platform::{self, JoinHandle};
use crate::shadow::Follower;

/// A checkpoint that is being written.
pub(super) struct Checkpointing {
    pub(super) thread: JoinHandle,
    waiting: Vec<answer::Sender<()>>,
}

/// What the state has ahead of what is durable, as it is when a group ends.
#[derive(Debug)]
pub(super) struct Ends {
    ids: Order,
    jobs: Vec<(String, i64)>,
}

impl Writer {
    /// Whether a checkpoint is to begin.
    pub(super) fn is_checkpoint_due(&self) -> bool {
        let most = self.shared.program.spec().partition.checkpoint_bytes;
        self.checkpointing.is_none() && self.state.is_checkpoint_due(most)
    }

    /// What a checkpoint has of the group that ends now.
    pub(super) fn ends(&self) -> Ends {
        Ends {
            ids: self.state.ids.snapshot(),
            jobs: self.state.jobs.clone().into_iter().collect(),
        }
    }

    /// Begins a checkpoint of the durable state on a thread of its own, unless one is being written. The last durable group
    /// is the one that ended with `ends`.
    pub(super) fn checkpoint(&mut self, ends: Ends) -> Result<()> {
        if self.checkpointing.is_some() {
            return Ok(());
        }
        self.state.since_checkpoint = 0;
        let waiting = std::mem::take(&mut self.checkpoint_wanted);
        let Some(folder) = self.shared.checkpoints.clone() else {
            // A volatile partition keeps of its log what its projectors have still to read.
            waiting.into_iter().for_each(|answer| answer.send(Ok(())));
            return self.forget_below(self.state.position, 0);
        };
        let projections = self.state.projections.iter();
        let content = checkpoint::Content {
            position: self.state.position,
            offset: self.state.offset,
            time: self.state.time,
            projections: projections
                .map(|(name, progress)| (name.clone(), *progress))
                .collect(),
            jobs: ends.jobs,
            ids: ends.ids,
            rows: self.state.store.snapshot()?,
        };
        let (platform, catalog) = (self.shared.platform.clone(), self.state.catalog.clone());
        let own = self.own.clone();
        let write = move || {
            let written = catch("writing a checkpoint", || {
                checkpoint::write(&*platform, &folder, &catalog, &content)
            });
            // The writer may be gone by now; the checkpoint counts all the same.
            drop(own.send(Message::CheckpointDone(content.position, written)));
        };
        match platform::spawn(&*self.shared.platform, "extengine-checkpoint", write) {
            Ok(thread) => self.checkpointing = Some(Checkpointing { thread, waiting }),
            Err(error) => self.no_checkpoint(waiting, &error),
        }
        Ok(())
    }

    pub(super) fn checkpoint_done(
        &mut self,
        position: Position,
        written: Result<u64>,
    ) -> Result<()> {
        let done = self.checkpointing.take();
        let waiting = done.map_or_else(Vec::new, |done| done.waiting);
        match written {
            Ok(bytes) => {
                self.state.checkpoint = bytes;
                waiting.into_iter().for_each(|answer| answer.send(Ok(())));
                self.forget(position)?;
            }
            Err(error) => self.no_checkpoint(waiting, &error),
        }
        if self.checkpoint_wanted.is_empty() {
            return Ok(());
        }
        self.flush()?;
        self.checkpoint(self.ends())
    }

    /// The log still has everything; the next checkpoint is tried when as much has come again.
    fn no_checkpoint(&self, waiting: Vec<answer::Sender<()>>, error: &Error) {
        let answers = waiting.into_iter();
        answers.for_each(|answer| answer.send(Err(error.clone())));
        self.shared
            .notice(&format!("no checkpoint was written: {error}"));
    }

    /// Waits for the checkpoint that is being written: an opening may be too short for it otherwise, and the log would
    /// never forget. Whoever asks for something meanwhile came too late.
    pub(super) fn end_checkpoint(&mut self) -> Result<()> {
        while self.checkpointing.is_some() {
            let message = self.queue.recv().map_err(|_| answer::stopped())?;
            if let Message::CheckpointDone(position, written) = message {
                self.checkpoint_done(position, written)?;
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Lets the log forget what the manifest does not retain: only below the oldest kept checkpoint, which is the one
    /// before the last, and every projector's and shadow's position.
    fn forget(&mut self, position: Position) -> Result<()> {
        const { assert!(checkpoint::KEPT == 2) };
        let before = self.state.checkpointed.replace(position);
        let retention = self.shared.program.spec().partition.retention_bytes;
        match (before, retention) {
            (Some(oldest), Some(retain)) if oldest < position => self.forget_below(oldest, retain),
            _ => Ok(()),
        }
    }

    /// Lets the log forget what is below a position and that of every asynchronous projector and shadow, but for so many
    /// bytes.
    fn forget_below(&mut self, position: Position, retain: u64) -> Result<()> {
        let projectors = self.shared.program.async_projectors();
        let projected = projectors.map(|projector| {
            let name = self.shared.program.name_of(projector);
            let progress = self.state.projections.get(name).copied();
            Position::from_u64(progress.unwrap_or_default().after)
        });
        let followed = self.shadows.iter().filter_map(Follower::needs);
        let needed = projected.chain(followed).fold(position, Position::min);
        let task = Task::Forget(needed, retain);
        if !self.appender.has_thread() {
            return self.appender.perform(task).map(drop);
        }
        self.forget = Some(task);
        self.send_forget().map(drop)
    }

    /// Has the log forget what it is to forget, if it is here.
    pub(super) fn send_forget(&mut self) -> Result<bool> {
        if self.appender.is_away() {
            return Ok(false);
        }
        match self.forget.take() {
            Some(task) => self.appender.send(task).map(|()| true),
            None => Ok(false),
        }
    }
}
