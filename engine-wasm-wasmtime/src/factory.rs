//! The factory of engine `wasmtime`.

use std::sync::Arc;

use engine_core::engine::ExtEngine;
use engine_core::error::Result;
use engine_core::factory::{EngineKind, EngineLimits, ExtEngineFactory, Registration};
use engine_core::limits::Capabilities;
use engine_wasm_abi::engine::WasmEngine;

use crate::engine::WasmtimeRuntime;

/// Makes engines on Wasmtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct WasmtimeFactory;

pub(crate) static FACTORY: WasmtimeFactory = WasmtimeFactory;

inventory::submit!(Registration(&FACTORY));

impl ExtEngineFactory for WasmtimeFactory {
    fn kind(&self) -> EngineKind {
        EngineKind::Wasm
    }

    fn name(&self) -> &'static str {
        "wasmtime"
    }

    fn version(&self) -> &'static str {
        "48.0.8"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL_KEPT
    }

    fn create(&self, limits: &EngineLimits) -> Result<Arc<dyn ExtEngine>> {
        Ok(Arc::new(WasmEngine::new(WasmtimeRuntime::new(limits)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_is_built() {
        let lock = include_str!("../../Cargo.lock").replace('\r', "");
        let package = "name = \"wasmtime\"\nversion = \"";
        let (_, rest) = lock.split_once(package).unwrap();
        assert_eq!(FACTORY.version(), rest.split('"').next().unwrap());
    }
}
