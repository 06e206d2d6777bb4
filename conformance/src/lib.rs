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
///
/// The kind `wasm_1_0` stands for the same guest built for ABI 1.0, without the cases that need no SDK.
#[macro_export]
macro_rules! suite {
    (wasm_1_0, $factory:expr) => {
        $crate::suite!(@make wasm_1_0, $crate::Subject::speaking_abi_1_0(&$factory));
    };
    ($kind:ident, $factory:expr) => {
        $crate::suite!(@make $kind, $crate::Subject::new(&$factory));
    };
    (@make $kind:ident, $subject:expr) => {
        fn subject() -> &'static $crate::Subject {
            static SUBJECT: std::sync::LazyLock<$crate::Subject> =
                std::sync::LazyLock::new(|| $subject);
            &SUBJECT
        }

        $crate::__cases!(__tests; $kind);
    };
}

/// Makes tests of the groups that apply to a kind of engine.
#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    ([wasm] all $all:tt newest $newest:tt sandboxed $sandboxed:tt wasm $own:tt lua $lua:tt builtin $builtin:tt) => {
        $crate::__tests!(@group $all);
        $crate::__tests!(@group $newest);
        $crate::__tests!(@group $sandboxed);
        $crate::__tests!(@group $own);
    };
    ([wasm_1_0] all $all:tt newest $newest:tt sandboxed $sandboxed:tt wasm $own:tt lua $lua:tt builtin $builtin:tt) => {
        $crate::__tests!(@group $all);
        $crate::__tests!(@group $sandboxed);
    };
    ([lua] all $all:tt newest $newest:tt sandboxed $sandboxed:tt wasm $wasm:tt lua $own:tt builtin $builtin:tt) => {
        $crate::__tests!(@group $all);
        $crate::__tests!(@group $newest);
        $crate::__tests!(@group $sandboxed);
        $crate::__tests!(@group $own);
    };
    ([builtin] all $all:tt newest $newest:tt sandboxed $sandboxed:tt wasm $wasm:tt lua $lua:tt builtin $own:tt) => {
        $crate::__tests!(@group $all);
        $crate::__tests!(@group $newest);
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
