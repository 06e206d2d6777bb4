//! What a partition runs: the packages of an application, loaded, and which extension follows which.

use std::collections::HashMap;
use std::sync::Arc;

use engine_core::engine::{
    Code, ExtensionInstance, ExtensionPackage, Invocation, Outcome, PackageSource,
};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::{EngineKind, factory};
use engine_core::host::{Host, Party, Tracer};
use engine_core::intent::Intents;
use engine_core::manifest::ExtensionKind;
use engine_core::registry::{self, PackageHash, Registry};

use crate::lineup::{Lineup, Trial, is_fault};
use crate::manifest::AppSpec;

/// The packages of an application on the engines that were chosen, shared by its partitions.
#[derive(Debug)]
pub struct Program {
    spec: AppSpec,
    packages: Vec<Arc<Loaded>>,
    /// The numbers of the extensions.
    numbers: HashMap<String, usize>,
    /// What runs after each extension that is a command: the validators in the order of the manifest, then the
    /// synchronous projectors.
    followers: Vec<Vec<usize>>,
}

/// A loaded package.
#[derive(Debug)]
pub struct Loaded {
    /// The engine that it is loaded on.
    pub engine: String,
    /// The identity of its code.
    pub hash: PackageHash,
    /// The package.
    pub package: Arc<dyn ExtensionPackage>,
    /// Present where it goes when it fails too often.
    pub(crate) trial: Option<Trial>,
}

impl Loaded {
    fn new(engine: &str, source: &PackageSource) -> Result<Self> {
        Ok(Self {
            engine: engine.to_owned(),
            hash: registry::hash(&source.code),
            package: Registry::global().package(engine, source)?,
            trial: None,
        })
    }
}

impl Program {
    /// Loads every package of an application, on `engine` where one is given, else on the engine that the manifest names.
    ///
    /// # Errors
    /// `manifest` where no engine is named, `unknown` where it is not in this build, and those of loading.
    pub fn load(spec: AppSpec, engine: Option<&str>) -> Result<Self> {
        Self::load_each(spec, engine, |_, _| ())
    }

    /// As [`Program::load`], and shows the code of each package that was loaded.
    pub(crate) fn load_each(
        spec: AppSpec,
        engine: Option<&str>,
        mut loaded: impl FnMut(Code, EngineKind),
    ) -> Result<Self> {
        let mut packages = Vec::new();
        for (number, package) in spec.packages.iter().enumerate() {
            let engine = engine.map_or_else(|| package.factory(), factory)?;
            let (name, kind) = (engine.name(), engine.kind());
            let source = spec.source(number, name, kind)?;
            packages.push(Arc::new(Loaded::new(name, &source)?));
            loaded(source.code, kind);
        }
        let names = spec.extensions.iter().map(|e| e.decl.name.to_string());
        Ok(Self {
            numbers: names.zip(0..).collect(),
            followers: followers(&spec),
            spec,
            packages,
        })
    }

    /// The application.
    pub fn spec(&self) -> &AppSpec {
        &self.spec
    }

    /// The packages, in the order of the manifest.
    pub fn packages(&self) -> &[Arc<Loaded>] {
        &self.packages
    }

    /// Loads other code in the place of a package, on the same engine and under the same declarations.
    ///
    /// # Errors
    /// Those of loading.
    pub(crate) fn version(&self, package: usize, code: Code) -> Result<Loaded> {
        let engine = &self.packages[package].engine;
        let source = PackageSource {
            manifest: Arc::new(self.spec.declared(package, engine)),
            code,
        };
        Loaded::new(engine, &source)
    }

    /// What runs after a command.
    pub(crate) fn followers(&self, command: usize) -> &[usize] {
        &self.followers[command]
    }

    /// Everything that runs for commands and jobs, some of it twice.
    pub(crate) fn of_writer(&self) -> impl Iterator<Item = usize> {
        let commands = self.spec.of_kind(ExtensionKind::Command);
        let commands = commands.chain(self.spec.of_kind(ExtensionKind::Job));
        let commands = commands.map(|(command, _)| command);
        commands.chain(self.followers.iter().flatten().copied())
    }

    /// The extension of a kind with this name.
    pub(crate) fn extension(&self, kind: ExtensionKind, name: &str) -> Result<usize> {
        let number = self.numbers.get(name).copied();
        number
            .filter(|&number| self.spec.extensions[number].decl.kind == kind)
            .ok_or_else(|| unknown(&self.spec, kind, name))
    }

    /// The command or job of this name, which are both logged as commands.
    pub(crate) fn command_or_job(&self, name: &str) -> Result<usize> {
        let command = self.extension(ExtensionKind::Command, name);
        command.or_else(|error| self.extension(ExtensionKind::Job, name).map_err(|_| error))
    }

    /// The number of the package that an extension is in.
    pub(crate) fn package_of(&self, extension: usize) -> usize {
        self.spec.extensions[extension].package
    }

    pub(crate) fn name_of(&self, extension: usize) -> &str {
        &self.spec.extensions[extension].decl.name
    }

    /// The asynchronous projectors.
    pub(crate) fn async_projectors(&self) -> impl Iterator<Item = usize> {
        let extensions = self.spec.extensions.iter().enumerate();
        extensions
            .filter(|(_, e)| e.asynchronous)
            .map(|(number, _)| number)
    }
}

fn unknown(spec: &AppSpec, kind: ExtensionKind, name: &str) -> Error {
    let names = spec.extensions.iter().filter(|e| e.decl.kind == kind);
    let names: Vec<_> = names.map(|e| &*e.decl.name).collect();
    Error::new(
        ErrorKind::Unknown,
        format!(
            "application `{}` has no {kind} `{name}`; it has: {}",
            spec.name,
            names.join(", ")
        ),
    )
}

fn followers(spec: &AppSpec) -> Vec<Vec<usize>> {
    let following = |kind, name: &str| {
        let extensions = spec.of_kind(kind);
        let following =
            extensions.filter(|(_, e)| !e.asynchronous && e.on.iter().any(|on| on == name));
        following.map(|(number, _)| number).collect::<Vec<_>>()
    };
    let extensions = spec.extensions.iter();
    extensions
        .map(|extension| {
            let name = &*extension.decl.name;
            let mut followers = following(ExtensionKind::Validator, name);
            followers.extend(following(ExtensionKind::Projector, name));
            followers
        })
        .collect()
}

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
            versions: program.packages.clone(),
            live: program.packages.iter().map(|_| None).collect(),
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
        let number = self.program.spec.extensions[extension].number;
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
