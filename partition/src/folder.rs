//! The data folder: whose it is, how many partitions it has, and what its log and its rows were written under.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use engine_core::catalog::{Catalog, StorageId};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::manifest::ExtensionKind;
use engine_core::schema::Schema;
use serde::{Deserialize, Serialize};

use crate::application::mismatch;
use crate::log::SegmentLog;
use crate::manifest::{AppSpec, MAX_PARTITIONS};
use crate::platform::{Access, FolderLock, Platform};
use crate::state::{State, log_error};
use crate::store::StoreKind;

/// The version of the folder's layout.
const FORMAT: u32 = 1;

/// What `application.json` in a data folder says.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct FolderFacts {
    format: u32,
    /// The application's name.
    pub application: String,
    /// The number of partitions, fixed when the folder was made.
    pub partitions: u32,
    /// The driver that keeps the rows, fixed when the folder was made.
    #[serde(default)]
    pub store: StoreKind,
    /// Whether every partition was opened once, and has a log since then.
    #[serde(default)]
    pub(crate) opened: bool,
    /// The storages, with the schemas of today's rows.
    pub storages: BTreeMap<String, StorageFacts>,
    /// The commands that the logs may have, those that are no longer declared among them.
    #[serde(default)]
    pub commands: BTreeMap<String, CommandFacts>,
    /// The commands that each asynchronous projector counts, also of those that are no longer declared.
    #[serde(default)]
    pub projectors: BTreeMap<String, BTreeSet<String>>,
}

/// The schemas of a storage, as texts, and who writes it.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct StorageFacts {
    /// The key's fields.
    pub key: String,
    /// The value's fields.
    pub value: String,
    /// Who writes it, or did so last; absent where nobody has, or an earlier build did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<StorageWriter>,
}

/// Who writes a storage.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum StorageWriter {
    /// Commands and jobs, and what runs with them.
    Commands,
    /// The asynchronous projector of this name.
    Projector(String),
}

impl StorageWriter {
    fn of(spec: &AppSpec, storage: StorageId) -> Option<Self> {
        let mut extensions = spec.extensions.iter();
        let writer = extensions.find(|e| e.decl.verbs(storage).writes())?;
        Some(match writer.asynchronous {
            true => Self::Projector(writer.decl.name.to_string()),
            false => Self::Commands,
        })
    }
}

impl std::fmt::Display for StorageWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Commands => f.write_str("what runs with commands"),
            Self::Projector(name) => write!(f, "asynchronous projector `{name}`"),
        }
    }
}

/// What a command is logged under.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct CommandFacts {
    /// The arguments' fields.
    pub args: String,
    /// The result's fields.
    pub result: String,
    /// The argument that chooses the partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
}

