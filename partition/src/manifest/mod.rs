//! An application's manifest, `app.toml`: what it says, checked whole before anything starts.
//!
//! Every problem is reported at once, each with its line and column and what to do:
//!
//! ```
//! use partition::manifest::AppSpec;
//! use std::path::Path;
//!
//! let text = r#"
//! [app]
//! name = "notes"
//!
//! [storages.note]
//! key = "id: int"
//! value = "text: txt"
//!
//! [packages.notes]
//! builtin = "notes"
//!
//! [extensions.AddNote]
//! kind = "command"
//! args = "id: int, text: text"
//! access = { notes = ["insert"] }
//! "#;
//! let error = AppSpec::parse(text, Path::new(".")).unwrap_err();
//! let mut lines = error.message().lines();
//! assert!(lines.next().unwrap().starts_with("app.toml:7:9: `value`: expected a type"));
//! assert_eq!(
//!     lines.next().unwrap(),
//!     "app.toml:15:12: `notes` is no storage: did you mean `note`?"
//! );
//! ```
//!
//! A text that is not TOML is reported for that alone, with all its syntax errors.

mod extension;
mod near;
mod number;
mod package;
mod problems;
mod rules;
mod schedule;
mod section;
mod storage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_core::catalog::{Catalog, CommandSchema};
use engine_core::engine::{Code, PackageSource, read_code};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::{EngineKind, ExtEngineFactory, factory};
use engine_core::foreign::ForeignFunctions;
use engine_core::limits::{Limit, Limits};
use engine_core::manifest::{ExtensionDecl, ExtensionKind, PackageManifest, Policy};
use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::DeTable;

use crate::store::StoreKind;
use problems::Problems;
pub(crate) use schedule::utc;
pub use schedule::{Cron, Schedule};
use section::{Section, check_name};

/// The manifest's name in an application's folder.
pub const MANIFEST: &str = "app.toml";

/// The most partitions that an application may have, each of which has a thread.
pub(crate) const MAX_PARTITIONS: u64 = 1024;

/// An application as its manifest describes it.
#[derive(Clone, Debug)]
pub struct AppSpec {
    /// The name.
    pub name: String,
    /// The folder that the manifest's file names start from.
    pub folder: PathBuf,
    /// How many partitions a new data folder gets; at least 1.
    pub partitions: u32,
    /// The file of commands to run where none is named, folder included.
    pub commands: Option<PathBuf>,
    /// The storages and commands, and the foreign functions that there are.
    pub catalog: Arc<Catalog>,
    /// The packages, in the manifest's order.
    pub packages: Vec<PackageSpec>,
    /// The extensions of all packages, in the manifest's order.
    pub extensions: Vec<ExtensionSpec>,
    /// The settings of every partition.
    pub partition: PartitionSpec,
}

/// A package.
#[derive(Clone, Debug)]
pub struct PackageSpec {
    /// The name.
    pub name: String,
    /// The engine, the application's where the package names none; absent where neither does, so that the caller must choose.
    ///
    /// This build may lack it.
    pub engine: Option<String>,
    /// The file of the WASM module, folder included.
    pub wasm: Option<PathBuf>,
    /// The file of the Lua chunk, folder included.
    pub lua: Option<PathBuf>,
    /// The name of the native package.
    pub builtin: Option<String>,
    /// How long its instances live.
    pub policy: Policy,
    /// Its limits.
    pub limits: Limits,
    /// The limits that need not be kept, by engine.
    pub waive: BTreeMap<String, Vec<Limit>>,
    /// When a version that was put in while it ran is taken back; never where absent.
    pub rollback: Option<Rollback>,
    /// Positions in [`AppSpec::extensions`], in the order of the package's own numbers.
    pub extensions: Vec<usize>,
}

impl PackageSpec {
    /// The engine that the package runs on where the caller chooses none.
    ///
    /// # Errors
    /// `manifest` where neither the package nor the application names one, `unknown` where this build lacks it.
    pub fn factory(&self) -> Result<&'static dyn ExtEngineFactory> {
        match &self.engine {
            Some(engine) => factory(engine),
            None => Err(Error::new(
                ErrorKind::Manifest,
                format!(
                    "package `{}` names no engine: give it `engine = \"…\"`, or choose one on the command line",
                    self.name
                ),
            )),
        }
    }

    /// The file with the package's code for engines of a kind.
    pub fn file(&self, kind: EngineKind) -> Option<&Path> {
        match kind {
            EngineKind::Wasm => self.wasm.as_deref(),
            EngineKind::Lua => self.lua.as_deref(),
            EngineKind::Builtin => None,
        }
    }
}

