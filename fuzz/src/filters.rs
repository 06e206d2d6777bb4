//! What plugins of the proxy-wasm ABI are offered: a module with all callbacks, and a thread whose clock and calls a target
//! drives.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use engine_core::limits::Limits;
use filters::callout::{
    CallRefused, GrpcCall, GrpcEvents, GrpcStream, HttpCall, HttpDone, Pending,
};
use filters::metrics::Metrics;
use filters::{Level, Worker};
use proxy_wasm::{Backoff, FailurePolicy, PluginConfig, VmConfig};

use crate::module::{Named, module, signature};

/// What a filter may export.
const CALLBACKS: [Named; 29] = [
    ("_initialize", ":"),
    ("main", "ii:i"),
    ("proxy_on_memory_allocate", "i:i"),
    ("malloc", "i:i"),
    ("proxy_on_context_create", "ii:"),
    ("proxy_on_vm_start", "ii:i"),
    ("proxy_on_configure", "ii:i"),
    ("proxy_on_done", "i:i"),
    ("proxy_on_log", "i:"),
    ("proxy_on_delete", "i:"),
    ("proxy_on_tick", "i:"),
    ("proxy_on_queue_ready", "ii:"),
    ("proxy_on_foreign_function", "iii:"),
    ("proxy_on_new_connection", "i:i"),
    ("proxy_on_downstream_data", "iii:i"),
    ("proxy_on_upstream_data", "iii:i"),
    ("proxy_on_downstream_connection_close", "ii:"),
    ("proxy_on_upstream_connection_close", "ii:"),
    ("proxy_on_request_headers", "iii:i"),
    ("proxy_on_request_body", "iii:i"),
    ("proxy_on_request_trailers", "ii:i"),
    ("proxy_on_response_headers", "iii:i"),
    ("proxy_on_response_body", "iii:i"),
    ("proxy_on_response_trailers", "ii:i"),
    ("proxy_on_http_call_response", "iiiii:"),
    ("proxy_on_grpc_receive_initial_metadata", "iii:"),
    ("proxy_on_grpc_receive", "iii:"),
    ("proxy_on_grpc_receive_trailing_metadata", "iii:"),
    ("proxy_on_grpc_close", "iii:"),
];

/// A filter that exports every callback and imports every function, of the version that this export names.
fn filter(version: &'static str) -> Arc<[u8]> {
    let imports = proxy_wasm::host_functions();
    let exports = CALLBACKS.iter().chain([&("marker", ":")]);
    let exports = exports.map(|(name, sig)| {
        (
            if *name == "marker" { version } else { *name },
            signature(sig),
        )
    });
    module(imports, exports).into()
}

/// A plugin of version 0.2.1, or of 0.1.0 where it is `old`.
pub fn plugin(old: bool) -> PluginConfig {
    static CODE: LazyLock<[Arc<[u8]>; 2]> =
        LazyLock::new(|| ["proxy_abi_version_0_2_1", "proxy_abi_version_0_1_0"].map(filter));
    PluginConfig {
        name: "plugin".into(),
        root_id: "root".into(),
        vm: VmConfig {
            vm_id: "vm".into(),
            code: Arc::clone(&CODE[usize::from(old)]),
            configuration: b"of the vm".to_vec(),
            environment: BTreeMap::from([("KEY".into(), "value".into())]),
            engine: "scripted".into(),
            limits: Limits {
                deadline_ms: 1_000_000_000,
                ..Limits::default()
            },
            capabilities: None,
        },
        configuration: b"of the plugin".to_vec(),
        policy: FailurePolicy::Closed,
        backoff: Backoff {
            base: Duration::from_secs(1),
            max: Duration::from_secs(4),
        },
        body_before_headers: false,
    }
}

/// The thread's world.
#[derive(Default)]
pub struct World {
    /// Nanoseconds since 1970.
    pub now: Cell<u64>,
    /// Calls that nobody has answered, with whether somebody still waits.
    pub calls: RefCell<Vec<(Done, Rc<Cell<bool>>)>>,
    metrics: Arc<Metrics>,
}

/// Who is told of a call's end.
pub enum Done {
    /// Of a request.
    Http(HttpDone),
    /// Of a stream.
    Grpc(GrpcEvents),
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Done")
    }
}

struct UnderWay(Rc<Cell<bool>>);

impl Pending for UnderWay {}

impl GrpcStream for UnderWay {
    fn send(&mut self, message: Bytes, _: bool) -> Result<(), CallRefused> {
        match message.len() {
            0..64 => Ok(()),
            _ => Err(CallRefused::Full),
        }
    }

    fn close(&mut self) {}
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl World {
    /// A call to a cluster, of which there is one, `c`.
    fn call(&self, cluster: &str, done: Done) -> Result<UnderWay, CallRefused> {
        match cluster {
            "c" => {}
            "" => return Err(CallRefused::Unavailable),
            _ => return Err(CallRefused::UnknownCluster),
        }
        let waits = Rc::new(Cell::new(true));
        self.calls.borrow_mut().push((done, Rc::clone(&waits)));
        Ok(UnderWay(waits))
    }
}

impl Worker for World {
    fn log_level(&self) -> Level {
        Level::Debug
    }

    fn log(&self, level: Level, _: &str, _: &str) {
        assert!(level >= Level::Debug);
    }

    fn time(&self) -> u64 {
        self.now.get()
    }

    fn random(&self, place: &mut [u8]) -> io::Result<()> {
        place.fill(7);
        Ok(())
    }

    fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    fn http(&self, call: HttpCall, done: HttpDone) -> Result<Box<dyn Pending>, CallRefused> {
        Ok(Box::new(self.call(&call.cluster, Done::Http(done))?))
    }

    fn grpc(&self, call: GrpcCall, events: GrpcEvents) -> Result<Box<dyn GrpcStream>, CallRefused> {
        Ok(Box::new(self.call(&call.cluster, Done::Grpc(events))?))
    }
}