/// Whether a partition in a data folder, whatever its number, has a log.
fn has_log(platform: &dyn Platform, data: &Path) -> Result<bool> {
    let names = match platform.files().list(data) {
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        names => names.map_err(io("list", data))?,
    };
    for name in names.iter().filter(|name| name.starts_with("partition-")) {
        if SegmentLog::is_there(platform, &log_folder(&data.join(name))).map_err(log_error)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The folder of one partition.
pub(crate) fn of_partition(data: &Path, number: u32) -> PathBuf {
    data.join(format!("partition-{number}"))
}

/// Where a partition keeps its log.
pub(crate) fn log_folder(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// Where a partition keeps its checkpoints.
pub(crate) fn checkpoint_folder(folder: &Path) -> PathBuf {
    folder.join("checkpoints")
}

/// Where a partition keeps its rows, if its store is on disk.
pub(crate) fn store_folder(folder: &Path) -> PathBuf {
    folder.join("store")
}

impl FolderFacts {
    fn of(spec: &AppSpec) -> Self {
        let storages = spec.catalog.storages().filter(|(id, _)| !id.is_system());
        let commands = spec.of_kind(ExtensionKind::Command);
        let projectors = spec.extensions.iter().filter(|e| e.asynchronous);
        Self {
            format: FORMAT,
            application: spec.name.clone(),
            partitions: spec.partitions,
            store: spec.partition.store,
            opened: false,
            storages: storages
                .map(|(id, storage)| {
                    let facts = StorageFacts {
                        key: storage.key.to_string(),
                        value: storage.value.to_string(),
                        writer: StorageWriter::of(spec, id),
                    };
                    (storage.name.to_string(), facts)
                })
                .collect(),
            commands: commands
                .map(|(_, command)| {
                    let decl = &command.decl;
                    let field = command.route.and_then(|at| decl.args.fields().get(at));
                    let facts = CommandFacts {
                        args: decl.args.to_string(),
                        result: decl.result.to_string(),
                        route: field.map(|field| field.name.to_string()),
                    };
                    (decl.name.to_string(), facts)
                })
                .collect(),
            projectors: projectors
                .map(|e| (e.decl.name.to_string(), e.on.iter().cloned().collect()))
                .collect(),
        }
    }

    /// Takes over what the manifest no longer says and the data still goes by.
    fn go_on_from(&mut self, found: &Self) {
        for (name, old) in &found.storages {
            if let Some(new) = self.storages.get_mut(name) {
                new.writer = new.writer.take().or_else(|| old.writer.clone());
            }
        }
        for (name, old) in &found.commands {
            let new = self.commands.entry(name.clone());
            new.or_insert_with(|| old.clone());
        }
        for (name, old) in &found.projectors {
            let new = self.projectors.entry(name.clone());
            new.or_insert_with(|| old.clone());
        }
    }

    /// Reads what a data folder says of itself; nothing where there is no folder yet.
    ///
    /// # Errors
    /// `corrupt` where it is not readable, of another version, or gone from beside a log; `io`.
    pub fn read(platform: &dyn Platform, data: &Path) -> Result<Option<Self>> {
        let path = data.join("application.json");
        let files = platform.files();
        if !files.exists(&path).map_err(io("look for", &path))? {
            return match has_log(platform, data)? {
                false => Ok(None),
                // It was durable before there was any log.
                true => Err(Error::new(
                    ErrorKind::Corrupt,
                    format!(
                        "{} is gone, and the logs beside it say nothing of what they were written under: restore it, or the \
                         data folder, from a copy",
                        path.display()
                    ),
                )),
            };
        }
        let text = files.read(&path).map_err(io("read", &path))?;
        let facts: Self = serde_json::from_slice(&text).map_err(|source| {
            Error::new(
                ErrorKind::Corrupt,
                format!("{} is damaged: {source}", path.display()),
            )
        })?;
        if facts.format != FORMAT {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "{} has layout {}; this build reads layout {FORMAT}",
                    path.display(),
                    facts.format
                ),
            ));
        }
        if !(1..=MAX_PARTITIONS).contains(&u64::from(facts.partitions)) {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "{} is damaged: it has {} partitions, and there are 1 to {MAX_PARTITIONS}",
                    path.display(),
                    facts.partitions
                ),
            ));
        }
        Ok(Some(facts))
    }

    /// Finds the logs that were there once and are gone, which no crash explains: one `corrupt` for each.
    ///
    /// # Errors
    /// `io`.
    pub(crate) fn lost_logs(&self, platform: &dyn Platform, data: &Path) -> Result<Vec<Error>> {
        let mut lost = Vec::new();
        for number in 0..if self.opened { self.partitions } else { 0 } {
            let folder = log_folder(&of_partition(data, number));
            if !SegmentLog::is_there(platform, &folder).map_err(log_error)? {
                let message = format!(
                    "the log of partition {number} in {} is gone, and with it commands that were answered; restore the \
                     data folder from a copy",
                    folder.display()
                );
                lost.push(Error::new(ErrorKind::Corrupt, message));
            }
        }
        Ok(lost)
    }

    fn check_logs(&self, platform: &dyn Platform, data: &Path) -> Result<()> {
        let lost = self.lost_logs(platform, data)?.into_iter().next();
        lost.map_or(Ok(()), Err)
    }

    /// A catalog of the storages, for reading rows without the application.
    ///
    /// # Errors
    /// `manifest` where a schema is not readable.
    pub fn catalog(&self) -> Result<Catalog> {
        let mut catalog = Catalog::default();
        for (name, facts) in &self.storages {
            catalog.add(
                name,
                Schema::parse(&facts.key)?,
                Schema::parse(&facts.value)?,
            )?;
        }
        Ok(catalog)
    }
}

