//! Replay: the logged commands run again, on this build's engines, and every difference in what they ask for.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::factory;
use engine_core::intent::Intents;

use crate::checkpoint;
use crate::difference::{compare, differences};
use crate::folder::{self, checkpoint_folder, log_folder, store_folder};
use crate::host::{Context, LogLine, PartitionHost, logged, logged_event};
use crate::ids::Window;
use crate::instances::Instances;
use crate::journal::Journal;
use crate::lineup::hex;
use crate::log::{Owner, Position, SegmentLog};
use crate::overlay::Overlay;
use crate::packages;
use crate::platform::Platform;
use crate::program::{Loaded, Program};
use crate::record::{
    Command, Counted, Entry, ForeignAnswer, Group, GroupHead, PackageHash, Projection,
};
use crate::runner::{EMPTY, Ground, Runner};
use crate::state::{State, log_error};
use crate::store::{StoreKind, StorePlace};

pub use crate::difference::Difference;

/// Which code a replay runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The version of each package that the log names, where it was kept for engines of the chosen kind and loads under
    /// today's manifest; today's else.
    Logged,
    /// Today's, for all commands: what would it have done?
    Today,
}

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// Commands that ran again.
    pub commands: u64,
    /// Events that asynchronous projectors counted again.
    pub events: u64,
    /// Invocations on another version than the log names.
    pub other_code: u64,
    /// Why kept code did not run.
    pub notices: Vec<String>,
    /// What differs, in words.
    pub differences: Vec<Difference>,
}

/// Runs the logged commands of a data folder again, from the oldest retained checkpoint, and compares.
///
/// The state between commands is the logged one, so that one difference does not make others. `progress` is told how
/// many commands have run. Nothing is changed; for a store on disk the state is made once more beside it, and removed.
///
/// # Errors
/// `manifest` where the data folder is not the application's, as for
/// [`Application::open`](crate::application::Application::open), `unknown` where there is none; `busy` where another
/// process has it open, `corrupt`, also where kept code is damaged, or a store is on disk and the log has forgotten its
/// beginning, `io`.
pub fn replay(
    program: &Arc<Program>,
    platform: &Arc<dyn Platform>,
    data: &Path,
    which: Which,
    mut progress: impl FnMut(u64),
) -> Result<Replay> {
    folder::belongs(&**platform, data, program.spec())?;
    let mut found = Replay::default();
    let mut versions = Versions {
        program,
        platform: &**platform,
        data,
        which,
        known: HashMap::new(),
        notices: Vec::new(),
    };
    for partition in 0..program.spec().partitions {
        let folder = folder::of_partition(data, partition);
        let log = log_folder(&folder);
        let owner = Owner::new(&program.spec().name, partition);
        let (reader, _lock) =
            SegmentLog::open_to_read(platform.clone(), &log, Some(owner)).map_err(log_error)?;
        let catalog = &program.spec().catalog;
        let place = StorePlace {
            kind: program.spec().partition.store,
            platform: &**platform,
            folder: store_folder(&folder),
            memory: program.spec().partition.store_bytes,
        };
        let scratch = place.scratch("replay")?;
        let mut state = State::over(scratch.0.open(catalog)?, catalog.clone(), Window::NONE);
        if reader.oldest() > Position::START {
            if place.kind == StoreKind::Disk {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    format!(
                        "the log of partition {partition} has forgotten its beginning, and a store on disk does not have \
                         the rows of that time: there is nothing to replay from"
                    ),
                ));
            }
            // The log no longer has the beginning: the oldest checkpoint that is kept does.
            let kept = checkpoint::list(&**platform, &checkpoint_folder(&folder))?;
            if let Some((_, oldest)) = kept.last() {
                checkpoint::read(&**platform, oldest, &mut state)?;
            }
        }
        let mut replayer = Replayer {
            partition,
            runner: Runner::new(program.clone()),
            overlay: Overlay::new(program.spec().catalog.len()),
            projectors: Instances::new(program.clone()),
            program,
            versions: &mut versions,
            found: &mut found,
        };
        // Projections come behind the commands that they count.
        let mut events = Vec::new();
        state.follow_until(&*reader, None, |state, group| {
            replayer.group(state, group, &mut events)?;
            progress(replayer.found.commands);
            Ok(())
        })?;
    }
    found.notices = versions.notices;
    Ok(found)
}

