//! The one writer of a partition: commands in, groups to the log, answers out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender};
use engine_core::catalog::Catalog;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::intent::Intents;
use engine_core::limits::Limit;

use crate::answer;
use crate::checkpoint;
use crate::host::{Context, Logger};
use crate::ids::{self, Accepted as AcceptedId};
use crate::log::{Append, CommandLog, Position};
use crate::partition::{Accepted, Shared, catch};
use crate::platform::JoinHandle;
use crate::record::{GroupHead, GroupWriter, Projection, Step};
use crate::runner::Runner;
use crate::state::{Progress, State, log_error};
use crate::store::{Bytes, Snapshot, View};

/// What the writer is asked.
pub(crate) enum Message {
    /// Run a command.
    Command(Submission),
    /// Take what an asynchronous projector made, and answer with the state that has it.
    Projection(Projection, answer::Sender<Arc<dyn Snapshot>>),
    /// Answer with the durable state and its offset.
    Snapshot(answer::Sender<(u64, Arc<dyn Snapshot>)>),
    /// Write a checkpoint.
    Checkpoint(answer::Sender<()>),
    /// A checkpoint was written, or not.
    CheckpointDone(Position, Result<()>),
    /// Answer everything that is in the queue before this, and end.
    Stop,
}

/// A command in the queue.
pub(crate) struct Submission {
    pub(crate) command: String,
    pub(crate) args: Vec<u8>,
    pub(crate) id: Option<String>,
    pub(crate) place: Place,
    pub(crate) answer: answer::Sender<Accepted>,
}

/// A command's place in the queue, free again when this is dropped.
pub(crate) struct Place(pub(crate) Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.depth.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The writer's own part of a partition.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    queue: Receiver<Message>,
    /// For the thread that writes a checkpoint.
    own: Sender<Message>,
    runner: Runner,
    state: State,
    log: Box<dyn CommandLog>,
    /// The largest entry of a group.
    max_entry: usize,
    head: GroupHead,
    group: GroupWriter,
    /// The bytes of the last group, kept so that the buffer is used again.
    bytes: Vec<u8>,
    /// Answers that wait for the group to be durable.
    answers: Vec<(answer::Sender<Accepted>, Result<Accepted>)>,
    projections: Vec<(Projection, answer::Sender<Arc<dyn Snapshot>>)>,
    snapshots: Vec<answer::Sender<(u64, Arc<dyn Snapshot>)>>,
    checkpointing: Option<Checkpointing>,
    /// Who asked for a checkpoint after the one that is being written was begun.
    checkpoint_wanted: Vec<answer::Sender<()>>,
    /// Bytes that went to the log since it was opened, and how many there were at each checkpoint since then.
    logged: u64,
    checkpointed: VecDeque<(Position, u64)>,
}

