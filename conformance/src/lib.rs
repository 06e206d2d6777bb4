//! One behaviour suite for every engine.
//!
//! Each case is a function over a [`Subject`], written once. An engine's crate runs them all as ordinary tests with one
//! line in its `tests/conformance.rs`:
//!
//! ```text
//! conformance::suite!(lua, engine_lua::LuaFactory);
//! ```
//!
//! The [`matrix`] says which case covers which outcome of which import, export, limit and failure.

pub mod cases;
pub mod host;
pub mod matrix;
pub mod subject;
pub mod suite;
pub mod wat;

pub use subject::Subject;

/// Makes each case that applies to an engine of this kind (`wasm`, `lua` or `builtin`) a test of the engine that the
/// factory makes.
#[macro_export]
macro_rules! suite {
    ($kind:ident, $factory:expr) => {
        fn subject() -> &'static $crate::Subject {
            static SUBJECT: std::sync::LazyLock<$crate::Subject> =
                std::sync::LazyLock::new(|| $crate::Subject::new(&$factory));
            &SUBJECT
        }

        $crate::__cases!(__tests; $kind);
    };
}

/// Makes tests of the groups that apply to a kind of engine.
#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    ([wasm] all $all:tt sandboxed $sandboxed:tt wasm $own:tt lua $lua:tt builtin $builtin:tt) => {
        $crate::__tests!(@group $all);
        $crate::__tests!(@group $sandboxed);
        $crate::__tests!(@group $own);
    };
    ([lua] all $all:tt sandboxed $sandboxed:tt wasm $wasm:tt lua $own:tt builtin $builtin:tt) => {
        $crate::__tests!(@group $all);
        $crate::__tests!(@group $sandboxed);
        $crate::__tests!(@group $own);
    };
    ([builtin] all $all:tt sandboxed $sandboxed:tt wasm $wasm:tt lua $lua:tt builtin $own:tt) => {
        $crate::__tests!(@group $all);
        $crate::__tests!(@group $own);
    };
    (@group { $($theme:ident { $($case:ident)* })* }) => {
        $(mod $theme {
            $(#[test]
            fn $case() {
                $crate::cases::$theme::$case(super::subject());
            })*
        })*
    };
}
