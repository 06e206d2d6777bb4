//! The one writer of a partition: commands in, groups to the log, answers out.
//!
//! While more commands wait, a group is appended on the log's own thread and the next one is built above it meanwhile;
//! that one is handed over as soon as the log is back. A group behind which nothing waits is appended right here, which
//! spares a lone command two changes of threads.

mod checkpoints;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender, TrySendError, never, select};
use engine_core::catalog::StorageId;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::limits::Limit;
use engine_core::value::{self, Value};

use crate::answer;
use crate::appender::{Appender, Done, Task};
use crate::host::Context;
use crate::ids::{self, Accepted as AcceptedId};
use crate::jobs::{Due, Jobs};
use crate::log::{CommandLog, GroupBuffer, Position};
use crate::manifest::AppSpec;
use crate::overlay::Overlay;
use crate::partition::{Accepted, Shared, catch};
use crate::program::Loaded;
use crate::record::{Command, GroupHead, GroupWriter, Projection};
use crate::runner::{Ground, Runner};
use crate::shadow::Refused;
use crate::state::{Progress, State};
use crate::store::{Bytes, Snapshot, StateStore};

use checkpoints::{Checkpointing, Ends};

/// From how many commands on a group is sent to an idle log while more are there: about as many as run during a sync.
const WORTH_A_SYNC: usize = 64;

/// How many characters the log keeps of what a job failed with, and how many bytes its entry has then at most.
const JOB_ERROR: usize = 1000;
const JOB_ENTRY: usize = 8 << 10;

/// What the writer is asked.
pub(crate) enum Message {
    /// Run a command.
    Command(Submission),
    /// Take what an asynchronous projector made, and answer with the state that has it.
    Projection(Box<Projection>, Reader),
    /// Answer with the durable state, for an asynchronous projector.
    Read(Reader),
    /// Answer with the durable state and its offset.
    Snapshot(answer::Sender<(u64, Arc<dyn Snapshot>)>),
    /// Make the instance of a version of a package that is about to be taken up.
    Warm(usize, Arc<Loaded>, answer::Sender<()>),
    /// Tell a shadow of the commands that are refused from now on, until it is gone.
    Shadow(Sender<Refused>),
    /// Write a checkpoint.
    Checkpoint(answer::Sender<()>),
    /// A checkpoint of so many bytes was written, or none.
    CheckpointDone(Position, Result<u64>),
    /// Answer everything that is in the queue before this, and end.
    Stop,
}

/// An asynchronous projector that waits for a view of the storages that it may use. What it does not hold, the store
/// need not keep as it was.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) storages: Arc<[StorageId]>,
    pub(crate) answer: answer::Sender<Arc<dyn Snapshot>>,
}

impl Reader {
    fn answer(self, store: &dyn StateStore) {
        self.answer.send(store.snapshot_of(&self.storages));
    }
}