/// The versions of packages that the logs name.
struct Versions<'a> {
    program: &'a Program,
    platform: &'a dyn Platform,
    data: &'a Path,
    which: Which,
    known: HashMap<(usize, PackageHash), Arc<Loaded>>,
    notices: Vec<String>,
}

impl Versions<'_> {
    /// The version to run where the log names one.
    fn of(&mut self, package: usize, hash: PackageHash) -> Result<Arc<Loaded>> {
        let today = &self.program.packages()[package];
        if self.which == Which::Today || today.hash == hash {
            return Ok(today.clone());
        }
        if let Some(known) = self.known.get(&(package, hash)) {
            return Ok(known.clone());
        }
        let kind = factory(&today.engine)?.kind();
        let code = packages::find(self.platform, self.data, &hash, kind)?;
        let version = match code.map(|code| self.program.version(package, code)) {
            None => today.clone(),
            Some(Ok(version)) => Arc::new(version),
            Some(Err(error)) => {
                self.notices.push(format!(
                    "package `{}`: today's code runs instead of version {}, which does not load under today's manifest: {error}",
                    self.program.spec().packages[package].name,
                    hex(&hash),
                ));
                today.clone()
            }
        };
        self.known.insert((package, hash), version.clone());
        Ok(version)
    }
}

struct Replayer<'a, 'v> {
    partition: u32,
    program: &'a Arc<Program>,
    versions: &'a mut Versions<'v>,
    runner: Runner,
    /// What the commands of the group have changed so far.
    overlay: Overlay,
    projectors: Instances,
    found: &'a mut Replay,
}

/// A command that asynchronous projectors have still to count.
struct Event {
    head: GroupHead,
    command: Command,
}

impl Replayer<'_, '_> {
    fn group(&mut self, state: &State, group: &Group, events: &mut Vec<Event>) -> Result<()> {
        for (name, hash) in &group.packages {
            let mut packages = self.program.spec().packages.iter();
            if let Some(package) = packages.position(|spec| spec.name == *name) {
                let version = self.versions.of(package, *hash)?;
                self.runner.instances.put(package, &version);
            }
        }
        for entry in &group.entries {
            match entry {
                Entry::Command(command) => {
                    self.command(state, group.head, command);
                    if self.program.async_projectors().next().is_some() {
                        events.push(Event {
                            head: group.head,
                            command: command.clone(),
                        });
                    }
                }
                Entry::Projection(projection) => self.projection(state, projection, events)?,
                // What it did is a command, and what it failed to do is nothing.
                Entry::Job(_) => {}
            }
        }
        self.overlay.clear();
        Ok(())
    }

    fn differs(&mut self, offset: u64, extension: &str, what: String) {
        self.found.differences.push(Difference {
            partition: self.partition,
            offset,
            extension: extension.to_owned(),
            what,
        });
    }

    fn command(&mut self, state: &State, head: GroupHead, command: &Command) {
        self.found.commands += 1;
        let program = self.program.clone();
        let catalog = &program.spec().catalog;
        let context = Context {
            time: head.time,
            seed: head.seed,
            partition: self.partition,
            offset: command.offset,
            attempt: command.attempt,
            id: command.id.as_deref(),
        };
        let ground = Ground {
            base: &*state.store,
            context,
            logger: &silent(),
            logged: Some(&command.steps),
        };
        let extension = program.command_or_job(&command.name);
        let run = match &extension {
            Ok(extension) => {
                let schema = &program.spec().extensions[*extension].decl.args;
                logged(schema, &command.args).and_then(|args| {
                    self.runner
                        .run(ground, &mut self.overlay, *extension, &args)
                })
            }
            Err(error) => Err(error.clone()),
        };
        let then = command.steps.first().map(|then| then.package);
        let now = extension.map(|extension| self.runner.instances.hash_of(extension));
        self.found.other_code += u64::from(now.is_ok_and(|now| Some(now) != then));
        let differences = differences(catalog, command, run, &self.runner);
        for (extension, what) in differences {
            self.differs(command.offset, &extension, what);
        }
        self.overlay.take_back();
        self.overlay.set_steps(&command.steps);
    }