/// A data folder that is an application's, with every other opening kept out.
pub(crate) struct Claim {
    pub(crate) facts: Arc<Facts>,
    /// Storages that would get another writer, which none with rows may.
    moved: Vec<(StorageId, Error)>,
    /// Asynchronous projectors that write nothing of what they wrote, or count commands that they passed over, which none
    /// that has counted may.
    renewed: Vec<(String, Error)>,
    pub(crate) lock: FolderLock,
}

impl Claim {
    /// Checks what depends on the state of a partition.
    ///
    /// # Errors
    /// `manifest` where commands would count twice, or not at all.
    pub(crate) fn check(&self, state: &State) -> Result<()> {
        for (storage, error) in &self.moved {
            let mut is_empty = true;
            state.store.scan(*storage, &[], None, &mut |_, _| {
                is_empty = false;
                false
            })?;
            if !is_empty {
                return Err(error.clone());
            }
        }
        let counted = |(name, _): &&(String, Error)| state.projections.contains_key(name);
        let renewed = self.renewed.iter().find(counted);
        renewed.map_or(Ok(()), |(_, error)| Err(error.clone()))
    }
}

/// What a data folder says of itself once something is written under today's manifest, and not before: whoever only
/// looks leaves it as it is.
pub(crate) struct Facts {
    platform: Arc<dyn Platform>,
    data: PathBuf,
    is_pending: AtomicBool,
    pending: Mutex<Option<FolderFacts>>,
}

impl Facts {
    /// Says it durably, unless that was done.
    ///
    /// # Errors
    /// `io`.
    pub(crate) fn commit(&self) -> Result<()> {
        if !self.is_pending.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(facts) = &*pending {
            write(&*self.platform, &self.data, facts)?;
            *pending = None;
            self.is_pending.store(false, Ordering::Release);
        }
        Ok(())
    }
}

/// Makes the data folder an application's, or checks that it is, and keeps every other opening out.
///
/// # Errors
/// `busy` where another opening has it; `manifest` where it belongs to another application, has another number of
/// partitions, another store, or schemas or routes that today's do not continue; `corrupt`, `io`.
pub(crate) fn claim(platform: &Arc<dyn Platform>, data: &Path, spec: &AppSpec) -> Result<Claim> {
    let files = platform.files();
    files.create_dir_all(data).map_err(io("create", data))?;
    let lock = files.lock(data).map_err(|source| match source.kind() {
        std::io::ErrorKind::WouldBlock => Error::new(
            ErrorKind::Busy,
            format!(
                "the data folder {} is open already; stop whoever has it first",
                data.display()
            ),
        ),
        _ => io("lock", data)(source),
    })?;
    let mut facts = FolderFacts::of(spec);
    let (mut moved, mut renewed) = (Vec::new(), Vec::new());
    let found = FolderFacts::read(&**platform, data)?;
    match &found {
        Some(found) => {
            check(found, &facts, data)?;
            found.check_logs(&**platform, data)?;
            moved = moves(found, &facts, spec, data);
            renewed = renewals(found, spec, data);
            renewed.extend(additions(found, &facts, data));
            facts.go_on_from(found);
            // Nothing is written before it is.
            facts.opened = true;
        }
        None => write(&**platform, data, &facts)?,
    }
    let pending = found.is_some_and(|found| {
        FolderFacts {
            opened: true,
            ..found
        } != facts
    });
    let facts = Facts {
        platform: platform.clone(),
        data: data.to_owned(),
        is_pending: AtomicBool::new(pending),
        pending: Mutex::new(pending.then_some(facts)),
    };
    Ok(Claim {
        facts: Arc::new(facts),
        moved,
        renewed,
        lock,
    })
}

