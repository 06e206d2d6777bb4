//! The data folder: whose it is, how many partitions it has, and which schemas its rows were written under.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use engine_core::catalog::Catalog;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::schema::Schema;
use serde::{Deserialize, Serialize};

use crate::application::mismatch;
use crate::log::SegmentLog;
use crate::manifest::{AppSpec, MAX_PARTITIONS};
use crate::partition::log_folder;
use crate::platform::{Access, FolderLock, Platform};
use crate::state::log_error;
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
    opened: bool,
    /// The storages, with the schemas of today's rows.
    pub storages: BTreeMap<String, StorageFacts>,
}

/// The schemas of a storage, as texts.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct StorageFacts {
    /// The key's fields.
    pub key: String,
    /// The value's fields.
    pub value: String,
}

/// The folder of one partition.
pub(crate) fn of_partition(data: &Path, number: u32) -> PathBuf {
    data.join(format!("partition-{number}"))
}

impl FolderFacts {
    fn of(spec: &AppSpec) -> Self {
        let storages = spec.catalog.storages().filter(|(id, _)| !id.is_system());
        Self {
            format: FORMAT,
            application: spec.name.clone(),
            partitions: spec.partitions,
            store: spec.partition.store,
            opened: false,
            storages: storages
                .map(|(_, storage)| {
                    let facts = StorageFacts {
                        key: storage.key.to_string(),
                        value: storage.value.to_string(),
                    };
                    (storage.name.to_string(), facts)
                })
                .collect(),
        }
    }

    /// Reads what a data folder says of itself; nothing where there is no folder yet.
    ///
    /// # Errors
    /// `corrupt` where it is not readable or of another version, `io`.
    pub fn read(platform: &dyn Platform, data: &Path) -> Result<Option<Self>> {
        let path = data.join("application.json");
        let files = platform.files();
        if !files.exists(&path).map_err(io("look for", &path))? {
            return Ok(None);
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

/// Makes the data folder an application's, or checks that it is, and keeps every other opening out.
///
/// # Errors
/// `busy` where another opening has it; `manifest` where it belongs to another application, has another number of
/// partitions, another store, or schemas that today's do not continue; `corrupt`, `io`.
pub(crate) fn claim(platform: &dyn Platform, data: &Path, spec: &AppSpec) -> Result<FolderLock> {
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
    let found = FolderFacts::read(platform, data)?;
    if let Some(found) = &found {
        check(found, &facts, data)?;
        facts.opened = found.opened;
        found.check_logs(platform, data)?;
    }
    if found.as_ref() != Some(&facts) {
        write(platform, data, &facts)?;
    }
    Ok(lock)
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
