//! A version of a package that runs beside the current one, on the commands of the log, and changes nothing.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crossbeam_channel::{Receiver, Sender, bounded};
use engine_core::error::{Error, ErrorKind, Result};

use crate::answer::{self, Answer};
use crate::difference::{Difference, differences};
use crate::host::Context;
use crate::log::{LogReader, Position};
use crate::overlay::Overlay;
use crate::partition::{Shared, catch};
use crate::platform::{self, JoinHandle};
use crate::program::Loaded;
use crate::record::{Command, Entry, Group, GroupHead};
use crate::replay::silent;
use crate::runner::{Cost, Ground, Runner};
use crate::state::log_error;
use crate::store::Snapshot;
use crate::writer::Message;

/// How many differences a report describes.
const FIRST: usize = 100;

/// How many refused commands may wait to be compared.
const WAITING: usize = 1024;

/// After how many commands the state begins from a new snapshot.
const RENEWED: u64 = 10_000;

/// What a shadow has found so far.
#[derive(Clone, Debug, Default)]
pub struct ShadowReport {
    /// Commands and jobs that ran on both versions.
    pub commands: u64,
    /// Those on which the versions differ.
    pub differing: u64,
    /// The first differences, at most 100: `then` is the version that runs, `now` the other one.
    pub differences: Vec<Difference>,
    /// What the version that runs used, run again beside the other one.
    pub current: Cost,
    /// What the other one used for the same commands.
    pub shadow: Cost,
    /// What ended it before its time.
    pub failed: Option<Error>,
}

/// A shadow at work; it ends when this is dropped, and when the application is closed.
///
/// It holds a snapshot until then: end it before the application is opened again. It also holds the log from where it is on,
/// as an asynchronous projector does.
#[derive(Debug)]
pub struct Shadow {
    report: Arc<Mutex<ShadowReport>>,
    threads: Vec<Thread>,
}

impl Shadow {
    pub(crate) fn new(report: Arc<Mutex<ShadowReport>>, threads: Vec<Thread>) -> Self {
        Self { report, threads }
    }

    /// What was found so far.
    pub fn report(&self) -> ShadowReport {
        lock(&self.report).clone()
    }

    /// Waits until every command that is durable now is compared, ends the shadow, and gives what was found.
    pub fn finish(mut self) -> ShadowReport {
        for thread in &mut self.threads {
            thread.end(false);
        }
        self.report()
    }
}

fn lock(report: &Mutex<ShadowReport>) -> MutexGuard<'_, ShadowReport> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command that the running version refused.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) head: GroupHead,
    /// What was asked, at the offset that it would have had.
    pub(crate) command: Command,
    pub(crate) kind: ErrorKind,
}

/// What the writer knows of a shadow, for as long as its thread is there.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) refused: Sender<Refused>,
    /// Up to where it has read the log.
    read: Weak<AtomicU64>,
}

impl Follower {
    /// From where on the log is still to be read; none once the thread has ended.
    pub(crate) fn needs(&self) -> Option<Position> {
        let read = self.read.upgrade()?;
        Some(Position::from_u64(read.load(Ordering::Relaxed)))
    }
}

/// The thread of a shadow on one partition.
pub(crate) struct Thread {
    shared: Arc<Shared>,
    stop: Arc<Stop>,
    handle: Option<JoinHandle>,
}

/// How a shadow is told to end.
#[derive(Debug, Default)]
struct Stop {
    /// At the end of the log.
    soon: AtomicBool,
    at_once: AtomicBool,
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread").finish_non_exhaustive()
    }
}

