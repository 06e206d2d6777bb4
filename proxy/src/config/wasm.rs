//! WASM plugins: their code, their configuration, and what becomes of a stream when they fail.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use proxy_wasm::{Backoff, FailurePolicy};

use super::any::{Extension, Read, any};
use super::node::{Key, Node, Value};
use super::reader::{Reader, nearest};
use super::report::{Kind, Place};
use super::values::{self, DataSource};

/// The runtime of filters that are compiled into Envoy.
const NULL_RUNTIME: &str = "envoy.wasm.runtime.null";

/// A WASM plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WasmPlugin {
    /// Where it stands.
    pub place: Place,
    /// The name, which may be empty.
    pub name: String,
    /// Which of the plugins in its code it is; may be empty.
    pub root_id: String,
    /// The virtual machine that it runs in. Plugins whose `vm` is equal share one on each thread.
    pub vm: WasmVm,
    /// What the plugin reads as its configuration.
    pub configuration: Vec<u8>,
    /// What becomes of streams after it failed.
    pub failure_policy: FailurePolicy,
    /// How long to wait before it is loaded again.
    pub backoff: Backoff,
    /// The host functions that it may call and its own that are called; all where this is empty.
    pub allowed_capabilities: BTreeSet<String>,
    /// Whether `StopIteration` for headers stops data too, or only the headers, where the configuration says it.
    pub allow_on_headers_stop_iteration: Option<bool>,
}

/// A virtual machine of WASM plugins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WasmVm {
    /// Which machines share data, queues and metrics.
    pub vm_id: String,
    /// The code.
    pub code: WasmCode,
    /// What the code reads as its machine's configuration.
    pub configuration: Vec<u8>,
    /// The environment variables that the code sees.
    pub environment: Environment,
}

/// The code of WASM plugins; equal where the bytes come from the same place, wherever the configuration says so.
#[derive(Clone, Debug)]
pub struct WasmCode(pub DataSource);

impl PartialEq for WasmCode {
    fn eq(&self, other: &Self) -> bool {
        self.0.from == other.0.from
    }
}

impl Eq for WasmCode {}

/// The environment variables of a virtual machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Names that are taken from the proxy's own environment, where they are.
    pub host_keys: BTreeSet<String>,
    /// Names with their values.
    pub values: BTreeMap<String, String>,
}

/// A plugin without streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WasmService {
    /// The plugin.
    pub plugin: WasmPlugin,
    /// Whether it runs on the main thread alone.
    pub is_singleton: bool,
}

impl WasmService {
    pub(super) fn read(reader: &Reader<'_>) -> Self {
        Self {
            plugin: filter(reader),
            is_singleton: reader.flag("singleton").unwrap_or(false),
        }
    }
}

/// Reads a message with a plugin in `config`, as filters of HTTP and of connections have it.
pub(super) fn filter(reader: &Reader<'_>) -> WasmPlugin {
    reader.require("config", "{ vm_config: ... }");
    let plugin = reader.message("config", WasmPlugin::read);
    plugin.unwrap_or_else(|| reader.absent("config", WasmPlugin::read))
}

impl WasmPlugin {
    fn read(reader: &Reader<'_>) -> Self {
        let name = reader.text("name");
        reader.report().declare(Kind::Plugin, &name);
        reader.require("vm_config", "{ code: { local: { filename: ... } } }");
        let vm = reader.message("vm_config", WasmVm::read);
        let vm = vm.unwrap_or_else(|| reader.absent("vm_config", WasmVm::read));
        let capabilities = reader.message("capability_restriction_config", |r| {
            let names = r.named("allowed_capabilities", |_| ());
            let names = names.into_iter().map(|(key, ())| {
                capability(r, &key);
                key.name
            });
            names.collect()
        });
        Self {
            place: reader.place(),
            name,
            root_id: reader.text("root_id"),
            vm,
            configuration: configuration(reader),
            failure_policy: failure_policy(reader),
            backoff: reader.message("reload_config", backoff).unwrap_or_default(),
            allowed_capabilities: capabilities.unwrap_or_default(),
            allow_on_headers_stop_iteration: reader.flag("allow_on_headers_stop_iteration"),
        }
    }
}

/// Reports a capability that there is none of: the plugin would lack the one that was meant.
fn capability(reader: &Reader<'_>, key: &Key) {
    let name = &key.name;
    if proxy_wasm::capabilities().any(|known| known == name) {
        return;
    }
    let advice = match nearest(name, proxy_wasm::capabilities()) {
        Some(known) => format!("did you mean `{known}`?"),
        None => {
            "write the name of a callback, or of a function of the host's or of WASI".to_owned()
        }
    };
    let message = format!("there is no capability `{name}`: {advice}");
    reader.report().problem(key.place, message);
}

