//! A thread's machines: one for each configuration, replaced when they fail, with the plugins on them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine_core::error::{Error, ErrorKind, Result};
use filters::{Filter, Level, Worker};

use crate::config::{Backoff, FailurePolicy, PluginConfig};
use crate::context::Root;
use crate::filter::WasmFilter;
use crate::module::{Module, Plugin, Process, ProxyWasm};
use crate::shared::Owner;
use crate::vm::Vm;

/// Takes what a thread has to do later, from any thread; whoever runs the thread hands it to [`Thread::deliver`].
pub type Mailbox = Arc<dyn Fn(Message) + Send + Sync>;

/// Something that a thread has to do when it has time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A machine of this number failed: it may be replaced.
    Restart(u32),
    /// A plugin changed its ticks: [`Thread::next_tick`] says something else now.
    Ticks(u32),
    /// Something waits in a queue that a plugin registered.
    QueueReady {
        /// The machine's number on the thread.
        machine: u32,
        /// The plugin's number on the machine.
        plugin: u32,
        /// The queue.
        queue: u32,
    },
}

/// One thread of a process, with machines of its own.
pub struct Thread {
    process: Arc<Process>,
    worker: Rc<dyn Worker>,
    mailbox: Mailbox,
    machines: RefCell<Vec<Rc<Machine>>>,
}

impl std::fmt::Debug for Thread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Thread")
            .field("machines", &self.machines.borrow().len())
            .finish_non_exhaustive()
    }
}

impl Thread {
    /// A thread without machines.
    pub fn new(process: &ProxyWasm, worker: Rc<dyn Worker>, mailbox: Mailbox) -> Self {
        Self {
            process: Arc::clone(&process.process),
            worker,
            mailbox,
            machines: RefCell::default(),
        }
    }

    /// Starts a plugin here, on a machine that is there for its configuration, or on a new one.
    ///
    /// # Errors
    /// Those of the guest's start; `package` where it refuses its configuration.
    pub fn start(&self, plugin: &Plugin) -> Result<Rc<PluginInstance>> {
        let mut machines = self.machines.borrow_mut();
        let known = machines
            .iter()
            .find(|machine| Arc::ptr_eq(&machine.module, &plugin.module));
        let machine = match known {
            Some(machine) => Rc::clone(machine),
            None => {
                let machine = Rc::new(Machine {
                    process: Arc::clone(&self.process),
                    worker: Rc::clone(&self.worker),
                    mailbox: Arc::clone(&self.mailbox),
                    module: Arc::clone(&plugin.module),
                    number: machines.len() as u32,
                    vm: RefCell::default(),
                    plugins: RefCell::default(),
                    culprit: Cell::default(),
                    failures: Cell::default(),
                    served: Cell::new(self.worker.time()),
                    not_before: Cell::default(),
                });
                machines.push(Rc::clone(&machine));
                machine
            }
        };
        drop(machines);
        machine
            .add(&plugin.config)
            .map_err(|error| error.at(|| plugin.config.name.clone()))
    }

    /// Does what was put into the mailbox.
    pub fn deliver(&self, message: Message) {
        let (Message::Restart(number)
        | Message::Ticks(number)
        | Message::QueueReady {
            machine: number, ..
        }) = message;
        let machine = self.machines.borrow().get(number as usize).cloned();
        let Some(machine) = machine else { return };
        match message {
            Message::Restart(_) => {
                machine.vm();
            }
            Message::Ticks(_) => {
                if let Some(vm) = &*machine.vm.borrow() {
                    vm.state.ticks_told.set(false);
                }
            }
            Message::QueueReady { plugin, queue, .. } => {
                let owner = Owner {
                    mailbox: Arc::clone(&self.mailbox),
                    machine: number,
                    plugin,
                };
                self.process.shared.rang(queue, &owner);
                if let (Some(vm), Some(plugin)) = (machine.vm(), machine.plugin(plugin as usize))
                    && let Some(root) = plugin.root()
                {
                    vm.queue_ready(&root, queue);
                }
            }
        }
    }

