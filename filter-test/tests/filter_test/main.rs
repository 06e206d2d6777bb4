//! The bench itself, and the cases of the example filters, on both runtimes.

mod bench;
mod examples;
mod format;

use std::sync::Once;

use engine_core::cache::CodeCache;
use engine_core::registry::Registry;
use filter_test::{Cases, Plugin, Report, Wasm, run};

/// Runs cases for a module on both runtimes.
fn on_both(code: &[u8], cases: &str) -> Report {
    static CACHE: Once = Once::new();
    // A module is compiled once, and not for each case.
    CACHE.call_once(|| {
        let cache =
            CodeCache::open(concat!(env!("CARGO_TARGET_TMPDIR"), "/code")).expect("a folder");
        Registry::global().keep_code_in(cache);
    });
    let cases = Cases::parse(cases).expect("cases");
    let variants = filter_test::engines().into_iter().map(|engine| Wasm {
        code: code.into(),
        engine: engine.into(),
    });
    let variants: Vec<_> = variants.collect();
    assert_eq!(variants.len(), 2);
    let variants: Vec<_> = variants
        .iter()
        .map(|variant| variant as &dyn Plugin)
        .collect();
    run(&cases, &variants)
}
