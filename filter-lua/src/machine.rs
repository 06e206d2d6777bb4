//! The virtual machines of one thread: one for each script, replaced after a limit was hit.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, OnceLock, Weak};
use std::time::SystemTime;

use engine_core::error::{Error, Result};
use engine_lua::base::{self, Cause, Deadline, Turn, Watch};
use filters::callout::Pending;
use filters::{Direction, Filter, Level, Worker};
use mlua::{Function, Lua, LuaOptions, StdLib, Table, Value};

use crate::config::{LuaFilters, LuaRoute, Script};
use crate::filter::{Idle, LuaFilter};
use crate::handle;

/// Milliseconds that a script's chunk may run at least, however short the deadline: a busy machine must not keep a
/// configuration from loading.
const SETUP_MS: u32 = 1_000;

/// The files that every virtual machine begins with, behind the library.
static SUPPORT: OnceLock<[Vec<u8>; 2]> = OnceLock::new();

/// Whom `print` and `os.time` ask.
#[derive(Default)]
struct Outside {
    name: String,
    worker: RefCell<Option<Rc<dyn Worker>>>,
}

/// One virtual machine with one script.
pub(crate) struct Machine {
    /// Gone once no route has the script any more.
    script: Weak<Script>,
    pub(crate) watch: Rc<Watch>,
    outside: Rc<Outside>,
    /// `envoy_on_request` and `envoy_on_response`, where the script has them.
    functions: [Option<Function>; 2],
    // Last: it goes after everything that points into it.
    pub(crate) lua: Lua,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("script", &self.script.upgrade())
            .finish_non_exhaustive()
    }
}

impl Machine {
    /// Makes a virtual machine, seals it and runs the script's chunk.
    pub(crate) fn new(
        filters: &LuaFilters,
        script: &Arc<Script>,
        worker: Option<&Rc<dyn Worker>>,
    ) -> Result<Self> {
        let ms = filters.config.limits.deadline_ms.max(SETUP_MS);
        let deadline = deadline(filters, ms);
        let ticker = Arc::clone(&filters.ticker);
        let watch = Rc::new(Watch::new(ticker, filters.limits(), deadline));
        let _turn = watch.begin(deadline);
        let outside = Rc::new(Outside {
            name: filters.config.name.clone(),
            worker: RefCell::new(worker.cloned()),
        });
        let make = || -> mlua::Result<(Lua, Function)> {
            let lua = Lua::new_with(StdLib::ALL_SAFE, LuaOptions::default())?;
            let native = native(&lua, &watch, &outside)?;
            base::install(&lua, &native, Value::Nil, &script.name)?;
            let support = [include_str!("bit.luau"), include_str!("prelude.luau")];
            let [bit, prelude] = base::compile_once(&SUPPORT, support)?;
            base::load(&lua, "=bit", bit)?.call::<()>(())?;
            handle::install(&lua, &base::load(&lua, "=prelude", prelude)?)?;
            watch.guard(&lua)?;
            lua.sandbox(true)?;
            // Luau's own is the sealed table behind the script's.
            let globals = lua.globals();
            globals.raw_set("_G", &globals)?;
            if script.names_globals {
                // Otherwise `_G.print = f` would change nothing for calls that were bound when the script was loaded.
                globals.set_safeenv(false);
            }
            let chunk = base::load(&lua, &format!("={}", script.name), &script.bytecode)?;
            Ok((lua, chunk))
        };
        let settle = |error: mlua::Error| watch.settle(Cause::from(error));
        let (lua, chunk) = make().map_err(settle)?;
        chunk.call::<()>(()).map_err(settle)?;
        if let Some(lost) = watch.lost() {
            return Err(lost);
        }
        let function = |name: &str| match lua.globals().raw_get(name) {
            Ok(Value::Function(function)) => Some(function),
            _ => None,
        };
        Ok(Self {
            script: Arc::downgrade(script),
            functions: [function("envoy_on_request"), function("envoy_on_response")],
            watch: Rc::clone(&watch),
            outside,
            lua,
        })
    }

    /// What runs for a direction.
    pub(crate) fn function(&self, direction: Direction) -> Option<&Function> {
        self.functions[direction as usize].as_ref()
    }

    /// Begins a run of a coroutine, up to where it ends or waits; it lasts until the turn is dropped.
    pub(crate) fn begin(&self, filters: &LuaFilters, worker: &Rc<dyn Worker>) -> Turn {
        *self.outside.worker.borrow_mut() = Some(Rc::clone(worker));
        let deadline = deadline(filters, filters.config.limits.deadline_ms);
        self.watch.begin(deadline)
    }
}

fn deadline(filters: &LuaFilters, ms: u32) -> Deadline {
    let (_, at) = filters.ticker.start(ms);
    Deadline { at, ms }
}

