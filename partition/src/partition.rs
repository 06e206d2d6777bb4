//! One partition: opened from its log, then a writer, its asynchronous projectors and its query threads.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crossbeam_channel::{Sender, TrySendError};
use engine_core::catalog::Catalog;
use engine_core::error::{Error, ErrorKind, Result};

use crate::answer::{self, Answer};
use crate::appender::Appender;
use crate::application::FailedProjector;
use crate::board::{Board, Projecting};
use crate::checkpoint;
use crate::folder::Facts;
use crate::host::Logger;
use crate::ids::{MAX_ID, Window};
use crate::jobs::Jobs;
use crate::lineup::Lineup;
use crate::log::{CommandLog, LogReader, MemoryLog, Owner, Position, SegmentLog, SegmentOptions};
use crate::manifest::utc;
use crate::platform::{JoinHandle, Platform};
use crate::program::{Loaded, Program};
use crate::projector::Projector;
use crate::queries::{Answerer, Question};
use crate::record::{Entry, Group, max_entry};
use crate::runner::Runner;
use crate::shadow::{ShadowReport, Thread};
use crate::state::{Progress, State, log_error};
use crate::store::{Bytes, Snapshot, StorePlace};
use crate::writer::{Message, Place, Submission, Writer};

/// The largest group of the log: two entries of the largest size.
const MAX_GROUP: usize = 256 << 20;

/// An accepted command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The partition that it belongs to.
    pub partition: u32,
    /// Its place among the partition's commands.
    pub offset: u64,
    /// The encoded result row, where the command had a result.
    pub result: Option<Bytes>,
    /// Whether the command had been accepted before, under the same id.
    pub repeated: bool,
}

/// What a query answered on one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryAnswer {
    /// The partition.
    pub partition: u32,
    /// How many commands the state had.
    pub offset: u64,
    /// The encoded result rows.
    pub rows: Vec<Vec<u8>>,
}

/// What the threads of a partition share.
pub(crate) struct Shared {
    pub(crate) program: Arc<Program>,
    pub(crate) lineup: Arc<Lineup>,
    pub(crate) number: u32,
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) logger: Arc<Logger>,
    pub(crate) notices: Arc<dyn Fn(&str) + Send + Sync>,
    pub(crate) board: Board,
    /// Commands in the queue.
    pub(crate) depth: AtomicUsize,
    /// Where checkpoints go, unless the partition is volatile.
    pub(crate) checkpoints: Option<PathBuf>,
    /// What the data folder says of itself, before anything is written to it.
    pub(crate) facts: Option<Arc<Facts>>,
}

impl Shared {
    pub(crate) fn thread_name(&self, what: &str) -> String {
        format!("extengine-{}-{what}", self.number)
    }

    /// Says something to whoever operates the partition.
    pub(crate) fn notice(&self, message: &str) {
        (self.notices)(&format!("partition {}: {message}", self.number));
    }
}

/// Turns a panic into an error, so that nobody waits for a thread that is gone.
pub(crate) fn catch<T>(what: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, format!("{what} panicked"))))
}

/// A running partition.
pub(crate) struct Partition {
    shared: Arc<Shared>,
    writer: Sender<Message>,
    log: Arc<dyn LogReader>,
    questions: Option<Sender<Question>>,
    /// The threads that answer queries.
    answerers: Vec<JoinHandle>,
    /// The writer and the projectors.
    threads: Vec<JoinHandle>,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition")
            .field("number", &self.shared.number)
            .finish_non_exhaustive()
    }
}

/// What a partition is opened with.
pub(crate) struct Opening {
    pub(crate) program: Arc<Program>,
    pub(crate) lineup: Arc<Lineup>,
    pub(crate) number: u32,
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) logger: Arc<Logger>,
    pub(crate) notices: Arc<dyn Fn(&str) + Send + Sync>,
    /// The partition's folder, or none for a volatile one.
    pub(crate) folder: Option<PathBuf>,
    /// What the data folder says of itself once something is written to it.
    pub(crate) facts: Option<Arc<Facts>>,
    /// Whether jobs run.
    pub(crate) jobs: bool,
}

/// A partition with its state, before anything of it runs.
pub(crate) struct Recovered {
    shared: Arc<Shared>,
    log: Box<dyn CommandLog>,
    state: State,
    jobs: bool,
}

impl Recovered {
    pub(crate) fn state(&self) -> &State {
        &self.state
    }
}

