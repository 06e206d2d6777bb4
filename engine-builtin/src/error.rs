//! How an extension's end becomes the contract's error: its own errors, and panics.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

use engine_core::call::Call;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::panics;
use extengine_guest::{Error as GuestError, ErrorKind as GuestKind};

thread_local! {
    static IN_GUEST: Cell<bool> = const { Cell::new(false) };
    static PANICKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What unwinds an extension whose invocation is lost, as a trap ends a WASM guest.
struct Lost(Error);

/// Runs an extension and turns its panic into an error.
///
/// # Errors
/// `trap` for a panic, and the error of [`to_guest`] that ended the extension.
pub(crate) fn catch<R>(extension: impl FnOnce() -> R) -> Result<R> {
    let outer = IN_GUEST.replace(true);
    let ended = panic::catch_unwind(AssertUnwindSafe(extension));
    IN_GUEST.set(outer);
    ended.map_err(|payload| match payload.downcast::<Lost>() {
        Ok(lost) => lost.0,
        Err(payload) => {
            // Without the hook's words if the program has replaced the hook.
            let message = PANICKED.take().unwrap_or_else(|| words(&*payload));
            panics::free(payload);
            Error::new(ErrorKind::Trap, format!("the extension panicked{message}"))
        }
    })
}

/// Says a failed read to the extension; one that it may not catch ends it here.
pub(crate) fn to_guest(call: &Call<'_>, error: Error) -> GuestError {
    let kind = match error.kind() {
        ErrorKind::BadKey => GuestKind::BadKey,
        ErrorKind::Io => GuestKind::Io,
        // Unwinds without a call of the panic hook.
        _ => panic::resume_unwind(Box::new(Lost(call.fail(error)))),
    };
    GuestError::new(kind, error.message())
}

/// The error that an extension ended with.
pub(crate) fn from_guest(error: GuestError) -> Error {
    let kind = match error.kind() {
        GuestKind::Rejected => ErrorKind::Rejected,
        GuestKind::NotFound => ErrorKind::NotFound,
        GuestKind::BadKey => ErrorKind::BadKey,
        GuestKind::Io => ErrorKind::Io,
        _ => ErrorKind::Trap,
    };
    Error::new(kind, error.message())
}

/// Wraps the process's panic hook, once: a panic that [`catch`] will catch is kept for it and not printed.
pub(crate) fn quieten_caught_panics() {
    static WRAP: Once = Once::new();
    WRAP.call_once(|| {
        let outer = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if IN_GUEST.get() {
                PANICKED.set(Some(describe(info)));
            } else {
                outer(info);
            }
        }));
    });
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let place = info.location().map(|location| format!(" at {location}"));
    place.unwrap_or_default() + &words(info.payload())
}

fn words(payload: &dyn Any) -> String {
    format!(": {}", panics::text_of(payload))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_an_extension_panics_with_is_freed() {
        let payload = Arc::new(());
        let caught = catch(|| panic::panic_any(Arc::clone(&payload)));
        assert_eq!(caught.unwrap_err().kind(), ErrorKind::Trap);
        assert_eq!(Arc::strong_count(&payload), 1);
    }
}
