//! A filter in Lua.

use std::rc::Rc;
use std::sync::Arc;

use engine_core::error::{Error, ErrorKind, Result};
use filter_lua::{LoadError, LuaConfig, LuaFilters, LuaLimits, LuaRoute, LuaRouteConfig, Machines};
use filters::Filter;

use crate::case::Setup;
use crate::plugin::{Plugin, Subject};
use crate::world::World;

/// A script with `envoy_on_request` or `envoy_on_response`.
///
/// A case's `configuration` is JSON: what the script's `filterContext()` answers.
#[derive(Clone, Debug)]
pub struct Lua {
    /// The script.
    pub source: String,
}

impl Lua {
    fn config(&self, setup: &Setup) -> LuaConfig {
        let limits = setup.limits.clone().unwrap_or_default();
        LuaConfig {
            name: setup.name().to_owned(),
            default_source_code: Some(self.source.clone()),
            limits: LuaLimits {
                memory: limits.memory,
                deadline_ms: limits.deadline_ms,
                stack: limits.stack,
            },
            ..LuaConfig::default()
        }
    }
}

/// What a route tells the script.
fn route(setup: &Setup) -> Result<LuaRouteConfig> {
    let wrong = |message: String| Error::new(ErrorKind::Manifest, message);
    let said = [
        ("vm_configuration", setup.vm_configuration.is_some()),
        ("root_id", setup.root_id.is_some()),
        ("vm_id", setup.vm_id.is_some()),
        ("environment", setup.environment.is_some()),
        ("body_before_headers", setup.body_before_headers.is_some()),
        ("fail_open", setup.fail_open.is_some()),
        ("foreign", setup.foreign.is_some()),
        ("shared", setup.shared.is_some()),
    ];
    if let Some((field, _)) = said.into_iter().find(|(_, said)| *said) {
        return Err(wrong(format!("a script has no `{field}`: remove it")));
    }
    let mut config = LuaRouteConfig::default();
    if let Some(context) = &setup.configuration {
        let context = serde_json::from_slice(context.as_ref());
        config.filter_context = context.map_err(|error| {
            wrong(format!(
                "the `configuration` of a script is an object in JSON, which `filterContext()` answers: {error}"
            ))
        })?;
    }
    Ok(config)
}

impl Plugin for Lua {
    fn name(&self) -> &str {
        "lua"
    }

    fn start(&self, setup: &Setup, _: &Rc<World>) -> Result<Box<dyn Subject>> {
        let refused = |LoadError(why): LoadError| Error::new(ErrorKind::Package, why);
        let route = route(setup)?;
        let filters = LuaFilters::load(self.config(setup)).map_err(refused)?;
        Ok(Box::new(Started {
            route: filters.route(route).map_err(refused)?,
            machines: filters.on_thread(),
        }))
    }
}

struct Started {
    route: Arc<LuaRoute>,
    machines: Rc<Machines>,
}

impl Subject for Started {
    fn filter(&self) -> Box<dyn Filter> {
        self.machines.filter(Some(&self.route))
    }
}
