//! The factory of engine `builtin`.

use std::sync::Arc;

use engine_core::engine::ExtEngine;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::{EngineKind, EngineLimits, ExtEngineFactory, Registration};
use engine_core::limits::{Capabilities, Keeping, Limit};

use crate::engine::BuiltinEngine;
use crate::error;

/// Makes engines that run native extensions.
#[derive(Clone, Copy, Debug)]
pub struct BuiltinFactory;

inventory::submit!(Registration(&BuiltinFactory));

impl ExtEngineFactory for BuiltinFactory {
    fn kind(&self) -> EngineKind {
        EngineKind::Builtin
    }

    fn name(&self) -> &'static str {
        "builtin"
    }

    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    fn capabilities(&self) -> Capabilities {
        // Native code runs as the program's own: nothing stands between it and the machine.
        let not_kept = [Limit::Memory, Limit::Stack, Limit::Deadline, Limit::Fuel];
        // The program's code is no package of its own that could be measured.
        let no_object = [
            Limit::CodeBytes,
            Limit::Functions,
            Limit::FunctionBytes,
            Limit::TableElements,
        ];
        Capabilities::ALL_KEPT
            .with(&not_kept, Keeping::NotKept)
            .with(&no_object, Keeping::NoObject)
    }

    fn create(&self, _limits: &EngineLimits) -> Result<Arc<dyn ExtEngine>> {
        if cfg!(not(panic = "unwind")) {
            return Err(Error::new(
                ErrorKind::Internal,
                "engine `builtin` must catch panics: build the program with panic = \"unwind\"",
            ));
        }
        error::quieten_caught_panics();
        Ok(Arc::new(BuiltinEngine::new()?))
    }
}