    fn projection(
        &mut self,
        state: &State,
        projection: &Projection,
        events: &mut Vec<Event>,
    ) -> Result<()> {
        let program = self.program.clone();
        if let Some(extension) = program.spec().extension(&projection.projector) {
            let package = program.package_of(extension);
            let version = self.versions.of(package, projection.package)?;
            self.projectors.put(package, &version);
        }
        let started = state.projections.get(&projection.projector);
        let from = started.map_or(0, |progress| progress.through);
        let mut overlay = Overlay::new(program.spec().catalog.len());
        let mut logged = projection.events.iter().peekable();
        let due = from..projection.through;
        for event in events.iter().filter(|e| due.contains(&e.command.offset)) {
            let offset = event.command.offset;
            // What was counted of commands before the beginning of this replay stays as it is.
            while let Some(then) = logged.next_if(|then| then.offset < offset) {
                overlay.set_all(&then.intents);
            }
            let nothing = Counted::default();
            let then = logged.next_if(|then| then.offset == offset);
            let Counted {
                intents: then,
                answers,
                ..
            } = then.unwrap_or(&nothing);
            let counted = self.count(state, &overlay, &projection.projector, event, answers);
            let what = match counted {
                Ok(Some((package, now))) => {
                    self.found.events += 1;
                    let other: PackageHash = projection.package;
                    self.found.other_code += u64::from(package != other);
                    compare(&program.spec().catalog, then, &now)
                }
                Ok(None) if then.is_empty() => None,
                Ok(None) => Some("no longer counts this command".to_owned()),
                Err(error) => Some(format!("counted then, fails now: {error}")),
            };
            if let Some(what) = what {
                self.differs(offset, &projection.projector, what);
            }
            overlay.set_all(then);
        }
        self.overlay.set_all_of(projection);
        let slowest = program
            .async_projectors()
            .map(|extension| {
                let name = program.name_of(extension);
                if name == projection.projector {
                    return projection.through;
                }
                state
                    .projections
                    .get(name)
                    .map_or(0, |progress| progress.through)
            })
            .min();
        events.retain(|event| slowest.is_some_and(|slowest| event.command.offset >= slowest));
        Ok(())
    }

    /// Runs an asynchronous projector for one command, if it is for it.
    fn count(
        &mut self,
        state: &State,
        overlay: &Overlay,
        projector: &str,
        event: &Event,
        answers: &[ForeignAnswer],
    ) -> Result<Option<(PackageHash, Intents)>> {
        let program = self.program.clone();
        let Some(extension) = program.spec().extension(projector) else {
            return Ok(None);
        };
        let Event { head, command } = event;
        if !program.spec().extensions[extension]
            .on
            .contains(&command.name)
        {
            return Ok(None);
        }
        let row = logged_event(&program.spec().catalog, command)?;
        let view = overlay.above(&*state.store);
        let logger = silent();
        let journal = Journal::of(Some(answers));
        let host = PartitionHost {
            view: &view,
            context: Context {
                time: head.time,
                seed: head.seed,
                partition: self.partition,
                offset: command.offset,
                attempt: command.attempt,
                id: command.id.as_deref(),
            },
            extension: projector,
            event: Some(&row),
            logger: &logger,
            journal: Some(&journal),
        };
        let mut intents = Intents::new();
        self.projectors
            .invoke(extension, EMPTY, None, &host, &mut intents)
            .result?;
        journal.check()?;
        Ok(Some((self.projectors.hash_of(extension), intents)))
    }
}

/// What the extensions log is history.
pub(crate) fn silent() -> impl Fn(&LogLine<'_>) + Send + Sync {
    |_: &LogLine<'_>| {}
}
