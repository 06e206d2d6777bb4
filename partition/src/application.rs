//! An application: its packages loaded, its partitions open, commands and queries routed to them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use engine_core::engine::Code;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::factory;
use engine_core::manifest::ExtensionKind;
use engine_core::registry;
use engine_core::stderr::one_line;
use engine_core::value::Value;
use engine_core::{json, say, value};

use crate::answer::Answer;
use crate::folder;
use crate::host::{LogLine, Logger};
use crate::lineup::{Lineup, PackageStatus, Trial};
use crate::manifest::AppSpec;
use crate::packages;
use crate::partition::{Accepted, Opening, Partition, QueryAnswer};
use crate::platform::{FolderLock, OsPlatform, Platform};
use crate::program::Program;
use crate::record::PackageHash;
use crate::routing;
use crate::shadow::Shadow;
use crate::store::Snapshot;

/// How an application is opened.
#[derive(Clone)]
pub struct Options {
    /// The engine for all packages, instead of those that the manifest names.
    pub engine: Option<String>,
    /// The number of partitions, instead of the manifest's.
    pub partitions: Option<u32>,
    /// The data folder; without one the application forgets everything when it is closed.
    pub data: Option<PathBuf>,
    /// Whether jobs run while it is open; they do by default.
    pub jobs: bool,
    /// The machine, or none for the one that this runs on.
    pub platform: Option<Arc<dyn Platform>>,
    /// Who takes what extensions log.
    pub logger: Arc<Logger>,
    /// Who is told what the operator should know: what a crash left behind, a projector that stopped.
    pub notices: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Default for Options {
    /// The manifest's engines and partitions, nothing kept, lines and notices to standard error.
    fn default() -> Self {
        Self {
            engine: None,
            partitions: None,
            data: None,
            jobs: true,
            platform: None,
            logger: Arc::new(|line: &LogLine<'_>| say!("{line}")),
            notices: Arc::new(|notice| say!("{}", one_line(notice))),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("engine", &self.engine)
            .field("partitions", &self.partitions)
            .field("data", &self.data)
            .field("jobs", &self.jobs)
            .finish_non_exhaustive()
    }
}

/// An asynchronous projector that has failed: what it writes stays behind the commands.
#[derive(Clone, Debug)]
pub struct FailedProjector {
    /// The partition.
    pub partition: u32,
    /// The projector.
    pub projector: String,
    /// Why, and at which command.
    pub error: Error,
}

/// A command of one open application, found by its name once: see [`Application::command`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandId {
    opening: u64,
    extension: usize,
}

/// How many applications were opened.
static OPENINGS: AtomicU64 = AtomicU64::new(0);

/// An open application.
///
/// It can be used from many threads at once. Dropping it closes it.
#[derive(Debug)]
pub struct Application {
    /// Tells the commands of this application from those of others.
    opening: u64,
    program: Arc<Program>,
    lineup: Arc<Lineup>,
    /// Held by whoever replaces a package.
    replacing: Mutex<()>,
    platform: Arc<dyn Platform>,
    data: Option<PathBuf>,
    partitions: Vec<Partition>,
    _lock: Option<FolderLock>,
}

impl Application {
    /// Loads the packages and opens the partitions.
    ///
    /// What runs is what the manifest's files hold now, also where another version was running when the data folder was
    /// last open. The code of every version that runs is kept in the data folder, where a replay finds it.
    ///
    /// # Errors
    /// Those of [`Program::load`]; `manifest` where the data folder belongs to another application, has another number
    /// of partitions, schemas or routes that today's do not continue, storages whose rows another extension wrote, or a log
    /// without commands that a projector has still to count; `busy` where another process has it open; `corrupt`, `io`.
    pub fn open(spec: AppSpec, options: Options) -> Result<Self> {
        let mut spec = spec;
        let platform = match options.platform {
            Some(platform) => platform,
            None => os_platform()?,
        };
        if let Some(partitions) = options.partitions {
            spec.set_partitions(partitions)?;
        }
        let mut codes = Vec::new();
        let engine = options.engine.as_deref();
        let program = Program::load_each(spec, engine, |code, kind| codes.push((code, kind)))?;
        let program = Arc::new(program);
        let data = options.data.as_deref();
        let claim = data.map(|data| folder::claim(&platform, data, program.spec()));
        let claim = claim.transpose()?;
        if let Some(data) = data {
            for (code, kind) in codes {
                packages::keep(&*platform, data, &code, kind)?;
            }
        }
        let lineup = Arc::new(Lineup::new(&program, options.notices.clone()));
        let recovered = (0..program.spec().partitions)
            .map(|number| {
                let opening = Opening {
                    program: program.clone(),
                    lineup: lineup.clone(),
                    number,
                    platform: platform.clone(),
                    logger: options.logger.clone(),
                    notices: options.notices.clone(),
                    folder: data.map(|data| folder::of_partition(data, number)),
                    facts: claim.as_ref().map(|claim| claim.facts.clone()),
                    jobs: options.jobs,
                };
                let recovered = opening.recover()?;
                claim
                    .iter()
                    .try_for_each(|claim| claim.check(recovered.state()))?;
                Ok(recovered)
            })
            .collect::<Result<Vec<_>>>()?;
        if let Some(data) = data {
            folder::opened(&*platform, data)?;
        }
        // Nothing runs before every partition can go on.
        let partitions = recovered.into_iter().map(Partition::start);
        let partitions = partitions.collect::<Result<_>>()?;
        Ok(Self {
            opening: OPENINGS.fetch_add(1, Ordering::Relaxed),
            program,
            lineup,
            replacing: Mutex::new(()),
            platform,
            data: options.data,
            partitions,
            _lock: claim.map(|claim| claim.lock),
        })
    }

    /// What runs, with the packages as they were when this was opened.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// The manifest.
    pub fn spec(&self) -> &AppSpec {
        self.program.spec()
    }

    /// Finds a command by its name, for whoever submits it often.
    ///
    /// # Errors
    /// `unknown` where there is no such command.
    pub fn command(&self, name: &str) -> Result<CommandId> {
        let extension = self.program.extension(ExtensionKind::Command, name)?;
        Ok(CommandId {
            opening: self.opening,
            extension,
        })
    }

    /// Submits a command with its arguments as a JSON object.
    ///
    /// The answer comes when the command is durable, or refused on a state that is durable. A command with an id that
    /// was accepted before, with the same arguments, answers what it answered then. An id has at most 1,024 bytes; how
    /// many are remembered is in the manifest's `[partition]`, as `ids` and `ids_bytes`.
    ///
    /// # Errors
    /// At once: `unknown`, `bad_args`, `busy`, `stopped`. In the answer: whatever refuses the command, `id_conflict`,
    /// `stopped`.
    pub fn submit(
        &self,
        command: &str,
        args: &serde_json::Value,
        id: Option<&str>,
    ) -> Result<Answer<Accepted>> {
        self.submit_to(self.command(command)?, args, id)
    }

    /// Submits a command that was found before; else as [`Application::submit`].
    ///
    /// # Errors
    /// As [`Application::submit`]; `unknown` where another application found the command.
    pub fn submit_to(
        &self,
        command: CommandId,
        args: &serde_json::Value,
        id: Option<&str>,
    ) -> Result<Answer<Accepted>> {
        let extension = self.number(command)?;
        let values = self.args(extension, args)?;
        let partition = self.route(extension, &values).unwrap_or(0);
        self.partitions[partition].submit(extension, value::encode(&values), id)
    }

    /// Submits a command with its arguments encoded as a row of its schema; else as [`Application::submit`].
    ///
    /// # Errors
    /// As [`Application::submit`].
    pub fn submit_row(
        &self,
        command: &str,
        args: Vec<u8>,
        id: Option<&str>,
    ) -> Result<Answer<Accepted>> {
        self.submit_row_to(self.command(command)?, args, id)
    }

    /// Submits a command that was found before, with its arguments encoded as a row of its schema; else as
    /// [`Application::submit`].
    ///
    /// # Errors
    /// As [`Application::submit_to`].
    pub fn submit_row_to(
        &self,
        command: CommandId,
        args: Vec<u8>,
        id: Option<&str>,
    ) -> Result<Answer<Accepted>> {
        let extension = self.number(command)?;
        let spec = &self.spec().extensions[extension];
        let bad = |error: Error| {
            let error = Error::new(ErrorKind::BadArgs, error.message());
            error.at(|| spec.decl.name.to_string())
        };
        spec.decl.args.check(&args).map_err(bad)?;
        let partition = match (self.partitions.len(), spec.route) {
            (1, _) | (_, None) => 0,
            (partitions, Some(field)) => routing::of_row(&args, field, partitions).map_err(bad)?,
        };
        self.partitions[partition].submit(extension, args, id)
    }

    fn number(&self, command: CommandId) -> Result<usize> {
        if command.opening != self.opening {
            let message = format!(
                "the command was found in another application than this `{}`",
                self.spec().name
            );
            return Err(Error::new(ErrorKind::Unknown, message));
        }
        Ok(command.extension)
    }

    /// Submits a command and waits until it is answered.
    ///
    /// # Errors
    /// As [`Application::submit`].
    pub fn run(
        &self,
        command: &str,
        args: &serde_json::Value,
        id: Option<&str>,
    ) -> Result<Accepted> {
        self.submit(command, args, id)?.wait()
    }

    /// Asks a query: on the partition that its routing field names, else on every partition.
    ///
    /// With `at_least`, the state must have every command below that offset, so that a caller reads its own writes:
    /// one more than the offset of an accepted command.
    ///
    /// # Errors
    /// At once: `unknown`, `bad_args`, `busy`, `stopped`. In the answers: the extension's errors.
    pub fn query(
        &self,
        query: &str,
        args: &serde_json::Value,
        at_least: u64,
    ) -> Result<Vec<Answer<QueryAnswer>>> {
        let extension = self.program.extension(ExtensionKind::Query, query)?;
        let values = self.args(extension, args)?;
        let row = value::encode(&values);
        let ask = |partition: &Partition| partition.query(extension, row.clone(), at_least);
        match self.route(extension, &values) {
            Some(partition) => Ok(vec![ask(&self.partitions[partition])?]),
            None => self.partitions.iter().map(ask).collect(),
        }
    }

    fn args(&self, extension: usize, args: &serde_json::Value) -> Result<Vec<Value>> {
        let decl = &self.spec().extensions[extension].decl;
        json::row_from_json(args, &decl.args).map_err(|error| error.at(|| decl.name.to_string()))
    }

    /// The partition of an invocation.
    fn route(&self, extension: usize, args: &[Value]) -> Option<usize> {
        let field = self.spec().extensions[extension].route?;
        match self.partitions.len() {
            1 => Some(0),
            partitions => Some(routing::of_value(&args[field], partitions)),
        }
    }

    /// Puts other code in the place of a package while everything runs, on the same engine, and gives its version.
    ///
    /// This thread compiles the code, checks it against all that the manifest declares of the package, and keeps it in the
    /// data folder; each partition's writer makes its instance between two commands. Only then the version changes: for
    /// each thread between two invocations, and for all its partitions within moments of each other. What is in flight ends
    /// on the version that it began on, and what was applied stays, under the version that made it. Other threads' first
    /// invocation waits for its instance. An asynchronous projector that has stopped stays so until the next opening.
    /// This waits for the writers, so it is not for [`Options::notices`] and [`Options::logger`] to call.
    ///
    /// Where the manifest has `[packages.NAME.rollback]`, the version before comes back by itself when the new one fails
    /// too often, for as long as the new one runs: a notice says so, and [`Application::packages`]. The next opening runs
    /// what the manifest's files hold then.
    ///
    /// # Errors
    /// `unknown` where there is no such package; those of loading and of making an instance; `io`, `stopped`. What ran
    /// goes on then.
    pub fn replace(&self, package: &str, code: Code) -> Result<PackageHash> {
        let number = self.package(package)?;
        let _alone = self
            .replacing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let hash = registry::hash(&code);
        let current = self.lineup.version(number);
        if current.hash == hash {
            return Ok(hash);
        }
        let mut version = self.program.version(number, code.clone())?;
        version.package.instantiate()?;
        if let Some(data) = &self.data {
            let kind = factory(&version.engine)?.kind();
            packages::keep(&*self.platform, data, &code, kind)?;
        }
        let rule = self.spec().packages[number].rollback;
        version.trial = rule.map(|rule| Trial::new(rule, number, &self.lineup));
        let version = Arc::new(version);
        let partitions = self.partitions.iter();
        let warmed = partitions.map(|partition| partition.warm(number, &version));
        let warmed: Vec<_> = warmed.collect::<Result<_>>()?;
        warmed.into_iter().try_for_each(Answer::wait)?;
        self.lineup.switch(number, version);
        Ok(hash)
    }

    /// Runs other code beside a package on every command and job from now on, for as long as the answer lives, and compares.
    ///
    /// Nothing of what it asks for is applied or logged, and no command waits for it: on a thread of its own for each
    /// partition it follows the log, and runs each command again, on the version that runs and on the other one, above the
    /// state that the command met. That costs up to one core for each partition, and what it makes the store keep: a
    /// snapshot, renewed every 10,000 commands. The package's limits hold for each invocation.
    /// Validators and synchronous projectors are compared with their command; queries and asynchronous projectors are not
    /// run. Refused commands are compared too, unless more than 1,024 of them wait.
    ///
    /// # Errors
    /// `unknown` where there is no such package; those of loading and of making an instance; `io`, `stopped`.
    pub fn shadow(&self, package: &str, code: Code) -> Result<Shadow> {
        let number = self.package(package)?;
        let version = self.program.version(number, code)?;
        version.package.instantiate()?;
        let version = Arc::new(version);
        let report = Arc::default();
        let partitions = self.partitions.iter();
        let threads = partitions.map(|partition| partition.shadow(number, &version, &report));
        let threads = threads.collect::<Result<_>>()?;
        Ok(Shadow::new(report, threads))
    }

    /// The number of a package.
    fn package(&self, package: &str) -> Result<usize> {
        let mut packages = self.spec().packages.iter();
        let number = packages.position(|spec| spec.name == package);
        number.ok_or_else(|| {
            let message = format!(
                "application `{}` has no package `{package}`",
                self.spec().name
            );
            Error::new(ErrorKind::Unknown, message)
        })
    }

    /// What runs of each package, in the order of the manifest, and what became of versions that failed.
    pub fn packages(&self) -> Vec<PackageStatus> {
        let mut packages = self.lineup.status();
        for (status, spec) in packages.iter_mut().zip(&self.spec().packages) {
            let kind = factory(&status.engine).map(|factory| factory.kind());
            let file = kind.ok().and_then(|kind| spec.file(kind));
            status.file = file.map(Path::to_owned);
        }
        packages
    }

    /// Waits until the asynchronous projectors have counted every command that is durable now, but for those that fail.
    ///
    /// # Errors
    /// The first failure of a projector, or what stopped a partition; [`Application::failed_projectors`] says which.
    pub fn settle(&self) -> Result<()> {
        let settled: Vec<_> = self.partitions.iter().map(Partition::settle).collect();
        settled.into_iter().collect()
    }

    /// The asynchronous projectors that have failed, and count nothing more until the next opening.
    pub fn failed_projectors(&self) -> Vec<FailedProjector> {
        let partitions = self.partitions.iter();
        partitions.flat_map(Partition::failed_projectors).collect()
    }

    /// Writes a checkpoint of every partition, and waits for them.
    ///
    /// # Errors
    /// `io`, `stopped`.
    pub fn checkpoint(&self) -> Result<()> {
        self.partitions.iter().try_for_each(Partition::checkpoint)
    }

    /// Views of the durable state, one a partition, each with the number of its commands.
    ///
    /// # Errors
    /// `io`, `stopped`.
    pub fn snapshots(&self) -> Result<Vec<(u64, Arc<dyn Snapshot>)>> {
        self.partitions.iter().map(Partition::snapshot).collect()
    }

    /// Answers what was submitted and closes the partitions.
    ///
    /// # Errors
    /// The first error that stopped a partition.
    pub fn close(mut self) -> Result<()> {
        let closed: Vec<_> = self.partitions.iter_mut().map(Partition::close).collect();
        closed.into_iter().collect()
    }
}

/// The machine that this runs on.
///
/// # Errors
/// `io` where it has no randomness to give.
pub fn os_platform() -> Result<Arc<dyn Platform>> {
    let platform = OsPlatform::new().map_err(|source| {
        Error::new(
            ErrorKind::Io,
            format!("no randomness from the operating system: {source}"),
        )
        .with_source(source)
    })?;
    Ok(Arc::new(platform))
}

/// A mistake in how the application is opened.
pub(crate) fn mismatch(message: String) -> Error {
    Error::new(ErrorKind::Manifest, message)
}
