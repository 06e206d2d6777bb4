//! One machine on one thread: its start, its callbacks, and its end by a failure.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::limits::Limit;
use engine_wasm_abi::runtime::Guest;
use filters::callout::{CallFailed, GrpcEvent, HttpAnswer};
use filters::metrics::{Metric, MetricKind};
use filters::{Level, StreamRef, Worker};

use crate::config::PluginConfig;
use crate::context::{Answer, Context, Root, State};
use crate::exports::{Callback, MAX_PARAMS};
use crate::filter;
use crate::machine::{Mailbox, Message};
use crate::module::{Module, Process};

/// The least time that a guest has to start: a short deadline is meant for callbacks.
const START_MS: u32 = 1_000;

/// Contexts of streams that are over which a guest may keep; the next ones are deleted without its consent.
const MAX_LINGERING: usize = 10_000;

/// The status of a call that failed, as other hosts have it: "the connection broke".
const BROKEN_CONNECTION: u32 = 11;

/// One machine.
pub(crate) struct Vm {
    pub(crate) state: State,
    /// None once it failed.
    guest: RefCell<Option<Box<dyn Guest<State>>>>,
    /// Whether it has ended a callback of a stream well.
    pub(crate) served: Cell<bool>,
    /// The number of the plugin that it failed for.
    pub(crate) culprit: Cell<usize>,
    lingering: Cell<usize>,
    memory: Memory,
}

/// How much memory the machine's guest has, in a metric that all machines of the id add up in.
struct Memory {
    metric: Option<Arc<Metric>>,
    bytes: Cell<usize>,
}

