//! Finding the engines that were compiled in.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::ExtEngine;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Capabilities, Limits};
use crate::manifest::PackageManifest;

/// What kind of code an engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineKind {
    /// Native Rust, linked into the program.
    Builtin,
    /// WebAssembly.
    Wasm,
    /// Lua.
    Lua,
}

impl EngineKind {
    /// The kind's name, such as `wasm`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Wasm => "wasm",
            Self::Lua => "lua",
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The limits that are an engine's own rather than a package's or a call's: engines are shared by all packages that agree on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EngineLimits {
    /// Bytes of memory of the largest guest.
    pub memory: u64,
    /// Elements of all tables of a guest.
    pub table_elements: u32,
    /// Bytes of stack.
    pub stack: u32,
}

impl From<&Limits> for EngineLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            memory: limits.memory,
            table_elements: limits.table_elements,
            stack: limits.stack,
        }
    }
}

/// Makes engines of one name; compiled in and found through [`factories`].
///
/// An engine crate registers its factory with `inventory::submit!(engine_core::factory::Registration(&MyFactory))`.
pub trait ExtEngineFactory: Sync {
    /// The kind of code.
    fn kind(&self) -> EngineKind;

    /// The engine's name, such as `wasmtime`.
    fn name(&self) -> &'static str;

    /// The version of the runtime beneath.
    fn version(&self) -> &'static str;

    /// The limits that its engines keep.
    fn capabilities(&self) -> Capabilities;

    /// Makes an engine for these limits.
    ///
    /// # Errors
    /// `internal` where the runtime does not start, `not_kept` where it cannot be made for such limits.
    fn create(&self, limits: &EngineLimits) -> Result<Arc<dyn ExtEngine>>;

    /// Refuses a package with limits that the engine cannot keep and the manifest does not waive.
    ///
    /// # Errors
    /// `not_kept`, naming each limit.
    fn check_limits(&self, manifest: &PackageManifest) -> Result<()> {
        let missing = self
            .capabilities()
            .not_kept(&manifest.limits, &manifest.waived);
        if missing.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = missing.iter().map(|limit| limit.name()).collect();
        Err(Error::new(
            ErrorKind::NotKept,
            format!(
                "engine `{}` cannot keep the limits {}: waive them by name for this engine in the manifest, or choose another engine",
                self.name(),
                names.join(", ")
            ),
        )
        .at(|| manifest.name.to_string()))
    }
}

/// A compiled-in factory.
#[derive(Clone, Copy)]
pub struct Registration(pub &'static dyn ExtEngineFactory);

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registration").field(&self.0.name()).finish()
    }
}

inventory::collect!(Registration);

/// The factories that were compiled in, by name.
pub fn factories() -> Vec<&'static dyn ExtEngineFactory> {
    let mut found: Vec<_> = inventory::iter::<Registration>().map(|r| r.0).collect();
    found.sort_by_key(|factory| factory.name());
    found
}

/// The factory of an engine.
///
/// # Errors
/// `unknown` where no engine of that name was compiled in.
pub fn factory(name: &str) -> Result<&'static dyn ExtEngineFactory> {
    let found = factories();
    if let Some(factory) = found.iter().find(|factory| factory.name() == name) {
        return Ok(*factory);
    }
    let names: Vec<_> = found.iter().map(|factory| factory.name()).collect();
    Err(Error::new(
        ErrorKind::Unknown,
        format!(
            "no engine `{name}` in this build, which has: {}; build with the feature of that name",
            names.join(", ")
        ),
    ))
}
