//! The one writer of a partition: commands in, groups to the log, answers out.
//!
//! While more commands wait, a group is appended on the log's own thread and the next one is built above it meanwhile;
//! that one is handed over as soon as the log is back. A group behind which nothing waits is appended right here, which
//! spares a lone command two changes of threads.

mod checkpoints;
mod command;
mod group;
mod message;

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, never, select};
use engine_core::error::{Error, ErrorKind, Result};

use crate::answer;
use crate::appender::{Appender, Task};
use crate::jobs::{Due, Jobs};
use crate::log::GroupBuffer;
use crate::partition::{Accepted, Shared, catch};
use crate::record::{GroupHead, GroupWriter};
use crate::runner::Runner;
use crate::shadow::Follower;
use crate::state::State;
use crate::store::Snapshot;

use checkpoints::Checkpointing;
use group::Pending;

pub(crate) use message::{Message, Place, Reader, Submission};

/// From how many commands on a group is sent to an idle log while more are there: about as many as run during a sync.
const WORTH_A_SYNC: usize = 64;

/// The writer's own part of a partition.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    queue: Receiver<Message>,
    /// For the thread that writes a checkpoint.
    own: Sender<Message>,
    runner: Runner,
    /// What is durable; its ids and jobs alone are ahead, as far as `offset`.
    state: State,
    jobs: Jobs,
    shadows: Vec<Follower>,
    appender: Appender,
    /// The largest entry of a group.
    max_entry: usize,
    /// The offset of the next command.
    offset: u64,
    /// The group that is being built, once it has begun.
    group: GroupWriter,
    begun: bool,
    head: GroupHead,
    /// What the clock said when the group began, which may be before the time of its commands.
    now: i64,
    /// How many commands the group has tried.
    attempts: u64,
    building: Pending,
    /// The group that is being appended: empty unless the log is away.
    away: Pending,
    /// The group before, emptied; kept, as `buffer` is, so that the memory is used again.
    spare: Pending,
    buffer: GroupBuffer,
    checkpointing: Option<Checkpointing>,
    /// What the log is to forget when it is here again.
    forget: Option<Task>,
    /// Who asked for a checkpoint after the one that is being written was begun.
    checkpoint_wanted: Vec<answer::Sender<()>>,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        queue: Receiver<Message>,
        own: Sender<Message>,
        runner: Runner,
        state: State,
        jobs: Jobs,
        (appender, max_entry): (Appender, usize),
    ) -> Self {
        let storages = state.catalog.len();
        let mut writer = Self {
            shared,
            queue,
            own,
            runner,
            appender,
            max_entry,
            offset: state.offset,
            group: GroupWriter::new(storages),
            begun: false,
            head: GroupHead {
                time: state.time,
                ..GroupHead::default()
            },
            now: state.time,
            attempts: 0,
            building: Pending::new(storages),
            away: Pending::new(storages),
            spare: Pending::new(storages),
            buffer: GroupBuffer::default(),
            state,
            jobs,
            shadows: Vec::new(),
            checkpointing: None,
            forget: None,
            checkpoint_wanted: Vec::new(),
        };
        writer.name_versions();
        writer
    }

    /// Serves the queue until it is told to stop, or fails.
    pub(crate) fn run(mut self) {
        let ended = catch("the writer", || self.serve());
        if let Err(error) = ended {
            self.shared
                .board
                .update(|standing| standing.stopped = Some(error.clone()));
            self.refuse_all(&error);
        }
        // Whoever opens the partition next would write to the same log, and to the same draft.
        self.appender.close();
        if let Some(checkpointing) = self.checkpointing {
            drop(checkpointing.thread.join());
        }
    }

    /// Tells everyone who waits why there will be no answer.
    fn refuse_all(&mut self, reason: &Error) {
        let stopped = answer::stopped();
        let message = format!("{}: {}", stopped.message(), reason.message());
        let refuse = |answer: answer::Sender<Accepted>| {
            answer.send(Err(Error::new(ErrorKind::Stopped, message.clone())));
        };
        for pending in [&mut self.away, &mut self.building] {
            let answers = pending.answers.drain(..);
            answers.for_each(|(answer, _)| refuse(answer));
        }
        while let Ok(message) = self.queue.try_recv() {
            if let Message::Command(submission) = message {
                refuse(submission.answer);
            }
        }
    }

    fn serve(&mut self) -> Result<()> {
        loop {
            match self.next()? {
                Message::Command(submission) => {
                    self.begin_group();
                    self.command(submission);
                }
                Message::Projection(projection, reader) => {
                    self.begin_group();
                    self.projection(*projection, reader);
                }
                Message::Read(reader) => reader.answer(&*self.state.store),
                Message::Snapshot(answer) => answer.send(self.snapshot()),
                Message::Warm(package, version, answer) => {
                    let instances = &mut self.runner.instances;
                    answer.send(catch("a new version", || instances.warm(package, &version)));
                }
                Message::Shadow(shadow) => self.shadows.push(shadow),
                Message::Checkpoint(answer) => {
                    self.checkpoint_wanted.push(answer);
                    self.flush()?;
                    self.checkpoint(self.ends())?;
                }
                Message::CheckpointDone(position, written) => {
                    self.checkpoint_done(position, written)?;
                }
                Message::Stop => {
                    self.flush()?;
                    return self.end_checkpoint();
                }
            }
        }
    }

    /// The next message; what is due before it is done here.
    fn next(&mut self) -> Result<Message> {
        loop {
            let rests = !self.begun && !self.appender.is_away();
            if rests && self.is_checkpoint_due() {
                self.checkpoint(self.ends())?;
            }
            let full = self.group_is_full();
            if !full && let Some((job, due)) = self.due() {
                self.begin_group();
                self.job(job, due);
                continue;
            }
            if self.appender.is_away() {
                // The log comes first: while it is here, the disk has nothing to do.
                let back = self.appender.back();
                let back = match back.try_recv() {
                    Ok(back) => Ok(back),
                    Err(_) => {
                        if !full && let Ok(message) = self.queue.try_recv() {
                            return Ok(message);
                        }
                        self.runner.instances.prepare();
                        let none = never();
                        let more = if full { &none } else { &self.queue };
                        select! {
                            recv(back) -> back => back,
                            recv(more) -> message => return message.map_err(|_| answer::stopped()),
                        }
                    }
                };
                let done = self.appender.take_back(back)?;
                self.done(done)?;
                continue;
            }
            // Of a long queue one half syncs while the other runs; of a short one that would be two syncs for one.
            let commands = self.building.answers.len();
            if commands > WORTH_A_SYNC && commands >= self.queue.len() && self.send_on()? {
                continue;
            }
            if !full && let Ok(message) = self.queue.try_recv() {
                return Ok(message);
            }
            if !self.begun {
                self.runner.instances.prepare();
                // This holds a sender, so there is always one.
                let Some(alarm) = self.jobs.alarm(&*self.shared.platform) else {
                    return self.queue.recv().map_err(|_| answer::stopped());
                };
                select! {
                    recv(self.queue) -> message => return message.map_err(|_| answer::stopped()),
                    recv(alarm) -> _ => self.jobs.woken(),
                }
                continue;
            }
            if !self.send_on()? {
                self.commit()?;
            }
        }
    }

    /// The job whose turn it is. For a group that has begun it is as late as it was then, so that the clock is read for
    /// groups and not for commands.
    fn due(&mut self) -> Option<(usize, Due)> {
        let (platform, begun) = (&*self.shared.platform, self.begun.then_some(self.now));
        self.jobs.due(|| begun.unwrap_or_else(|| platform.now()))
    }

    /// The state, which is durable, and its offset; shared by all who ask until a group comes after it.
    fn snapshot(&self) -> Result<(u64, Arc<dyn Snapshot>)> {
        let shared = &mut self.shared.board.read().snapshot;
        if let Some(snapshot) = shared {
            return Ok(snapshot.clone());
        }
        let snapshot = (self.state.offset, self.state.store.snapshot()?);
        Ok(shared.insert(snapshot).clone())
    }
}