/// When a version that was put in the place of another one is taken back by itself.
///
/// Failures are those of the code: traps, panics, limits, broken rules of the boundary, intents that are not allowed or do
/// not fit. What an extension refuses in its own words, or for the state that it met, is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// How many failures are too many.
    pub failures: u32,
    /// Among how many of the last invocations, on all partitions together.
    pub of: u32,
}

impl Default for Rollback {
    fn default() -> Self {
        Self {
            failures: 3,
            of: 100,
        }
    }
}

/// An extension.
#[derive(Clone, Debug)]
pub struct ExtensionSpec {
    /// Name, kind, schemas and access.
    pub decl: ExtensionDecl,
    /// The position of its package in [`AppSpec::packages`].
    pub package: usize,
    /// Its position within the package.
    pub number: usize,
    /// The position of the argument that chooses the partition.
    pub route: Option<usize>,
    /// The commands that a validator or projector runs for.
    pub on: Vec<String>,
    /// Whether it is a projector that follows the log at its own pace.
    pub asynchronous: bool,
    /// Whether such a projector does without the commands that the log has forgotten before it counted them.
    pub from_oldest: bool,
    /// When it runs, if it is a job.
    pub schedule: Option<Schedule>,
}

/// The settings of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionSpec {
    /// Commands that wait before the answer is `busy`; 1,024.
    pub queue: usize,
    /// Commands of one durable group; 1,024.
    pub group_commands: usize,
    /// Bytes of intents after which a group takes no more commands; 1 MiB.
    pub group_bytes: usize,
    /// Accepted command ids that are remembered; 1,000,000.
    pub ids: usize,
    /// Bytes of those ids and their commands' results, of which the oldest are forgotten first; 256 MiB.
    pub ids_bytes: u64,
    /// The most bytes of log between checkpoints, and four times the least; between them, as many as the last checkpoint
    /// had. 64 MiB.
    pub checkpoint_bytes: u64,
    /// Bytes of a log segment; 64 MiB.
    pub segment_bytes: u64,
    /// Bytes of log that are kept below what recovery and projectors need; the whole log where absent.
    pub retention_bytes: Option<u64>,
    /// Threads that answer queries; 1.
    pub query_threads: usize,
    /// Queries that wait before the answer is `busy`; 1,024.
    pub query_queue: usize,
    /// The driver that keeps the rows: `memory`, or `disk` for states larger than memory; `memory`.
    ///
    /// An application without a data folder has its rows in memory.
    #[serde(skip)]
    pub store: StoreKind,
    /// About how many bytes of memory a store on disk uses in each partition; 128 MiB.
    pub store_bytes: u64,
}

impl Default for PartitionSpec {
    fn default() -> Self {
        Self {
            queue: 1024,
            group_commands: 1024,
            group_bytes: 1 << 20,
            ids: 1_000_000,
            ids_bytes: 256 << 20,
            checkpoint_bytes: 64 << 20,
            segment_bytes: 64 << 20,
            retention_bytes: None,
            query_threads: 1,
            query_queue: 1024,
            store: StoreKind::default(),
            store_bytes: 128 << 20,
        }
    }
}

impl PartitionSpec {
    /// The highest value of a setting: what is allocated or started at once has a bound.
    fn most(setting: &str) -> u64 {
        match setting {
            "queue" | "query_queue" | "group_commands" => 1 << 20,
            "query_threads" => 256,
            _ => u64::MAX,
        }
    }
}

impl AppSpec {
    /// Reads the manifest of an application's folder, or the manifest that is itself named; its extensions may call the
    /// built-in foreign functions.
    ///
    /// # Errors
    /// `io` where the file cannot be read, else those of [`AppSpec::parse`].
    pub fn load(folder: &Path) -> Result<Self> {
        Self::load_with(folder, foreign::builtin())
    }

