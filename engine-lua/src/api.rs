//! The host functions: what `host`, `print`, `os` and `math.random` ask of the running call.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use engine_core::call::Call;
use engine_core::catalog::StorageId;
use engine_core::error::{Error, ErrorKind};
use engine_core::host::{HostSlot, Party};
use engine_core::key::Extent;
use engine_core::limits::Limit;
use engine_core::manifest::Verb;
use engine_core::value::Writer;
use mlua::{FromLuaMulti, Function, IntoLuaMulti, Lua, MultiValue, Table, Value, Variadic};

use crate::error::{Cause, kind_named, raise};
use crate::marshal::{Failure, ForeignShape, Marshal, StorageShape, name_of};
use crate::random::Random;
use crate::watch::Watch;

/// The index of `sys.random` that `math.random` starts from, far from those that extensions read themselves.
const RANDOM_INDEX: i64 = i64::MAX;

/// The host's side of one sandbox.
pub(crate) struct Api {
    pub(crate) slot: HostSlot,
    pub(crate) watch: Rc<Watch>,
    pub(crate) marshal: Marshal,
    /// Luau's own `pcall`.
    pub(crate) pcall: Function,
    /// The metatable by which the host's errors are known.
    pub(crate) error_metatable: Table,
    /// The extension that runs.
    pub(crate) extension: Cell<usize>,
    pub(crate) random: Cell<Option<Random>>,
    /// By the number of a storage: what hands the fields of a row on as two tables.
    pub(crate) steps: OnceCell<Table>,
    /// Memory for a key and a value.
    pub(crate) buffers: RefCell<(Vec<u8>, Vec<u8>)>,
    /// A panic of the host, to go on once no Lua code is on the stack.
    pub(crate) panic: Cell<Option<Box<dyn Any + Send>>>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api")
            .field("watch", &self.watch)
            .finish_non_exhaustive()
    }
}

/// Fills the table `host` of the guest and makes the table of those functions that only the prelude sees.
pub(crate) fn install(lua: &Lua, api: &Rc<Api>, host: &Table) -> mlua::Result<Table> {
    let native = lua.create_table()?;
    let set = |table: &Table, name: &str, function: mlua::Result<Function>| {
        table.raw_set(name, function?)
    };
    set(
        host,
        "get",
        function(lua, api, |api, lua, (storage, key)| {
            api.get(lua, "host.get", &storage, &key)
        }),
    )?;
    set(host, "must_exist", function(lua, api, Api::must_exist))?;
    for (name, must) in [("host.get", false), ("host.must_exist", true)] {
        both(lua, api, &native, name, move |api, lua, id, key| {
            api.get_fields(lua, (name, must), id, key)
        })?;
    }
    for (name, verb) in [
        ("host.new_value", Verb::Insert),
        ("host.update_value", Verb::Update),
        ("host.put_value", Verb::Put),
        ("host.delete", Verb::Delete),
    ] {
        let write = function(lua, api, move |api, lua, (storage, key, value)| {
            let value = (verb != Verb::Delete).then_some(&value);
            api.write(lua, (name, verb), &storage, &key, value)
        });
        set(host, &name["host.".len()..], write)?;
        both(lua, api, &native, name, move |api, lua, id, row| {
            api.write_fields(lua, (name, verb), id, row)
        })?;
    }
    set(host, "reject", function(lua, api, Api::reject))?;
    set(host, "call", function(lua, api, Api::call_foreign))?;
    host.raw_set("null", Value::NULL)?;
    set(
        &native,
        "result",
        function(lua, api, |api, lua, (row, native): (Value, bool)| {
            api.ask(|call| api.result(lua, call, (&row, native)))
        }),
    )?;
    set(&native, "read", function(lua, api, Api::read))?;
    set(&native, "log", function(lua, api, Api::log))?;
    set(&native, "now", function(lua, api, Api::now))?;
    set(&native, "random", function(lua, api, Api::draw))?;
    set(
        &native,
        "seed",
        function(lua, api, |api, _, seed: f64| {
            api.random.set(Some(Random::from_seed(seed)));
            Ok(())
        }),
    )?;
    set(&native, "judge", function(lua, api, Api::judge))?;
    Ok(native)
}

