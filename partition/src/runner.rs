//! One command from its extension to its last synchronous projector, above a view of the state.

use std::sync::Arc;

use engine_core::error::Result;
use engine_core::intent::Intents;

use crate::host::{Context, Logger, PartitionHost, event_row};
use crate::overlay::Overlay;
use crate::program::{Instances, Pipeline, Program};
use crate::record::Step;
use crate::store::View;

/// Runs commands and keeps what the accepted ones change in an overlay.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) instances: Instances,
    pub(crate) overlay: Overlay,
    /// What each extension of the last command asked for; kept so that the buffers are used again.
    steps: Vec<(usize, Intents)>,
    taken: usize,
}

impl Runner {
    pub(crate) fn new(program: Arc<Program>) -> Self {
        let storages = program.spec().catalog.len();
        Self {
            instances: Instances::new(program),
            overlay: Overlay::new(storages),
            steps: Vec::new(),
            taken: 0,
        }
    }

    /// Makes the instances of everything that runs for commands.
    ///
    /// # Errors
    /// Those of their initialisation.
    pub(crate) fn warm(&mut self) -> Result<()> {
        let program = self.instances.program().clone();
        let mut extensions = program.pipelines().flat_map(Pipeline::extensions);
        extensions.try_for_each(|extension| self.instances.of(extension).map(drop))
    }

    /// Runs a command. What it changed stands in the overlay and is still to be accepted or taken back.
    ///
    /// # Errors
    /// Whatever refuses the command: an extension's error, a violated intent, a store that cannot be read.
    pub(crate) fn run(
        &mut self,
        base: &dyn View,
        pipeline: &Pipeline,
        args: &[u8],
        context: Context<'_>,
        logger: &Logger,
    ) -> Result<()> {
        self.taken = 0;
        self.step(base, pipeline.command, args, None, context, logger)?;
        if pipeline.followers.is_empty() {
            return Ok(());
        }
        let name = self.instances.program().name_of(pipeline.command);
        let event = event_row(name, args, self.steps[0].1.results());
        for &follower in &pipeline.followers {
            self.step(base, follower, EMPTY, Some(&event), context, logger)?;
        }
        Ok(())
    }

    fn step(
        &mut self,
        base: &dyn View,
        extension: usize,
        args: &[u8],
        event: Option<&[u8]>,
        context: Context<'_>,
        logger: &Logger,
    ) -> Result<()> {
        if self.steps.len() == self.taken {
            self.steps.push((extension, Intents::new()));
        }
        let (number, intents) = &mut self.steps[self.taken];
        *number = extension;
        self.taken += 1;
        let program = self.instances.program().clone();
        let view = self.overlay.above(base);
        let host = PartitionHost {
            view: &view,
            context,
            extension: program.name_of(extension),
            event,
            logger,
        };
        let outcome = self.instances.invoke(extension, args, None, &host, intents);
        outcome.result?;
        self.overlay.add(base, &program.spec().catalog, intents)
    }

    /// What the last command's extensions asked for: the command first, then those that asked for anything.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        let program = self.instances.program();
        let taken = self.steps[..self.taken].iter().enumerate();
        taken
            .filter(|(i, (_, intents))| *i == 0 || !intents.is_empty())
            .map(|(_, (extension, intents))| Step {
                extension: program.name_of(*extension),
                package: program.hash_of(*extension),
                intents,
            })
    }
}

/// The arguments of a validator or projector: none, as the event has everything.
pub(crate) const EMPTY: &[u8] = &[0x90];
