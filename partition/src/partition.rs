//! One partition: opened from its log, then a writer, its asynchronous projectors and its query threads.

mod opening;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crossbeam_channel::{Sender, TrySendError};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::panics::caught;

use crate::answer::{self, Answer};
use crate::appender::Appender;
use crate::application::FailedProjector;
use crate::board::Board;
use crate::folder::Facts;
use crate::host::Logger;
use crate::ids::MAX_ID;
use crate::jobs::Jobs;
use crate::lineup::Lineup;
use crate::log::LogReader;
use crate::manifest::utc;
use crate::platform::{self, JoinHandle, Platform};
use crate::program::{Loaded, Program};
use crate::projector::Projector;
use crate::queries::{Answerer, Question};
use crate::record::max_entry;
use crate::runner::Runner;
use crate::shadow::{ShadowReport, Thread};
use crate::state::State;
use crate::store::{Bytes, Snapshot};
use crate::writer::{Message, Place, Submission, Writer};

pub(crate) use opening::{Opening, Recovered};

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
    caught(run).unwrap_or_else(|| Err(Error::new(ErrorKind::Internal, format!("{what} panicked"))))
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
        platform::spawn(&*self.shared.platform, &name, task)
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
