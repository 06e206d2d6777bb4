//! The guest's side of the boundary: the names and types of what a module of each version exports.

use crate::inspect::ModuleInfo;
use crate::load::Offer;
use crate::runtime::ExportSpec;
use crate::state::State;
use crate::{v1_0, v1_1};

/// What the names of all versions' exports begin with.
pub(crate) const VERSION_PREFIX: &str = "WasmAbiVersion_";

/// A version of the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1_0,
    V1_1,
}

impl Version {
    /// The newest version that a module says it speaks; 1.0 where it names none that is known.
    pub(crate) fn of(info: &ModuleInfo) -> Self {
        match info.export(EXPORTS_1_1[VERSION].name) {
            Some(_) => Self::V1_1,
            None => Self::V1_0,
        }
    }

    /// The version's name, such as `1.0`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
        }
    }

    /// The functions that the host offers.
    pub(crate) fn offer(self) -> Offer<State> {
        match self {
            Self::V1_0 => Offer {
                abi: "ABI 1.0",
                functions: &v1_0::FUNCTIONS,
            },
            Self::V1_1 => Offer {
                abi: "ABI 1.1",
                functions: &v1_1::FUNCTIONS,
            },
        }
    }

    /// The functions that the host calls.
    pub(crate) fn exports(self) -> &'static [ExportSpec] {
        match self {
            Self::V1_0 => &EXPORTS_1_0,
            Self::V1_1 => &EXPORTS_1_1,
        }
    }
}

// The positions in the table of every version.
pub(crate) const INITIALIZE: usize = 0;
pub(crate) const VERSION: usize = 1;
pub(crate) const INIT: usize = 2;
pub(crate) const FINIT: usize = 3;

// The positions in that of 1.0.
pub(crate) const RUN: usize = 4;
pub(crate) const MALLOC: usize = 5;
pub(crate) const RESET: usize = 6;
pub(crate) const ON_READ: usize = 7;

// The positions in that of 1.1.
pub(crate) const EXCHANGE: usize = 4;
pub(crate) const RESERVE: usize = 5;
pub(crate) const RESOLVE: usize = 6;
pub(crate) const INVOKE: usize = 7;
pub(crate) const BATCH: usize = 8;

static EXPORTS_1_0: [ExportSpec; 8] = [
    ExportSpec::INITIALIZE,
    ExportSpec::procedure("WasmAbiVersion_1_0", 0),
    ExportSpec::procedure("WasmInit", 0),
    ExportSpec::procedure("WasmFinit", 0),
    ExportSpec::function("WasmRun", 3),
    ExportSpec::function("WasmMalloc", 1),
    ExportSpec::procedure("WasmReset", 0),
    ExportSpec::procedure("WasmOnRead", 3),
];

static EXPORTS_1_1: [ExportSpec; 9] = [
    ExportSpec::INITIALIZE,
    ExportSpec::procedure("WasmAbiVersion_1_1", 0),
    ExportSpec::procedure("WasmInit", 0),
    ExportSpec::procedure("WasmFinit", 0),
    ExportSpec::function("WasmExchange", 0),
    ExportSpec::procedure("WasmReserve", 1),
    ExportSpec::function("WasmResolve", 2),
    ExportSpec::function("WasmInvoke", 2),
    ExportSpec::procedure("WasmBatch", 2),
];
