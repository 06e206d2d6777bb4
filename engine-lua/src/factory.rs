//! The factory of engine `lua`.

use std::sync::Arc;

use engine_core::engine::ExtEngine;
use engine_core::error::Result;
use engine_core::factory::{EngineKind, EngineLimits, ExtEngineFactory, Registration};
use engine_core::limits::{Capabilities, Keeping, Limit};

use crate::engine::LuaEngine;

/// Makes engines that run Luau.
#[derive(Clone, Copy, Debug)]
pub struct LuaFactory;

inventory::submit!(Registration(&LuaFactory));

impl ExtEngineFactory for LuaFactory {
    fn kind(&self) -> EngineKind {
        EngineKind::Lua
    }

    fn name(&self) -> &'static str {
        "lua"
    }

    fn version(&self) -> &'static str {
        "Luau in mlua 0.12"
    }

    fn capabilities(&self) -> Capabilities {
        // A chunk is one text: it has no function bodies or element tables to bound one by one.
        Capabilities::ALL_KEPT.with(
            &[Limit::Functions, Limit::FunctionBytes, Limit::TableElements],
            Keeping::NoObject,
        )
    }

    fn create(&self, limits: &EngineLimits) -> Result<Arc<dyn ExtEngine>> {
        Ok(Arc::new(LuaEngine::new(*limits)?))
    }
}
