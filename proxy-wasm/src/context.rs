//! What belongs to a machine beside its guest: its contexts, its calls, and what is looked at in a callback.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::ops::Deref;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use bytes::Bytes;
use engine_core::error::{Error, ErrorKind, Result};
use engine_wasm_abi::wasi::{RANDOM_BLOCK, Wasi, WasiState};
use filters::callout::{GrpcStream, Pending};
use filters::metrics::Metric;
use filters::{Direction, Headers, Level, StreamRef, Worker};
use foldhash::fast::FixedState;

use crate::config::PluginConfig;
use crate::machine::Mailbox;
use crate::module::{Module, Process};
use crate::vm::Vm;

/// Things by the numbers that the host gave them, which no guest chooses.
type ById<T> = HashMap<u32, T, FixedState>;

/// What belongs to a machine, shared with the host's functions.
#[derive(Clone)]
pub(crate) struct State(Rc<Inner>);

pub(crate) struct Inner {
    pub(crate) module: Arc<Module>,
    pub(crate) process: Arc<Process>,
    pub(crate) worker: Rc<dyn Worker>,
    pub(crate) mailbox: Mailbox,
    /// The machine's number on its thread.
    pub(crate) machine: u32,
    /// The thread was told of other ticks, and has not looked at them yet.
    pub(crate) ticks_told: Cell<bool>,
    /// The machine itself, once it stands.
    pub(crate) vm: OnceCell<Weak<Vm>>,
    wasi: Wasi,
    environment: Vec<u8>,
    /// The context that host functions are about.
    pub(crate) effective: Cell<u32>,
    pub(crate) contexts: RefCell<ById<Rc<Context>>>,
    last_context: Cell<u32>,
    pub(crate) calls: RefCell<ById<Call>>,
    last_call: Cell<u32>,
    pub(crate) metrics: RefCell<Vec<Arc<Metric>>>,
    pub(crate) answer: RefCell<Answer>,
    /// Contexts that the guest is done with only now.
    pub(crate) done: RefCell<Vec<u32>>,
    /// Who is being told of a stream's last data.
    pub(crate) last_data: Cell<Option<LastData>>,
    /// The machine is not needed any more, so it begins nothing.
    pub(crate) ending: Cell<bool>,
}

/// A context: a plugin's, or a stream's below it.
pub(crate) struct Context {
    pub(crate) root: Rc<Root>,
    pub(crate) stream: Option<StreamRef>,
    /// Whether the stream is over and the guest has asked to be left its context.
    pub(crate) lingers: Cell<bool>,
    /// How many of its calls are under way.
    pub(crate) calls: Cell<usize>,
}

impl Context {
    pub(crate) fn new(root: &Rc<Root>, stream: Option<StreamRef>) -> Rc<Self> {
        Rc::new(Self {
            root: Rc::clone(root),
            stream,
            lingers: Cell::default(),
            calls: Cell::default(),
        })
    }
}

/// A plugin's context.
pub(crate) struct Root {
    pub(crate) config: Arc<PluginConfig>,
    /// The plugin's number on its machine.
    pub(crate) plugin: u32,
    pub(crate) id: u32,
    /// Nanoseconds from tick to tick, and when the next one is due.
    pub(crate) tick: Cell<Option<(u64, u64)>>,
}

/// A call of a context's that is under way. Dropping it gives the call up.
pub(crate) struct Call {
    pub(crate) context: u32,
    pub(crate) under_way: UnderWay,
    pub(crate) _counted: Counted,
}

/// A call that its context counts as long as this is there.
pub(crate) struct Counted(Rc<Context>);

impl Counted {
    pub(crate) fn new(context: Rc<Context>) -> Self {
        context.calls.update(|calls| calls + 1);
        Self(context)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.calls.update(|calls| calls - 1);
    }
}

pub(crate) enum UnderWay {
    Http(#[expect(dead_code, reason = "held only to be dropped")] Box<dyn Pending>),
    Grpc(Box<dyn GrpcStream>),
}

/// What the callback that runs is about.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) call_headers: Option<Headers>,
    pub(crate) call_body: Option<Bytes>,
    pub(crate) call_trailers: Option<Headers>,
    pub(crate) grpc_initial: Option<Headers>,
    pub(crate) grpc_message: Option<Bytes>,
    pub(crate) grpc_trailing: Option<Headers>,
    pub(crate) foreign: Option<Bytes>,
    /// How a call failed, or a gRPC stream ended, and in words.
    pub(crate) status: (u32, Bytes),
}