/// The functions that the library asks of its host.
fn native(lua: &Lua, watch: &Rc<Watch>, outside: &Rc<Outside>) -> mlua::Result<Table> {
    let native = lua.create_table()?;
    let judging = Rc::clone(watch);
    native.raw_set(
        "judge",
        lua.create_function(move |lua, error: Value| {
            let cause = match error {
                Value::Error(error) => Cause::from(*error),
                Value::String(text) => match Cause::of_text(&text.to_string_lossy()) {
                    Cause::Other(_) => return Ok(Value::String(text)),
                    cause => cause,
                },
                other => return Ok(other),
            };
            match cause {
                Cause::Other(text) => Ok(Value::String(lua.create_string(text)?)),
                limit => Err(base::raise(judging.settle(limit))),
            }
        })?,
    )?;
    let printing = Rc::clone(outside);
    native.raw_set(
        "log",
        lua.create_function(move |_, (_, line): (Value, mlua::LuaString)| {
            if let Some(worker) = &*printing.worker.borrow() {
                log(
                    &**worker,
                    Level::Info,
                    &printing.name,
                    &line.to_string_lossy(),
                );
            }
            Ok(())
        })?,
    )?;
    let telling = Rc::clone(outside);
    native.raw_set(
        "now",
        lua.create_function(move |_, ()| {
            let worker = telling.worker.borrow();
            let time = worker
                .as_ref()
                .map_or_else(wall_clock, |worker| worker.time());
            Ok((time / 1_000) as f64)
        })?,
    )?;
    Ok(native)
}

/// Nanoseconds since 1970, for scripts that are tried out before there is a worker.
fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

/// Bytes of a line that are logged.
const LINE: usize = 16 << 10;

pub(crate) fn log(worker: &dyn Worker, level: Level, name: &str, line: &str) {
    if level >= worker.log_level() {
        worker.log(level, name, &line[..line.floor_char_boundary(LINE)]);
    }
}

/// A filter on one thread: its virtual machines, and the calls that nobody waits for.
pub struct Machines {
    pub(crate) filters: Arc<LuaFilters>,
    by_script: RefCell<HashMap<*const Script, Rc<Machine>>>,
    calls: RefCell<HashMap<u64, Box<dyn Pending>>>,
    next_call: Cell<u64>,
}

impl fmt::Debug for Machines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machines")
            .field("filters", &self.filters)
            .field("machines", &self.by_script.borrow().len())
            .finish_non_exhaustive()
    }
}

impl Machines {
    pub(crate) fn new(filters: Arc<LuaFilters>) -> Rc<Self> {
        Rc::new(Self {
            filters,
            by_script: RefCell::default(),
            calls: RefCell::default(),
            next_call: Cell::new(0),
        })
    }

    /// The filter of a new stream on this thread, with what the stream's route changes.
    pub fn filter(self: &Rc<Self>, route: Option<&Arc<LuaRoute>>) -> Box<dyn Filter> {
        match self.filters.script(route.map(|route| &**route)) {
            Some(script) => Box::new(LuaFilter::new(self, script, route)),
            None => Box::new(Idle),
        }
    }

    /// The virtual machine of a script, made where there is none.
    pub(crate) fn machine(
        &self,
        script: &Arc<Script>,
        worker: &Rc<dyn Worker>,
    ) -> Result<Rc<Machine>> {
        let key = Arc::as_ptr(script);
        if let Some(machine) = self.by_script.borrow().get(&key) {
            return Ok(Rc::clone(machine));
        }
        let machine = Rc::new(Machine::new(&self.filters, script, Some(worker))?);
        let mut machines = self.by_script.borrow_mut();
        // Scripts of routes that are gone.
        machines.retain(|_, machine| machine.script.strong_count() > 0);
        machines.insert(key, Rc::clone(&machine));
        Ok(machine)
    }

    /// Has the next stream get a new virtual machine; streams that wait in this one go on in it.
    pub(crate) fn retire(&self, machine: &Rc<Machine>) {
        self.by_script
            .borrow_mut()
            .retain(|_, known| !Rc::ptr_eq(known, machine));
    }

    /// The full name of a metric of the filter.
    pub(crate) fn metric(&self, name: &str) -> String {
        match &*self.filters.config.stat_prefix {
            "" => format!("lua.{name}"),
            prefix => format!("lua.{prefix}.{name}"),
        }
    }

    /// Adds one to a metric of the filter.
    pub(crate) fn count(&self, worker: &dyn Worker, what: &str) {
        worker.metrics().count(&self.metric(what));
    }

    /// Logs and counts a failure that ends a stream or a script.
    pub(crate) fn report(&self, worker: &dyn Worker, metric: &str, script: &Script, error: &Error) {
        self.count(worker, metric);
        let mut line = error.message().to_owned();
        if !line.starts_with(&script.name) {
            line = format!("{}: {line}", script.name);
        }
        log(worker, Level::Error, &self.filters.config.name, &line);
    }

    /// A number for a call that nobody waits for.
    pub(crate) fn next_call(&self) -> u64 {
        let number = self.next_call.get();
        self.next_call.set(number + 1);
        number
    }

    /// How many calls are kept.
    pub(crate) fn kept_calls(&self) -> usize {
        self.calls.borrow().len()
    }

    /// Keeps a call until it has ended.
    pub(crate) fn keep_call(&self, number: u64, call: Box<dyn Pending>) {
        self.calls.borrow_mut().insert(number, call);
    }

    /// A call has ended.
    pub(crate) fn end_call(&self, number: u64) {
        // Dropped without a borrow.
        let ended = self.calls.borrow_mut().remove(&number);
        drop(ended);
    }
}
