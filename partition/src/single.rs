//! One invocation by itself, on given rows, with nothing applied.

use engine_core::engine::Outcome;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::host::Tracer;
use engine_core::intent::Intents;
use engine_core::manifest::ExtensionKind;
use engine_core::{json, key, value};
use serde_json::Value as Json;
use std::sync::Arc;

use crate::host::{Context, Logger, PartitionHost, event_row};
use crate::instances::Instances;
use crate::overlay::check_key;
use crate::program::Program;
use crate::runner::EMPTY;
use crate::store::{MemoryStore, Write};

/// Rows for an invocation, without a partition.
#[derive(Debug)]
pub struct Rows {
    program: Arc<Program>,
    store: MemoryStore,
}

impl Rows {
    /// No rows.
    pub fn new(program: Arc<Program>) -> Self {
        let storages = program.spec().catalog.len();
        Self {
            program,
            store: MemoryStore::new(storages),
        }
    }

    /// Adds a row as `extengine state` prints it: a flat object with the storage's name under `storage`.
    ///
    /// # Errors
    /// `bad_args` where it is no row of a declared storage.
    pub fn add(&mut self, row: &Json) -> Result<()> {
        let catalog = &self.program.spec().catalog;
        let name = row
            .get("storage")
            .and_then(Json::as_str)
            .unwrap_or_default();
        let id = catalog
            .id(name)
            .filter(|id| !id.is_system())
            .ok_or_else(|| {
                bad(format!(
                    "field `storage` names no declared storage: `{name}`"
                ))
            })?;
        let storage = catalog.storage(id);
        let mut rest = row.as_object().cloned().unwrap_or_default();
        rest.shift_remove("storage");
        rest.shift_remove("partition");
        let keys = storage.key.fields().iter();
        let keys: serde_json::Map<_, _> = keys
            .filter_map(|field| rest.shift_remove_entry(&*field.name))
            .collect();
        let key = json::row_from_json(&Json::Object(keys), &storage.key)?;
        let value = json::row_from_json(&Json::Object(rest), &storage.value)?;
        self.store.write(Write {
            storage: id,
            key: key::encode(&key)?.into(),
            value: Some(value::encode(&value).into()),
        });
        Ok(())
    }

    /// Invokes an extension once. A validator's or projector's arguments are the event:
    /// `{"command": …, "args": {…}, "result": {…}}`.
    ///
    /// # Errors
    /// `unknown` and `bad_args`; the extension's own errors are in the outcome.
    pub fn invoke(
        &self,
        extension: &str,
        args: &Json,
        tracer: Option<&dyn Tracer>,
        logger: &Logger,
        time: i64,
        seed: [u8; 16],
    ) -> Result<(Outcome, Intents)> {
        let spec = self.program.spec();
        let number = spec.extension(extension).ok_or_else(|| {
            Error::new(
                ErrorKind::Unknown,
                format!("application `{}` has no extension `{extension}`", spec.name),
            )
        })?;
        let decl = &spec.extensions[number].decl;
        let is_follower = matches!(
            decl.kind,
            ExtensionKind::Validator | ExtensionKind::Projector
        );
        let (args, event) = if is_follower {
            (EMPTY.to_vec(), Some(self.event(args)?))
        } else {
            (value::encode(&json::row_from_json(args, &decl.args)?), None)
        };
        let host = PartitionHost {
            view: &self.store,
            context: Context {
                time,
                seed,
                partition: 0,
                offset: 0,
                attempt: 0,
                id: None,
            },
            extension,
            event: event.as_deref(),
            logger,
            journal: None,
        };
        let mut intents = Intents::new();
        let mut instances = Instances::new(self.program.clone());
        let mut outcome = instances.invoke(number, &args, tracer, &host, &mut intents);
        if outcome.result.is_ok() {
            let mut all = intents.iter();
            outcome.result = all.try_for_each(|intent| check_key(&spec.catalog, &intent));
        }
        if outcome.result.is_err() {
            intents = Intents::new();
        }
        Ok((outcome, intents))
    }

    fn event(&self, event: &Json) -> Result<Vec<u8>> {
        let command = event
            .get("command")
            .and_then(Json::as_str)
            .unwrap_or_default();
        let schema = self
            .program
            .spec()
            .catalog
            .command(command)
            .ok_or_else(|| {
                bad(format!(
                    "the arguments of a validator or projector are an event: \
                 {{\"command\": …, \"args\": {{…}}}}; there is no command `{command}`"
                ))
            })?;
        let null = Json::Null;
        let args = json::row_from_json(event.get("args").unwrap_or(&null), &schema.args)?;
        let result = match event.get("result") {
            None | Some(Json::Null) => None,
            Some(result) => Some(value::encode(&json::row_from_json(result, &schema.result)?)),
        };
        let results: Vec<&[u8]> = result.iter().map(Vec::as_slice).collect();
        let mut row = Vec::new();
        let args = value::encode(&args);
        event_row(&mut row, command, &args, results.into_iter());
        Ok(row)
    }
}

fn bad(message: String) -> Error {
    Error::new(ErrorKind::BadArgs, message)
}