/// The storages that would get another writer, each with why one with rows may not.
fn moves(
    found: &FolderFacts,
    facts: &FolderFacts,
    spec: &AppSpec,
    data: &Path,
) -> Vec<(StorageId, Error)> {
    let storages = found.storages.iter();
    let moved = storages.filter_map(|(name, old)| {
        let (before, now) = (
            old.writer.as_ref()?,
            facts.storages.get(name)?.writer.as_ref()?,
        );
        let id = spec.catalog.id(name).filter(|_| before != now)?;
        let new = match now {
            StorageWriter::Commands => "",
            StorageWriter::Projector(_) => ", which it fills from the first command on",
        };
        let message = format!(
            "storage `{name}` in {} has rows that {before} wrote, and the manifest has {now} write it: commands would count \
             twice or not at all. Give {now} a new storage{new}, or leave `{name}` to {before}",
            data.display()
        );
        Some((id, mismatch(message)))
    });
    moved.collect()
}

/// The asynchronous projectors that would go on from where they are with none of the storages that they wrote, each with
/// why one that has counted may not.
fn renewals(found: &FolderFacts, spec: &AppSpec, data: &Path) -> Vec<(String, Error)> {
    let knows = |storage: &StorageFacts| storage.writer.is_some();
    if !found.storages.values().any(knows) {
        return Vec::new();
    }
    let projectors = spec.extensions.iter().filter(|e| e.asynchronous);
    let renewed = projectors.filter_map(|projector| {
        let name = projector.decl.name.to_string();
        let own = StorageWriter::Projector(name.clone());
        let storages = spec.catalog.storages();
        let mut written = storages
            .filter(|(id, _)| !id.is_system() && projector.decl.verbs(*id).writes())
            .peekable();
        written.peek()?;
        let is_own = |name: &str| {
            let found = found.storages.get(name);
            found.is_some_and(|storage| storage.writer.as_ref() == Some(&own))
        };
        let message = format!(
            "{own} in {} has counted commands into other storages than the manifest has it write now, and would leave \
             those commands out: give it a new name, under which it begins at the first command",
            data.display()
        );
        let is_new = written.all(|(_, storage)| !is_own(&storage.name));
        is_new.then(|| (name, mismatch(message)))
    });
    renewed.collect()
}

/// The asynchronous projectors that would count commands which they passed over so far, each with why one that has counted
/// may not. An earlier build did not say what they count, and a command that is new has nothing that was passed over.
fn additions<'a>(
    found: &'a FolderFacts,
    facts: &'a FolderFacts,
    data: &'a Path,
) -> impl Iterator<Item = (String, Error)> + 'a {
    let projectors = facts.projectors.iter();
    projectors.filter_map(move |(name, on)| {
        let mut added = on.difference(found.projectors.get(name)?);
        let command = added.find(|command| found.commands.contains_key(*command))?;
        let message = format!(
            "asynchronous projector `{name}` in {} has counted without `{command}`, which its `on` names now, and would \
             leave out those that came so far: give it a new name and new storages, and it begins at the first command",
            data.display()
        );
        Some((name.clone(), mismatch(message)))
    })
}

/// Notes in a claimed data folder that every partition is open, and has a log from now on.
///
/// # Errors
/// `corrupt`, `io`.
pub(crate) fn opened(platform: &dyn Platform, data: &Path) -> Result<()> {
    match FolderFacts::read(platform, data)? {
        Some(mut facts) if !facts.opened => {
            facts.opened = true;
            write(platform, data, &facts)
        }
        _ => Ok(()),
    }
}

/// Checks that a data folder is an application's, without keeping anybody out.
///
/// # Errors
/// Those of [`claim`], but for `busy`; `unknown` where there is no data folder.
pub(crate) fn belongs(platform: &dyn Platform, data: &Path, spec: &AppSpec) -> Result<()> {
    match FolderFacts::read(platform, data)? {
        Some(found) => {
            check(&found, &FolderFacts::of(spec), data)?;
            found.check_logs(platform, data)
        }
        None => Err(Error::new(
            ErrorKind::Unknown,
            format!("there is no data folder {}", data.display()),
        )),
    }
}

fn write(platform: &dyn Platform, data: &Path, facts: &FolderFacts) -> Result<()> {
    let text = serde_json::to_vec_pretty(facts)
        .map_err(|source| Error::new(ErrorKind::Internal, source.to_string()))?;
    put(platform, data, "application.json", &text)
}

