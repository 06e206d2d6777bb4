//! Limits of plugins and scripts, which Envoy's configuration has no place for.

use std::collections::BTreeMap;
use std::time::Duration;

use super::node::Value;
use super::reader::Reader;
use super::report::Kind;
use super::values;
use engine_core::limits::size as bytes;

/// What is written in `extengine`, the part of a configuration that is the proxy's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Of WASM plugins, those without limits of their own.
    pub wasm: PluginLimits,
    /// Of Lua filters.
    pub lua: PluginLimits,
    /// Of WASM plugins by name.
    pub plugins: BTreeMap<String, PluginLimits>,
}

/// What a plugin may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PluginLimits {
    /// Bytes of memory of its virtual machine, on each thread. 64 MiB.
    pub memory: u64,
    /// Time of one callback. 100 milliseconds.
    pub deadline: Duration,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            deadline: Duration::from_millis(100),
        }
    }
}

impl Settings {
    /// The limits of the WASM plugin of a name.
    pub fn plugin(&self, name: &str) -> PluginLimits {
        self.plugins.get(name).copied().unwrap_or(self.wasm)
    }

    pub(super) fn read(reader: &Reader<'_>) -> Self {
        let lua = reader.message("lua", |r| PluginLimits::read(r, PluginLimits::default()));
        let wasm = reader.message("wasm", |r| {
            let all = PluginLimits::read(r, PluginLimits::default());
            let plugins = r.named("plugins", |r| PluginLimits::read(r, all));
            let plugins = plugins.into_iter().map(|(key, limits)| {
                r.report().refer(Kind::Plugin, key.place, &key.name);
                (key.name, limits)
            });
            (all, plugins.collect())
        });
        let (wasm, plugins) = wasm.unwrap_or_default();
        Self {
            wasm,
            lua: lua.unwrap_or_default(),
            plugins,
        }
    }
}

impl PluginLimits {
    fn read(reader: &Reader<'_>, default: Self) -> Self {
        Self {
            memory: size(reader, "memory").unwrap_or(default.memory),
            deadline: deadline(reader, "deadline").unwrap_or(default.deadline),
        }
    }
}

/// Reads a number of bytes, such as `64MiB`.
fn size(reader: &Reader<'_>, field: &'static str) -> Option<u64> {
    let (_, node) = reader.field(field)?;
    let size = match &node.value {
        Value::Int(bytes) => u64::try_from(*bytes).ok(),
        Value::Text(text) => bytes(text),
        _ => None,
    };
    let size = size.filter(|size| (64 << 10..=4 << 30).contains(size));
    if size.is_none() {
        reader.wrong_type(
            field,
            node,
            "a size from `64KiB` to `4GiB`, such as `64MiB`",
        );
    }
    size
}

/// Reads a time, such as `10ms` or `0.01s`.
fn deadline(reader: &Reader<'_>, field: &'static str) -> Option<Duration> {
    let (_, node) = reader.field(field)?;
    let text = match &node.value {
        Value::Text(text) => text.as_str(),
        _ => "",
    };
    let milliseconds = text
        .strip_suffix("ms")
        .and_then(|number| number.parse().ok());
    let time = milliseconds
        .map(Duration::from_millis)
        .or_else(|| values::duration(text));
    let time =
        time.filter(|time| (Duration::from_millis(1)..=Duration::from_secs(60)).contains(time));
    if time.is_none() {
        reader.wrong_type(field, node, "a time from `1ms` to `60s`, such as `10ms`");
    }
    time
}