/// Makes a Lua function that refuses once the invocation is lost, and that no panic leaves into Lua, where a guest
/// could catch it.
fn function<A: FromLuaMulti, R: IntoLuaMulti>(
    lua: &Lua,
    api: &Rc<Api>,
    body: impl Fn(&Api, &Lua, A) -> mlua::Result<R> + 'static,
) -> mlua::Result<Function> {
    let api = Rc::clone(api);
    lua.create_function(move |lua, args| {
        api.watch.check().map_err(raise)?;
        catch_unwind(AssertUnwindSafe(|| body(&api, lua, args))).unwrap_or_else(|panic| {
            api.panic.set(Some(panic));
            let error = Error::new(ErrorKind::Internal, "the host panicked");
            Err(raise(api.watch.fail(error)))
        })
    })
}

/// The fields of a row as they come from Lua, nil where there are fewer; without an allocation, unlike `MultiValue`.
type Few = (Value, Value, Value, Value, Value, Value);

/// Makes a function of the glue's, which takes the number of a storage and fields: one for a few and one for any.
fn both<R: IntoLuaMulti>(
    lua: &Lua,
    api: &Rc<Api>,
    native: &Table,
    name: &str,
    body: impl Fn(&Api, &Lua, StorageId, &[Value]) -> mlua::Result<R> + Copy + 'static,
) -> mlua::Result<()> {
    let name = &name["host.".len()..];
    let few = function(lua, api, move |api, lua, (id, fields): (f64, Few)| {
        let (a, b, c, d, e, f) = fields;
        body(api, lua, StorageId(id as u16), &[a, b, c, d, e, f])
    });
    native.raw_set(format!("{name}_few"), few?)?;
    let any = function(
        lua,
        api,
        move |api, lua, (id, fields): (f64, MultiValue)| {
            let fields = Vec::from(fields);
            body(api, lua, StorageId(id as u16), &fields)
        },
    );
    native.raw_set(format!("{name}_any"), any?)
}

