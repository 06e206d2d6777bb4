//! Wasmtime's errors in the words of the contract; they appear nowhere else.

use engine_core::error::{Error, ErrorKind};
use engine_core::limits::Limit;
use engine_wasm_abi::runtime::{Budget, segment_error};
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

/// Sends one of our errors through the guest's frames, out of which [`from_call`] takes it again.
pub(crate) fn through_guest(error: Error) -> wasmtime::Error {
    wasmtime::Error::new(error)
}

/// What a call of the guest failed with.
pub(crate) fn from_call(error: wasmtime::Error, budget: &Budget, stack: u32) -> Error {
    let error = match error.downcast::<Error>() {
        Ok(ours) => return ours,
        Err(error) => error,
    };
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => budget.deadline_error(),
        Some(Trap::StackOverflow) => Error::limit(Limit::Stack, format_args!("{stack} bytes")),
        Some(trap) => {
            let place = error
                .downcast_ref::<WasmBacktrace>()
                .and_then(|backtrace| backtrace.frames().first()?.func_name())
                .map_or(String::new(), |name| format!(", in `{name}`"));
            Error::new(ErrorKind::Trap, format!("{trap}{place}"))
        }
        None => internal("calling the guest")(error),
    }
}

/// What the making of an instance failed with.
pub(crate) fn from_instantiation(error: wasmtime::Error) -> Error {
    if error.is::<PoolConcurrencyLimitError>() {
        let message = format!("the engine has no room for one more instance: {error}");
        return Error::new(ErrorKind::Busy, message).with_source(error);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::MemoryOutOfBounds) => segment_error("data", "memory"),
        Some(Trap::TableOutOfBounds) => segment_error("elements", "table"),
        Some(trap) => Error::new(ErrorKind::Trap, trap.to_string()),
        None => internal("making an instance")(error),
    }
}

/// What the compilation of a module that passed all checks failed with.
pub(crate) fn from_compilation(error: wasmtime::Error) -> Error {
    Error::new(
        ErrorKind::Package,
        format!("wasmtime does not compile it: {error:#}"),
    )
    .with_source(error)
}

/// A failure that nothing of the guest's can cause.
pub(crate) fn internal(doing: &'static str) -> impl FnOnce(wasmtime::Error) -> Error {
    move |error| {
        Error::new(
            ErrorKind::Internal,
            format!("wasmtime failed in {doing}: {error:#}"),
        )
        .with_source(error)
    }
}
