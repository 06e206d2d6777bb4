//! The one writer of a partition: commands in, groups to the log, answers out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::intent::Intents;
use engine_core::limits::Limit;

use crate::answer;
use crate::checkpoint;
use crate::host::{Context, Logger};
use crate::ids::{self, Accepted as AcceptedId};
use crate::log::{Append, CommandLog, Position};
use crate::partition::{Accepted, Shared};
use crate::record::{GroupHead, GroupWriter, Projection, Step};
use crate::runner::Runner;
use crate::state::{Progress, State, log_error};
use crate::store::{Snapshot, View};

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
    pub(crate) answer: answer::Sender<Accepted>,
}

/// The writer's own part of a partition.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) queue: Receiver<Message>,
    /// For the thread that writes a checkpoint.
    pub(crate) own: Sender<Message>,
    pub(crate) runner: Runner,
    pub(crate) state: State,
    pub(crate) log: Box<dyn CommandLog>,
    pub(crate) group: GroupWriter,
    /// Answers that wait for the group to be durable.
    pub(crate) answers: Vec<(answer::Sender<Accepted>, Result<Accepted>)>,
    pub(crate) projections: Vec<(Projection, answer::Sender<Arc<dyn Snapshot>>)>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) since_checkpoint: u64,
    /// Who waits for the checkpoint that is being written.
    pub(crate) checkpointing: Option<Vec<answer::Sender<()>>>,
    pub(crate) head: GroupHead,
    /// Bytes that went to the log since it was opened, and how many there were at each checkpoint since then.
    pub(crate) logged: u64,
    pub(crate) checkpointed: VecDeque<(Position, u64)>,
}