impl Api {
    fn ask<R>(&self, ask: impl FnOnce(&Call<'_>) -> mlua::Result<R>) -> mlua::Result<R> {
        self.slot.with(|call| Ok(ask(call))).map_err(raise)?
    }

    // Reads.

    fn get(&self, lua: &Lua, function: &str, storage: &Value, key: &Value) -> mlua::Result<Value> {
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

    fn must_exist(&self, lua: &Lua, (storage, key): (Value, Value)) -> mlua::Result<Value> {
        match self.get(lua, "host.must_exist", &storage, &key)? {
            Value::Nil => Err(missing(&storage.to_string()?)),
            row => Ok(row),
        }
    }

    /// `host.get` and `host.must_exist` for the glue: true and the value's fields, or a table where they cannot be given
    /// so, or nil where there is no row. False where the key does not fit, or the extension may not read.
    fn get_fields(
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
    fn read(
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

    /// Passes on what a guest may catch, and loses the invocation for everything else.
    fn read_result<T>(&self, read: engine_core::error::Result<T>) -> mlua::Result<T> {
        read.map_err(|error| match error.kind() {
            ErrorKind::BadKey | ErrorKind::Io => raise(error),
            _ => raise(self.watch.fail(error)),
        })
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

    // Foreign functions.

    /// Answers what the function gives, or nil and its words.
    fn call_foreign(
        &self,
        lua: &Lua,
        (name, argument): (Value, Value),
    ) -> mlua::Result<(Value, Value)> {
        let Value::String(name) = &name else {
            return Err(mlua::Error::runtime(format!(
                "host.call: expected the name of a foreign function, found {}",
                name_of(&name)
            )));
        };
        let name = name.to_string_lossy();
        self.ask(|call| {
            call.trace(Party::Guest, Party::Instance, || {
                format!("host.call(\"{name}\")")
            });
            let lose = |error| raise(self.watch.fail(error));
            let id = call.foreign(&name).map_err(lose)?;
            let shape = self.marshal.foreign(lua, id)?;
            let shape = shape.as_deref();
            let mut encoded = Vec::new();
            let misfit = match self.foreign_argument(call, shape, &argument, &mut encoded)? {
                Ok(()) => None,
                // It is a call all the same, and counts as one: no row is empty.
                Err(words) => {
                    encoded.clear();
                    Some(words)
                }
            };
            match call.call_foreign(id, &encoded) {
                Ok(answer) => {
                    let answer = match shape {
                        None => Value::String(lua.create_string(answer)?),
                        Some(shape) => {
                            let row = self.marshal.row(lua, &shape.result, &answer);
                            let place = || format!("foreign function `{name}`");
                            let internal = |f| raise(self.error(f, ErrorKind::Internal, place));
                            Value::Table(row.map_err(internal)?)
                        }
                    };
                    Ok((answer, Value::Nil))
                }
                Err(error) if error.kind() == ErrorKind::Rejected => {
                    let words = misfit.as_deref().unwrap_or(error.message());
                    Ok((Value::Nil, Value::String(lua.create_string(words)?)))
                }
                Err(error) => Err(lose(error)),
            }
        })
    }

    /// Encodes the argument of a foreign function, or says in words why a typed one does not take it.
    fn foreign_argument(
        &self,
        call: &Call<'_>,
        shape: Option<&ForeignShape>,
        argument: &Value,
        out: &mut Vec<u8>,
    ) -> mlua::Result<Result<(), String>> {
        let Some(shape) = shape else {
            match argument {
                Value::String(bytes) => out.extend_from_slice(&bytes.as_bytes()),
                Value::Buffer(bytes) => *out = bytes.to_vec(),
                other => {
                    return Err(mlua::Error::runtime(format!(
                        "host.call: expected bytes, found {}",
                        name_of(other)
                    )));
                }
            }
            return Ok(Ok(()));
        };
        let max = self.watch.limits().foreign_bytes;
        match self.marshal.row_to(&shape.args, argument, max, out) {
            Ok(()) => Ok(Ok(())),
            Err(Failure::Misfit(text)) => Ok(Err(format!("bad arguments: {text}"))),
            Err(Failure::TooLong) => {
                let error = call.fail(Error::limit(Limit::ForeignBytes, max));
                Err(raise(self.watch.fail(error)))
            }
            Err(other) => {
                let place = || "host.call".to_owned();
                Err(raise(self.error(other, ErrorKind::Internal, place)))
            }
        }
    }

    // Intents and results.

    fn write(
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
    fn write_fields(
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

    fn error(&self, failure: Failure, kind: ErrorKind, place: impl FnOnce() -> String) -> Error {
        failure.into_error(&self.watch, kind, place)
    }

    fn reject(&self, _: &Lua, message: Value) -> mlua::Result<()> {
        let message = text_of("host.reject", &message)?;
        Err(raise(Error::new(ErrorKind::Rejected, message)))
    }

    fn log(&self, _: &Lua, (level, message): (Value, Value)) -> mlua::Result<()> {
        let level = text_of("host.log", &level)?;
        let message = text_of("host.log", &message)?;
        self.ask(|call| {
            let mut row = Vec::new();
            let mut writer = Writer(&mut row);
            writer.list(2);
            writer.text(&level);
            writer.text(&message);
            let logged = call.write(Verb::Insert, StorageId::LOG, &[], &row);
            logged.map_err(raise)
        })
    }

    // Time and randomness.

    /// Microseconds since the Unix epoch.
    fn now(&self, _: &Lua, (): ()) -> mlua::Result<f64> {
        let time = self.ask(|call| self.read_result(call.time()))?;
        Ok(time as f64)
    }

    /// `math.random`, with the arguments that Lua's own takes.
    fn draw(&self, _: &Lua, range: Variadic<f64>) -> mlua::Result<f64> {
        let mut random = match self.random.get() {
            Some(random) => random,
            None => {
                let seed = self.ask(|call| self.read_result(call.random(RANDOM_INDEX)))?;
                Random::from_bytes(&seed)
            }
        };
        let whole = |value: f64| {
            let exact = value.fract() == 0.0 && value.abs() < (1u64 << 53) as f64;
            let refuse =
                || mlua::Error::runtime("math.random: expected whole numbers within 2^53-1");
            exact.then_some(value as i64).ok_or_else(refuse)
        };
        let drawn = match range[..] {
            [] => random.unit(),
            [high] => within(&mut random, 1, whole(high)?)?,
            [low, high, ..] => within(&mut random, whole(low)?, whole(high)?)?,
        };
        self.random.set(Some(random));
        Ok(drawn)
    }

    // Errors.

    /// Raises again what a guest must not catch, and gives the rest as the guest may see it.
    fn judge(&self, lua: &Lua, error: Value) -> mlua::Result<Value> {
        let cause = match error {
            Value::Error(error) => Cause::from(*error),
            Value::String(ref text) => match Cause::of_text(&text.to_string_lossy()) {
                Cause::Other(_) => return Ok(error),
                cause => cause,
            },
            other => return Ok(other),
        };
        match cause {
            Cause::Contract(error) => Ok(Value::Table(self.error_table(lua, &error)?)),
            Cause::Other(text) => Ok(Value::String(lua.create_string(text)?)),
            Cause::Memory | Cause::Stack => Err(raise(self.watch.settle(cause))),
        }
    }

    fn error_table(&self, lua: &Lua, error: &Error) -> mlua::Result<Table> {
        let table = lua.create_table_with_capacity(0, 2)?;
        table.raw_set("kind", error.kind().name())?;
        table.raw_set("message", error.message())?;
        table.set_metatable(Some(self.error_metatable.clone()))?;
        table.set_readonly(true);
        Ok(table)
    }

    /// The error of an invocation that ended with this error uncaught.
    pub(crate) fn uncaught(&self, error: Value) -> Error {
        let trap = |text: String| Error::new(ErrorKind::Trap, text);
        match error {
            Value::Error(error) => self.watch.settle(Cause::from(*error)),
            Value::String(text) => self.watch.settle(Cause::of_text(&text.to_string_lossy())),
            Value::Table(table) if table.metatable().as_ref() == Some(&self.error_metatable) => {
                let field = |name: &str| table.raw_get::<String>(name).unwrap_or_default();
                Error::new(kind_named(&field("kind")), field("message"))
            }
            Value::Integer(number) => trap(number.to_string()),
            Value::Number(number) => trap(number.to_string()),
            other => trap(format!("an error that is a {}", name_of(&other))),
        }
    }
}

fn missing(storage: &str) -> mlua::Error {
    let text = format!("storage `{storage}` has no row with the key that must exist");
    raise(Error::new(ErrorKind::NotFound, text))
}

fn within(random: &mut Random, low: i64, high: i64) -> mlua::Result<f64> {
    if low > high {
        return Err(mlua::Error::runtime("math.random: the range is empty"));
    }
    Ok(random.within(low, high) as f64)
}

fn storage_name(function: &str, storage: &Value) -> mlua::Result<String> {
    match storage {
        Value::String(name) => Ok(name.to_string_lossy()),
        other => Err(mlua::Error::runtime(format!(
            "{function}: expected the name of a storage, found {}",
            name_of(other)
        ))),
    }
}

/// Text for people: what is not UTF-8 is replaced.
fn text_of(function: &str, value: &Value) -> mlua::Result<String> {
    match value {
        Value::String(text) => Ok(text.to_string_lossy()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(mlua::Error::runtime(format!(
            "{function}: expected text, found {}",
            name_of(other)
        ))),
    }
}