/// A command in the queue.
pub(crate) struct Submission {
    /// The number of its extension.
    pub(crate) command: usize,
    /// Short ones are not on the heap: what one thread allocates and another one frees costs both.
    pub(crate) args: Bytes,
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

/// What a group changes when it is durable, and who waits for that.
#[derive(Debug)]
struct Pending {
    overlay: Overlay,
    answers: Vec<(answer::Sender<Accepted>, Result<Accepted>)>,
    projections: Vec<(Projection, Reader)>,
    /// The offset behind the group's commands.
    offset: u64,
    time: i64,
    /// Bytes of the group.
    bytes: u64,
    /// Present where a checkpoint is due behind the group.
    ends: Option<Ends>,
}

impl Pending {
    fn new(storages: usize) -> Self {
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
    shadows: Vec<Sender<Refused>>,
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

    /// Begins a group, unless one has begun.
    fn begin_group(&mut self) {
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
    fn name_versions(&mut self) {
        let instances = &self.runner.instances;
        let packages = self.shared.program.spec().packages.iter().enumerate();
        let versions = packages.map(|(i, spec)| (spec.name.as_str(), instances.version(i).hash));
        self.group.runs_on(versions);
    }

    fn group_is_full(&self) -> bool {
        // A group names one version of each package.
        if self.begun && self.runner.instances.is_behind(&self.shared.lineup) {
            return true;
        }
        let spec = &self.shared.program.spec().partition;
        // Whatever comes next still fits the log's largest group.
        self.group.len() >= spec.group_bytes.min(self.max_entry)
            || self.building.answers.len() >= spec.group_commands
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
        let attempt = self.attempts;
        let accepted = self.accept(command, &args, id.as_deref());
        if let Err(error) = &accepted {
            self.building.overlay.take_back();
            // One that did not run has nothing to compare.
            if !self.shadows.is_empty() && attempt < self.attempts {
                self.tell_shadows(command, attempt, &args, id, error);
            }
        }
        self.building.answers.push((answer, accepted));
    }

    fn tell_shadows(
        &mut self,
        command: usize,
        attempt: u64,
        args: &[u8],
        id: Option<String>,
        error: &Error,
    ) {
        let refused = Refused {
            head: self.head,
            command: Command {
                offset: self.offset,
                attempt,
                name: self.shared.program.name_of(command).to_owned(),
                id,
                args: args.to_vec(),
                results: Vec::new(),
                steps: self.runner.answered(),
            },
            kind: error.kind(),
        };
        self.shadows.retain(|shadow| {
            let sent = shadow.try_send(refused.clone());
            !matches!(sent, Err(TrySendError::Disconnected(_)))
        });
    }

    /// Runs one command into the group, or says why not.
    fn accept(&mut self, command: usize, args: &[u8], id: Option<&str>) -> Result<Accepted> {
        let program = &*self.shared.program;
        let name = program.name_of(command);
        let id = id.map(|id| (id, ids::hash(name, args)));
        if let Some((id, hash)) = id
            && let Some(known) = self.state.ids.get(id)
        {
            return self.repeat(id, known, (command, args, hash));
        }
        let (offset, attempt) = (self.offset, self.attempts);
        self.attempts += 1;
        let ground = Ground {
            base: &self.away.overlay.above(&*self.state.store),
            context: Context {
                time: self.head.time,
                seed: self.head.seed,
                partition: self.shared.number,
                offset,
                attempt,
                id: id.map(|(id, _)| id),
            },
            logger: &*self.shared.logger,
            logged: None,
        };
        let overlay = &mut self.building.overlay;
        self.runner.run(ground, overlay, command, args)?;
        let steps = self.runner.steps();
        let mut results = steps
            .clone()
            .take(1)
            .flat_map(|step| step.intents.results());
        let result: Option<Bytes> = results.next().map(Into::into);
        let mark = self.group.mark();
        let id_of = ground.context.id;
        self.group
            .command(offset, attempt, name, id_of, args, steps);
        if self.group.len() - mark.0 > self.max_entry {
            self.group.truncate(mark);
            return Err(too_large(self.max_entry));
        }
        overlay.accept();
        self.offset += 1;
        if let Some((id, hash)) = id {
            self.state.ids.remember(AcceptedId {
                id: id.as_bytes().into(),
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

    /// Runs a job for its due time, whether it goes well or not.
    fn job(&mut self, job: usize, due: Due) {
        let program = self.shared.program.clone();
        let decl = &program.spec().extensions[job].decl;
        let (through, ran) = match due {
            Due::From(time) => (time, Ok(())),
            Due::At(time) => {
                let args = vec![Value::Int(time); decl.args.len()];
                let ran = self.accept(job, &value::encode(&args), None);
                (time, ran.map(drop))
            }
        };
        let mut failed = None;
        if let Err(error) = ran {
            self.building.overlay.take_back();
            let message: String = error.message().chars().take(JOB_ERROR).collect();
            self.shared.notice(&format!(
                "job `{}` failed for the time {through} that it was due for: {error}",
                decl.name
            ));
            failed = Some((error.kind().name(), message));
        }
        let error = failed.as_ref().map(|(kind, message)| (*kind, &**message));
        self.group.job(&decl.name, through, error);
        self.state.jobs.insert(decl.name.to_string(), through);
    }

    fn repeat(
        &self,
        id: &str,
        known: &AcceptedId,
        (command, args, hash): (usize, &[u8], [u8; 16]),
    ) -> Result<Accepted> {
        let program = &*self.shared.program;
        let decl = &program.spec().extensions[command].decl;
        // It may have come before its command had all of today's fields.
        let older = || ids::older(program.name_of(command), args, &decl.args);
        if known.hash != hash && !older().any(|older| older == known.hash) {
            return Err(Error::new(
                ErrorKind::IdConflict,
                format!(
                    "command id `{id}` was accepted before, at offset {}, for another command or other arguments",
                    known.offset
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

    fn projection(&mut self, projection: Projection, reader: Reader) {
        // Their conditions were checked when they were made, on the same rows: nobody else writes them.
        self.building.overlay.set_all_of(&projection);
        self.group.projection(&projection);
        self.building.projections.push((projection, reader));
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
    fn send_on(&mut self) -> Result<bool> {
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
    fn commit(&mut self) -> Result<()> {
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
    fn flush(&mut self) -> Result<()> {
        while self.appender.is_away() {
            let back = self.appender.back().recv();
            let done = self.appender.take_back(back)?;
            self.done(done)?;
        }
        self.commit()
    }

    /// Applies what the log has appended and answers everything that waits for it, while the log goes on with the next
    /// group.
    fn done(&mut self, done: Done) -> Result<()> {
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

/// The largest entry that a group takes: two of them and the group's head fit the log's largest group.
pub(crate) fn max_entry(log: &dyn CommandLog, spec: &AppSpec) -> usize {
    let storages = spec.catalog.storages();
    let storages: usize = storages.map(|(_, storage)| storage.name.len() + 5).sum();
    let packages = spec.packages.iter();
    let packages: usize = packages.map(|package| package.name.len() + 24).sum();
    let head = storages + packages + JOB_ENTRY;
    log.max_group().saturating_sub(head) / 2
}

/// Names the limit that is hit by what does not fit a group of the log.
pub(crate) fn too_large(max: usize) -> Error {
    Error::limit(
        Limit::IntentBytes,
        format!("{max} bytes in one entry of the log"),
    )
}
