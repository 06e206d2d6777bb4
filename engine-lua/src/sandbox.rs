//! One Lua virtual machine, sealed, with a package's chunk run in it.

use std::cell::Cell;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use engine_core::call::Call;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::host::{HostSlot, Party};
use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, LuaOptions, StdLib, Table, Value, VmState};

use crate::api::{self, Api};
use crate::engine::compiler;
use crate::error::{Cause, raise};
use crate::marshal::{Integers, Marshal};
use crate::package::Chunk;
use crate::watch::{Deadline, Watch};

/// One sandbox: it is used by one package alone, and dropped after any failure that is not an orderly end.
pub(crate) struct Sandbox {
    chunk: Arc<Chunk>,
    api: Rc<Api>,
    xpcall: Function,
    locate: Function,
    /// The declared extensions' functions, in the manifest's order.
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
        // The allocator can refuse at any step of this, within the chunk and before it.
        let made = Self::make(chunk, &watch);
        let (sandbox, function) = made.map_err(|error| watch.settle(error.into()))?;
        sandbox.guarded(&function, Value::Nil)?;
        let globals = sandbox.lua.globals();
        let extensions = chunk.manifest.extensions.iter().map(|declared| {
            // Raw, so that Luau's own globals are no extensions.
            let global = globals.raw_get(&*declared.name);
            match global.map_err(|error| watch.settle(Cause::from(error)))? {
                Value::Function(function) => Ok(Some(function)),
                _ => Ok(None),
            }
        });
        let extensions = extensions.collect::<Result<_>>()?;
        Ok(Self {
            extensions,
            ..sandbox
        })
    }

    fn make(chunk: &Arc<Chunk>, watch: &Rc<Watch>) -> mlua::Result<(Self, Function)> {
        let lua = Lua::new_with(StdLib::ALL_SAFE, LuaOptions::default())?;
        let globals = lua.globals();
        let [helpers, prelude] = support()?;
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
            panic: Cell::new(None),
        });
        let xpcall = globals.raw_get("xpcall")?;
        let host = lua.create_table()?;
        globals.raw_set("host", &host)?;
        let native = api::install(&lua, &api, &host)?;
        let prelude = load(&lua, "=prelude", prelude)?;
        let locate = prelude.call((native, host, chunk.name.as_str()))?;
        lua.sandbox(true)?;
        watch.start(&lua)?;
        let interrupt = Rc::clone(watch);
        lua.set_interrupt(move |lua| match interrupt.step(lua) {
            Ok(()) => Ok(VmState::Continue),
            Err(error) => Err(raise(error)),
        });
        let function = load(&lua, &format!("={}", chunk.name), &chunk.bytecode)?;
        let sandbox = Self {
            chunk: Arc::clone(chunk),
            api,
            xpcall,
            locate,
            extensions: Vec::new(),
            lua,
        };
        Ok((sandbox, function))
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
        watch.begin(self.chunk.deadline(call));
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
        call.used(watch.memory(&self.lua), watch.fuel());
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
        let args = marshal.row(&self.lua, &shape.args, call.args());
        let args = args.map_err(|failure| {
            let place = || "arguments".to_owned();
            failure.into_error(watch, ErrorKind::BadArgs, place)
        })?;
        call.trace(Party::Instance, Party::Guest, || {
            format!("call {}", call.extension().name)
        });
        let value = self.api.slot.enter(call, || self.guarded(function, args))?;
        call.trace(Party::Guest, Party::Instance, || "return".to_owned());
        match value {
            Value::Nil => Ok(()),
            row => self.api.result(&self.lua, call, &row).map_err(lua),
        }
    }

    /// Calls a function of the guest's and gives its first result.
    fn guarded(&self, function: &Function, args: impl mlua::IntoLua) -> Result<Value> {
        let watch = &self.api.watch;
        match self.xpcall.call((function, &self.locate, args)) {
            Ok((true, value)) => Ok(value),
            // Once the invocation is lost, what Lua makes of that does not matter.
            Ok((false, error)) => Err(watch
                .check()
                .err()
                .unwrap_or_else(|| self.api.uncaught(error))),
            Err(error) => Err(watch.settle(error.into())),
        }
    }
}

/// The bytecode of the files that every sandbox begins with, compiled once.
///
/// Without line numbers, so that errors name the guest's lines.
fn support() -> mlua::Result<[&'static [u8]; 2]> {
    static SUPPORT: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    let [helpers, prelude] = match SUPPORT.get() {
        Some(compiled) => compiled,
        None => {
            let compiler = compiler().set_debug_level(0);
            let compiled = [
                compiler.compile(include_str!("helpers.luau"))?,
                compiler.compile(include_str!("prelude.luau"))?,
            ];
            SUPPORT.get_or_init(|| compiled)
        }
    };
    Ok([helpers, prelude])
}

fn load(lua: &Lua, name: &str, bytecode: &[u8]) -> mlua::Result<Function> {
    let chunk = lua.load(bytecode).set_name(name);
    chunk.set_mode(ChunkMode::Binary).into_function()
}