impl Memory {
    fn set(&self, bytes: usize) {
        let before = self.bytes.replace(bytes);
        if let Some(metric) = self.metric.as_ref().filter(|_| before != bytes) {
            metric.add(bytes as i64 - before as i64);
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Vm {
    /// Makes a machine and runs its guest's own start.
    pub(crate) fn start(
        module: &Arc<Module>,
        process: &Arc<Process>,
        worker: &Rc<dyn Worker>,
        mailbox: &Mailbox,
        machine: u32,
    ) -> Result<Rc<Self>> {
        let state = State::new(module, process, worker, mailbox, machine);
        let guest = module.instantiate(state.clone())?;
        let name = match &*module.vm_id {
            "" => "wasm.memory_bytes".to_owned(),
            vm_id => format!("wasm.vm.{vm_id}.memory_bytes"),
        };
        let vm = Rc::new(Self {
            guest: RefCell::new(Some(guest)),
            served: Cell::new(false),
            culprit: Cell::new(0),
            lingering: Cell::new(0),
            memory: Memory {
                metric: worker.metrics().define(MetricKind::Gauge, &name),
                bytes: Cell::new(0),
            },
            state,
        });
        // Set once, here.
        let _ = vm.state.vm.set(Rc::downgrade(&vm));
        vm.run(0, Callback::ModuleStart, &[], START_MS)?;
        if vm.has(Callback::Initialize) {
            vm.run(0, Callback::Initialize, &[], START_MS)?;
            if vm.has(Callback::Main) {
                vm.run(0, Callback::Main, &[0, 0], START_MS)?;
            }
        } else if vm.has(Callback::Start) {
            vm.run(0, Callback::Start, &[], START_MS)?;
        }
        vm.measure();
        Ok(vm)
    }

    /// Makes a plugin's context and lets it configure itself.
    pub(crate) fn add(&self, config: &Arc<PluginConfig>, plugin: u32) -> Result<Rc<Root>> {
        let id = self.state.new_context_id();
        let root = Rc::new(Root {
            config: Arc::clone(config),
            plugin,
            id,
            tick: Cell::new(None),
        });
        let context = Context::new(&root, None);
        self.state.contexts.borrow_mut().insert(id, context);
        self.run(id, Callback::ContextCreate, &[id, 0], START_MS)?;
        let steps = [
            (Callback::VmStart, config.vm.configuration.len()),
            (Callback::Configure, config.configuration.len()),
        ];
        for (step, size) in steps {
            let answer = self.run(id, step, &[id, size as u32], START_MS)?;
            if answer == Some(0) {
                let (name, ..) = step.spec();
                let message = format!(
                    "`{name}` answered false: the filter refuses its configuration; see the log for its reason"
                );
                return Err(Error::new(ErrorKind::Package, message));
            }
        }
        self.measure();
        Ok(root)
    }

    pub(crate) fn is_alive(&self) -> bool {
        // It is borrowed while a callback runs.
        self.guest.try_borrow().is_ok_and(|guest| guest.is_some())
    }

    pub(crate) fn has(&self, callback: Callback) -> bool {
        self.state.module.exports.get(callback).is_some()
    }

    /// Calls the guest for a context; none where it has no such callback.
    ///
    /// Parameters beyond those that the guest's function has are left out.
    ///
    /// # Errors
    /// Those of [`Guest::call`]; the machine has failed then and is of no use any more.
    pub(crate) fn call(
        &self,
        context: u32,
        callback: Callback,
        args: &[u32],
    ) -> Result<Option<u32>> {
        let called = self.run(context, callback, args, 0);
        if called.is_ok() {
            self.finish_lingering();
        }
        called
    }

    fn run(
        &self,
        context: u32,
        callback: Callback,
        args: &[u32],
        least_ms: u32,
    ) -> Result<Option<u32>> {
        let Some(found) = self.state.module.exports.get(callback) else {
            return Ok(None);
        };
        let mut place = self.guest.try_borrow_mut().map_err(|_| nested())?;
        let Some(guest) = &mut *place else {
            return Err(Error::new(ErrorKind::Stopped, "the machine has failed"));
        };
        self.state.effective.set(context);
        guest.arm(self.state.module.budget(least_ms));
        let mut places = [0; MAX_PARAMS];
        for (place, arg) in places.iter_mut().zip(args) {
            *place = u64::from(*arg);
        }
        let used = found.params.max(usize::from(found.result));
        let called = guest.call_numbers(found.function, &mut places[..used]);
        let ended = called.and_then(|()| self.state.flush());
        self.state.effective.set(0);
        match ended {
            Ok(()) => Ok(Some(if found.result { places[0] as u32 } else { 0 })),
            Err(error) => {
                let guest = place.take();
                drop(place);
                drop(guest);
                self.fail(context, callback, &error);
                Err(error)
            }
        }
    }

    /// The machine is lost: it is said, counted, and told to everybody who has a context in it.
    fn fail(&self, culprit: u32, callback: Callback, error: &Error) {
        let state = &self.state;
        self.memory.set(0);
        let (name, ..) = callback.spec();
        let context = state.context(culprit);
        let plugin = context
            .as_ref()
            .map_or(&*state.module.vm_id, |context| &context.root.config.name);
        if let Some(context) = &context {
            self.culprit.set(context.root.plugin as usize);
        }
        let mut line = format!("`{name}` failed: {error}");
        let metrics = state.worker.metrics();
        metrics.count(&format!("wasm.{plugin}.failures"));
        let limit = match error.kind() {
            ErrorKind::Limit(Limit::Deadline) => Some(("deadline", "deadlines")),
            ErrorKind::Limit(Limit::Memory) => Some(("memory", "memory_limits")),
            _ => None,
        };
        if let Some((field, count)) = limit {
            metrics.count(&format!("wasm.{plugin}.{count}"));
            line.push_str(&format!(
                "; `extengine.wasm.{field}` says how much it may use"
            ));
        }
        state.worker.log(Level::Error, plugin, &line);
        // Its calls are given up with it.
        let calls = state.calls.take();
        drop(calls);
        for (id, context) in state.contexts.take() {
            if let Some(stream) = &context.stream {
                filter::lost(stream, id == culprit);
            }
        }
        (state.mailbox)(Message::Restart(state.machine));
    }

    /// Makes a context for a stream.
    pub(crate) fn add_stream(&self, root: &Rc<Root>, stream: &StreamRef) -> Result<u32> {
        let id = self.state.new_context_id();
        let context = Context::new(root, Some(stream.clone()));
        self.state.contexts.borrow_mut().insert(id, context);
        self.call(id, Callback::ContextCreate, &[id, root.id])?;
        Ok(id)
    }

    /// A stream is over: the guest may finish with it, log it, and forgets it.
    pub(crate) fn end_stream(&self, id: u32) -> Result<()> {
        self.state
            .calls
            .borrow_mut()
            .retain(|_, call| call.context != id);
        let done = self.call(id, Callback::Done, &[id])?;
        if done == Some(0) && self.lingering.get() < MAX_LINGERING {
            if let Some(context) = self.state.context(id) {
                context.lingers.set(true);
                self.lingering.set(self.lingering.get() + 1);
            }
            return Ok(());
        }
        self.delete(id)
    }

    fn delete(&self, id: u32) -> Result<()> {
        self.run(id, Callback::Log, &[id], 0)?;
        self.run(id, Callback::Delete, &[id], 0)?;
        self.state
            .calls
            .borrow_mut()
            .retain(|_, call| call.context != id);
        self.state.contexts.borrow_mut().remove(&id);
        self.measure();
        Ok(())
    }

    /// The machine is not needed any more: what it has under way is given up, and every context that is left ends.
    ///
    /// A failure is said and counted as any other, and of no effect. No guest is left a context, for nothing would ever
    /// happen in it.
    pub(crate) fn end(&self, roots: &[Rc<Root>]) {
        self.state.ending.set(true);
        let calls = self.state.calls.take();
        drop(calls);
        let _ = self.end_contexts(roots);
    }

    fn end_contexts(&self, roots: &[Rc<Root>]) -> Result<()> {
        let contexts = self.state.contexts.borrow();
        let streams = contexts.iter().filter(|(_, known)| known.stream.is_some());
        let mut streams: Vec<_> = streams.map(|(id, _)| *id).collect();
        drop(contexts);
        streams.sort_unstable();
        for id in streams {
            self.delete(id)?;
        }
        for root in roots {
            self.run(root.id, Callback::Done, &[root.id], 0)?;
            self.delete(root.id)?;
        }
        Ok(())
    }

    /// Says how much memory the guest has: when something ends that may have made it grow, and not at each callback.
    fn measure(&self) {
        if let Ok(guest) = self.guest.try_borrow() {
            let bytes = guest.as_ref().map_or(0, |guest| guest.memory().len());
            self.memory.set(bytes);
        }
    }

    /// Deletes the contexts that the guest is done with since the last time.
    fn finish_lingering(&self) {
        loop {
            let id = self.state.done.borrow_mut().pop();
            let Some(id) = id else { return };
            self.lingering.set(self.lingering.get().saturating_sub(1));
            if self.delete(id).is_err() {
                return;
            }
        }
    }

    /// When the next tick is due, in nanoseconds since 1970.
    pub(crate) fn next_tick(&self) -> Option<u64> {
        let contexts = self.state.contexts.borrow();
        let ticks = contexts.values().filter(|context| context.stream.is_none());
        ticks
            .filter_map(|context| context.root.tick.get())
            .map(|(_, due)| due)
            .min()
    }

    /// Calls every plugin whose tick is due.
    pub(crate) fn tick(&self, now: u64) {
        let due = |root: &Root| root.tick.get().filter(|(_, due)| *due <= now);
        let contexts = self.state.contexts.borrow();
        let roots = contexts.values().filter(|context| context.stream.is_none());
        let mut roots: Vec<_> = roots
            .map(|context| Rc::clone(&context.root))
            .filter(|root| due(root).is_some())
            .collect();
        drop(contexts);
        roots.sort_by_key(|root| root.id);
        for root in roots {
            if let Some((period, _)) = due(&root) {
                // A thread that was away for long ticks once, not for every period that it missed.
                root.tick.set(Some((period, now.saturating_add(period))));
                if self.call(root.id, Callback::Tick, &[root.id]).is_err() {
                    return;
                }
                self.measure();
            }
        }
    }

    /// Tells a guest that a call of its ended.
    pub(crate) fn http_answer(&self, id: u32, answer: Result<HttpAnswer, CallFailed>) {
        let Some(call) = self.state.calls.borrow_mut().remove(&id) else {
            return;
        };
        let status = match &answer {
            Ok(_) => (0, Bytes::new()),
            Err(failed) => {
                let words = match failed {
                    CallFailed::Timeout => "timeout",
                    CallFailed::Reset => "reset",
                    CallFailed::TooLarge => "response too large",
                };
                (BROKEN_CONNECTION, Bytes::from_static(words.as_bytes()))
            }
        };
        let HttpAnswer {
            headers,
            body,
            trailers,
        } = answer.unwrap_or_default();
        let context = call.context;
        drop(call);
        let args = [
            context,
            id,
            headers.len() as u32,
            body.len() as u32,
            trailers.len() as u32,
        ];
        let about = Answer {
            call_headers: Some(headers),
            call_body: Some(body),
            call_trailers: Some(trailers),
            status,
            ..Answer::default()
        };
        self.tell(context, Callback::HttpCallResponse, &args, about);
    }

    /// Tells a guest what came on a gRPC stream of its.
    pub(crate) fn grpc_event(&self, id: u32, event: GrpcEvent) {
        let context = self.state.calls.borrow().get(&id).map(|call| call.context);
        let Some(context) = context else { return };
        let mut about = Answer::default();
        let (callback, number) = match event {
            GrpcEvent::InitialMetadata(metadata) => {
                let count = metadata.len();
                about.grpc_initial = Some(metadata);
                (Callback::GrpcInitialMetadata, count as u32)
            }
            GrpcEvent::Message(message) => {
                let len = message.len();
                about.grpc_message = Some(message);
                (Callback::GrpcReceive, len as u32)
            }
            GrpcEvent::TrailingMetadata(metadata) => {
                let count = metadata.len();
                about.grpc_trailing = Some(metadata);
                (Callback::GrpcTrailingMetadata, count as u32)
            }
            GrpcEvent::Closed(status, message) => {
                let call = self.state.calls.borrow_mut().remove(&id);
                drop(call);
                about.status = (status, message.into());
                (Callback::GrpcClose, status)
            }
        };
        self.tell(context, callback, &[context, id, number], about);
    }

    /// Tells a plugin of a message in a queue that it registered.
    pub(crate) fn queue_ready(&self, root: &Root, queue: u32) {
        // A failure is told to everybody whom it concerns.
        let _ = self.call(root.id, Callback::QueueReady, &[root.id, queue]);
    }

    /// Calls a plugin by a function of the host's.
    pub(crate) fn foreign(&self, root: &Root, function: u32, args: Bytes) {
        let len = args.len() as u32;
        let about = Answer {
            foreign: Some(args),
            ..Answer::default()
        };
        self.tell(
            root.id,
            Callback::ForeignFunction,
            &[root.id, function, len],
            about,
        );
    }

    fn tell(&self, context: u32, callback: Callback, args: &[u32], about: Answer) {
        *self.state.answer.borrow_mut() = about;
        // A failure is told to everybody whom it concerns.
        let _ = self.call(context, callback, args);
        self.measure();
        self.state.answer.take();
    }
}

fn nested() -> Error {
    Error::new(ErrorKind::Internal, "a callback within a callback")
}
