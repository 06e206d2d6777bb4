//! What a function costs to compile, which nothing interrupts: a few KiB of code can take hours and all memory.
//!
//! The bounds are far above what compilers make of real programs, and a function that is just allowed is compiled in
//! seconds, within 1 GB.

use std::sync::Arc;

use wasmparser::{BlockType, FunctionBody, Operator};

use super::FuncSig;

/// The most loops of a function. Within each, the host's own code has values too, and each of them may have changed in
/// the rounds of all the others.
const MAX_LOOPS: u64 = 1_000;

/// The most that a function's values times its blocks may be, where a loop counts as [`LOOP`] blocks.
///
/// Where paths meet, a compiler asks for each value which one it is.
const MAX_JOINS: u64 = 1 << 16;

/// How many blocks a loop counts as: within it, each local may have changed in the round before.
const LOOP: u64 = 4;

/// How many values a function has beside its locals, parameters and results: the host's own.
const HIDDEN: u64 = 4;

/// The most that a function's values times its branches may be: each branch says for each value which one it brings.
const MAX_BROUGHT: u64 = 1 << 20;

/// The most values that the blocks, branches and calls of a function may carry together: the parameters of blocks, and
/// all results but the first of each.
const MAX_CARRIED: u64 = 1 << 12;

/// What makes one function slow to compile.
pub(super) struct Weight {
    /// Parameters too.
    locals: u64,
    results: u64,
    loops: u64,
    blocks: u64,
    branches: u64,
    carried: u64,
}

impl Weight {
    /// Weighs a function.
    pub(super) fn of(
        body: &FunctionBody<'_>,
        signature: Option<&FuncSig>,
        types: &[Option<Arc<FuncSig>>],
        functions: &[Option<Arc<FuncSig>>],
    ) -> wasmparser::Result<Self> {
        let results = signature.map_or(0, |signature| signature.results.len() as u64);
        let mut locals = signature.map_or(0, |signature| signature.params.len() as u64);
        for group in body.get_locals_reader()? {
            locals += u64::from(group?.0);
        }
        let mut weight = Self {
            locals,
            results,
            loops: 0,
            blocks: 0,
            branches: 0,
            carried: 0,
        };
        let beyond = |results: usize| (results as u64).saturating_sub(1);
        let of_call = |signature: Option<&Option<Arc<FuncSig>>>| {
            let signature = signature.and_then(Option::as_ref);
            signature.map_or(0, |signature| beyond(signature.results.len()))
        };
        // What a branch carries at most, be it out of the function or back to a loop.
        let mut widest = beyond(results as usize);
        for operator in body.get_operators_reader()? {
            let block = match operator? {
                Operator::Loop { blockty } => {
                    weight.loops += 1;
                    blockty
                }
                Operator::Block { blockty } | Operator::If { blockty } => {
                    weight.blocks += 1;
                    blockty
                }
                Operator::Br { .. } | Operator::BrIf { .. } => {
                    weight.branches += 1;
                    continue;
                }
                Operator::BrTable { targets } => {
                    // As many as it may have that differ.
                    let labels = weight.loops + weight.blocks;
                    weight.branches += labels.min(targets.len().into()) + 1;
                    continue;
                }
                Operator::Call { function_index } => {
                    weight.carried += of_call(functions.get(function_index as usize));
                    continue;
                }
                Operator::CallIndirect { type_index, .. } => {
                    weight.carried += of_call(types.get(type_index as usize));
                    continue;
                }
                _ => continue,
            };
            if let BlockType::FuncType(ty) = block
                && let Some(Some(ty)) = types.get(ty as usize)
            {
                let (params, more) = (ty.params.len() as u64, beyond(ty.results.len()));
                weight.carried += params + more;
                widest = widest.max(params).max(more);
            }
        }
        weight.carried += widest.saturating_mul(weight.branches);
        Ok(weight)
    }

    fn values(&self) -> u64 {
        self.locals + self.results + HIDDEN
    }

    fn joins(&self) -> u64 {
        self.values()
            .saturating_mul(LOOP * self.loops + self.blocks)
    }

    fn brought(&self) -> u64 {
        self.values().saturating_mul(self.branches)
    }

    /// What is over its bound, each with the bound.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let Self {
            locals,
            loops,
            blocks,
            branches,
            carried,
            ..
        } = self;
        let problems = [
            (*loops > MAX_LOOPS).then(|| {
                format!("{loops} loops take too long to compile: {MAX_LOOPS} are allowed; split it")
            }),
            (self.joins() > MAX_JOINS).then(|| {
                format!(
                    "{locals} locals with {loops} loops and {blocks} other blocks take too long to compile: \
                     locals, parameters, results and {HIDDEN} more times blocks, of which a loop counts as {LOOP}, \
                     are {}, and {MAX_JOINS} are allowed; split it",
                    self.joins()
                )
            }),
            (self.brought() > MAX_BROUGHT).then(|| {
                format!(
                    "{locals} locals with {branches} branches take too long to compile: locals, parameters, results \
                     and {HIDDEN} more times branches are {}, and {MAX_BROUGHT} are allowed; split it",
                    self.brought()
                )
            }),
            (*carried > MAX_CARRIED).then(|| {
                format!(
                    "{carried} values that blocks, branches and calls carry take too long to compile: parameters of \
                     blocks, and all results but the first of blocks, branches and calls, are {MAX_CARRIED} at most; \
                     split it, or build it without multi-value"
                )
            }),
        ];
        problems.into_iter().flatten()
    }
}