    /// When [`Thread::tick`] should be called next, in nanoseconds since 1970: for a tick, or for a machine that rested.
    pub fn next_tick(&self) -> Option<u64> {
        let machines = self.machines.borrow();
        let due = machines.iter().filter_map(|machine| machine.next_tick());
        due.min()
    }

    /// Calls the plugins whose ticks are due, and starts machines that have rested.
    pub fn tick(&self) {
        let now = self.worker.time();
        let machines = self.machines.borrow().clone();
        for machine in machines {
            if let Some(vm) = machine.vm() {
                vm.tick(now);
            }
        }
    }
}

/// A machine's place on a thread: the machine itself comes and goes.
pub(crate) struct Machine {
    process: Arc<Process>,
    worker: Rc<dyn Worker>,
    mailbox: Mailbox,
    module: Arc<Module>,
    number: u32,
    vm: RefCell<Option<Rc<Vm>>>,
    plugins: RefCell<Vec<Rc<Seat>>>,
    /// The number of the plugin that it failed for last.
    culprit: Cell<usize>,
    /// How often it failed in a row since it has last served a stream's callback.
    failures: Cell<u32>,
    /// When it was last known to serve, or was made, in nanoseconds since 1970.
    served: Cell<u64>,
    /// It rests until then, in nanoseconds since 1970.
    not_before: Cell<u64>,
}

impl Machine {
    fn add(self: &Rc<Self>, config: &PluginConfig) -> Result<Rc<PluginInstance>> {
        let mut plugins = self.plugins.borrow_mut();
        let number = plugins.len() as u32;
        let seat = Rc::new(Seat {
            config: Arc::new(config.clone()),
            root: RefCell::default(),
        });
        let first = plugins.is_empty();
        if first {
            *self.vm.borrow_mut() = Some(self.start_vm()?);
        }
        drop(plugins);
        let vm = self.vm().ok_or_else(|| {
            let message = "the machine of its configuration rests after failures";
            Error::new(ErrorKind::Stopped, message)
        })?;
        let root = vm.add(&seat.config, number)?;
        *seat.root.borrow_mut() = Some(root);
        plugins = self.plugins.borrow_mut();
        plugins.push(Rc::clone(&seat));
        let machine = Rc::clone(self);
        Ok(Rc::new(PluginInstance { machine, seat }))
    }

    fn start_vm(&self) -> Result<Rc<Vm>> {
        Vm::start(
            &self.module,
            &self.process,
            &self.worker,
            &self.mailbox,
            self.number,
        )
    }

    fn plugin(&self, number: usize) -> Option<Rc<Seat>> {
        self.plugins.borrow().get(number).cloned()
    }

    /// The machine; a new one where the last one failed and has rested enough, none where it rests still.
    pub(crate) fn vm(&self) -> Option<Rc<Vm>> {
        let current = self.vm.borrow().clone();
        if let Some(vm) = current {
            if vm.is_alive() {
                return Some(vm);
            }
            *self.vm.borrow_mut() = None;
            self.culprit.set(vm.culprit.get());
            self.failed(vm.served.get());
        }
        if self.worker.time() < self.not_before.get() {
            return None;
        }
        match self.restart() {
            Ok(vm) => Some(vm),
            Err(error) => {
                let line = format!("cannot be started again: {error}");
                let name = self.name();
                self.worker.log(Level::Error, &name, &line);
                let metrics = self.worker.metrics();
                metrics.count(&format!("wasm.{name}.reload_failures"));
                self.rest();
                None
            }
        }
    }

    fn restart(&self) -> Result<Rc<Vm>> {
        let vm = self.start_vm()?;
        let plugins = self.plugins.borrow().clone();
        for (number, plugin) in plugins.iter().enumerate() {
            self.culprit.set(number);
            let root = vm.add(&plugin.config, number as u32)?;
            *plugin.root.borrow_mut() = Some(root);
        }
        for plugin in &plugins {
            let name = &plugin.config.name;
            self.worker.metrics().count(&format!("wasm.{name}.reloads"));
        }
        *self.vm.borrow_mut() = Some(Rc::clone(&vm));
        Ok(vm)
    }