/// Writes a file durably, whole or not at all.
///
/// # Errors
/// `io`.
pub(crate) fn put(platform: &dyn Platform, folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let files = platform.files();
    let (path, draft) = (folder.join(name), folder.join("draft"));
    let file = files
        .open(&draft, Access::Truncate)
        .map_err(io("create", &draft))?;
    file.write_all_at(bytes, 0).map_err(io("write", &draft))?;
    file.sync_data().map_err(io("sync", &draft))?;
    files.rename(&draft, &path).map_err(io("rename", &draft))?;
    files.sync_dir(folder).map_err(io("sync", folder))
}

fn check(found: &FolderFacts, facts: &FolderFacts, data: &Path) -> Result<()> {
    let place = data.display();
    if found.application != facts.application {
        return Err(mismatch(format!(
            "the data folder {place} belongs to application `{}`, not to `{}`; choose another folder",
            found.application, facts.application
        )));
    }
    if found.partitions != facts.partitions {
        return Err(mismatch(format!(
            "the data folder {place} has {} partitions and keeps them; it was asked for {}",
            found.partitions, facts.partitions
        )));
    }
    if found.store != facts.store {
        return Err(mismatch(format!(
            "the data folder {place} has its rows in store `{0}` and keeps them there; the manifest says `{1}`: set \
             `store = \"{0}\"` in `[partition]`, or run the commands again into another folder",
            found.store.name(),
            facts.store.name()
        )));
    }
    for (name, old) in &found.storages {
        let Some(new) = facts.storages.get(name) else {
            return Err(mismatch(format!(
                "the data folder {place} has a storage `{name}`, which the manifest no longer declares; declare it as key `{}`, value `{}`",
                old.key, old.value
            )));
        };
        if old.key != new.key {
            return Err(mismatch(format!(
                "storage `{name}` in {place} has the key `{}`, the manifest says `{}`; a key never changes",
                old.key, new.key
            )));
        }
        if !continues(&Schema::parse(&new.value)?, &Schema::parse(&old.value)?) {
            return Err(mismatch(format!(
                "storage `{name}` in {place} has the value `{}`, the manifest says `{}`; a value only gets new fields at its end, and defaults stay",
                old.value, new.value
            )));
        }
    }
    let commands = found.commands.iter();
    let mut commands =
        commands.filter_map(|(name, old)| Some((name, old, facts.commands.get(name)?)));
    commands
        .try_for_each(|(name, old, new)| check_command(name, (old, new), facts.partitions, &place))
}

fn check_command(
    name: &str,
    (old, new): (&CommandFacts, &CommandFacts),
    partitions: u32,
    place: &dyn std::fmt::Display,
) -> Result<()> {
    for (what, old, new) in [
        ("args", &old.args, &new.args),
        ("result", &old.result, &new.result),
    ] {
        if !continues(&Schema::parse(new)?, &Schema::parse(old)?) {
            return Err(mismatch(format!(
                "command `{name}` is logged in {place} with {what} `{old}`, the manifest says `{new}`; they only get new \
                 fields at their end, and defaults stay: give a command that needs others a new name"
            )));
        }
    }
    if partitions > 1 && old.route != new.route {
        let said = |route: &Option<String>| match route {
            Some(field) => format!("by `{field}`"),
            None => "all to one".to_owned(),
        };
        return Err(mismatch(format!(
            "command `{name}` went to the {partitions} partitions in {place} {}, and with this manifest would go {}, where its \
             rows and ids are not: keep `route`, or run the commands again into another folder",
            said(&old.route),
            said(&new.route)
        )));
    }
    Ok(())
}

/// Whether rows of `old` read the same under `new`: the same fields with the same defaults, for rows that are older
/// still, and perhaps more behind them.
fn continues(new: &Schema, old: &Schema) -> bool {
    let mut pairs = new.fields().iter().zip(old.fields());
    new.len() >= old.len()
        && pairs.all(|(new, old)| {
            let same = new.name == old.name && new.ty == old.ty && new.default == old.default;
            same && (new.optional || !old.optional)
        })
}

/// What the operating system said, in the contract's terms.
pub(crate) fn io<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Error + 'a {
    move |source| {
        Error::new(
            ErrorKind::Io,
            format!("cannot {what} {}: {source}", path.display()),
        )
        .with_source(source)
    }
}
