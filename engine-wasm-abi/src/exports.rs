//! ABI 1.0, the guest's side: the names and types of what a module exports.

use crate::runtime::ExportSpec;

/// The name of the version's export, which is the version.
pub(crate) const VERSION_1_0: &str = "WasmAbiVersion_1_0";

/// What the names of all versions' exports begin with.
pub(crate) const VERSION_PREFIX: &str = "WasmAbiVersion_";

/// The name of the exported memory.
pub(crate) const MEMORY: &str = "memory";

// The positions in `EXPORTS`.
pub(crate) const INITIALIZE: usize = 0;
pub(crate) const VERSION: usize = 1;
pub(crate) const INIT: usize = 2;
pub(crate) const RUN: usize = 3;
pub(crate) const MALLOC: usize = 4;
pub(crate) const RESET: usize = 5;
pub(crate) const FINIT: usize = 6;
pub(crate) const ON_READ: usize = 7;

/// The functions that the host calls.
pub(crate) static EXPORTS: [ExportSpec; 8] = [
    ExportSpec {
        optional: true,
        ..procedure("_initialize", 0)
    },
    procedure(VERSION_1_0, 0),
    procedure("WasmInit", 0),
    function("WasmRun", 3),
    function("WasmMalloc", 1),
    procedure("WasmReset", 0),
    procedure("WasmFinit", 0),
    procedure("WasmOnRead", 3),
];

const fn procedure(name: &'static str, params: usize) -> ExportSpec {
    ExportSpec {
        name,
        params,
        result: false,
        optional: false,
    }
}

const fn function(name: &'static str, params: usize) -> ExportSpec {
    ExportSpec {
        result: true,
        ..procedure(name, params)
    }
}
