//! Differences between what a logged command did and what another run of it asks for, shared by replay and shadow.

use engine_core::catalog::{Catalog, CommandSchema};
use engine_core::error::Result;
use engine_core::intent::{Intent, Intents};
use engine_core::schema::Schema;

use crate::record::{Command, LoggedStep};
use crate::rows;
use crate::runner::Runner;

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
pub(crate) fn compare(catalog: &Catalog, then: &Intents, now: &Intents) -> Option<String> {
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
