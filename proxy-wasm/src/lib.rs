//! Hosts unmodified proxy-wasm filters: ABI 0.1.0, 0.2.0 and 0.2.1, on any WASM engine of the workspace.
//!
//! [`ProxyWasm`] is the process: it compiles a module once, and holds what machines share.
//! [`Thread`] is one thread of it, with a machine of its own for each virtual machine's configuration: what other hosts
//! call the thread-local VM, made from the compiled base.
//! [`PluginInstance`] is a plugin on a thread, which makes a [`filters::Filter`] for each stream.
//!
//! ```
//! use std::sync::Arc;
//!
//! use filters::{Chain, Direction, Headers, Settings, StreamInfo, testing};
//! use proxy_wasm::{Options, PluginConfig, ProxyWasm, Thread, VmConfig};
//!
//! # fn main() -> engine_core::error::Result<()> {
//! // Pauses every request at its headers.
//! let code = r#"(module
//!   (memory (export "memory") 1)
//!   (func (export "proxy_abi_version_0_2_1"))
//!   (func (export "malloc") (param i32) (result i32) i32.const 1024)
//!   (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) i32.const 1))"#;
//! let vm = VmConfig {
//!     vm_id: String::new(),
//!     code: wat::parse_str(code).unwrap().into(),
//!     configuration: Vec::new(),
//!     environment: Default::default(),
//!     engine: "wasmtime".into(),
//!     limits: Default::default(),
//!     capabilities: None,
//! };
//! let process = ProxyWasm::new(Options::default());
//! let plugin = process.load(PluginConfig {
//!     name: "pause".into(),
//!     root_id: String::new(),
//!     vm,
//!     configuration: Vec::new(),
//!     policy: Default::default(),
//!     backoff: Default::default(),
//!     body_before_headers: false,
//! })?;
//! let worker = testing::worker();
//! let thread = Thread::new(&process, worker.clone(), Arc::new(|_| ()));
//! let plugin = thread.start(&plugin)?;
//!
//! let mut chain = Chain::new(vec![plugin.filter()], StreamInfo::default(), Settings::default(), worker);
//! chain.headers(Direction::Request, Headers::from_iter([(":path", "/")]), true);
//! assert!(chain.take(Direction::Request).is_none());
//! # Ok(())
//! # }
//! ```
//!
//! Everything that a guest asks of the world goes through [`filters::Worker`]; what comes back from other threads, and what
//! has to be done later, goes through the thread's [`Mailbox`]. Nothing here waits or reads a clock of its own.
//!
//! *A failing guest* answers the stream for which it failed at once, by the plugin's policy, and its machine is replaced
//! before the next stream. The other streams of the machine lose what the guest kept for them, so the new machine's guest
//! is told again of all that passed the last one's, as it had been, and then of what they are held at. A stream of whose
//! bodies more than 64 KiB have passed cannot be told again, and one that has lost three machines is not: they are answered
//! by the policy.

mod abi;
mod config;
mod context;
mod exports;
mod filter;
mod imports;
mod inspect;
mod machine;
mod module;
mod pairs;
mod properties;
mod sdk;
mod service;
mod shared;
mod vm;

pub use abi::{Status, Version};
pub use config::{Backoff, FailurePolicy, PluginConfig, VmConfig};
pub use inspect::{Import, Report, callbacks, capabilities, host_functions, inspect, offered};
pub use machine::{Mailbox, Message, PluginInstance, Thread};
pub use module::{Options, Plugin, ProxyWasm};
pub use shared::SharedLimits;