/// A stream's context that is told of the last data of a direction: its guest may put trailers behind that.
#[derive(Clone, Copy)]
pub(crate) struct LastData {
    pub(crate) context: u32,
    pub(crate) direction: Direction,
    /// The data has passed another guest already, so that what this one does is of no effect.
    pub(crate) passed: bool,
}

impl Deref for State {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl State {
    pub(crate) fn new(
        module: &Arc<Module>,
        process: &Arc<Process>,
        worker: &Rc<dyn Worker>,
        mailbox: &Mailbox,
        machine: u32,
    ) -> Self {
        let environment = &module.config.environment;
        let environment = environment.iter().flat_map(|(name, value)| {
            // A NUL would end the entry for the guest.
            let entry = format!("{name}={value}").replace('\0', "");
            entry.into_bytes().into_iter().chain([0])
        });
        Self(Rc::new(Inner {
            module: Arc::clone(module),
            process: Arc::clone(process),
            worker: Rc::clone(worker),
            mailbox: Arc::clone(mailbox),
            machine,
            ticks_told: Cell::default(),
            vm: OnceCell::new(),
            wasi: Wasi::default(),
            environment: environment.collect(),
            effective: Cell::default(),
            contexts: RefCell::default(),
            last_context: Cell::default(),
            calls: RefCell::default(),
            last_call: Cell::default(),
            metrics: RefCell::default(),
            answer: RefCell::default(),
            done: RefCell::default(),
            last_data: Cell::default(),
            ending: Cell::default(),
        }))
    }

    /// The context of this number.
    pub(crate) fn context(&self, id: u32) -> Option<Rc<Context>> {
        self.contexts.borrow().get(&id).cloned()
    }

    /// The context that the guest's call is about.
    pub(crate) fn effective(&self) -> Option<Rc<Context>> {
        self.context(self.effective.get())
    }

    /// The stream that the guest's call is about.
    pub(crate) fn stream(&self) -> Option<StreamRef> {
        let contexts = self.contexts.borrow();
        contexts.get(&self.effective.get())?.stream.clone()
    }

    /// A number that no context has.
    pub(crate) fn new_context_id(&self) -> u32 {
        next(&self.last_context, |id| {
            self.contexts.borrow().contains_key(&id)
        })
    }

    /// A number that no call has.
    pub(crate) fn new_call_id(&self) -> u32 {
        next(&self.last_call, |id| self.calls.borrow().contains_key(&id))
    }

    /// Logs for the plugin of the effective context.
    pub(crate) fn log(&self, level: Level, line: &str) {
        if level < self.worker.log_level() {
            return;
        }
        let context = self.effective();
        let name = context.as_ref().map(|context| &*context.root.config.name);
        self.worker
            .log(level, name.unwrap_or(&self.module.vm_id), line);
    }

    /// Logs output of the guest that was not ended by a newline.
    pub(crate) fn flush(&self) -> Result<()> {
        if self.wasi.is_flushed() {
            return Ok(());
        }
        self.wasi.flush(self)
    }
}

fn next(last: &Cell<u32>, taken: impl Fn(u32) -> bool) -> u32 {
    loop {
        // 0 is the parent of plugins' contexts, and no call.
        let id = last.get().checked_add(1).unwrap_or(1);
        last.set(id);
        if !taken(id) {
            return id;
        }
    }
}

impl WasiState for State {
    const UNSTABLE: bool = true;

    fn wasi(&self) -> &Wasi {
        &self.wasi
    }

    fn running(&self) -> Result<bool> {
        Ok(true)
    }

    fn time(&self) -> Result<i64> {
        Ok((self.worker.time() / 1_000).cast_signed())
    }

    fn random(&self, _: i64) -> Result<[u8; RANDOM_BLOCK]> {
        let mut block = [0; RANDOM_BLOCK];
        self.worker
            .random(&mut block)
            .map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
        Ok(block)
    }

    fn log(&self, level: &str, line: &str) -> Result<()> {
        let level = if level == "error" {
            Level::Error
        } else {
            Level::Info
        };
        State::log(self, level, line);
        Ok(())
    }

    fn environment(&self) -> &[u8] {
        &self.environment
    }
}