    /// The machine failed while it ran: it rests where its plugin wants that, or it has not served for a while.
    fn failed(&self, served: bool) {
        let now = self.worker.time();
        if served {
            self.served.set(now);
            self.failures.set(0);
        }
        let (policy, backoff) = self.manner();
        let served_lately = now.saturating_sub(self.served.get()) < nanos(backoff.base);
        if served_lately && policy != FailurePolicy::Reload {
            self.not_before.set(0);
        } else {
            self.rest();
        }
    }

    /// Lets the machine rest longer than the last time.
    fn rest(&self) {
        self.failures.set(self.failures.get().saturating_add(1));
        let (_, backoff) = self.manner();
        let wait = backoff.after(self.failures.get());
        let wait = wait.mul_f64(1.0 - self.chance() / 2.0);
        self.not_before
            .set(self.worker.time().saturating_add(nanos(wait)));
    }

    /// How it is replaced, as the plugin has it that it failed for.
    fn manner(&self) -> (FailurePolicy, Backoff) {
        let plugin = self.plugin(self.culprit.get());
        let manner = plugin.map(|plugin| (plugin.config.policy, plugin.config.backoff));
        manner.unwrap_or_default()
    }

    /// A number between 0 and 1.
    fn chance(&self) -> f64 {
        let mut bytes = [0; 4];
        // Without randomness all threads start at the same time, and no worse.
        let _ = self.worker.random(&mut bytes);
        f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
    }

    fn name(&self) -> String {
        let plugin = self.plugin(self.culprit.get());
        plugin.map_or_else(
            || self.module.vm_id.to_string(),
            |plugin| plugin.config.name.clone(),
        )
    }

    fn next_tick(&self) -> Option<u64> {
        match &*self.vm.borrow() {
            Some(vm) => vm.next_tick(),
            None => Some(self.not_before.get()),
        }
    }
}

impl Drop for Machine {
    /// Neither a thread nor a stream needs it any more: its plugins end.
    fn drop(&mut self) {
        if let Some(vm) = self.vm.take() {
            let seats = self.plugins.take();
            let roots: Vec<_> = seats.iter().filter_map(|seat| seat.root()).collect();
            vm.end(&roots);
        }
        self.process.shared.forget(&self.mailbox, self.number);
    }
}

pub(crate) fn nanos(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap_or(u64::MAX)
}

/// A plugin as its machine knows it. It does not know the machine, for neither would ever go then.
struct Seat {
    config: Arc<PluginConfig>,
    /// Its context on the machine that stands now.
    root: RefCell<Option<Rc<Root>>>,
}

impl Seat {
    fn root(&self) -> Option<Rc<Root>> {
        self.root.borrow().clone()
    }
}

/// A plugin on a thread, which it may outlive: its machine stays as long as somebody has it, or one of its filters.
pub struct PluginInstance {
    machine: Rc<Machine>,
    seat: Rc<Seat>,
}

impl std::fmt::Debug for PluginInstance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PluginInstance")
            .field("name", &self.config().name)
            .finish_non_exhaustive()
    }
}

impl PluginInstance {
    /// A filter for one stream of HTTP or TCP.
    pub fn filter(self: &Rc<Self>) -> Box<dyn Filter> {
        Box::new(WasmFilter::new(self))
    }

    /// Calls the plugin back for a function of the host's: `proxy_on_foreign_function`.
    ///
    /// # Errors
    /// `stopped` where the machine rests after failures.
    pub fn foreign(&self, function: u32, args: Bytes) -> Result<()> {
        let (Some(vm), Some(root)) = (self.machine.vm(), self.seat.root()) else {
            return Err(Error::new(
                ErrorKind::Stopped,
                "the machine rests after failures",
            ));
        };
        vm.foreign(&root, function, args);
        Ok(())
    }

    pub(crate) fn config(&self) -> &PluginConfig {
        &self.seat.config
    }

    /// The machine that stands now and the plugin's context on it; none while the machine rests.
    pub(crate) fn home(&self) -> Option<(Rc<Vm>, Rc<Root>)> {
        let vm = self.machine.vm()?;
        Some((vm, self.seat.root()?))
    }

    pub(crate) fn is_open(&self) -> bool {
        self.config().policy == FailurePolicy::Open
    }
}
