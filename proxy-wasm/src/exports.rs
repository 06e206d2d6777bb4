//! What a module exports for its host: callbacks, its allocator and its start, found by name and by type.
//!
//! Filters that name an older version have the parameters of a newer one, so what counts is the export's own type.

use engine_wasm_abi::inspect::{FuncSig, ItemType, ModuleInfo, ValType};
use engine_wasm_abi::runtime::NumberFunction;

use crate::abi::Version;

macro_rules! callbacks {
    ($($variant:ident $name:expr, [$($params:literal)*] $result:ident)*) => {
        /// A function that a host calls.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub(crate) enum Callback { $($variant),* }

        impl Callback {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name, the numbers of parameters that filters have it with, and whether it has a result.
            pub(crate) fn spec(self) -> (&'static str, &'static [usize], bool) {
                match self {
                    $(Self::$variant => ($name, &[$($params),*], callbacks!($result))),*
                }
            }
        }
    };
    (yes) => { true };
    (no) => { false };
}

callbacks! {
    ModuleStart MODULE_START, [0] no
    Initialize "_initialize", [0] no
    Main "main", [2] yes
    Start "_start", [0] no
    MemoryAllocate "proxy_on_memory_allocate", [1] yes
    Malloc "malloc", [1] yes
    ContextCreate "proxy_on_context_create", [2] no
    VmStart "proxy_on_vm_start", [2] yes
    Configure "proxy_on_configure", [2] yes
    Done "proxy_on_done", [1] yes
    Log "proxy_on_log", [1] no
    Delete "proxy_on_delete", [1] no
    Tick "proxy_on_tick", [1] no
    QueueReady "proxy_on_queue_ready", [2] no
    ForeignFunction "proxy_on_foreign_function", [3] no
    NewConnection "proxy_on_new_connection", [1] yes
    DownstreamData "proxy_on_downstream_data", [3] yes
    UpstreamData "proxy_on_upstream_data", [3] yes
    DownstreamClose "proxy_on_downstream_connection_close", [2] no
    UpstreamClose "proxy_on_upstream_connection_close", [2] no
    RequestHeaders "proxy_on_request_headers", [3 2] yes
    RequestBody "proxy_on_request_body", [3] yes
    RequestTrailers "proxy_on_request_trailers", [2] yes
    ResponseHeaders "proxy_on_response_headers", [3 2] yes
    ResponseBody "proxy_on_response_body", [3] yes
    ResponseTrailers "proxy_on_response_trailers", [2] yes
    HttpCallResponse "proxy_on_http_call_response", [5] no
    GrpcInitialMetadata "proxy_on_grpc_receive_initial_metadata", [3] no
    GrpcReceive "proxy_on_grpc_receive", [3] no
    GrpcTrailingMetadata "proxy_on_grpc_receive_trailing_metadata", [3] no
    GrpcClose "proxy_on_grpc_close", [3] no
}

/// What a module's start function is exported as, to be called first of all and within a budget.
pub(crate) const MODULE_START: &str = "extengine:start";

/// The most parameters of any callback.
pub(crate) const MAX_PARAMS: usize = 5;

/// A callback that a module has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// Its place among the module's functions.
    pub(crate) function: usize,
    pub(crate) params: usize,
    pub(crate) result: bool,
}

/// What a module exports for its host.
#[derive(Debug)]
pub(crate) struct Exports {
    pub(crate) version: Version,
    pub(crate) functions: Vec<NumberFunction>,
    callbacks: Vec<Option<Found>>,
}

impl Exports {
    /// Finds what a module exports; what is wrong with it goes to `problems`.
    ///
    /// The start stays what it is, but a callback that may not be used is as if it were not there.
    pub(crate) fn find(
        info: &ModuleInfo,
        allowed: impl Fn(&str) -> bool,
        problems: &mut Vec<String>,
    ) -> Self {
        let version = version(info);
        if version.is_none() {
            let names = Version::ALL.map(|version| format!("`{}`", version.marker()));
            let names = names.join(", ");
            problems.push(format!(
                "no export of {names}: this is no proxy-wasm filter, or of a version that this host does not know"
            ));
        }
        let mut exports = Self {
            version: version.unwrap_or(Version::V0_2_1),
            functions: Vec::new(),
            callbacks: vec![None; Callback::ALL.len()],
        };
        for &callback in Callback::ALL {
            let (name, params, result) = callback.spec();
            let Some(export) = info.export(name) else {
                continue;
            };
            if name.starts_with("proxy_on_") && !allowed(name) {
                continue;
            }
            let fits = params
                .iter()
                .find(|&&params| is_function(&export.ty, params, result));
            match fits {
                Some(&params) => exports.add(callback, params),
                // Whatever else is called `main` is none of the host's business.
                None if callback == Callback::Main => {}
                None => problems.push(format!(
                    "export `{name}` is a {}, but proxy-wasm has it as a function of {params:?} numbers{}",
                    export.ty,
                    if result { " with a result" } else { "" },
                )),
            }
        }
        if exports.get(Callback::MemoryAllocate).is_none()
            && exports.get(Callback::Malloc).is_none()
        {
            problems.push(
                "neither `proxy_on_memory_allocate` nor `malloc` is exported: the host could give the filter nothing".into(),
            );
        }
        exports
    }

    fn add(&mut self, callback: Callback, params: usize) {
        let (name, _, result) = callback.spec();
        self.callbacks[callback as usize] = Some(Found {
            function: self.functions.len(),
            params,
            result,
        });
        self.functions.push(NumberFunction {
            name: name.into(),
            signature: signature(params, result),
        });
    }

    /// A callback, where the module has it.
    pub(crate) fn get(&self, callback: Callback) -> Option<Found> {
        self.callbacks[callback as usize]
    }
}

/// The newest version that a module says it speaks.
pub(crate) fn version(info: &ModuleInfo) -> Option<Version> {
    let mut versions = Version::ALL.into_iter().rev();
    versions.find(|version| info.export(version.marker()).is_some())
}

fn signature(params: usize, result: bool) -> FuncSig {
    FuncSig {
        params: vec![ValType::I32; params],
        results: vec![ValType::I32; usize::from(result)],
    }
}

fn is_function(ty: &ItemType, params: usize, result: bool) -> bool {
    matches!(ty, ItemType::Func(found) if **found == signature(params, result))
}