impl Thread {
    /// Starts it from the state that is durable now.
    pub(crate) fn start(
        shared: Arc<Shared>,
        writer: Sender<Message>,
        log: Arc<dyn LogReader>,
        version: (usize, Arc<Loaded>),
        report: Arc<Mutex<ShadowReport>>,
    ) -> Result<Self> {
        let (tell, refused) = bounded(WAITING);
        // What comes behind this position is in the snapshot, or is read from the log.
        let position = shared.board.read().position;
        let base = snapshot(&writer)?;
        let read = Arc::new(AtomicU64::new(position.to_u64()));
        let follower = Follower {
            refused: tell,
            read: Arc::downgrade(&read),
        };
        if writer.send(Message::Shadow(follower)).is_err() {
            return Err(answer::stopped());
        }
        let base = base.wait()?;
        let stop = Arc::new(Stop::default());
        let name = shared.thread_name("shadow");
        let own = shared.clone();
        let told = stop.clone();
        let task = move || {
            let ended = catch("a shadow", || {
                let mut work = Work::new(&own, writer, base, version, refused, &report);
                work.follow(&*log, &read, &told)
            });
            if let Err(error) = ended {
                lock(&report).failed.get_or_insert(error);
            }
        };
        let handle = platform::spawn(&*shared.platform, &name, task)?;
        Ok(Self {
            shared,
            stop,
            handle: Some(handle),
        })
    }

    fn end(&mut self, at_once: bool) {
        self.stop.at_once.fetch_or(at_once, Ordering::Relaxed);
        self.stop.soon.store(true, Ordering::Relaxed);
        // Wakes it.
        self.shared.board.update(|_| ());
        if let Some(handle) = self.handle.take() {
            // A panic is in the report.
            drop(handle.join());
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.end(true);
    }
}

/// The durable state with its offset, to come.
type Base = (u64, Arc<dyn Snapshot>);

fn snapshot(writer: &Sender<Message>) -> Result<Answer<Base>> {
    let (answer, to_come) = answer::channel();
    match writer.send(Message::Snapshot(answer)) {
        Ok(()) => Ok(to_come),
        Err(_) => Err(answer::stopped()),
    }
}

struct Work<'a> {
    shared: &'a Shared,
    writer: Sender<Message>,
    base: Arc<dyn Snapshot>,
    /// What the log has behind `base`.
    overlay: Overlay,
    /// The offset of the next command.
    offset: u64,
    /// From which offset on the state begins anew, and from what.
    renewal: Option<Base>,
    /// The offset of `base`.
    renewed: u64,
    current: Runner,
    shadow: Runner,
    version: (usize, Arc<Loaded>),
    refused: Receiver<Refused>,
    /// A refused command that waits for its place.
    waiting: Option<Refused>,
    report: &'a Mutex<ShadowReport>,
}

impl<'a> Work<'a> {
    fn new(
        shared: &'a Shared,
        writer: Sender<Message>,
        (offset, base): Base,
        version: (usize, Arc<Loaded>),
        refused: Receiver<Refused>,
        report: &'a Mutex<ShadowReport>,
    ) -> Self {
        let program = &shared.program;
        let mut current = Runner::new(program.clone());
        current.instances.counts = false;
        let mut shadow = Runner::new(program.clone());
        shadow.instances.counts = false;
        shadow.instances.put(version.0, &version.1);
        Self {
            shared,
            writer,
            base,
            overlay: Overlay::new(program.spec().catalog.len()),
            offset,
            renewal: None,
            renewed: offset,
            current,
            shadow,
            version,
            refused,
            waiting: None,
            report,
        }
    }

