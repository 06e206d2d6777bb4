//! One command from its extension to its last synchronous projector, above a view of the state.

use std::sync::Arc;

use engine_core::error::Result;
use engine_core::intent::Intents;
use engine_core::limits::Ledger;

use crate::host::{Context, Logger, PartitionHost, event_row};
use crate::instances::Instances;
use crate::journal::{ForeignAnswer, Journal};
use crate::overlay::{Overlay, Seen};
use crate::program::Program;
use crate::record::{LoggedStep, Step};
use crate::store::View;

/// Runs commands.
#[derive(Debug)]
pub(crate) struct Runner {
    program: Arc<Program>,
    pub(crate) instances: Instances,
    /// What each extension of the last command asked for; kept, as `event` is, so that the buffers are used again.
    steps: Vec<Taken>,
    taken: usize,
    /// What the followers of the last command saw as `sys.event`.
    event: Vec<u8>,
    /// What the extension that runs has read; kept likewise.
    seen: Seen,
    /// What everything used so far.
    pub(crate) cost: Cost,
}

/// What one extension of a command did.
#[derive(Debug, Default)]
struct Taken {
    extension: usize,
    intents: Intents,
    answers: Vec<ForeignAnswer>,
}

/// What invocations used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cost {
    /// Invocations.
    pub invocations: u64,
    /// Wall-clock time in microseconds, where it was measured.
    pub micros: u64,
    /// Units of fuel, where fuel is limited.
    pub fuel: u64,
    /// The most bytes of guest memory that one invocation left.
    pub memory: u64,
    /// Reads.
    pub host_reads: u64,
    /// Rows read.
    pub rows_read: u64,
    /// Intents.
    pub intents: u64,
}

impl Cost {
    fn add(&mut self, used: &Ledger) {
        self.invocations += 1;
        self.fuel += used.fuel.unwrap_or_default();
        self.memory = self.memory.max(used.memory);
        self.host_reads += used.host_reads;
        self.rows_read += used.rows_read;
        self.intents += used.intents;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.invocations += other.invocations;
        self.micros += other.micros;
        self.fuel += other.fuel;
        self.memory = self.memory.max(other.memory);
        self.host_reads += other.host_reads;
        self.rows_read += other.rows_read;
        self.intents += other.intents;
    }
}

/// What a command runs above.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    /// The state without what the overlay changes.
    pub(crate) base: &'a dyn View,
    pub(crate) context: Context<'a>,
    pub(crate) logger: &'a Logger,
    /// What was logged of the command, where it runs again.
    pub(crate) logged: Option<&'a [LoggedStep]>,
}

impl Runner {
    pub(crate) fn new(program: Arc<Program>) -> Self {
        Self {
            instances: Instances::new(program.clone()),
            program,
            steps: Vec::new(),
            taken: 0,
            event: Vec::new(),
            seen: Seen::default(),
            cost: Cost::default(),
        }
    }

    /// Makes the instances of everything that runs for commands and jobs.
    ///
    /// # Errors
    /// Those of their initialisation.
    pub(crate) fn warm(&mut self) -> Result<()> {
        let mut extensions = self.program.of_writer();
        extensions.try_for_each(|extension| self.instances.of(extension).map(drop))
    }

    /// Runs a command. What it changed stands in the overlay and is still to be accepted or taken back.
    ///
    /// # Errors
    /// Whatever refuses the command: an extension's error, a violated intent, a store that cannot be read.
    pub(crate) fn run(
        &mut self,
        ground: Ground<'_>,
        overlay: &mut Overlay,
        command: usize,
        args: &[u8],
    ) -> Result<()> {
        self.taken = 0;
        self.step(ground, overlay, command, args, false)?;
        let count = self.program.followers(command).len();
        if count > 0 {
            let results = self.steps[0].intents.results();
            event_row(
                &mut self.event,
                self.program.name_of(command),
                args,
                results,
            );
        }
        for i in 0..count {
            let follower = self.program.followers(command)[i];
            self.step(ground, overlay, follower, EMPTY, true)?;
        }
        Ok(())
    }

    fn step(
        &mut self,
        ground: Ground<'_>,
        overlay: &mut Overlay,
        extension: usize,
        args: &[u8],
        follows: bool,
    ) -> Result<()> {
        if self.steps.len() == self.taken {
            self.steps.push(Taken::default());
        }
        let taken = &mut self.steps[self.taken];
        taken.extension = extension;
        self.taken += 1;
        let name = self.program.name_of(extension);
        let logged = ground.logged.map(|steps| {
            let then = steps.iter().find(|then| then.extension == name);
            then.map_or(&[][..], |then| &then.answers)
        });
        let journal = Journal::of(logged);
        self.seen.clear();
        let above = overlay.above(ground.base);
        let host = PartitionHost {
            view: &self.seen.above(&above),
            context: ground.context,
            extension: name,
            event: follows.then_some(&*self.event),
            logger: ground.logger,
            journal: Some(&journal),
        };
        let intents = &mut taken.intents;
        let outcome = self.instances.invoke(extension, args, None, &host, intents);
        self.cost.add(&outcome.ledger);
        let ended = outcome.result.and_then(|()| journal.check());
        taken.answers = journal.into_answers();
        ended?;
        let catalog = &self.program.spec().catalog;
        overlay.add(ground.base, &self.seen, catalog, intents)
    }

    /// What the last command's extensions asked for: the command first, then those that asked for anything, be it of
    /// impure functions.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Step<'_>> + Clone {
        let taken = self.steps[..self.taken].iter().enumerate();
        taken
            .filter(|(i, step)| *i == 0 || !step.intents.is_empty() || !step.answers.is_empty())
            .map(|(_, step)| Step {
                extension: self.program.name_of(step.extension),
                package: self.program.package_of(step.extension),
                intents: &step.intents,
                answers: &step.answers,
            })
    }

    /// What impure foreign functions answered the last command's extensions, for a command that is not logged.
    pub(crate) fn answered(&self) -> Vec<LoggedStep> {
        let answered = self.steps().filter(|step| !step.answers.is_empty());
        let answered = answered.map(|step| LoggedStep {
            extension: step.extension.to_owned(),
            package: self.instances.version(step.package).hash,
            intents: Intents::new(),
            answers: step.answers.to_vec(),
        });
        answered.collect()
    }
}

/// The arguments of a validator or projector: none, as the event has everything.
pub(crate) const EMPTY: &[u8] = &[0x90];
