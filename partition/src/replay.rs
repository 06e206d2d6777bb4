//! Replay: the logged commands run again, on this build's engines, and every difference in what they ask for.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use engine_core::catalog::{Catalog, CommandSchema};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::factory;
use engine_core::intent::{Intent, Intents};
use engine_core::schema::Schema;

use crate::folder;
use crate::host::{Context, LogLine, PartitionHost, logged, logged_event};
use crate::ids::Window;
use crate::journal::Journal;
use crate::lineup::hex;
use crate::log::{Owner, Position, SegmentLog};
use crate::overlay::Overlay;
use crate::packages;
use crate::partition::{checkpoint_folder, log_folder, store_folder};
use crate::platform::Platform;
use crate::program::{Instances, Loaded, Program};
use crate::record::{
    Command, Counted, Entry, ForeignAnswer, Group, GroupHead, LoggedStep, PackageHash, Projection,
};
use crate::runner::{EMPTY, Ground, Runner};
use crate::state::{State, log_error};
use crate::store::{StoreKind, StorePlace};
use crate::{checkpoint, rows};

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

/// One difference between the log and a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The partition.
    pub partition: u32,
    /// The offset of the command.
    pub offset: u64,
    /// The extension.
    pub extension: String,
    /// What differs.
    pub what: String,
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
        set_steps(&mut self.overlay, &command.steps);
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
                set_all(&mut overlay, &then.intents);
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
            set_all(&mut overlay, then);
        }
        set_all_of(&mut self.overlay, projection);
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

/// What a run of a logged command asked for otherwise than it did then: extensions, and what differs in words.
pub(crate) fn differences(
    catalog: &Catalog,
    command: &Command,
    run: Result<()>,
    runner: &Runner,
) -> Vec<(String, String)> {
    if let Err(error) = run {
        let what = format!("accepted then, refused now: {} ({})", error, error.kind());
        return vec![(command.name.clone(), what)];
    }
    let mut differences = Vec::new();
    let gone = |then: &LoggedStep| (then.extension.clone(), "asks for nothing now".to_owned());
    let mut logged = command.steps.as_slice();
    for (i, step) in runner.steps().enumerate() {
        let same = |then: &LoggedStep| then.extension == step.extension;
        let then = logged.iter().position(same).map(|at| {
            differences.extend(logged[..at].iter().map(gone));
            let then = &logged[at];
            logged = &logged[at + 1..];
            then
        });
        let empty = Intents::new();
        let before = then.map_or(&empty, |then| &then.intents);
        if let Some(what) = compare(catalog, before, step.intents) {
            differences.push((step.extension.to_owned(), what));
        }
        if i == 0 && !same_results(catalog, command, step.intents) {
            differences.push((step.extension.to_owned(), "another result".to_owned()));
        }
    }
    differences.extend(logged.iter().map(gone));
    differences
}

/// Makes the logged intents of a command what later ones of its group see.
pub(crate) fn set_steps(overlay: &mut Overlay, steps: &[LoggedStep]) {
    for step in steps {
        set_all(overlay, &step.intents);
    }
    overlay.accept();
}

fn set_all(overlay: &mut Overlay, intents: &Intents) {
    for intent in intents.iter() {
        let value =
            (intent.verb != engine_core::manifest::Verb::Delete).then(|| intent.value.into());
        overlay.set(intent.storage, intent.key.into(), value);
    }
}

/// As [`set_steps`], for what a projector made.
pub(crate) fn set_all_of(overlay: &mut Overlay, projection: &Projection) {
    for event in &projection.events {
        set_all(overlay, &event.intents);
    }
    overlay.accept();
}

/// What the extensions log is history.
pub(crate) fn silent() -> impl Fn(&LogLine<'_>) + Send + Sync {
    |_: &LogLine<'_>| {}
}

/// Whether a command has the results that it had, with the fields that their schema has got since.
fn same_results(catalog: &Catalog, command: &Command, now: &Intents) -> bool {
    let then = command.results.iter().map(Vec::as_slice);
    if now.results().eq(then.clone()) {
        return true;
    }
    let schema = catalog.command(&command.name);
    let (now, then): (Vec<_>, Vec<_>) = (now.results().collect(), then.collect());
    schema.is_some_and(|CommandSchema { result, .. }| {
        let mut pairs = then.iter().zip(&now);
        then.len() == now.len() && pairs.all(|(then, now)| same_rows(result, then, now))
    })
}

/// Whether two intents ask for the same, with the fields that the row has got since.
fn is_same(catalog: &Catalog, then: &Intent<'_>, now: &Intent<'_>) -> bool {
    let of = |intent: &Intent<'_>| (intent.verb, intent.storage);
    of(then) == of(now)
        && then.key == now.key
        && same_rows(&catalog.storage(then.storage).value, then.value, now.value)
}

fn same_rows(schema: &Schema, then: &[u8], now: &[u8]) -> bool {
    let rows = (schema.normalise(then), schema.normalise(now));
    matches!(rows, (Ok(then), Ok(now)) if then == now)
}

/// The first difference between intents then and now, in words.
fn compare(catalog: &Catalog, then: &Intents, now: &Intents) -> Option<String> {
    let mut before = then.iter();
    let mut after = now.iter();
    loop {
        match (before.next(), after.next()) {
            (None, None) => return None,
            (a, b) if a == b => {}
            (Some(a), Some(b)) if is_same(catalog, &a, &b) => {}
            (a, b) => {
                let show = |intent: Option<Intent<'_>>| {
                    intent.map_or("nothing".to_owned(), |intent| {
                        let storage = catalog.storage(intent.storage);
                        let row = rows::to_json(catalog, intent.storage, intent.key, intent.value);
                        let row = row.map_or_else(
                            |_| "…".to_owned(),
                            |row| serde_json::Value::Object(row).to_string(),
                        );
                        format!("{} {} {row}", intent.verb, storage.name)
                    })
                };
                return Some(format!("then {}, now {}", show(a), show(b)));
            }
        }
    }
}
