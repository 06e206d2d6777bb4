//! `extengine call`: one invocation by itself.

use std::cell::Cell;
use std::path::Path;
use std::time::Instant;

use extengine::contract::host::{Party, Tracer};
use extengine::contract::json::row_to_json;
use extengine::contract::manifest::Verb;
use extengine::contract::say;
use extengine::partition::LogLine;
use extengine::partition::application::os_platform;
use extengine::partition::single::Rows;
use extengine::{Error, ErrorKind, Result};
use serde_json::{Value as Json, json};

use crate::args::Call;
use crate::input::Input;
use crate::open;
use crate::output::{Lines, error_line, row};
use crate::words::one_line;

pub(crate) fn call(args: &Call) -> Result<bool> {
    let input = open::json(&args.args, "ARGS")?;
    let program = open::load(&args.app, args.engine.as_deref())?;
    let mut rows = Rows::new(program.clone());
    if let Some(path) = &args.state {
        add_rows(&mut rows, path)?;
    }
    let platform = os_platform()?;
    let mut seed = [0; 16];
    seed.copy_from_slice(&platform.random()[..16]);
    let printer = Printer::new();
    let tracer = args.trace.then_some(&printer as &dyn Tracer);
    let (outcome, intents) = rows.invoke(
        &args.extension,
        &input,
        tracer,
        &|line: &LogLine<'_>| say!("{line}"),
        platform.now(),
        seed,
    )?;
    let spec = program.spec();
    let decl = spec
        .extension(&args.extension)
        .map(|number| &spec.extensions[number].decl);
    let result = decl.map(|decl| decl.result.clone()).unwrap_or_default();
    let mut lines = Lines::new();
    if let Err(error) = &outcome.result {
        lines.put(&error_line(error))?;
    }
    for bytes in intents.results() {
        lines.put(&json!({"result": row(&result, bytes)?}))?;
    }
    for intent in intents.iter() {
        let storage = spec.catalog.storage(intent.storage);
        let key = row_to_json(&storage.key.decode_key(intent.key)?, &storage.key);
        let mut line = json!({"intent": intent.verb.name(), "storage": *storage.name, "key": key});
        if intent.verb != Verb::Delete {
            line["value"] = Json::Object(row(&storage.value, intent.value)?);
        }
        lines.put(&line)?;
    }
    lines.put(&json!({"ledger": outcome.ledger}))?;
    lines.flush()?;
    Ok(outcome.result.is_ok())
}

fn add_rows(rows: &mut Rows, path: &Path) -> Result<()> {
    let mut input = Input::open(Some(path))?;
    while let Some(line) = input.next()? {
        let number = line.number;
        let place = || format!("{}:{number}", path.display());
        let text = line.text.map_err(|error| {
            Error::new(ErrorKind::BadArgs, format!("no row: {error}")).at(place)
        })?;
        if text.trim().is_empty() {
            continue;
        }
        let row = open::json(text, "a row").map_err(|error| error.at(place))?;
        rows.add(&row).map_err(|error| error.at(place))?;
    }
    Ok(())
}

/// Prints crossings to standard error, with the microseconds since the first one.
struct Printer {
    first: Cell<Option<Instant>>,
}

impl Printer {
    fn new() -> Self {
        Self {
            first: Cell::new(None),
        }
    }
}

fn name(party: Party) -> &'static str {
    match party {
        Party::Partition => "Partition",
        Party::Instance => "Instance",
        Party::Guest => "Guest",
        Party::HostState => "HostState",
        Party::Foreign => "Foreign",
    }
}

impl Tracer for Printer {
    fn crossing(&self, from: Party, to: Party, what: &str) {
        let now = Instant::now();
        let first = self.first.get().unwrap_or(now);
        self.first.set(Some(first));
        let micros = now.duration_since(first).as_secs_f64() * 1e6;
        say!(
            "{micros:>9.1} µs  {:>9} -> {:<9}  {}",
            name(from),
            name(to),
            one_line(what)
        );
    }
}
