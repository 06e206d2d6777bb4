//! A proxy-wasm module on one of the runtimes.

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use engine_core::error::Result;
use engine_core::foreign::{ForeignFunctions, Purity};
use filters::{Filter, Worker};
use proxy_wasm::{
    Backoff, FailurePolicy, Message, Options, PluginConfig, PluginInstance, ProxyWasm, Thread,
    VmConfig,
};

use crate::case::{Foreign, Setup};
use crate::plugin::{Plugin, Subject};
use crate::wants::Blob;
use crate::world::World;

/// The runtimes that are compiled in.
pub fn engines() -> Vec<&'static str> {
    let all = [
        ("wasmtime", cfg!(feature = "wasmtime")),
        ("wasmer", cfg!(feature = "wasmer")),
    ];
    let there = all.into_iter().filter(|(_, there)| *there);
    there.map(|(engine, _)| engine).collect()
}

/// A proxy-wasm module on one runtime.
#[derive(Clone, Debug)]
pub struct Wasm {
    /// The module.
    pub code: Arc<[u8]>,
    /// The engine, such as `wasmtime`.
    pub engine: String,
}

impl Wasm {
    fn config(&self, setup: &Setup) -> PluginConfig {
        let bytes = |blob: &Option<Blob>| {
            blob.as_ref()
                .map(|blob| blob.0.to_vec())
                .unwrap_or_default()
        };
        PluginConfig {
            name: setup.name().to_owned(),
            root_id: setup.root_id.clone().unwrap_or_default(),
            vm: VmConfig {
                vm_id: setup.vm_id.clone().unwrap_or_default(),
                code: Arc::clone(&self.code),
                configuration: bytes(&setup.vm_configuration),
                environment: setup.environment.clone().unwrap_or_default(),
                engine: self.engine.clone(),
                limits: setup.limits.clone().unwrap_or_default(),
                capabilities: None,
            },
            configuration: bytes(&setup.configuration),
            policy: if setup.fail_open == Some(true) {
                FailurePolicy::Open
            } else {
                FailurePolicy::Closed
            },
            backoff: Backoff::default(),
            body_before_headers: setup.body_before_headers == Some(true),
        }
    }
}

fn foreign(setup: &Setup) -> ForeignFunctions {
    let mut functions = ForeignFunctions::new();
    for (name, answer) in setup.foreign.iter().flatten() {
        let answer = match answer {
            Foreign::Answer(bytes) => Ok(bytes.0.to_vec()),
            Foreign::Error(why) => Err(why.clone()),
        };
        functions.register(name, Purity::Pure, move |_: &[u8]| answer.clone());
    }
    functions
}

impl Plugin for Wasm {
    fn name(&self) -> &str {
        &self.engine
    }

    fn start(&self, setup: &Setup, world: &Rc<World>) -> Result<Box<dyn Subject>> {
        let process = ProxyWasm::new(Options {
            foreign: foreign(setup),
            ..Options::default()
        });
        let vm_id = setup.vm_id.clone().unwrap_or_default();
        for (key, value) in setup.shared.iter().flatten() {
            process.set_shared(&vm_id, key.as_bytes(), value.as_ref())?;
        }
        let plugin = process.load(self.config(setup))?;
        let mail: Mail = Arc::default();
        let sender = Arc::clone(&mail);
        let worker = Rc::clone(world) as Rc<dyn Worker>;
        let thread = Thread::new(
            &process,
            worker,
            Arc::new(move |message| {
                let mut mail = sender.lock().unwrap_or_else(PoisonError::into_inner);
                mail.push(message);
            }),
        );
        let plugin = thread.start(&plugin)?;
        Ok(Box::new(Started {
            process,
            vm_id,
            thread,
            plugin,
            mail,
        }))
    }
}

/// What the thread has to do later.
type Mail = Arc<Mutex<Vec<Message>>>;

struct Started {
    process: ProxyWasm,
    vm_id: String,
    thread: Thread,
    plugin: Rc<PluginInstance>,
    mail: Mail,
}

impl Subject for Started {
    fn filter(&self) -> Box<dyn Filter> {
        self.plugin.filter()
    }

    fn next_tick(&self) -> Option<u64> {
        self.thread.next_tick()
    }

    fn tick(&self) {
        self.thread.tick();
    }

    fn deliver(&self) -> bool {
        let mail = std::mem::take(&mut *self.mail.lock().unwrap_or_else(PoisonError::into_inner));
        let any = !mail.is_empty();
        for message in mail {
            self.thread.deliver(message);
        }
        any
    }

    fn shared(&self, key: &[u8]) -> Option<Bytes> {
        self.process.shared(&self.vm_id, key)
    }
}
