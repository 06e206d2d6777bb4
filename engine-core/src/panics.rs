//! What is left of a caught panic: its words, and a payload of any type.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The words of a panic's payload.
pub fn text_of(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("with a value that is no text")
}

/// What something gives, unless it panics: its payload is freed then, and `None` given.
pub fn caught<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).map_err(free).ok()
}

/// Frees the payload of a caught panic, whose own `drop` may panic in turn; what that one panics with is leaked.
pub fn free(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(second);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;
    use std::sync::Arc;

    use super::*;

    /// Panics with itself for as often as it says.
    struct Stubborn(u32, Arc<()>);

    impl Drop for Stubborn {
        fn drop(&mut self) {
            if self.0 > 0 {
                panic_any(Self(self.0 - 1, Arc::clone(&self.1)));
            }
        }
    }

    #[test]
    fn a_payload_is_freed_even_where_that_panics() {
        let count = Arc::new(());
        for times in 0..3 {
            free(Box::new(Stubborn(times, Arc::clone(&count))));
        }
        // The panic of the second's end is leaked, and that of the third's.
        assert_eq!(Arc::strong_count(&count), 3);
    }
}