    /// As [`AppSpec::load`], with these foreign functions instead of the built-in ones.
    ///
    /// # Errors
    /// As [`AppSpec::load`].
    pub fn load_with(folder: &Path, functions: ForeignFunctions) -> Result<Self> {
        let (folder, path) = if folder.is_dir() {
            (folder, folder.join(MANIFEST))
        } else {
            let parent = folder.parent().filter(|p| !p.as_os_str().is_empty());
            (parent.unwrap_or(Path::new(".")), folder.to_owned())
        };
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let message = format!(
                "cannot read the manifest `{}`: {error}; name an application's folder or its `{MANIFEST}`",
                path.display()
            );
            Error::new(ErrorKind::Io, message).with_source(error)
        })?;
        let name = path.file_name().unwrap_or(MANIFEST.as_ref());
        Self::read(&text, &name.to_string_lossy(), folder, functions)
    }

    /// Reads the text of a manifest whose files are in `folder`.
    ///
    /// # Errors
    /// `manifest` with every problem on a line of its own, such as `app.toml:14:8: ...`, in the order of the text.
    pub fn parse(text: &str, folder: &Path) -> Result<Self> {
        Self::parse_with(text, folder, foreign::builtin())
    }

    /// As [`AppSpec::parse`], with these foreign functions instead of the built-in ones.
    ///
    /// # Errors
    /// As [`AppSpec::parse`].
    pub fn parse_with(text: &str, folder: &Path, functions: ForeignFunctions) -> Result<Self> {
        Self::read(text, MANIFEST, folder, functions)
    }

    fn read(text: &str, file: &str, folder: &Path, functions: ForeignFunctions) -> Result<Self> {
        let problems = Problems::new(file, text);
        let document = document(text, &problems)?;
        let root = Section::root(&document, &problems);
        let app = root.section("app");
        if !root.has("app") {
            root.problem(root.span(), "the manifest needs `[app]` with a `name`");
        }
        let app = app.as_ref();
        let name = app.and_then(name).unwrap_or_default();
        let partitions = app.and_then(partitions).unwrap_or(1);
        let engine = app.and_then(|app| app.text("engine"));
        if let (Some(app), Some(engine)) = (app, &engine) {
            package::known_engine(app, engine);
        }
        let commands = app.and_then(|app| package::file(app, "commands", folder));
        app.inspect(|app| app.end());
        let mut catalog = storage::read(&root);
        catalog.set_foreign(functions);
        let mut packages = package::read(&root, folder, engine.as_ref());
        let drafts = extension::read(&root, &catalog, &packages);
        rules::check(&root, &catalog, &drafts, partitions);
        let settings = root.section("partition");
        let settings = settings.map(|table| partition(&table));
        root.end();
        problems.check()?;

        let mut extensions: Vec<ExtensionSpec> = Vec::new();
        for draft in drafts {
            if let Some(spec) = draft.into_spec(&catalog, &packages) {
                packages[spec.package].extensions.push(extensions.len());
                extensions.push(spec);
            }
        }
        for ExtensionSpec { decl, .. } in &extensions {
            if decl.kind == ExtensionKind::Command {
                let schema = CommandSchema {
                    args: decl.args.clone(),
                    result: decl.result.clone(),
                };
                catalog.add_command(&decl.name, schema);
            }
        }
        Ok(Self {
            name,
            folder: folder.to_owned(),
            partitions,
            commands,
            catalog: Arc::new(catalog),
            packages,
            extensions,
            partition: settings.unwrap_or_default(),
        })
    }

    /// Sets another number of partitions.
    ///
    /// # Errors
    /// `manifest` where the number is not within 1 and 1,024, or is above 1 while a command has no `route`.
    pub fn set_partitions(&mut self, partitions: u32) -> Result<()> {
        let refuse = |message| Err(Error::new(ErrorKind::Manifest, message));
        if !(1..=MAX_PARTITIONS).contains(&partitions.into()) {
            return refuse(format!("partitions must be from 1 to {MAX_PARTITIONS}"));
        }
        let mut commands = self.of_kind(ExtensionKind::Command);
        let unrouted = commands.find(|(_, command)| command.route.is_none());
        if let (2.., Some((_, command))) = (partitions, unrouted) {
            return refuse(format!(
                "command `{}` has no `route` in `{MANIFEST}`, so there can be only one partition",
                command.decl.name
            ));
        }
        drop(commands);
        self.partitions = partitions;
        Ok(())
    }

    /// Gives every package ten times its deadline: for running again what ended in time once, where it may take longer.
    pub fn prolong_deadlines(&mut self) {
        for package in &mut self.packages {
            package.limits.deadline_ms = package.limits.deadline_ms.saturating_mul(10);
        }
    }

    /// The position of an extension.
    pub fn extension(&self, name: &str) -> Option<usize> {
        let mut extensions = self.extensions.iter();
        extensions.position(|extension| &*extension.decl.name == name)
    }

    /// The extensions of one kind with their positions, in the manifest's order.
    pub fn of_kind(&self, kind: ExtensionKind) -> impl Iterator<Item = (usize, &ExtensionSpec)> {
        let extensions = self.extensions.iter().enumerate();
        extensions.filter(move |(_, extension)| extension.decl.kind == kind)
    }

    /// What the manifest declares of a package, by its position, for an engine of this name.
    pub(crate) fn declared(&self, package: usize, engine: &str) -> PackageManifest {
        let spec = &self.packages[package];
        let decls = spec.extensions.iter();
        PackageManifest {
            name: spec.name.as_str().into(),
            catalog: Arc::clone(&self.catalog),
            extensions: decls.map(|&i| self.extensions[i].decl.clone()).collect(),
            limits: spec.limits.clone(),
            policy: spec.policy,
            waived: spec.waive.get(engine).cloned().unwrap_or_default(),
        }
    }

    /// Reads the code of a package, by its position, that an engine of this name and kind runs, with what the package declares.
    ///
    /// # Errors
    /// `manifest` where the package has no code of the kind, `io` where its file cannot be read.
    ///
    /// # Panics
    /// Where there is no package of that position.
    pub fn source(&self, package: usize, engine: &str, kind: EngineKind) -> Result<PackageSource> {
        let spec = &self.packages[package];
        let code = match kind {
            EngineKind::Wasm | EngineKind::Lua => {
                let file = spec.file(kind);
                file.map(|file| code(file, spec.limits.code_bytes))
            }
            EngineKind::Builtin => {
                let name = spec.builtin.as_deref();
                name.map(|name| Ok(Code::Native(name.into())))
            }
        };
        let code = code.unwrap_or_else(|| {
            let message = format!(
                "engine `{engine}` runs {kind} code and this package has none: add `{kind} = \"...\"` to `[packages.{}]`, or choose another engine",
                spec.name
            );
            Err(Error::new(ErrorKind::Manifest, message))
        });
        Ok(PackageSource {
            manifest: Arc::new(self.declared(package, engine)),
            code: code.map_err(|error| error.at(|| spec.name.clone()))?,
        })
    }
}