impl Writer {
    /// Serves the queue until it is told to stop, or fails.
    pub(crate) fn run(mut self) {
        let ended = self.serve();
        self.shared.board.update(|standing| {
            standing.stopped.get_or_insert(match &ended {
                Ok(()) => Error::new(ErrorKind::Stopped, "the partition was closed"),
                Err(error) => error.clone(),
            });
        });
        // Nobody waits for what can no longer be answered.
        let reason = ended.err();
        let refuse = |answer: answer::Sender<Accepted>| {
            answer.send(Err(match &reason {
                Some(error) => Error::new(
                    ErrorKind::Stopped,
                    format!(
                        "{}; the partition stopped: {}",
                        answer::stopped().message(),
                        error.message()
                    ),
                ),
                None => answer::stopped(),
            }));
        };
        self.answers
            .drain(..)
            .for_each(|(answer, _)| refuse(answer));
        while let Ok(message) = self.queue.try_recv() {
            if let Message::Command(submission) = message {
                self.shared.depth.fetch_sub(1, Ordering::Relaxed);
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
                    Message::Snapshot(answer) => {
                        self.commit()?;
                        begun = false;
                        let snapshot = self.state.store.snapshot();
                        answer.send(snapshot.map(|snapshot| (self.state.offset, snapshot)));
                    }
                    Message::Checkpoint(answer) => {
                        self.commit()?;
                        begun = false;
                        self.checkpoint(Some(answer))?;
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
        self.group.len() >= spec.group_bytes || self.answers.len() >= spec.group_commands
    }

    fn command(&mut self, submission: Submission) {
        self.shared.depth.fetch_sub(1, Ordering::Relaxed);
        let accepted = self.accept(&submission);
        if accepted.is_err() {
            self.runner.overlay.take_back();
        }
        self.answers.push((submission.answer, accepted));
    }

    /// Runs one command into the group, or says why not.
    fn accept(&mut self, submission: &Submission) -> Result<Accepted> {
        let hash = ids::hash(&submission.command, &submission.args);
        let known = submission
            .id
            .as_deref()
            .and_then(|id| self.state.ids.get(id));
        if let Some(known) = known {
            return self.repeat(known, hash);
        }
        let program = self.shared.program.clone();
        let context = Context {
            time: self.head.time,
            seed: self.head.seed,
            partition: self.shared.number,
            offset: self.state.offset,
            id: submission.id.as_deref(),
        };
        let logger: &Logger = &*self.shared.logger;
        let pipeline = program.pipeline(&submission.command)?;
        let base: &dyn View = &*self.state.store;
        self.runner
            .run(base, pipeline, &submission.args, context, logger)?;
        let steps: Vec<Step<'_>> = self.runner.steps().collect();
        let result: Option<crate::store::Bytes> = steps[0].intents.results().next().map(Into::into);
        let mark = self.group.mark();
        self.group.command(
            self.state.offset,
            &submission.command,
            submission.id.as_deref(),
            &submission.args,
            &steps,
        );
        drop(steps);
        let max = max_entry(&*self.log);
        if self.group.len() - mark.0 > max {
            self.group.truncate(mark);
            return Err(too_large(max));
        }
        self.runner.overlay.accept();
        let offset = self.state.offset;
        self.state.offset += 1;
        if let Some(id) = &submission.id {
            self.state.ids.remember(AcceptedId {
                id: id.as_str().into(),
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
            self.state.store.apply(&mut self.runner.overlay.drain())?;
            self.state.position = position;
            self.state.time = self.head.time;
            self.since_checkpoint += self.bytes.len() as u64;
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
        let due = self.shared.program.spec().partition.checkpoint_bytes;
        if self.since_checkpoint >= due && self.checkpointing.is_none() {
            self.checkpoint(None)?;
        }
        Ok(())
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

    /// Begins a checkpoint of the durable state on a thread of its own.
    fn checkpoint(&mut self, answer: Option<answer::Sender<()>>) -> Result<()> {
        if let Some(waiting) = &mut self.checkpointing {
            waiting.extend(answer);
            return Ok(());
        }
        let Some(folder) = self.shared.checkpoints.clone() else {
            answer.into_iter().for_each(|answer| answer.send(Ok(())));
            return Ok(());
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
        self.since_checkpoint = 0;
        self.checkpointing = Some(answer.into_iter().collect());
        let (platform, catalog) = (self.shared.platform.clone(), self.state.catalog.clone());
        let own = self.own.clone();
        let write = move || {
            let written = checkpoint::write(&*platform, &folder, &catalog, &content);
            // The writer may be gone by now; the checkpoint counts all the same.
            drop(own.send(Message::CheckpointDone(content.position, written)));
        };
        let spawned = self
            .shared
            .platform
            .spawn("extengine-checkpoint", Box::new(write));
        if let Err(source) = spawned {
            let error = Error::new(
                ErrorKind::Io,
                format!("no thread for a checkpoint: {source}"),
            );
            self.checkpoint_done(self.state.position, Err(error))?;
        }
        Ok(())
    }

    fn checkpoint_done(&mut self, position: Position, written: Result<()>) -> Result<()> {
        for answer in self.checkpointing.take().into_iter().flatten() {
            answer.send(written.clone());
        }
        match written {
            Ok(()) => self.forget(position),
            Err(error) => {
                // The log still has everything; the next checkpoint is tried when as much has come again.
                self.shared
                    .notice(&format!("no checkpoint was written: {error}"));
                Ok(())
            }
        }
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
        let projectors = self.shared.program.async_projectors();
        let projected = projectors.map(|projector| {
            let name = self.shared.program.name_of(projector);
            let progress = self.state.projections.get(name).copied();
            Position::from_u64(progress.unwrap_or_default().after)
        });
        let below = projected.chain([*oldest]).min().unwrap_or(*oldest);
        self.checkpointed.retain(|(position, _)| *position >= below);
        self.log.forget(below).map_err(log_error)
    }
}

/// The largest entry that a group takes: two of them fit the log's largest group.
pub(crate) fn max_entry(log: &dyn CommandLog) -> usize {
    log.max_group() / 2
}

/// Names the limit that is hit by what does not fit a group of the log.
pub(crate) fn too_large(max: usize) -> Error {
    Error::limit(
        Limit::IntentBytes,
        format!("{max} bytes in one entry of the log"),
    )
}