/// A checkpoint that is being written.
struct Checkpointing {
    thread: JoinHandle,
    waiting: Vec<answer::Sender<()>>,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        queue: Receiver<Message>,
        own: Sender<Message>,
        runner: Runner,
        state: State,
        log: Box<dyn CommandLog>,
    ) -> Self {
        Self {
            shared,
            queue,
            own,
            runner,
            max_entry: max_entry(&*log, &state.catalog),
            head: GroupHead::default(),
            group: GroupWriter::new(state.catalog.len()),
            state,
            log,
            bytes: Vec::new(),
            answers: Vec::new(),
            projections: Vec::new(),
            snapshots: Vec::new(),
            checkpointing: None,
            checkpoint_wanted: Vec::new(),
            logged: 0,
            checkpointed: VecDeque::new(),
        }
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
        if let Some(checkpointing) = self.checkpointing.take() {
            // Whoever opens the partition next would write to the same draft.
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
        let answers = self.answers.drain(..);
        answers.for_each(|(answer, _)| refuse(answer));
        while let Ok(message) = self.queue.try_recv() {
            if let Message::Command(submission) = message {
                refuse(submission.answer);
            }
        }
    }

    fn serve(&mut self) -> Result<()> {
        loop {
            let Ok(mut message) = self.queue.recv() else {
                return Ok(());
            };
            let mut begun = false;
            loop {
                let is_write = matches!(message, Message::Command(_) | Message::Projection(..));
                if is_write && !begun {
                    self.begin_group();
                    begun = true;
                }
                match message {
                    Message::Command(submission) => self.command(submission),
                    Message::Projection(projection, answer) => self.projection(projection, answer),
                    Message::Snapshot(answer) => self.snapshots.push(answer),
                    Message::Checkpoint(answer) => {
                        self.commit()?;
                        begun = false;
                        self.checkpoint_wanted.push(answer);
                        self.checkpoint()?;
                    }
                    Message::CheckpointDone(position, written) => {
                        self.commit()?;
                        begun = false;
                        self.checkpoint_done(position, written)?;
                    }
                    Message::Stop => {
                        self.commit()?;
                        return Ok(());
                    }
                }
                if self.group_is_full() {
                    break;
                }
                match self.queue.try_recv() {
                    Ok(next) => message = next,
                    Err(_) => break,
                }
            }
            self.commit()?;
        }
    }

    fn begin_group(&mut self) {
        let platform = &*self.shared.platform;
        let mut seed = [0; 16];
        seed.copy_from_slice(&platform.random()[..16]);
        self.head = GroupHead {
            // The clock may jump back; the time of commands does not.
            time: platform.now().max(self.state.time),
            seed,
        };
        self.group.begin(self.head);
    }

    fn group_is_full(&self) -> bool {
        let spec = &self.shared.program.spec().partition;
        // Whatever comes next still fits the log's largest group.
        self.group.len() >= spec.group_bytes.min(self.max_entry)
            || self.answers.len() >= spec.group_commands
    }

    fn command(&mut self, submission: Submission) {
        let Submission {
            command,
            args,
            id,
            place,
            answer,
        } = submission;
        drop(place);
        let accepted = self.accept(&command, &args, id.as_deref());
        if accepted.is_err() {
            self.runner.overlay.take_back();
        }
        self.answers.push((answer, accepted));
    }

    /// Runs one command into the group, or says why not.
    fn accept(&mut self, command: &str, args: &[u8], id: Option<&str>) -> Result<Accepted> {
        let id = id.map(|id| (id, ids::hash(command, args)));
        if let Some((id, hash)) = id
            && let Some(known) = self.state.ids.get(id)
        {
            return self.repeat(known, hash);
        }
        let program = self.shared.program.clone();
        let context = Context {
            time: self.head.time,
            seed: self.head.seed,
            partition: self.shared.number,
            offset: self.state.offset,
            id: id.map(|(id, _)| id),
        };
        let logger: &Logger = &*self.shared.logger;
        let pipeline = program.pipeline(command)?;
        let base: &dyn View = &*self.state.store;
        self.runner.run(base, pipeline, args, context, logger)?;
        let steps: Vec<Step<'_>> = self.runner.steps().collect();
        let result: Option<Bytes> = steps[0].intents.results().next().map(Into::into);
        let mark = self.group.mark();
        self.group
            .command(context.offset, command, context.id, args, &steps);
        drop(steps);
        if self.group.len() - mark.0 > self.max_entry {
            self.group.truncate(mark);
            return Err(too_large(self.max_entry));
        }
        self.runner.overlay.accept();
        let offset = self.state.offset;
        self.state.offset += 1;
        if let Some((id, hash)) = id {
            self.state.ids.remember(AcceptedId {
                id: id.into(),
                offset,
                hash,
                result: result.clone(),
            });
        }
        Ok(Accepted {
            partition: self.shared.number,
            offset,
            result,
            repeated: false,
        })
    }

    fn repeat(&self, known: &AcceptedId, hash: [u8; 16]) -> Result<Accepted> {
        if known.hash != hash {
            return Err(Error::new(
                ErrorKind::IdConflict,
                format!(
                    "command id `{}` was accepted before, at offset {}, for another command or other arguments",
                    known.id, known.offset
                ),
            ));
        }
        Ok(Accepted {
            partition: self.shared.number,
            offset: known.offset,
            result: known.result.clone(),
            repeated: true,
        })
    }

    fn projection(&mut self, projection: Projection, answer: answer::Sender<Arc<dyn Snapshot>>) {
        for (_, intents) in &projection.events {
            self.take_intents(intents);
        }
        self.group.projection(&projection);
        self.projections.push((projection, answer));
    }

    /// Puts a projector's intents into the overlay. Their conditions were checked when they were made, on the same
    /// rows: nobody else writes them.
    fn take_intents(&mut self, intents: &Intents) {
        for intent in intents.iter() {
            let value =
                (intent.verb != engine_core::manifest::Verb::Delete).then(|| intent.value.into());
            self.runner
                .overlay
                .set(intent.storage, intent.key.into(), value);
        }
        self.runner.overlay.accept();
    }

    /// Makes the group durable, applies it and answers everything that waits for it.
    fn commit(&mut self) -> Result<()> {
        if !self.group.is_empty() {
            self.group.finish(&self.state.catalog, &mut self.bytes);
            let position = self.append()?;
            // While a snapshot is held, the store copies what it changes.
            self.shared.board.read().snapshot = None;
            self.state
                .store
                .apply(position, &mut self.runner.overlay.drain())?;
            self.state.position = position;
            self.state.time = self.head.time;
            self.state.since_checkpoint += self.bytes.len() as u64;
            self.logged += self.bytes.len() as u64;
            self.group.begin(GroupHead::default());
            for (projection, _) in &self.projections {
                let progress = Progress {
                    through: projection.through,
                    after: projection.after,
                };
                self.state
                    .projections
                    .insert(projection.projector.clone(), progress);
            }
            let (state, projections) = (&self.state, &self.projections);
            self.shared.board.update(|standing| {
                standing.position = position;
                standing.offset = state.offset;
                for (projection, _) in projections {
                    if let Some(projecting) = standing.projections.get_mut(&projection.projector) {
                        projecting.progress = state.projections[&projection.projector];
                    }
                }
            });
        }
        for (answer, accepted) in self.answers.drain(..) {
            answer.send(accepted);
        }
        for (_, answer) in self.projections.drain(..) {
            answer.send(self.state.store.snapshot());
        }
        self.give_snapshots();
        let due = self.shared.program.spec().partition.checkpoint_bytes;
        if self.state.since_checkpoint >= due && self.checkpointing.is_none() {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Gives the state, which is durable, to everyone who asked for it.
    fn give_snapshots(&mut self) {
        if self.snapshots.is_empty() {
            return;
        }
        let offset = self.state.offset;
        let snapshot = self.state.store.snapshot().map(|rows| (offset, rows));
        if let Ok(snapshot) = &snapshot {
            self.shared.board.read().snapshot = Some(snapshot.clone());
        }
        let answers = self.snapshots.drain(..);
        answers.for_each(|answer| answer.send(snapshot.clone()));
    }

    fn append(&mut self) -> Result<Position> {
        let expected = self.log.tail().map_err(log_error)?;
        match self.log.append(expected, &self.bytes).map_err(log_error)? {
            Append::Appended(position) => Ok(position),
            Append::Stale => Err(Error::new(
                ErrorKind::Stopped,
                "another process took this partition's log over",
            )),
            Append::Unknown(error) => Err(log_error(error)),
        }
    }

    /// Begins a checkpoint of the durable state on a thread of its own, unless one is being written.
    fn checkpoint(&mut self) -> Result<()> {
        if self.checkpointing.is_some() {
            return Ok(());
        }
        self.state.since_checkpoint = 0;
        let waiting = std::mem::take(&mut self.checkpoint_wanted);
        let Some(folder) = self.shared.checkpoints.clone() else {
            // A volatile partition keeps of its log what its projectors have still to read.
            waiting.into_iter().for_each(|answer| answer.send(Ok(())));
            return self.forget_below(self.state.position);
        };
        let projections = self.state.projections.iter();
        let content = checkpoint::Content {
            position: self.state.position,
            offset: self.state.offset,
            time: self.state.time,
            projections: projections
                .map(|(name, progress)| (name.clone(), *progress))
                .collect(),
            ids: self.state.ids.snapshot(),
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
        let spawned = self
            .shared
            .platform
            .spawn("extengine-checkpoint", Box::new(write));
        match spawned {
            Ok(thread) => self.checkpointing = Some(Checkpointing { thread, waiting }),
            Err(source) => {
                let what = format!("no thread for a checkpoint: {source}");
                self.no_checkpoint(waiting, &Error::new(ErrorKind::Io, what));
            }
        }
        Ok(())
    }

    fn checkpoint_done(&mut self, position: Position, written: Result<()>) -> Result<()> {
        let done = self.checkpointing.take();
        let waiting = done.map_or_else(Vec::new, |done| done.waiting);
        match written {
            Ok(()) => {
                waiting.into_iter().for_each(|answer| answer.send(Ok(())));
                self.forget(position)?;
            }
            Err(error) => self.no_checkpoint(waiting, &error),
        }
        if self.checkpoint_wanted.is_empty() {
            return Ok(());
        }
        self.checkpoint()
    }

    /// The log still has everything; the next checkpoint is tried when as much has come again.
    fn no_checkpoint(&self, waiting: Vec<answer::Sender<()>>, error: &Error) {
        let answers = waiting.into_iter();
        answers.for_each(|answer| answer.send(Err(error.clone())));
        self.shared
            .notice(&format!("no checkpoint was written: {error}"));
    }

    /// Lets the log forget what the manifest does not retain: only below the oldest kept checkpoint and every
    /// projector's position.
    fn forget(&mut self, position: Position) -> Result<()> {
        let Some(retention) = self.shared.program.spec().partition.retention_bytes else {
            return Ok(());
        };
        self.checkpointed.push_back((position, self.logged));
        let old = self.checkpointed.len().saturating_sub(checkpoint::KEPT - 1);
        let beyond = |(_, logged): &&(Position, u64)| self.logged - logged >= retention;
        let Some((oldest, _)) = self.checkpointed.iter().take(old).rev().find(beyond) else {
            return Ok(());
        };
        let oldest = *oldest;
        self.checkpointed
            .retain(|(position, _)| *position >= oldest);
        self.forget_below(oldest)
    }

    /// Lets the log forget what is below a position and every asynchronous projector's.
    fn forget_below(&mut self, position: Position) -> Result<()> {
        let projectors = self.shared.program.async_projectors();
        let projected = projectors.map(|projector| {
            let name = self.shared.program.name_of(projector);
            let progress = self.state.projections.get(name).copied();
            Position::from_u64(progress.unwrap_or_default().after)
        });
        let below = projected.fold(position, Position::min);
        self.log.forget(below).map_err(log_error)
    }
}

/// The largest entry that a group takes: two of them and the group's head fit the log's largest group.
pub(crate) fn max_entry(log: &dyn CommandLog, catalog: &Catalog) -> usize {
    let storages = catalog.storages();
    let names: usize = storages.map(|(_, storage)| storage.name.len() + 5).sum();
    let head = names + 64;
    log.max_group().saturating_sub(head) / 2
}

/// Names the limit that is hit by what does not fit a group of the log.
pub(crate) fn too_large(max: usize) -> Error {
    Error::limit(
        Limit::IntentBytes,
        format!("{max} bytes in one entry of the log"),
    )
}
