//! Intents and results.

use engine_core::call::Call;
use engine_core::catalog::StorageId;
use engine_core::error::{Error, ErrorKind};
use engine_core::host::Party;
use engine_core::key::Extent;
use engine_core::limits::Limit;
use engine_core::manifest::Verb;
use mlua::{Lua, MultiValue, Value};

use super::{Api, storage_name};
use crate::error::raise;
use crate::marshal::Failure;

impl Api {
    pub(super) fn write(
        &self,
        lua: &Lua,
        (function, verb): (&str, Verb),
        storage: &Value,
        key: &Value,
        value: Option<&Value>,
    ) -> mlua::Result<()> {
        self.ask(|call| {
            let name = storage_name(function, storage)?;
            call.trace(Party::Guest, Party::Instance, || {
                format!("{function}(\"{name}\")")
            });
            let id = call.storage(&name);
            let id = id.map_err(|error| raise(call.refuse_intent(error)))?;
            let shape = self.marshal.storage(lua, id)?;
            let max = self.watch.limits().intent_bytes;
            let (encoded_key, encoded) = &mut *self.buffers.borrow_mut();
            encoded_key.clear();
            encoded.clear();
            let marshal = &self.marshal;
            let marshalled = marshal
                .key_to(shape, key, Extent::Full, encoded_key)
                .and_then(|()| match value {
                    Some(value) => marshal.row_to(&shape.value, value, max, encoded),
                    None => Ok(()),
                });
            // Without the right to write, the row does not matter: the call denies it.
            if let Err(failure) = marshalled
                && call.extension().verbs(id).has(verb)
            {
                let place = || format!("{verb} in storage `{name}`");
                return Err(self.refuse(call, failure, (Limit::IntentBytes, max), place));
            }
            call.write(verb, id, encoded_key, encoded).map_err(raise)
        })
    }

    /// A write for the glue; false where the row does not fit or the extension may not write it.
    pub(super) fn write_fields(
        &self,
        lua: &Lua,
        (function, verb): (&str, Verb),
        id: StorageId,
        row: &[Value],
    ) -> mlua::Result<bool> {
        self.ask(|call| {
            let shape = self.marshal.storage(lua, id)?;
            let (key, value) = row.split_at(shape.key.len());
            let (encoded_key, encoded) = &mut *self.buffers.borrow_mut();
            encoded.clear();
            let marshal = &self.marshal;
            let max = self.watch.limits().intent_bytes;
            let fits = marshal
                .key_of(&shape.key, key.iter(), encoded_key)
                .and_then(|()| match verb {
                    Verb::Delete => Ok(()),
                    _ => marshal.row_of(&shape.value, value.iter(), max, encoded),
                });
            if fits.is_err() || !call.extension().verbs(id).has(verb) {
                return Ok(false);
            }
            call.trace(Party::Guest, Party::Instance, || {
                let name = &call.package().catalog.storage(id).name;
                format!("{function}(\"{name}\")")
            });
            let written = call.write(verb, id, encoded_key, encoded);
            written.map(|()| true).map_err(raise)
        })
    }

    /// Takes a result row, and whether it is a native integer; a value that is no table is the only field of a row that
    /// has just one.
    pub(crate) fn result(
        &self,
        lua: &Lua,
        call: &Call<'_>,
        (row, native): (&Value, bool),
    ) -> mlua::Result<()> {
        call.trace(Party::Guest, Party::Instance, || "result".to_owned());
        let shape = self.marshal.extension(lua, self.extension.get())?;
        let max = self.watch.limits().result_bytes;
        let mut encoded = Vec::new();
        let record = &shape.result;
        let taken = match row {
            Value::Table(_) => self.marshal.row_to(record, row, max, &mut encoded),
            alone if record.len() == 1 => {
                let alone = (alone, native);
                self.marshal.row_of_one(record, alone, max, &mut encoded)
            }
            _ => self.marshal.row_to(record, row, max, &mut encoded),
        };
        match taken {
            Ok(()) => call.result(&encoded).map_err(raise),
            Err(failure) => {
                let place = || "result".to_owned();
                Err(self.refuse(call, failure, (Limit::ResultBytes, max), place))
            }
        }
    }

    /// Takes a result row by its fields; where they do not fit, by its table.
    pub(crate) fn result_fields(
        &self,
        lua: &Lua,
        call: &Call<'_>,
        (row, fields): (&Value, &MultiValue),
    ) -> mlua::Result<()> {
        let shape = self.marshal.extension(lua, self.extension.get())?;
        let max = self.watch.limits().result_bytes;
        let (_, encoded) = &mut *self.buffers.borrow_mut();
        let fits = self
            .marshal
            .row_of(&shape.result, fields.iter(), max, encoded);
        if fits.is_err() {
            return self.result(lua, call, (row, false));
        }
        call.trace(Party::Guest, Party::Instance, || "result".to_owned());
        call.result(encoded).map_err(raise)
    }

    /// Refuses an intent or a result that does not fit, or is longer than the limit allows.
    fn refuse(
        &self,
        call: &Call<'_>,
        failure: Failure,
        (limit, allowed): (Limit, u64),
        place: impl FnOnce() -> String,
    ) -> mlua::Error {
        raise(match failure {
            Failure::TooLong => call.refuse_intent(Error::limit(limit, allowed)),
            Failure::Misfit(_) => {
                call.refuse_intent(self.error(failure, ErrorKind::BadIntent, place))
            }
            other => self.error(other, ErrorKind::BadIntent, place),
        })
    }
}
