//! Functions on every engine and by every convention, and the manager of their plugins.

#[path = "functions/arrow.rs"]
mod arrow;
#[path = "functions/bindgen.rs"]
mod bindgen;
#[path = "functions/config.rs"]
mod config;
#[path = "functions/contract.rs"]
mod contract;
#[path = "functions/failures.rs"]
mod failures;
#[path = "functions/go.rs"]
mod go;
#[path = "functions/local.rs"]
mod local;
#[path = "functions/manager.rs"]
mod manager;
#[path = "functions/plain.rs"]
mod plain;
#[path = "functions/plugin.rs"]
mod plugin;
#[path = "functions/values.rs"]
mod values;

// The engines that plugins are found on.
use engine_builtin as _;
use engine_lua as _;
