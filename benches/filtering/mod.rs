//! A filter that is told of a request's headers: through a chain, and for WebAssembly on the bare runtimes too.
//!
//! Raw runs the same module over bare host functions and the same [`Headers`], with a deadline armed for each callback and
//! the limit on memory. It leaves out what is ours: machines, contexts, streams, chains, and checks of what a guest says.

mod native;
mod wasmer;
mod wasmtime;

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use filter_lua::{LuaConfig, LuaFilters, LuaLimits};
use filters::native::NativeConfig;
use filters::testing::{self, TestWorker};
use filters::{Chain, Direction, EndReason, Filter, Headers, Settings, StreamInfo};
use proxy_wasm::{Backoff, FailurePolicy, Options, PluginConfig, ProxyWasm, Thread, VmConfig};
use serde_json::Value;

use crate::application::limits;

pub use wasmer::RawWasmerFilter;
pub use wasmtime::RawWasmtimeFilter;

/// What a filter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing.
    Empty,
    /// It reads a header and adds another one.
    Header,
}

/// Something that tells one filter of requests.
pub trait Filtering {
    /// The callback for headers alone, on a stream that stands; answers what the filter made of them.
    ///
    /// # Panics
    /// Where they do not pass.
    fn callback(&mut self, headers: Headers) -> Headers;

    /// The same on a stream of its own, from its beginning to its end.
    ///
    /// # Panics
    /// Where they do not pass.
    fn stream(&mut self, headers: Headers) -> Headers;
}

/// Asks a filter in one of both ways.
pub type Ask = fn(&mut dyn Filtering, Headers) -> Headers;

/// The ways of asking, by name.
pub const ASKS: [(&str, Ask); 2] = [
    ("callback", |filter, headers| filter.callback(headers)),
    ("stream", |filter, headers| filter.stream(headers)),
];

/// Makes a filter that does some work.
pub type Make = fn(Work) -> Box<dyn Filtering>;

/// What is asked: engine, way, and how it is made.
pub const SUBJECTS: [(&str, &str, Make); 6] = [
    ("wasmtime", "filter", |work| {
        Box::new(Filters::wasm("wasmtime", work))
    }),
    ("wasmtime", "raw", |work| {
        Box::new(RawWasmtimeFilter::new(work))
    }),
    ("wasmer", "filter", |work| {
        Box::new(Filters::wasm("wasmer", work))
    }),
    ("wasmer", "raw", |work| Box::new(RawWasmerFilter::new(work))),
    ("native", "filter", |work| Box::new(Filters::native(work))),
    ("lua", "filter", |work| Box::new(Filters::lua(work))),
];

/// The headers of a request, which nobody shares.
pub fn headers() -> Headers {
    Headers::from_iter([
        (":method", "GET"),
        (":path", "/orders/17?full=yes"),
        (":authority", "example.com"),
        (":scheme", "http"),
        ("accept", "application/json"),
        ("x-request-id", "0d4f6d2c-1c2e-4d1c-9a55-8f4a53d2c3b1"),
    ])
}

impl Work {
    /// All of it.
    pub const ALL: [Self; 2] = [Self::Empty, Self::Header];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Header => "header",
        }
    }

    /// How many headers there are more behind the filter.
    fn added(self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Header => 1,
        }
    }

    /// The filter for WebAssembly, whose allocator always gives the same place.
    fn module(self) -> Vec<u8> {
        let (imports, work) = match self {
            Self::Empty => ("", ""),
            Self::Header => (
                r#"
  (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))"#,
                "
    (drop (call $get (i32.const 0) (i32.const 64) (i32.const 5) (i32.const 16) (i32.const 20)))
    (drop (call $add (i32.const 0) (i32.const 69) (i32.const 6) (i32.load (i32.const 16)) (i32.load (i32.const 20))))",
            ),
        };
        let module = format!(
            r#"(module {imports}
  (memory (export "memory") 1)
  (data (i32.const 64) ":pathx-seen")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {work}
    (i32.const 0))
  (func (export "proxy_on_done") (param i32) (result i32) (i32.const 1))
  (func (export "proxy_on_delete") (param i32)))"#
        );
        wat::parse_str(module).expect("a module")
    }

    /// The filter in Lua.
    fn script(self) -> &'static str {
        match self {
            Self::Empty => "function envoy_on_request(handle) end",
            Self::Header => {
                "function envoy_on_request(handle)
                   local headers = handle:headers()
                   headers:add('x-seen', headers:get(':path'))
                 end"
            }
        }
    }
}

