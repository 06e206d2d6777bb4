//! The log as the writer has it: in its own hands, or away on a thread that appends while the writer goes on.

use crossbeam_channel::{Receiver, RecvError, Sender, bounded, never};
use engine_core::error::{Error, ErrorKind, Result};

use crate::log::{Append, CommandLog, GroupBuffer, Position};
use crate::partition::catch;
use crate::platform::{self, JoinHandle, Platform};
use crate::state::log_error;

/// What the log is to do.
pub(crate) enum Task {
    /// Append a group.
    Append(GroupBuffer),
    /// Forget what is below a position, but for so many bytes.
    Forget(Position, u64),
}

/// What the log did.
pub(crate) enum Done {
    /// The group is durable; its buffer can be used again.
    Appended(Position, GroupBuffer),
    /// What could be forgotten is forgotten.
    Forgot,
}

/// The log on its way to the thread.
struct Out {
    log: Box<dyn CommandLog>,
    task: Task,
}

/// The log on its way back.
pub(crate) struct Back {
    log: Box<dyn CommandLog>,
    done: Result<Done>,
}

/// A log and the thread that may have it: one task at a time.
pub(crate) struct Appender {
    /// Absent while it is away.
    log: Option<Box<dyn CommandLog>>,
    thread: Option<(Sender<Out>, JoinHandle)>,
    /// Where the log comes back.
    back: Receiver<Back>,
}

impl Appender {
    /// Takes a log whose appends take no time worth a thread.
    pub(crate) fn alone(log: Box<dyn CommandLog>) -> Self {
        Self {
            log: Some(log),
            thread: None,
            back: never(),
        }
    }

    /// Takes a log and starts a thread for it.
    ///
    /// # Errors
    /// `io` where there is no thread to have.
    pub(crate) fn start(
        log: Box<dyn CommandLog>,
        platform: &dyn Platform,
        name: &str,
    ) -> Result<Self> {
        let (out, tasks) = bounded::<Out>(1);
        let (results, back) = bounded(1);
        let run = move || {
            for Out { mut log, task } in tasks {
                let done = catch("the log", || perform(&mut *log, task));
                if results.send(Back { log, done }).is_err() {
                    return;
                }
            }
        };
        let handle = platform::spawn(platform, name, run)?;
        Ok(Self {
            log: Some(log),
            thread: Some((out, handle)),
            back,
        })
    }

    /// Does a task on this thread, while the log is not away.
    ///
    /// # Errors
    /// Those of the log; `stopped` where another writer took it over.
    pub(crate) fn perform(&mut self, task: Task) -> Result<Done> {
        match &mut self.log {
            Some(log) => perform(&mut **log, task),
            None => Err(gone()),
        }
    }

    /// Whether the log can be sent away.
    pub(crate) fn has_thread(&self) -> bool {
        self.thread.is_some()
    }

    /// Whether the log is away.
    pub(crate) fn is_away(&self) -> bool {
        self.log.is_none()
    }

    /// Sends the log away with a task, while it is not away.
    ///
    /// # Errors
    /// `internal` where the thread is gone.
    pub(crate) fn send(&mut self, task: Task) -> Result<()> {
        match (self.log.take(), &self.thread) {
            (Some(log), Some((out, _))) => out.send(Out { log, task }).map_err(|_| gone()),
            _ => Err(gone()),
        }
    }

    /// Where the log comes back, for [`Appender::take_back`].
    pub(crate) fn back(&self) -> &Receiver<Back> {
        &self.back
    }

    /// Takes the log back with what it did.
    ///
    /// # Errors
    /// As [`Appender::perform`]; `internal` where the thread is gone.
    pub(crate) fn take_back(&mut self, back: std::result::Result<Back, RecvError>) -> Result<Done> {
        let back = back.map_err(|_| gone())?;
        self.log = Some(back.log);
        back.done
    }

    /// Lets the thread finish and ends it; the log is closed then.
    pub(crate) fn close(self) {
        if let Some((out, thread)) = self.thread {
            drop(out);
            // A panic of the log was the error of its task.
            drop(thread.join());
        }
    }
}

fn perform(log: &mut dyn CommandLog, task: Task) -> Result<Done> {
    let mut group = match task {
        Task::Append(group) => group,
        Task::Forget(below, retain) => {
            let forgot = log.forget(below, retain);
            return forgot.map(|()| Done::Forgot).map_err(log_error);
        }
    };
    let expected = log.tail().map_err(log_error)?;
    match log.append(expected, &mut group).map_err(log_error)? {
        Append::Appended(position) => Ok(Done::Appended(position, group)),
        Append::Stale => Err(Error::new(
            ErrorKind::Stopped,
            "another process took this partition's log over",
        )),
        Append::Unknown(error) => Err(log_error(error)),
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Internal, "the log's thread is gone")
}