/// Reads the text as TOML.
fn document<'a>(text: &'a str, problems: &Problems<'_>) -> Result<DeTable<'a>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    // What stands twice leaves the rest as it is; after any other error the rest is guesswork.
    let mut is_whole = true;
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let key = text.get(span.clone()).unwrap_or_default();
        if error.message() == "duplicate key" {
            problems.add(span, format!("`{key}` stands twice: keep one"));
        } else {
            is_whole = false;
            problems.add(span, error.message());
        }
    }
    if !is_whole {
        problems.keep_first_of_each_line();
        problems.check()?;
    }
    Ok(Spanned::into_inner(document))
}

fn name(app: &Section<'_>) -> Option<String> {
    app.require("name", "\"...\"");
    let name = app.text("name")?;
    check_name(app, "an application", &name, "-");
    Some(name.into_inner().to_owned())
}

fn partitions(app: &Section<'_>) -> Option<u32> {
    let value = app.value("partitions")?;
    let number = number::number(app, "partitions", value, MAX_PARTITIONS)?;
    u32::try_from(number).ok()
}

fn partition(section: &Section<'_>) -> PartitionSpec {
    let store = section.choice("store", &StoreKind::ALL.map(|kind| (kind.name(), kind)));
    let store = store.unwrap_or_default();
    if !store.is_built() {
        let message = format!("{}, or choose `memory`", store.advice());
        section.problem(section.span_of("store").unwrap_or(section.span()), message);
    }
    PartitionSpec {
        store,
        ..number::numbers(section, PartitionSpec::most)
    }
}

/// Reads a package's code.
fn code(path: &Path, most: u64) -> Result<Code> {
    let read = read_code(path, most).map_err(|error| {
        let message = format!("cannot read `{}`: {error}", path.display());
        Error::new(ErrorKind::Io, message).with_source(error)
    });
    read.map(|bytes| Code::Bytes(bytes.into()))
}
