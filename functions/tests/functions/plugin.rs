//! Plugins in a folder of the test's own.

use std::fs;
use std::time::Duration;

use functions::{Manager, PluginConfig, Result};

/// The WASM engines, on which conventions must not differ.
pub(crate) const WASM: [&str; 2] = ["wasmtime", "wasmer"];

/// Longer than any plugin here takes to load, on the slowest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// The functions in the bindgen wire format, as their macro made them.
pub(crate) const BINDGEN: &[u8] = include_bytes!("../guests/bindgen.wasm");

/// A folder with plugins' files, and a manager.
pub(crate) struct Plugins {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) manager: Manager,
}

impl Plugins {
    pub(crate) fn new() -> Self {
        Self::with(Manager::new())
    }

    pub(crate) fn with(manager: Manager) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            manager,
        }
    }

    /// Writes a file of code.
    pub(crate) fn file(&self, name: &str, code: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join(name), code).expect("a file");
    }

    /// A configuration, in TOML.
    pub(crate) fn config(&self, toml: &str) -> PluginConfig {
        PluginConfig::from_toml(toml, self.folder.path()).expect("a configuration")
    }

    /// Adds a plugin and waits until it is ready.
    pub(crate) fn add(&self, toml: &str) -> Result<()> {
        let config = self.config(toml);
        let name = config.name.clone();
        self.manager.add(config)?;
        self.manager.wait_ready(&name, PATIENCE)
    }

    /// Adds a plugin with a module in WAT.
    pub(crate) fn add_wat(&self, engine: &str, functions: &str, wat: &str) -> Result<()> {
        self.file("module.wasm", wat::parse_str(wat).expect("a module"));
        self.add(&format!(
            "name = 'plugin'\nengine = '{engine}'\npath = 'module.wasm'\nfunctions = [{functions}]\n[limits]\ndeadline_ms = 300"
        ))
    }

    /// Adds the functions in the bindgen wire format.
    pub(crate) fn add_bindgen(&self, engine: &str, functions: &str, more: &str) -> Result<()> {
        self.file("bindgen.wasm", BINDGEN);
        self.add(&format!(
            "name = 'bindgen'\nengine = '{engine}'\npath = 'bindgen.wasm'\nfunctions = [{functions}]\n{more}"
        ))
    }
}
