//! The host functions: what `host`, `print`, `os` and `math.random` ask of the running call.

mod foreign;
mod read;
mod write;

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use engine_core::call::Call;
use engine_core::catalog::StorageId;
use engine_core::error::{Error, ErrorKind};
use engine_core::host::HostSlot;
use engine_core::manifest::Verb;
use engine_core::value::Writer;
use mlua::{FromLuaMulti, Function, IntoLuaMulti, Lua, MultiValue, Table, Value, Variadic};

use crate::error::{Cause, kind_named, raise};
use crate::marshal::{Failure, Marshal, name_of};
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

    /// Passes on what a guest may catch, and loses the invocation for everything else.
    fn read_result<T>(&self, read: engine_core::error::Result<T>) -> mlua::Result<T> {
        read.map_err(|error| match error.kind() {
            ErrorKind::BadKey | ErrorKind::Io => raise(error),
            _ => raise(self.watch.fail(error)),
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
