//! A group from its beginning until it is durable, applied and answered.

use engine_core::error::Result;

use super::checkpoints::Ends;
use super::{Reader, Writer};
use crate::answer;
use crate::appender::{Done, Task};
use crate::log::Position;
use crate::overlay::Overlay;
use crate::partition::Accepted;
use crate::record::{GroupHead, Projection};
use crate::state::Progress;

/// What a group changes when it is durable, and who waits for that.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) overlay: Overlay,
    pub(super) answers: Vec<(answer::Sender<Accepted>, Result<Accepted>)>,
    pub(super) projections: Vec<(Projection, Reader)>,
    /// The offset behind the group's commands.
    offset: u64,
    time: i64,
    /// Bytes of the group.
    bytes: u64,
    /// Present where a checkpoint is due behind the group.
    pub(super) ends: Option<Ends>,
}

impl Pending {
    pub(super) fn new(storages: usize) -> Self {
        Self {
            overlay: Overlay::new(storages),
            answers: Vec::new(),
            projections: Vec::new(),
            offset: 0,
            time: 0,
            bytes: 0,
            ends: None,
        }
    }

    fn answer(&mut self) {
        for (answer, accepted) in self.answers.drain(..) {
            answer.send(accepted);
        }
    }
}

impl Writer {
    /// Begins a group, unless one has begun.
    pub(super) fn begin_group(&mut self) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        if self.runner.instances.is_behind(&self.shared.lineup) {
            self.runner.instances.take_up(&self.shared.lineup);
            self.name_versions();
        }
        let platform = &*self.shared.platform;
        let mut seed = [0; 16];
        seed.copy_from_slice(&platform.random()[..16]);
        self.now = platform.now();
        self.head = GroupHead {
            // The clock may jump back; the time of commands does not.
            time: self.now.max(self.head.time),
            seed,
        };
        self.attempts = 0;
        self.group.begin(self.head);
    }

    fn leave_group(&mut self) {
        self.begun = false;
        // A group has one round of jobs, so that none keeps commands from their turn and their answers.
        self.jobs.begin_round();
    }

    /// Names in the groups to come the versions that their commands run on.
    pub(super) fn name_versions(&mut self) {
        let instances = &self.runner.instances;
        let packages = self.shared.program.spec().packages.iter().enumerate();
        let versions = packages.map(|(i, spec)| (spec.name.as_str(), instances.version(i).hash));
        self.group.runs_on(versions);
    }

    pub(super) fn group_is_full(&self) -> bool {
        // A group names one version of each package.
        if self.begun && self.runner.instances.is_behind(&self.shared.lineup) {
            return true;
        }
        let spec = &self.shared.program.spec().partition;
        // Whatever comes next still fits the log's largest group.
        self.group.len() >= spec.group_bytes.min(self.max_entry)
            || self.building.answers.len() >= spec.group_commands
    }

    /// Ends the group and makes it the one that is away, for the log to append. Nothing is away before this.
    fn end_group(&mut self) -> Result<Task> {
        // What the log has, the folder says how to read.
        self.shared
            .facts
            .iter()
            .try_for_each(|facts| facts.commit())?;
        self.leave_group();
        let buffer = std::mem::take(&mut self.buffer);
        let group = self.group.finish(&self.state.catalog, buffer);
        self.building.offset = self.offset;
        self.building.time = self.head.time;
        self.building.bytes = group.len() as u64;
        std::mem::swap(&mut self.building, &mut self.away);
        Ok(Task::Append(group))
    }

    /// Sends the group away, if more waits behind it and there is a thread to append it.
    pub(super) fn send_on(&mut self) -> Result<bool> {
        let sends = !self.group.is_empty() && self.appender.has_thread() && !self.queue.is_empty();
        if sends {
            let task = self.end_group()?;
            // While more waits, nothing rests until a checkpoint can begin.
            self.away.ends = self.is_checkpoint_due().then(|| self.ends());
            self.appender.send(task)?;
        }
        Ok(sends)
    }

    /// Makes the group durable on this thread. The log is not away.
    pub(super) fn commit(&mut self) -> Result<()> {
        if self.group.is_empty() {
            // All that was seen by those who were refused is durable.
            self.leave_group();
            self.building.answer();
            return Ok(());
        }
        let task = self.end_group()?;
        let done = self.appender.perform(task)?;
        self.done(done)
    }

    /// Makes everything durable that was taken from the queue, and has the log here.
    pub(super) fn flush(&mut self) -> Result<()> {
        while self.appender.is_away() {
            let back = self.appender.back().recv();
            let done = self.appender.take_back(back)?;
            self.done(done)?;
        }
        self.commit()
    }

    /// Applies what the log has appended and answers everything that waits for it, while the log goes on with the next
    /// group.
    pub(super) fn done(&mut self, done: Done) -> Result<()> {
        let forgets = self.send_forget()?;
        let Done::Appended(position, buffer) = done else {
            return Ok(());
        };
        self.buffer = buffer;
        let mut durable = std::mem::replace(&mut self.spare, Pending::new(0));
        std::mem::swap(&mut durable, &mut self.away);
        if !forgets {
            self.send_on()?;
        }
        self.apply(position, &mut durable)?;
        durable.answer();
        for (_, reader) in durable.projections.drain(..) {
            reader.answer(&*self.state.store);
        }
        // One may have begun behind the group before.
        if let Some(ends) = durable.ends.take()
            && self.is_checkpoint_due()
        {
            self.checkpoint(ends)?;
        }
        self.spare = durable;
        Ok(())
    }

    /// Applies a durable group.
    fn apply(&mut self, position: Position, durable: &mut Pending) -> Result<()> {
        // While a snapshot is held, the store copies what it changes.
        self.shared.board.read().snapshot = None;
        let state = &mut self.state;
        state
            .store
            .apply(position, &mut durable.overlay.hand_over())?;
        durable.overlay.clear();
        state.position = position;
        state.offset = durable.offset;
        state.time = durable.time;
        state.since_checkpoint += durable.bytes;
        let projections = &durable.projections;
        for (projection, _) in projections {
            let progress = Progress {
                through: projection.through,
                after: projection.after,
            };
            state
                .projections
                .insert(projection.projector.clone(), progress);
        }
        self.shared.board.update(|standing| {
            standing.position = position;
            standing.offset = state.offset;
            for (projection, _) in projections {
                if let Some(projecting) = standing.projections.get_mut(&projection.projector) {
                    projecting.progress = state.projections[&projection.projector];
                }
            }
        });
        Ok(())
    }
}
