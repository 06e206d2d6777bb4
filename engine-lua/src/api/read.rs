//! The reads of an extension, by tables and for the glue.

use engine_core::call::Call;
use engine_core::catalog::StorageId;
use engine_core::error::{Error, ErrorKind};
use engine_core::host::Party;
use engine_core::key::Extent;
use engine_core::manifest::Verb;
use mlua::{Function, Lua, Value, Variadic};

use super::{Api, storage_name};
use crate::error::raise;
use crate::marshal::{Failure, StorageShape, name_of};

impl Api {
    pub(super) fn get(
        &self,
        lua: &Lua,
        function: &str,
        storage: &Value,
        key: &Value,
    ) -> mlua::Result<Value> {
        self.ask(|call| {
            let id = self.readable(call, function, storage)?;
            let shape = self.marshal.storage(lua, id)?;
            let key = self.read_key(call, id, shape, key, Extent::Full)?;
            let mut row = Vec::new();
            if !self.read_result(call.get(id, &key, &mut row))? {
                return Ok(Value::Nil);
            }
            let table = self.marshal.value(lua, id, shape, &row);
            Ok(Value::Table(self.checked(call, id, table)?))
        })
    }

    pub(super) fn must_exist(
        &self,
        lua: &Lua,
        (storage, key): (Value, Value),
    ) -> mlua::Result<Value> {
        match self.get(lua, "host.must_exist", &storage, &key)? {
            Value::Nil => Err(missing(&storage.to_string()?)),
            row => Ok(row),
        }
    }

    /// `host.get` and `host.must_exist` for the glue: true and the value's fields, or a table where they cannot be given
    /// so, or nil where there is no row. False where the key does not fit, or the extension may not read.
    pub(super) fn get_fields(
        &self,
        lua: &Lua,
        (function, must): (&str, bool),
        id: StorageId,
        key: &[Value],
    ) -> mlua::Result<Variadic<Value>> {
        let one = |value| Ok(vec![value].into());
        self.ask(|call| {
            let shape = self.marshal.storage(lua, id)?;
            let (encoded, row) = &mut *self.buffers.borrow_mut();
            let fits = self.marshal.key_of(&shape.key, key.iter(), encoded);
            if fits.is_err() || !call.extension().verbs(id).has(Verb::Read) {
                return one(Value::Boolean(false));
            }
            let name = || &call.package().catalog.storage(id).name;
            call.trace(Party::Guest, Party::Instance, || {
                format!("{function}(\"{}\")", name())
            });
            row.clear();
            if !self.read_result(call.get(id, encoded, row))? {
                return if must {
                    Err(missing(name()))
                } else {
                    one(Value::Nil)
                };
            }
            let mut values = Vec::with_capacity(1 + shape.value.len());
            values.push(Value::Boolean(true));
            let given = self.marshal.fields(lua, &shape.value, row, &mut values);
            if self.checked(call, id, given)? {
                return Ok(values.into());
            }
            let table = self.marshal.value(lua, id, shape, row);
            one(Value::Table(self.checked(call, id, table)?))
        })
    }

    /// Answers true, or false and the error that the function raised, as Lua has it.
    pub(super) fn read(
        &self,
        lua: &Lua,
        (storage, prefix, each): (Value, Value, Value),
    ) -> mlua::Result<(bool, Value)> {
        let Value::Function(each) = each else {
            let found = name_of(&each);
            return Err(mlua::Error::runtime(format!(
                "host.read: expected a function of key and value, found {found}"
            )));
        };
        let mut raised: Option<mlua::Result<Value>> = None;
        let read = self.ask(|call| {
            let id = self.readable(call, "host.read", &storage)?;
            let shape = self.marshal.storage(lua, id)?;
            let prefix = self.read_key(call, id, shape, &prefix, Extent::Prefix)?;
            let step: Option<Function> = match self.steps.get() {
                Some(steps) => steps.raw_get(id.0)?,
                None => None,
            };
            let read = call.read(id, &prefix, |key, value| {
                call.trace(Party::Instance, Party::Guest, || "row".to_owned());
                let step = (|| {
                    if let Some(step) = &step {
                        let mut row = Vec::with_capacity(1 + shape.key.len() + shape.value.len());
                        row.push(Value::Function(each.clone()));
                        let given = self
                            .marshal
                            .row_fields(lua, id, shape, (key, value), &mut row);
                        if self.checked(call, id, given)? {
                            return self.pcall.call((step, Variadic::from(row)));
                        }
                    }
                    let key = self.checked(call, id, self.marshal.key(lua, id, shape, key))?;
                    let value = self.marshal.value(lua, id, shape, value);
                    let value = self.checked(call, id, value)?;
                    self.pcall.call::<(bool, Value)>((&each, key, value))
                })();
                raised = match step {
                    Ok((true, _)) => return Ok(()),
                    Ok((false, error)) => Some(Ok(error)),
                    Err(error) => Some(Err(error)),
                };
                // Ends the read; what was raised is told below.
                Err(Error::new(ErrorKind::Trap, "the function raised an error"))
            });
            match raised.take() {
                Some(raised) => raised.map(Some),
                None => self.read_result(read).map(|()| None),
            }
        })?;
        Ok(match read {
            None => (true, Value::Nil),
            Some(error) => (false, error),
        })
    }

    /// The storage to read from; a name without access loses the invocation.
    fn readable(
        &self,
        call: &Call<'_>,
        function: &str,
        storage: &Value,
    ) -> mlua::Result<StorageId> {
        let storage = storage_name(function, storage)?;
        call.trace(Party::Guest, Party::Instance, || {
            format!("{function}(\"{storage}\")")
        });
        let id = call.storage(&storage);
        id.map_err(|error| raise(self.watch.fail(call.fail(error))))
    }

    fn read_key(
        &self,
        call: &Call<'_>,
        id: StorageId,
        shape: &StorageShape,
        key: &Value,
        extent: Extent,
    ) -> mlua::Result<Vec<u8>> {
        let mut out = Vec::new();
        match self.marshal.key_to(shape, key, extent, &mut out) {
            Ok(()) => Ok(out),
            // Without the right to read, the key does not matter: the call denies it.
            Err(_) if !call.extension().verbs(id).has(Verb::Read) => Ok(Vec::new()),
            Err(failure) => {
                // It is a read all the same, and counts as one: no key begins with this byte.
                const NO_KEY: &[u8] = &[0xff];
                let refused = match extent {
                    Extent::Full => call.get(id, NO_KEY, &mut Vec::new()).map(drop),
                    Extent::Prefix => call.read(id, NO_KEY, |_, _| Ok(())),
                };
                match refused {
                    Err(error) if error.kind() != ErrorKind::BadKey => self.read_result(Err(error)),
                    _ => {
                        let name = &call.package().catalog.storage(id).name;
                        let place = || format!("storage `{name}`");
                        Err(raise(self.error(failure, ErrorKind::BadKey, place)))
                    }
                }
            }
        }
    }

    /// What the host gave and does not fit its schema is the host's fault.
    fn checked<T>(
        &self,
        call: &Call<'_>,
        id: StorageId,
        given: Result<T, Failure>,
    ) -> mlua::Result<T> {
        given.map_err(|failure| {
            let place = || format!("storage `{}`", call.package().catalog.storage(id).name);
            raise(self.error(failure, ErrorKind::Io, place))
        })
    }
}

fn missing(storage: &str) -> mlua::Error {
    let text = format!("storage `{storage}` has no row with the key that must exist");
    raise(Error::new(ErrorKind::NotFound, text))
}