/// Where a partition keeps its log.
pub(crate) fn log_folder(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// Where a partition keeps its checkpoints.
pub(crate) fn checkpoint_folder(folder: &Path) -> PathBuf {
    folder.join("checkpoints")
}

/// Where a partition keeps its rows, if its store is on disk.
pub(crate) fn store_folder(folder: &Path) -> PathBuf {
    folder.join("store")
}

impl Opening {
    fn log(&self, notices: &mut Vec<String>) -> Result<Box<dyn CommandLog>> {
        let app = self.program.spec();
        let spec = &app.partition;
        let Some(folder) = &self.folder else {
            return Ok(Box::new(MemoryLog::open(&Default::default())));
        };
        let options = SegmentOptions {
            segment_size: spec.segment_bytes,
            max_group: MAX_GROUP,
            owner: Owner::new(&app.name, self.number),
            ..SegmentOptions::default()
        };
        // Before the log, which may be in need of the space.
        checkpoint::remove_draft(&*self.platform, &checkpoint_folder(folder))?;
        let folder = log_folder(folder);
        let (log, report) =
            SegmentLog::open(self.platform.clone(), &folder, options).map_err(log_error)?;
        notices.extend(report.notices.iter().map(ToString::to_string));
        Ok(Box::new(log))
    }

    fn recover_state(&self, log: &dyn CommandLog, notices: &mut Vec<String>) -> Result<State> {
        let spec = self.program.spec();
        let reader = log.reader();
        let catalog = &spec.catalog;
        let ids = Window {
            ids: spec.partition.ids,
            bytes: spec.partition.ids_bytes,
        };
        match &self.folder {
            Some(folder) => {
                let place = StorePlace {
                    kind: spec.partition.store,
                    platform: &*self.platform,
                    folder: store_folder(folder),
                    memory: spec.partition.store_bytes,
                };
                State::recover(&place, folder, catalog, ids, &*reader, notices)
            }
            None => Ok(State::new(catalog.clone(), ids)),
        }
    }

    /// Where an asynchronous projector goes on. One that can never count what is missing would hold the log for ever.
    fn start_of(
        &self,
        projector: usize,
        state: &State,
        log: &dyn LogReader,
        notices: &mut Vec<String>,
    ) -> Result<Progress> {
        let name = self.program.name_of(projector);
        let progress = state.projections.get(name).copied().unwrap_or_default();
        let oldest = log.oldest();
        if Position::from_u64(progress.after) >= oldest || progress.through >= state.offset {
            return Ok(progress);
        }
        let first = first_command(log, &state.catalog)?.unwrap_or(state.offset);
        if first <= progress.through {
            return Ok(progress);
        }
        let missing = format!(
            "asynchronous projector `{name}` has still to count the commands from {} on, and the log goes back to command \
             {first} only, since its retention was too short",
            progress.through
        );
        if !self.program.spec().extensions[projector].from_oldest {
            return Err(Error::new(
                ErrorKind::Manifest,
                format!(
                    "partition {}: {missing}: write `from = \"oldest\"` in `[extensions.{name}]` to begin there and do \
                     without the commands before, remove the projector, or run all commands again into another folder",
                    self.number
                ),
            ));
        }
        notices.push(format!("{missing}: it begins there"));
        Ok(Progress {
            through: first,
            after: oldest.to_u64(),
        })
    }

    /// Recovers the state, with nothing running.
    ///
    /// # Errors
    /// `corrupt` and `io`, `busy` where another process has the partition open, `manifest` where the log lacks what a
    /// projector has still to count.
    pub(crate) fn recover(self) -> Result<Recovered> {
        let mut notices = Vec::new();
        let log = self.log(&mut notices)?;
        let state = self.recover_state(&*log, &mut notices)?;
        let reader = log.reader();
        let mut projections = BTreeMap::new();
        for projector in self.program.async_projectors() {
            let progress = self.start_of(projector, &state, &*reader, &mut notices)?;
            let failed = None;
            let name = self.program.name_of(projector).to_owned();
            projections.insert(name, Projecting { progress, failed });
        }
        let shared = Arc::new(Shared {
            program: self.program,
            lineup: self.lineup,
            number: self.number,
            platform: self.platform,
            logger: self.logger,
            notices: self.notices,
            board: Board::default(),
            depth: AtomicUsize::new(0),
            checkpoints: self.folder.as_deref().map(checkpoint_folder),
            facts: self.facts,
        });
        notices.iter().for_each(|notice| shared.notice(notice));
        shared.board.update(|standing| {
            standing.position = state.position;
            standing.offset = state.offset;
            standing.projections = projections;
        });
        Ok(Recovered {
            shared,
            log,
            state,
            jobs: self.jobs,
        })
    }
}

/// The offset of the oldest command that the log has.
fn first_command(log: &dyn LogReader, catalog: &Catalog) -> Result<Option<u64>> {
    let mut cursor = log.read(log.oldest()).map_err(log_error)?;
    while let Some(group) = cursor.next_group().map_err(log_error)? {
        let group = Group::read(group.bytes, catalog)?;
        let first = group.entries.iter().find_map(|entry| match entry {
            Entry::Command(command) => Some(command.offset),
            Entry::Projection(_) | Entry::Job(_) => None,
        });
        if first.is_some() {
            return Ok(first);
        }
    }
    Ok(None)
}

impl Partition {
    /// Starts the threads.
    ///
    /// # Errors
    /// `io`, and those of making instances.
    pub(crate) fn start(recovered: Recovered) -> Result<Self> {
        let Recovered {
            shared,
            log,
            state,
            jobs,
        } = recovered;
        let program = shared.program.clone();
        let jobs = match jobs {
            true => Jobs::new(&program, &state, shared.platform.now()),
            false => Jobs::none(),
        };
        for (job, through) in jobs.ahead() {
            let (job, through) = (program.name_of(job), utc(through));
            shared.notice(&format!(
                "job `{job}` counts as run up to {through}, which is ahead of the clock, and is not due before"
            ));
        }
        let reader = log.reader();
        let max_entry = max_entry(&*log, program.spec());
        let appender = match &shared.checkpoints {
            None => Appender::alone(log),
            Some(_) => Appender::start(log, &*shared.platform, &shared.thread_name("log"))?,
        };
        let (writer, queue) = crossbeam_channel::unbounded();
        let mut partition = Self {
            shared: shared.clone(),
            writer: writer.clone(),
            log: reader.clone(),
            questions: None,
            answerers: Vec::new(),
            threads: Vec::new(),
        };
        partition.start_writer(state, jobs, (appender, max_entry), queue)?;
        for extension in program.async_projectors() {
            let projector = Projector {
                shared: shared.clone(),
                writer: writer.clone(),
                log: reader.clone(),
                extension,
                max_entry,
            };
            let thread = partition.spawn(program.name_of(extension), || projector.run())?;
            partition.threads.push(thread);
        }
        let spec = &program.spec().partition;
        let (questions, asked) = crossbeam_channel::bounded(spec.query_queue);
        partition.questions = Some(questions);
        for _ in 0..spec.query_threads {
            let answerer = Answerer {
                shared: shared.clone(),
                questions: asked.clone(),
                writer: writer.clone(),
            };
            let thread = partition.spawn("query", || answerer.run())?;
            partition.answerers.push(thread);
        }
        Ok(partition)
    }

    fn spawn(&self, what: &str, task: impl FnOnce() + Send + 'static) -> Result<JoinHandle> {
        let name = self.shared.thread_name(what);
        let spawned = self.shared.platform.spawn(&name, Box::new(task));
        spawned.map_err(|source| {
            Error::new(ErrorKind::Io, format!("no thread `{name}`: {source}")).with_source(source)
        })
    }

    /// Starts the writer and waits until it has its instances.
    fn start_writer(
        &mut self,
        state: State,
        jobs: Jobs,
        log: (Appender, usize),
        queue: crossbeam_channel::Receiver<Message>,
    ) -> Result<()> {
        let (ready, made) = answer::channel();
        let shared = self.shared.clone();
        let own = self.writer.clone();
        let thread = self.spawn("writer", move || {
            let mut runner = Runner::new(shared.program.clone());
            match runner.warm() {
                Ok(()) => {
                    ready.send(Ok(()));
                    Writer::new(shared, queue, own, runner, state, jobs, log).run();
                }
                Err(error) => ready.send(Err(error)),
            }
        })?;
        self.threads.push(thread);
        made.wait()
    }

    /// Puts a command into the queue, by the number of its extension.
    ///
    /// # Errors
    /// `bad_args` where the id is too long, `busy` where the queue is full, `stopped` where the partition has stopped.
    pub(crate) fn submit(
        &self,
        command: usize,
        args: Vec<u8>,
        id: Option<&str>,
    ) -> Result<Answer<Accepted>> {
        let spec = self.shared.program.spec();
        if let Some(len) = id.map(str::len).filter(|len| *len > MAX_ID) {
            let message =
                format!("the command's id has {len} bytes, and at most {MAX_ID} are taken");
            let error = Error::new(ErrorKind::BadArgs, message);
            return Err(error.at(|| spec.extensions[command].decl.name.to_string()));
        }
        let limit = spec.partition.queue;
        let before = self.shared.depth.fetch_add(1, Ordering::Relaxed);
        let place = Place(self.shared.clone());
        if before >= limit {
            return Err(busy(limit, "commands"));
        }
        let (answer, to_come) = answer::channel();
        let submission = Submission {
            command,
            args: args.into(),
            id: id.map(ToOwned::to_owned),
            place,
            answer,
        };
        if self.writer.send(Message::Command(submission)).is_err() {
            return Err(self.why_stopped());
        }
        Ok(to_come)
    }

    /// Puts a query into the queue.
    ///
    /// # Errors
    /// `busy` where the queue is full, `stopped` where the partition has stopped.
    pub(crate) fn query(
        &self,
        extension: usize,
        args: Vec<u8>,
        at_least: u64,
    ) -> Result<Answer<QueryAnswer>> {
        let (answer, to_come) = answer::channel();
        let question = Question {
            extension,
            args,
            at_least,
            answer,
        };
        let Some(questions) = &self.questions else {
            return Err(self.why_stopped());
        };
        match questions.try_send(question) {
            Ok(()) => Ok(to_come),
            Err(TrySendError::Full(_)) => Err(busy(
                self.shared.program.spec().partition.query_queue,
                "queries",
            )),
            Err(TrySendError::Disconnected(_)) => Err(self.why_stopped()),
        }
    }

    /// A view of the durable state, and how many commands it has.
    ///
    /// # Errors
    /// `stopped`, `io`.
    pub(crate) fn snapshot(&self) -> Result<(u64, Arc<dyn Snapshot>)> {
        let (answer, snapshot) = answer::channel();
        if self.writer.send(Message::Snapshot(answer)).is_err() {
            return Err(self.why_stopped());
        }
        snapshot.wait()
    }

    /// Has the writer make the instance of a version that it is about to take up.
    ///
    /// # Errors
    /// At once: `stopped`. In the answer: those of its initialisation.
    pub(crate) fn warm(&self, package: usize, version: &Arc<Loaded>) -> Result<Answer<()>> {
        let (answer, warmed) = answer::channel();
        let message = Message::Warm(package, version.clone(), answer);
        if self.writer.send(message).is_err() {
            return Err(self.why_stopped());
        }
        Ok(warmed)
    }

    /// Starts the thread of a shadow.
    ///
    /// # Errors
    /// `io` where there is no thread to have, `stopped`.
    pub(crate) fn shadow(
        &self,
        package: usize,
        version: &Arc<Loaded>,
        report: &Arc<Mutex<ShadowReport>>,
    ) -> Result<Thread> {
        let (shared, writer) = (self.shared.clone(), self.writer.clone());
        let log = self.log.clone();
        Thread::start(
            shared,
            writer,
            log,
            (package, version.clone()),
            report.clone(),
        )
    }

    /// Writes a checkpoint and waits for it.
    ///
    /// # Errors
    /// `stopped`, `io`.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        let (answer, written) = answer::channel();
        if self.writer.send(Message::Checkpoint(answer)).is_err() {
            return Err(self.why_stopped());
        }
        written.wait()
    }

    /// Waits until the asynchronous projectors have counted what is durable now.
    ///
    /// # Errors
    /// The failure of a projector, or what stopped the partition.
    pub(crate) fn settle(&self) -> Result<()> {
        self.shared.board.settle()
    }

    /// The asynchronous projectors that have failed.
    pub(crate) fn failed_projectors(&self) -> Vec<FailedProjector> {
        let standing = self.shared.board.read();
        let failed = standing
            .projections
            .iter()
            .filter_map(|(name, projecting)| {
                Some(FailedProjector {
                    partition: self.shared.number,
                    projector: name.clone(),
                    error: projecting.failed.clone()?,
                })
            });
        failed.collect()
    }

    fn why_stopped(&self) -> Error {
        let standing = self.shared.board.read();
        let reason = standing.stopped.as_ref();
        let reason = reason.map_or("it was closed".to_owned(), ToString::to_string);
        Error::new(
            ErrorKind::Stopped,
            format!("partition {} has stopped: {reason}", self.shared.number),
        )
    }

    /// Answers what is in the queue and ends the threads.
    ///
    /// # Errors
    /// What stopped the partition before, and `internal` where a thread panicked.
    pub(crate) fn close(&mut self) -> Result<()> {
        self.questions = None;
        let mut panicked = false;
        // The queries that wait still need the writer.
        for thread in self.answerers.drain(..) {
            panicked |= thread.join().is_err();
        }
        self.shared.board.update(|standing| standing.closing = true);
        // A writer that failed before is not there to be told.
        drop(self.writer.send(Message::Stop));
        for thread in self.threads.drain(..) {
            panicked |= thread.join().is_err();
        }
        if panicked {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("a thread of partition {} panicked", self.shared.number),
            ));
        }
        self.shared.board.read().stopped.clone().map_or(Ok(()), Err)
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        // Errors were given to those who wait for answers.
        drop(self.close());
    }
}

fn busy(limit: usize, what: &str) -> Error {
    Error::new(
        ErrorKind::Busy,
        format!("{limit} {what} are waiting already; try again when some are answered"),
    )
}
