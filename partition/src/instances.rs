//! The instances of one thread, and the version of each package that it runs.

use std::sync::Arc;

use engine_core::engine::{ExtensionInstance, Invocation, Outcome};
use engine_core::error::Result;
use engine_core::host::{Host, Party, Tracer};
use engine_core::intent::Intents;
use engine_core::registry::PackageHash;

use crate::lineup::{Lineup, is_fault};
use crate::program::{Loaded, Program};

/// The instances of one thread, made when they are first needed.
#[derive(Debug)]
pub(crate) struct Instances {
    program: Arc<Program>,
    /// The version of each package that this thread runs.
    versions: Vec<Arc<Loaded>>,
    live: Vec<Option<Box<dyn ExtensionInstance>>>,
    /// An instance of a version that this thread is about to take up.
    warmed: Option<(Arc<Loaded>, Box<dyn ExtensionInstance>)>,
    /// How many changes of the line-up this thread has taken up.
    changes: u64,
    /// Whether what happens here is what happens to users, and counts where a version is on trial.
    pub(crate) counts: bool,
}

impl Instances {
    /// The versions that were loaded with the program.
    pub(crate) fn new(program: Arc<Program>) -> Self {
        Self {
            versions: program.packages().to_vec(),
            live: program.packages().iter().map(|_| None).collect(),
            warmed: None,
            changes: 0,
            counts: true,
            program,
        }
    }

    /// Whether the line-up has changed since this thread took it up.
    pub(crate) fn is_behind(&self, lineup: &Lineup) -> bool {
        lineup.changes() != self.changes
    }

    /// Takes up the versions of a line-up.
    pub(crate) fn take_up(&mut self, lineup: &Lineup) {
        if self.is_behind(lineup) {
            let (changes, versions) = lineup.versions();
            self.changes = changes;
            let versions = versions.iter().enumerate();
            versions.for_each(|(package, version)| self.put(package, version));
        }
    }

    /// Puts a version in the place of the one that this thread runs.
    pub(crate) fn put(&mut self, package: usize, version: &Arc<Loaded>) {
        if Arc::ptr_eq(&self.versions[package], version) {
            return;
        }
        let warmed = self
            .warmed
            .take_if(|(warmed, _)| Arc::ptr_eq(warmed, version));
        self.live[package] = warmed.map(|(_, instance)| instance);
        self.versions[package] = version.clone();
    }

    /// Makes the instance of a version that this thread is about to take up, if it has one of the version before.
    ///
    /// # Errors
    /// Those of its initialisation.
    pub(crate) fn warm(&mut self, package: usize, version: &Arc<Loaded>) -> Result<()> {
        if self.live[package].is_some() {
            let instance = version.package.instantiate()?;
            self.warmed = Some((version.clone(), instance));
        }
        Ok(())
    }

    /// The version of a package that this thread runs.
    pub(crate) fn version(&self, package: usize) -> &Arc<Loaded> {
        &self.versions[package]
    }

    /// The identity of the code that an extension is in, as this thread runs it.
    pub(crate) fn hash_of(&self, extension: usize) -> PackageHash {
        self.versions[self.program.package_of(extension)].hash
    }

    /// The instance of the package that an extension is in.
    ///
    /// # Errors
    /// Those of its initialisation.
    pub(crate) fn of(&mut self, extension: usize) -> Result<&mut dyn ExtensionInstance> {
        let package = self.program.package_of(extension);
        let slot = &mut self.live[package];
        let instance = match slot.take() {
            Some(instance) => instance,
            None => self.versions[package].package.instantiate()?,
        };
        Ok(&mut **slot.insert(instance))
    }

    /// Makes ready what the next invocations would wait for; for a thread that waits itself.
    pub(crate) fn prepare(&mut self) {
        let live = self.live.iter_mut().flatten();
        live.for_each(|instance| instance.prepare());
    }

    /// Runs an extension once.
    pub(crate) fn invoke(
        &mut self,
        extension: usize,
        args: &[u8],
        tracer: Option<&dyn Tracer>,
        host: &dyn Host,
        intents: &mut Intents,
    ) -> Outcome {
        let number = self.program.spec().extensions[extension].number;
        let invocation = Invocation {
            extension: number,
            args,
            tracer,
        };
        if let Some(tracer) = tracer {
            let name = self.program.name_of(extension);
            let what = format!("Invoke({name})");
            tracer.crossing(Party::Partition, Party::Instance, &what);
        }
        // Whatever keeps a version from making an instance is its fault.
        let (outcome, unmade) = match self.of(extension) {
            Ok(instance) => (instance.invoke(invocation, host, intents), false),
            Err(error) => (Outcome::from(error), true),
        };
        let version = &self.versions[self.program.package_of(extension)];
        if let Some(trial) = version.trial.as_ref().filter(|_| self.counts) {
            let error = outcome.result.as_ref().err();
            trial.count(error.filter(|error| unmade || is_fault(error.kind())));
        }
        if let Some(tracer) = tracer {
            tracer.crossing(Party::Instance, Party::Partition, "done Invoke");
        }
        outcome
    }
}