/// Reads `failure_policy`, or `fail_open`, its older form.
fn failure_policy(reader: &Reader<'_>) -> FailurePolicy {
    let policies = [
        ("UNSPECIFIED", FailurePolicy::Closed),
        ("FAIL_RELOAD", FailurePolicy::Reload),
        ("FAIL_CLOSED", FailurePolicy::Closed),
        ("FAIL_OPEN", FailurePolicy::Open),
    ];
    reader.at_most_one(&["failure_policy", "fail_open"]);
    let policy = reader.choice("failure_policy", &policies);
    let is_open = reader.flag("fail_open");
    match is_open {
        Some(true) => FailurePolicy::Open,
        _ => policy.unwrap_or_default(),
    }
}

/// Reads `reload_config`.
fn backoff(reader: &Reader<'_>) -> Backoff {
    let backoff = reader.message("backoff", |r| {
        r.require("base_interval", "1s");
        let base = r.duration("base_interval");
        let base = base.unwrap_or(Backoff::default().base);
        let max = r.duration("max_interval").unwrap_or(base.saturating_mul(10));
        if base < Duration::from_millis(1) || max < base {
            r.problem("`base_interval` is at least `0.001s`, and `max_interval` at least that: raise them");
        }
        Backoff { base, max }
    });
    backoff.unwrap_or_default()
}

impl WasmVm {
    fn read(reader: &Reader<'_>) -> Self {
        let runtime = reader.text("runtime");
        if runtime == NULL_RUNTIME {
            let message = format!(
                "`{NULL_RUNTIME}` names code that is compiled into Envoy: build the plugin as WASM, or natively"
            );
            reader.problem_at("runtime", message);
        } else {
            reader.note(
                "runtime",
                "the plugin runs on the engine that the proxy was started with",
            );
        }
        reader.note(
            "allow_precompiled",
            "has no effect: the proxy compiles the code and keeps what it compiled",
        );
        reader.note(
            "nack_on_code_cache_miss",
            "has no effect: the code is local",
        );
        reader.require("code", "{ local: { filename: ... } }");
        let code = reader.message("code", |r| {
            if r.has("remote") {
                r.refuse(
                    "remote",
                    "fetch the code before the start, and name its file in `local`",
                );
            } else {
                r.require("local", "{ filename: ... }");
            }
            r.message("local", DataSource::read)
        });
        let environment = reader.message("environment_variables", Environment::read);
        Self {
            vm_id: reader.text("vm_id"),
            code: WasmCode(
                code.flatten()
                    .unwrap_or_else(|| DataSource::empty(reader.place())),
            ),
            configuration: configuration(reader),
            environment: environment.unwrap_or_default(),
        }
    }
}

impl Environment {
    fn read(reader: &Reader<'_>) -> Self {
        let host_keys = reader.texts("host_env_keys");
        let values = reader.entries("key_values").iter();
        let values = values.map(|(key, node)| {
            let value = reader.text_of(&key.name, node);
            if host_keys.iter().any(|(_, name)| *name == key.name) {
                let message = format!("`{}` stands in `host_env_keys` too: leave one", key.name);
                reader.report().problem(key.place, message);
            }
            (key.name.clone(), value)
        });
        Self {
            values: values.collect(),
            host_keys: host_keys.into_iter().map(|(_, name)| name).collect(),
        }
    }
}

/// The messages that a configuration can be; each becomes the bytes that the guest reads.
const CONFIGURATIONS: &[Extension<Vec<u8>>] = &[
    Extension {
        names: &[],
        types: &["google.protobuf.StringValue"],
        read: Read::By(|r| r.text("value").into_bytes()),
    },
    Extension {
        names: &[],
        types: &["google.protobuf.BytesValue"],
        read: Read::By(|r| {
            let bytes = values::base64(&r.text("value"));
            if bytes.is_none() {
                let message = "`value` is no Base64: encode the bytes, or use a `StringValue`";
                r.problem_at("value", message);
            }
            bytes.unwrap_or_default()
        }),
    },
    Extension {
        names: &[],
        types: &["google.protobuf.Struct"],
        read: Read::By(|r| {
            r.entries("value");
            match r.json("value") {
                serde_json::Value::Null => b"{}".to_vec(),
                json => json.to_string().into_bytes(),
            }
        }),
    },
    Extension {
        names: &[],
        types: &["google.protobuf.Empty"],
        read: Read::By(|_| Vec::new()),
    },
];

/// Reads `configuration`: a message with its type, a plain mapping, which is read as JSON, or a plain text.
fn configuration(reader: &Reader<'_>) -> Vec<u8> {
    let Some((_, node)) = reader.field("configuration") else {
        return Vec::new();
    };
    match &node.value {
        Value::Map(fields) if !has_type(fields) => values::json(node).to_string().into_bytes(),
        Value::Map(_) => any(reader, "configuration", node, CONFIGURATIONS).unwrap_or_default(),
        _ => reader.text("configuration").into_bytes(),
    }
}

fn has_type(fields: &[(Key, std::rc::Rc<Node>)]) -> bool {
    fields.iter().any(|(key, _)| key.name == "@type")
}
