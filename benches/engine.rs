//! The engines, as a parameter of every bench.

use std::sync::Arc;

use engine_builtin::BuiltinFactory;
use engine_core::engine::{ExtEngine, ExtensionInstance, ExtensionPackage, Invocation, Outcome};
use engine_core::factory::{EngineLimits, ExtEngineFactory};
use engine_core::intent::Intents;
use engine_core::limits::Limits;
use engine_core::manifest::Policy;
use engine_lua::LuaFactory;
use engine_wasm_wasmer::WasmerFactory;
use engine_wasm_wasmtime::WasmtimeFactory;

use crate::Subject;
use crate::application::{limits, source};
use crate::world::World;

/// The engines.
pub const ENGINES: [&dyn ExtEngineFactory; 4] = [
    &BuiltinFactory,
    &WasmtimeFactory,
    &WasmerFactory,
    &LuaFactory,
];

/// Makes an engine for the benches' limits.
///
/// # Panics
/// Where it does not start.
pub fn create(factory: &dyn ExtEngineFactory) -> Arc<dyn ExtEngine> {
    let made = factory.create(&EngineLimits::from(&limits()));
    made.expect("an engine")
}

/// Loads the guest on an engine of its own.
///
/// # Panics
/// Where it does not load.
pub fn load(
    factory: &dyn ExtEngineFactory,
    policy: Policy,
    limits: Limits,
) -> Arc<dyn ExtensionPackage> {
    let loaded = create(factory).load(&source(factory, policy, limits));
    loaded.expect("the guest loads")
}

/// An instance of the guest, through the whole engine API.
#[derive(Debug)]
pub struct Instance {
    inner: Box<dyn ExtensionInstance>,
    intents: Intents,
}

impl Instance {
    /// An instance of a loaded package.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn of(package: &Arc<dyn ExtensionPackage>) -> Self {
        Self {
            inner: package.instantiate().expect("an instance"),
            intents: Intents::new(),
        }
    }

    /// An instance on an engine of its own, with the benches' limits.
    pub fn new(factory: &dyn ExtEngineFactory, policy: Policy) -> Self {
        Self::of(&load(factory, policy, limits()))
    }

    /// Runs invocations as one batch.
    ///
    /// # Panics
    /// Where one fails.
    pub fn ask_batch(&mut self, batch: &[Invocation<'_>]) {
        let mut settled = 0;
        let mut settle = |_, outcome: Outcome, _: &mut Intents| {
            outcome.result.expect("the extension ends well");
            settled += 1;
        };
        self.inner
            .invoke_batch(batch, World::get(), &mut self.intents, &mut settle);
        assert_eq!(settled, batch.len());
    }
}

impl Subject for Instance {
    fn ask(&mut self, extension: usize, args: &[u8]) {
        let invocation = Invocation {
            extension,
            args,
            tracer: None,
        };
        let outcome = self
            .inner
            .invoke(invocation, World::get(), &mut self.intents);
        outcome.result.expect("the extension ends well");
    }
}
