//! One Lua virtual machine, sealed, with a package's chunk run in it.

use std::cell::{Cell, OnceCell, RefCell};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use engine_core::call::Call;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::host::{HostSlot, Party};
use engine_core::manifest::ExtensionDecl;
use mlua::{FromLuaMulti, Function, Lua, LuaOptions, MultiValue, StdLib, Table, Value, Variadic};

use crate::api::{self, Api};
use crate::library::{self, compile_once, load};
use crate::marshal::{Failure, Integers, Marshal, Record};
use crate::package::Chunk;
use crate::watch::{Deadline, Watch};

/// The files that every sandbox begins with, behind the library.
static SUPPORT: OnceLock<[Vec<u8>; 2]> = OnceLock::new();

/// One sandbox: it is used by one package alone, and dropped after any failure that is not an orderly end.
pub(crate) struct Sandbox {
    chunk: Arc<Chunk>,
    api: Rc<Api>,
    xpcall: Function,
    locate: Function,
    /// The glue's functions around the declared extensions', in the manifest's order.
    extensions: Vec<Option<Function>>,
    // Last: it goes after everything that points into it.
    lua: Lua,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox")
            .field("chunk", &self.chunk)
            .finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Makes a virtual machine, seals it and runs the package's chunk.
    pub(crate) fn new(chunk: &Arc<Chunk>, deadline: Deadline) -> Result<Self> {
        let limits = chunk.limits.clone();
        let watch = Rc::new(Watch::new(Arc::clone(&chunk.ticker), limits, deadline));
        let _turn = watch.begin(deadline);
        // The allocator can refuse at any step of this, within the chunk and before it.
        let lua = |error: mlua::Error| watch.settle(error.into());
        let (sandbox, entries, function) = Self::make(chunk, &watch).map_err(lua)?;
        let run = sandbox.xpcall.call((function, &sandbox.locate));
        let (_, ()) = sandbox.guarded(run)?;
        let globals = sandbox.lua.globals();
        let extension = |(number, declared): (usize, &ExtensionDecl)| {
            // Raw, so that Luau's own globals are no extensions.
            match globals.raw_get(&*declared.name)? {
                Value::Function(function) => {
                    let entry: Function = entries.raw_get(number)?;
                    entry.call(function).map(Some)
                }
                _ => Ok(None),
            }
        };
        let extensions = (1..).zip(&chunk.manifest.extensions).map(extension);
        let extensions = extensions.collect::<mlua::Result<_>>().map_err(lua)?;
        watch.meter();
        Ok(Self {
            extensions,
            ..sandbox
        })
    }

    fn make(chunk: &Arc<Chunk>, watch: &Rc<Watch>) -> mlua::Result<(Self, Table, Function)> {
        let lua = Lua::new_with(StdLib::ALL_SAFE, LuaOptions::default())?;
        let globals = lua.globals();
        let support = [include_str!("helpers.luau"), include_str!("prelude.luau")];
        let [helpers, prelude] = compile_once(&SUPPORT, support)?;
        let helpers: Table = load(&lua, "=helpers", helpers)?.call(())?;
        let error_metatable = lua.create_table()?;
        error_metatable.raw_set("__tostring", helpers.raw_get::<Function>("message")?)?;
        error_metatable.raw_set("__metatable", false)?;
        let integers = Integers {
            is_integer: helpers.raw_get("is_integer")?,
            set_integer: helpers.raw_get("set_integer")?,
        };
        let manifest = Arc::clone(&chunk.manifest);
        let api = Rc::new(Api {
            slot: HostSlot::default(),
            watch: Rc::clone(watch),
            marshal: Marshal::new(manifest, Rc::clone(watch), integers),
            pcall: globals.raw_get("pcall")?,
            error_metatable,
            extension: Cell::new(0),
            random: Cell::new(None),
            steps: OnceCell::new(),
            buffers: RefCell::default(),
            panic: Cell::new(None),
        });
        let xpcall: Function = globals.raw_get("xpcall")?;
        let host = lua.create_table()?;
        globals.raw_set("host", &host)?;
        let native = api::install(&lua, &api, &host)?;
        let locate = library::install(&lua, &native, Value::NULL, &chunk.name)?;
        load(&lua, "=prelude", prelude)?.call::<()>((&native, &host))?;
        watch.guard(&lua)?;
        let glue = load(&lua, "=glue", &chunk.glue)?;
        let (entries, steps) = glue.call((native, host))?;
        api.steps.get_or_init(|| steps);
        lua.sandbox(true)?;
        let function = load(&lua, &format!("={}", chunk.name), &chunk.bytecode)?;
        let sandbox = Self {
            chunk: Arc::clone(chunk),
            api,
            xpcall,
            locate,
            extensions: Vec::new(),
            lua,
        };
        Ok((sandbox, entries, function))
    }

