//! Denies growth beyond the package's limits in the code itself, so that a denial ends the guest at once.
//!
//! Wasmer's own place for such limits, `Tunables`, can only make a `grow` answer −1, which a guest may ignore, and it
//! sees one table at a time. So the compiler puts a check before each `memory.grow` and `table.grow`.

use std::sync::OnceLock;

use engine_core::limits::{Limit, Limits};
use wasmer::sys::wasmparser::{BlockType, Operator};
use wasmer::sys::{FunctionMiddleware, MiddlewareError, MiddlewareReaderState, ModuleMiddleware};
use wasmer::{
    ExportIndex, GlobalInit, GlobalType, LocalFunctionIndex, ModuleInfo, Mutability, Type,
    WASM_PAGE_SIZE,
};

/// The name that a module exports the global under that [`denied`] reads.
pub(crate) const GROWTH_GLOBAL: &str = "extengine.growth";

const MEMORY_DENIED: i64 = -1;
const TABLE_DENIED: i64 = -2;

/// The limit that denied growth, by the value of [`GROWTH_GLOBAL`].
///
/// Until then the global holds what was last asked for, which is not negative.
pub(crate) fn denied(global: i64) -> Option<Limit> {
    match global {
        MEMORY_DENIED => Some(Limit::Memory),
        TABLE_DENIED => Some(Limit::TableElements),
        _ => None,
    }
}

/// Puts the checks into one module: each module needs a value of its own.
#[derive(Debug)]
pub(crate) struct Growth {
    pages: u64,
    elements: u32,
    module: OnceLock<Module>,
}

/// What the checks need to know of the module.
#[derive(Clone, Copy, Debug)]
struct Module {
    tables: u32,
    /// The global of the last request, or of the denial.
    global_index: u32,
}

impl Growth {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            pages: limits.memory / WASM_PAGE_SIZE as u64,
            elements: limits.table_elements,
            module: OnceLock::new(),
        }
    }
}

impl ModuleMiddleware for Growth {
    fn transform_module_info(&self, info: &mut ModuleInfo) -> Result<(), MiddlewareError> {
        info.global_initializers.push(GlobalInit::I64Const(0));
        let ty = GlobalType::new(Type::I64, Mutability::Var);
        let global = info.globals.push(ty);
        let name = GROWTH_GLOBAL.to_owned();
        info.exports.insert(name, ExportIndex::Global(global));
        let module = Module {
            tables: u32::try_from(info.tables.len()).unwrap_or(u32::MAX),
            global_index: global.as_u32(),
        };
        let set = self.module.set(module);
        set.map_err(|_| misuse("one value is for one module"))
    }

    fn generate_function_middleware<'a>(
        &self,
        _: LocalFunctionIndex,
    ) -> Box<dyn FunctionMiddleware<'a> + 'a> {
        Box::new(Checks {
            pages: self.pages,
            elements: self.elements,
            module: self.module.get().copied(),
        })
    }
}

fn misuse(what: &str) -> MiddlewareError {
    MiddlewareError::new("growth", what)
}

/// Puts the checks into one function.
#[derive(Debug)]
struct Checks {
    pages: u64,
    elements: u32,
    module: Option<Module>,
}

impl<'a> FunctionMiddleware<'a> for Checks {
    fn feed(
        &mut self,
        operator: Operator<'a>,
        state: &mut MiddlewareReaderState<'a>,
    ) -> Result<(), MiddlewareError> {
        let Some(module) = self.module else {
            return Err(misuse("the code came before the module's description"));
        };
        match operator {
            Operator::MemoryGrow { mem } => {
                let limit = i64::try_from(self.pages).unwrap_or(i64::MAX);
                let size = [Operator::MemorySize { mem }];
                module.check(state, size, limit, MEMORY_DENIED);
            }
            Operator::TableGrow { .. } => {
                let sizes = (0..module.tables).map(|table| Operator::TableSize { table });
                module.check(state, sizes, self.elements.into(), TABLE_DENIED);
            }
            _ => {}
        }
        state.push_operator(operator);
        Ok(())
    }
}

impl Module {
    /// Writes code that leaves the number on top of the stack as it is, or traps if that and the sizes exceed the limit.
    fn check<'a>(
        self,
        state: &mut MiddlewareReaderState<'a>,
        sizes: impl IntoIterator<Item = Operator<'a>>,
        limit: i64,
        denial: i64,
    ) {
        let global_index = self.global_index;
        let get = Operator::GlobalGet { global_index };
        let set = Operator::GlobalSet { global_index };
        state.extend([Operator::I64ExtendI32U, set.clone(), get.clone()]);
        for size in sizes {
            state.extend([size, Operator::I64ExtendI32U, Operator::I64Add]);
        }
        state.extend([
            Operator::I64Const { value: limit },
            Operator::I64GtU,
            Operator::If {
                blockty: BlockType::Empty,
            },
            Operator::I64Const { value: denial },
            set,
            Operator::Unreachable,
            Operator::End,
            get,
            Operator::I32WrapI64,
        ]);
    }
}
