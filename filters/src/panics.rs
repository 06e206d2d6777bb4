//! Panics of filters: caught, with the stack where they began.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// How many catching calls this thread is in.
    static CATCHING: Cell<u32> = const { Cell::new(0) };
    /// What the hook saw of the last panic.
    static SEEN: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic that was caught: its words, its place and its stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic(pub String);

/// Runs something, and turns its panic into an error that knows the stack where it began.
///
/// The first call puts a hook before the process's own: panics under this call are not printed, all others are as before.
///
/// # Errors
/// The panic.
pub fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Panic> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CATCHING.try_with(Cell::get).unwrap_or(0) == 0 {
                return before(info);
            }
            let seen = format!("{info}\n{}", Backtrace::force_capture());
            SEEN.with_borrow_mut(|place| *place = Some(seen));
        }));
    });
    CATCHING.set(CATCHING.get() + 1);
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    CATCHING.set(CATCHING.get() - 1);
    result.map_err(|payload| {
        let seen = SEEN.take().unwrap_or_else(|| words(&*payload).to_owned());
        // A payload may itself panic when it is dropped; what that one panics with is leaked.
        let dropped = panic::catch_unwind(AssertUnwindSafe(|| drop(payload)));
        if let Err(second) = dropped {
            mem::forget(second);
        }
        Panic(seen)
    })
}

fn words(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without words")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_panic_is_caught_with_its_words_and_its_stack() {
        let Panic(seen) = catch(|| panic!("no {}", 7)).expect_err("it panics");
        assert!(seen.contains("no 7"), "{seen}");
        assert!(
            seen.contains("a_panic_is_caught_with_its_words"),
            "no stack in {seen}"
        );
        assert_eq!(catch(|| 5), Ok(5));
    }

    #[test]
    fn what_it_panics_with_is_freed() {
        let payload = Arc::new(());
        assert!(catch(|| panic::panic_any(Arc::clone(&payload))).is_err());
        assert_eq!(Arc::strong_count(&payload), 1);
    }
}