/// A filter of any kind in a chain.
pub struct Filters {
    make: Box<dyn Fn() -> Box<dyn Filter>>,
    worker: Rc<TestWorker>,
    /// A stream that stands.
    chain: Chain,
    /// Stands where headers were taken away.
    gone: Headers,
}

impl fmt::Debug for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filters").finish_non_exhaustive()
    }
}

impl Filters {
    fn new(
        work: Work,
        worker: Rc<TestWorker>,
        make: impl Fn() -> Box<dyn Filter> + 'static,
    ) -> Self {
        let mut filters = Self {
            chain: chain(make(), &worker),
            make: Box::new(make),
            worker,
            gone: Headers::default(),
        };
        for (_, ask) in ASKS {
            assert_eq!(
                ask(&mut filters, headers()).len(),
                headers().len() + work.added()
            );
        }
        filters
    }

    /// A proxy-wasm filter on a warm machine.
    ///
    /// # Panics
    /// Where it does not start or do its work, as with all others here.
    pub fn wasm(engine: &str, work: Work) -> Self {
        let worker = testing::worker();
        let process = ProxyWasm::new(Options::default());
        let plugin = process.load(PluginConfig {
            name: "bench".into(),
            root_id: String::new(),
            vm: VmConfig {
                vm_id: String::new(),
                code: work.module().into(),
                configuration: Vec::new(),
                environment: Default::default(),
                engine: engine.into(),
                limits: limits(),
                capabilities: None,
            },
            configuration: Vec::new(),
            policy: FailurePolicy::Closed,
            backoff: Backoff::default(),
            body_before_headers: false,
        });
        let thread = Thread::new(&process, worker.clone(), Arc::new(drop));
        let plugin = thread.start(&plugin.expect("the filter loads"));
        let plugin = plugin.expect("the filter starts");
        Self::new(work, worker, move || plugin.filter())
    }

    /// A native filter.
    pub fn native(work: Work) -> Self {
        let name = match work {
            Work::Empty => "bench.empty",
            Work::Header => "bench.header",
        };
        let config = NativeConfig::parse(name, &Value::Null).expect("it is linked in");
        // Where tasks would run, of which there are none.
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime");
        Self::new(work, testing::worker(), move || {
            config.filter(runtime.handle())
        })
    }

    /// A filter in Lua.
    pub fn lua(work: Work) -> Self {
        let loaded = LuaFilters::load(LuaConfig {
            default_source_code: Some(work.script().into()),
            limits: LuaLimits {
                deadline_ms: limits().deadline_ms,
                ..LuaLimits::default()
            },
            ..LuaConfig::default()
        });
        let machines = loaded.expect("the script loads").on_thread();
        Self::new(work, testing::worker(), move || machines.filter(None))
    }
}

fn chain(filter: Box<dyn Filter>, worker: &Rc<TestWorker>) -> Chain {
    let (info, settings) = (StreamInfo::default(), Settings::default());
    Chain::new(vec![filter], info, settings, worker.clone())
}

/// Sends headers through a chain, and takes them away from it.
fn pass(chain: &mut Chain, headers: Headers, gone: &Headers) -> Headers {
    let direction = Direction::Request;
    chain.headers(direction, headers, true);
    assert!(chain.take(direction).is_some(), "the filter lets them pass");
    let stream = chain.stream();
    let mut place = stream.headers(direction).expect("they have come");
    std::mem::replace(&mut *place, gone.clone())
}

impl Filtering for Filters {
    fn callback(&mut self, headers: Headers) -> Headers {
        pass(&mut self.chain, headers, &self.gone)
    }

    fn stream(&mut self, headers: Headers) -> Headers {
        let mut chain = chain((self.make)(), &self.worker);
        let headers = pass(&mut chain, headers, &self.gone);
        chain.finish(EndReason::Done);
        headers
    }
}
