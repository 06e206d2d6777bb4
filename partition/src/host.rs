//! What a partition answers an extension that asks: a view of its state, and the host's own storages.

use std::borrow::Cow;
use std::fmt;

use engine_core::catalog::{Catalog, StorageId, random_index};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::foreign::ForeignFunction;
use engine_core::host::{Host, TakeRow};
use engine_core::schema::Schema;
use engine_core::stderr::one_line;
use engine_core::value::Writer;

use crate::journal::Journal;
use crate::record::Command;
use crate::store::View;

/// A line that an extension logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// The extension.
    pub extension: &'a str,
    /// The partition that it ran on.
    pub partition: u32,
    /// The level, as the extension gave it.
    pub level: &'a str,
    /// The message.
    pub message: &'a str,
}

/// `[LEVEL] EXTENSION: MESSAGE` on one line, whatever words the extension chose.
impl fmt::Display for LogLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (level, message) = (one_line(self.level), one_line(self.message));
        write!(f, "[{level}] {}: {message}", self.extension)
    }
}

/// Who takes the lines that extensions log.
pub type Logger = dyn Fn(&LogLine<'_>) + Send + Sync;

/// What an invocation knows of the command that it runs for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) time: i64,
    pub(crate) seed: [u8; 16],
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    /// The command's place among all that its group tried.
    pub(crate) attempt: u64,
    pub(crate) id: Option<&'a str>,
}

/// The host of one invocation.
pub(crate) struct PartitionHost<'a> {
    pub(crate) view: &'a dyn View,
    pub(crate) context: Context<'a>,
    pub(crate) extension: &'a str,
    /// The encoded row of `sys.event`, for validators and projectors.
    pub(crate) event: Option<&'a [u8]>,
    pub(crate) logger: &'a Logger,
    /// Where foreign functions' answers are kept or come from; without one they are called.
    pub(crate) journal: Option<&'a Journal<'a>>,
}

impl PartitionHost<'_> {
    fn random(&self, index: i64) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("extengine sys.random 1");
        hasher.update(&self.context.seed);
        hasher.update(&self.context.attempt.to_le_bytes());
        hasher.update(self.extension.as_bytes());
        hasher.update(&index.to_le_bytes());
        *hasher.finalize().as_bytes()
    }

    fn system(&self, storage: StorageId, key: &[u8], value: &mut Vec<u8>) -> bool {
        let context = &self.context;
        match storage {
            StorageId::EVENT => {
                let Some(event) = self.event else {
                    return false;
                };
                value.extend_from_slice(event);
            }
            StorageId::CONTEXT => {
                let mut row = Writer(value);
                row.list(4);
                row.int(context.time);
                match context.id {
                    Some(id) => row.text(id),
                    None => row.null(),
                }
                row.int(i64::from(context.partition));
                row.int(context.offset as i64);
            }
            StorageId::RANDOM => {
                let Some(index) = random_index(key) else {
                    return false;
                };
                let mut row = Writer(value);
                row.list(1);
                row.bytes(&self.random(index));
            }
            _ => return false,
        }
        true
    }
}

impl Host for PartitionHost<'_> {
    fn get(&self, storage: StorageId, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        if storage.is_system() {
            return Ok(self.system(storage, key, value));
        }
        self.view.get(storage, key, value)
    }

    fn scan(
        &self,
        storage: StorageId,
        prefix: &[u8],
        after: Option<&[u8]>,
        take: &mut TakeRow<'_>,
    ) -> Result<()> {
        if !storage.is_system() {
            return self.view.scan(storage, prefix, after, take);
        }
        // `sys.random` has no end, so it has no ranges; the others have one row, under the empty key.
        let mut value = Vec::new();
        if after.is_none() && prefix.is_empty() && self.system(storage, prefix, &mut value) {
            take(prefix, &value);
        }
        Ok(())
    }

    fn log(&self, level: &str, message: &str) {
        (self.logger)(&LogLine {
            extension: self.extension,
            partition: self.context.partition,
            level,
            message,
        });
    }

    fn call(&self, function: &ForeignFunction, argument: &[u8]) -> Result<Vec<u8>> {
        match self.journal {
            Some(journal) => journal.call(function, argument),
            None => function.call(argument),
        }
    }
}

/// Makes the row of `sys.event` for a command of the log, with the fields that its schemas have got since.
///
/// # Errors
/// `corrupt` where it does not fit its schemas.
pub(crate) fn logged_event(catalog: &Catalog, command: &Command) -> Result<Vec<u8>> {
    let mut row = Vec::new();
    let Some(schema) = catalog.command(&command.name) else {
        let results = command.results.iter().map(Vec::as_slice);
        event_row(&mut row, &command.name, &command.args, results);
        return Ok(row);
    };
    let args = logged(&schema.args, &command.args)?;
    let results = command.results.iter();
    let results: Vec<_> = results
        .map(|result| logged(&schema.result, result))
        .collect::<Result<_>>()?;
    let results = results.iter().map(|result| &**result);
    event_row(&mut row, &command.name, &args, results);
    Ok(row)
}

/// A row of the log with the fields that its schema has got since.
///
/// # Errors
/// `corrupt` where it does not fit its schema.
pub(crate) fn logged<'a>(schema: &Schema, row: &'a [u8]) -> Result<Cow<'a, [u8]>> {
    let row = schema.normalise(row);
    row.map_err(|error| {
        let what = format!(
            "what is logged does not fit the manifest: {}",
            error.message()
        );
        Error::new(ErrorKind::Corrupt, what)
    })
}

/// Makes the row of `sys.event` for a command, in place of what was in `row`.
pub(crate) fn event_row<'r>(
    row: &mut Vec<u8>,
    command: &str,
    args: &[u8],
    results: impl ExactSizeIterator<Item = &'r [u8]>,
) {
    row.clear();
    let mut row = Writer(row);
    row.list(3);
    row.text(command);
    row.0.extend_from_slice(args);
    row.list(results.len());
    for result in results {
        row.0.extend_from_slice(result);
    }
}
