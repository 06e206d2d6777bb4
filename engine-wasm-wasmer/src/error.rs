//! Wasmer's errors in the words of the contract; they appear nowhere else.

use std::error::Error as StdError;

use engine_core::error::{Error, ErrorKind};
use engine_core::limits::Limit;
use engine_wasm_abi::runtime::segment_error;
use wasmer::sys::vm::TrapCode;
use wasmer::{CompileError, InstantiationError, LinkError, RuntimeError};

/// Sends one of our errors through the guest's frames, out of which [`from_call`] takes it again.
pub(crate) fn through_guest(error: Error) -> RuntimeError {
    RuntimeError::user(Box::new(error))
}

/// What a call of the guest failed with.
pub(crate) fn from_call(error: RuntimeError, stack: u32) -> Error {
    let error = match error.downcast::<Error>() {
        Ok(ours) => return ours,
        Err(error) => error,
    };
    match error.clone().to_trap() {
        Some(TrapCode::StackOverflow) => Error::limit(Limit::Stack, format_args!("{stack} bytes")),
        Some(trap) => {
            let frame = error.trace().first();
            let place = frame
                .and_then(|frame| frame.function_name())
                .map_or(String::new(), |name| format!(", in `{name}`"));
            Error::new(ErrorKind::Trap, format!("{}{place}", trap.message()))
        }
        None => internal("calling the guest")(error),
    }
}

/// What the making of an instance failed with.
pub(crate) fn from_instantiation(error: InstantiationError) -> Error {
    match error {
        InstantiationError::Link(LinkError::Trap(error)) | InstantiationError::Start(error) => {
            match error.clone().to_trap() {
                Some(TrapCode::HeapAccessOutOfBounds) => segment_error("data", "memory"),
                Some(TrapCode::TableAccessOutOfBounds) => segment_error("elements", "table"),
                _ => Error::new(ErrorKind::Trap, error.message()),
            }
        }
        InstantiationError::Link(LinkError::Resource(_)) => Error::new(
            ErrorKind::Busy,
            format!("the process has no room for one more instance: {error}"),
        )
        .with_source(error),
        error => internal("making an instance")(error),
    }
}

/// What the compilation of a module that passed all checks failed with.
pub(crate) fn from_compilation(error: CompileError) -> Error {
    Error::new(
        ErrorKind::Package,
        format!("wasmer does not compile it: {error}"),
    )
    .with_source(error)
}

/// A failure that nothing of the guest's can cause.
pub(crate) fn internal<E: StdError + Send + Sync + 'static>(
    doing: &'static str,
) -> impl FnOnce(E) -> Error {
    move |error| {
        Error::new(
            ErrorKind::Internal,
            format!("wasmer failed in {doing}: {error}"),
        )
        .with_source(error)
    }
}