    /// One line for each declared extension that the chunk does not define.
    pub(crate) fn missing(&self) -> Vec<String> {
        let declared = self.chunk.manifest.extensions.iter().zip(&self.extensions);
        declared
            .filter(|(_, function)| function.is_none())
            .map(|(declared, _)| {
                let name = &declared.name;
                format!("{}: no global function `{name}`", self.chunk.name)
            })
            .collect()
    }

    /// The names of the global functions that the chunk defines, in order.
    pub(crate) fn functions(&self) -> Vec<String> {
        let mut names = Vec::new();
        let globals = self.lua.globals();
        for (name, value) in globals.pairs::<Value, Value>().flatten() {
            if let (Value::String(name), Value::Function(_)) = (name, value) {
                names.push(name.to_string_lossy());
            }
        }
        names.sort();
        names
    }

    /// Runs an extension once.
    pub(crate) fn run(&self, call: &Call<'_>, extension: usize) -> Result<()> {
        let watch = &self.api.watch;
        let _turn = watch.begin(self.chunk.deadline(call));
        self.api.extension.set(extension);
        self.api.random.set(None);
        let run = self.run_extension(call, extension);
        // What was found last counts too: memory that no interrupt saw, and a deadline that passed in a long C function.
        let end = watch.check().and_then(|()| watch.check_memory(&self.lua));
        if end.is_err()
            && let Some(lost) = watch.lost()
        {
            call.fail(lost);
        }
        let memory = end.unwrap_or_else(|_| watch.memory(&self.lua));
        call.used_memory(memory as usize);
        if let Some(fuel) = watch.fuel() {
            call.used_fuel(fuel);
        }
        if let Some(panic) = self.api.panic.take() {
            resume_unwind(panic);
        }
        run
    }

    fn run_extension(&self, call: &Call<'_>, extension: usize) -> Result<()> {
        let Api { watch, marshal, .. } = &*self.api;
        let Some(Some(function)) = self.extensions.get(extension) else {
            return Err(Error::new(
                ErrorKind::Unknown,
                "the chunk defined another set of functions this time",
            ));
        };
        let lua = |error: mlua::Error| watch.settle(error.into());
        let shape = marshal.extension(&self.lua, extension).map_err(lua)?;
        let args = self.args(&shape.args, call.args()).map_err(|failure| {
            let place = || "arguments".to_owned();
            failure.into_error(watch, ErrorKind::BadArgs, place)
        })?;
        call.trace(Party::Instance, Party::Guest, || {
            format!("call {}", call.extension().name)
        });
        let given = if shape.result.is_empty() {
            self.enter(call, function, args)
                .map(|(row, ())| (row, None))
        } else {
            let given = self.enter(call, function, args);
            given.map(|(row, (by_fields, fields)): (Value, (bool, MultiValue))| {
                (row, by_fields.then_some(fields))
            })
        };
        let (row, row_fields) = given?;
        call.trace(Party::Guest, Party::Instance, || "return".to_owned());
        match (row, row_fields) {
            (Value::Nil, _) => Ok(()),
            (row, Some(row_fields)) => {
                let row = (&row, &row_fields);
                self.api.result_fields(&self.lua, call, row).map_err(lua)
            }
            (row, None) => {
                let result = self.api.result(&self.lua, call, (&row, false));
                result.map_err(lua)
            }
        }
    }

    fn enter<R: FromLuaMulti>(
        &self,
        call: &Call<'_>,
        function: &Function,
        args: Vec<Value>,
    ) -> Result<(Value, R)> {
        let run = || match args.is_empty() {
            true => self.xpcall.call((function, &self.locate)),
            false => self
                .xpcall
                .call((function, &self.locate, Variadic::from(args))),
        };
        self.guarded(self.api.slot.enter(call, run))
    }

    /// What an extension is called with: a table, or nil and the fields of one.
    fn args(&self, record: &Record, row: &[u8]) -> std::result::Result<Vec<Value>, Failure> {
        let marshal = &self.api.marshal;
        let mut args = Vec::new();
        if !record.is_empty() {
            args.reserve(1 + record.len());
            args.push(Value::Nil);
        }
        if !marshal.fields(&self.lua, record, row, &mut args)? {
            args = vec![Value::Table(marshal.row(&self.lua, record, row)?)];
        }
        Ok(args)
    }

    /// What a call of the guest's code gave: whether it ended well, its result or error, and more.
    fn guarded<R>(&self, given: mlua::Result<(bool, Value, R)>) -> Result<(Value, R)> {
        let watch = &self.api.watch;
        match given {
            Ok((true, value, more)) => Ok((value, more)),
            // Once the invocation is lost, what Lua makes of that does not matter.
            Ok((false, error, _)) => Err(watch
                .check()
                .err()
                .unwrap_or_else(|| self.api.uncaught(error))),
            Err(error) => Err(watch.settle(error.into())),
        }
    }
}