    /// Follows the log until it is told to stop, or the partition closes.
    fn follow(&mut self, log: &dyn LogReader, read: &AtomicU64, stop: &Stop) -> Result<()> {
        let catalog = self.shared.program.spec().catalog.clone();
        let from = Position::from_u64(read.load(Ordering::Relaxed));
        let mut cursor = log.read(from.max(log.oldest())).map_err(log_error)?;
        loop {
            // What it is told to finish was durable before it was told.
            let soon = stop.soon.load(Ordering::Relaxed);
            while let Some(group) = cursor.next_group().map_err(log_error)? {
                if stop.at_once.load(Ordering::Relaxed) || self.shared.board.read().closing {
                    return Ok(());
                }
                let group = Group::read(group.bytes, &catalog)?;
                self.group(&group);
                self.renew()?;
                read.store(cursor.position().to_u64(), Ordering::Relaxed);
            }
            self.refused(self.offset);
            let position = cursor.position();
            let goes_on = !soon
                && self.shared.board.wait(|standing| {
                    if standing.closing || standing.stopped.is_some() {
                        return Some(false);
                    }
                    let told = stop.soon.load(Ordering::Relaxed);
                    (told || standing.position > position).then_some(true)
                });
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// Begins from a newer state where much came since the last one, so that what is kept beside it stays small.
    fn renew(&mut self) -> Result<()> {
        if self.renewal.is_none() && self.offset >= self.renewed + RENEWED {
            self.renewal = Some(snapshot(&self.writer)?.wait()?);
        }
        if let Some((offset, base)) = self.renewal.take_if(|(offset, _)| *offset <= self.offset) {
            self.base = base;
            self.renewed = offset;
            self.overlay.clear();
        }
        Ok(())
    }

    fn group(&mut self, group: &Group) {
        for entry in &group.entries {
            match entry {
                // The snapshot has it.
                Entry::Command(command) if command.offset < self.offset => {}
                Entry::Command(command) => {
                    self.refused(command.offset);
                    self.command(group.head, command, None);
                    self.overlay.set_steps(&command.steps);
                    self.offset = command.offset + 1;
                }
                Entry::Projection(projection) => self.overlay.set_all_of(projection),
                Entry::Job(_) => {}
            }
        }
    }

    /// Compares the refused commands that saw all commands below `offset`, and no other.
    fn refused(&mut self, offset: u64) {
        loop {
            let next = self.waiting.take().or_else(|| self.refused.try_recv().ok());
            match next {
                Some(next) if next.command.offset <= offset => {
                    self.command(next.head, &next.command, Some(next.kind));
                }
                later => {
                    self.waiting = later;
                    return;
                }
            }
        }
    }

    /// Runs a command on both versions and compares the other one with what became of it.
    fn command(&mut self, head: GroupHead, command: &Command, refused: Option<ErrorKind>) {
        let program = &self.shared.program;
        let Ok(extension) = program.command_or_job(&command.name) else {
            return;
        };
        let lineup = &self.shared.lineup;
        if self.current.instances.is_behind(lineup) {
            self.current.instances.take_up(lineup);
            self.shadow.instances.take_up(lineup);
            self.shadow.instances.put(self.version.0, &self.version.1);
        }
        let logger = silent();
        let ground = Ground {
            base: &*self.base,
            context: Context {
                time: head.time,
                seed: head.seed,
                partition: self.shared.number,
                offset: command.offset,
                attempt: command.attempt,
                id: command.id.as_deref(),
            },
            logger: &logger,
            logged: Some(&command.steps),
        };
        let mut run = |runner: &mut Runner| {
            let start = self.shared.platform.now();
            let run = runner.run(ground, &mut self.overlay, extension, &command.args);
            self.overlay.take_back();
            let mut cost = std::mem::take(&mut runner.cost);
            let took = self.shared.platform.now() - start;
            cost.micros = u64::try_from(took).unwrap_or_default();
            (run, cost)
        };
        let (_, current) = run(&mut self.current);
        let (run, shadow) = run(&mut self.shadow);
        let found = match (refused, run) {
            (None, run) => differences(&program.spec().catalog, command, run, &self.shadow),
            (Some(then), Err(now)) if now.kind() == then => Vec::new(),
            (Some(then), run) => {
                let now = match run {
                    Ok(()) => "accepted now".to_owned(),
                    Err(now) => format!("refused now as {}: {now}", now.kind()),
                };
                let what = format!("refused then as {then}, {now}");
                vec![(command.name.clone(), what)]
            }
        };
        let mut report = lock(self.report);
        report.commands += 1;
        report.differing += u64::from(!found.is_empty());
        report.current.merge(&current);
        report.shadow.merge(&shadow);
        let room = FIRST.saturating_sub(report.differences.len());
        let found = found.into_iter().take(room);
        report
            .differences
            .extend(found.map(|(extension, what)| Difference {
                partition: self.shared.number,
                offset: command.offset,
                extension,
                what,
            }));
    }
}
