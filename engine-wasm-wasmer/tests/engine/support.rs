//! The guests and the host of engine `wasmtime`'s tests, with packages on `wasmer`, and on `wasmtime` beside it.

#[path = "../../../engine-wasm-wasmtime/tests/engine/support.rs"]
pub(crate) mod wasmtime;

use std::sync::Arc;

use engine_core::engine::{ExtEngine, ExtensionPackage, PackageSource};
use engine_core::error::Result;
use engine_core::factory::{EngineLimits, ExtEngineFactory};
use engine_core::limits::{Limit, Limits};
use engine_core::manifest::Policy;
use engine_wasm_wasmer::WasmerFactory;

pub(crate) use wasmtime::{COUNT, Guest, Rows, Run, limits, number, short, source};

pub(crate) fn engine(limits: &Limits) -> Arc<dyn ExtEngine> {
    WasmerFactory.create(&EngineLimits::from(limits)).unwrap()
}

/// Loads a package that waives its limit on the stack where another one may have settled the size.
pub(crate) fn load(wat: &str, limits: Limits, policy: Policy) -> Result<Arc<dyn ExtensionPackage>> {
    let engine = engine(&limits);
    let other = limits.stack != Limits::default().stack;
    engine.load(&waiving(
        source(wat, limits, policy),
        if other { &[Limit::Stack] } else { &[] },
    ))
}

/// The same package with these limits waived.
pub(crate) fn waiving(source: PackageSource, limits: &[Limit]) -> PackageSource {
    let PackageSource { mut manifest, code } = source;
    Arc::make_mut(&mut manifest).waived = limits.to_vec();
    PackageSource { manifest, code }
}

/// A run of a guest under the policy `keep`.
pub(crate) fn run(guest: &Guest<'_>, limits: Limits) -> Run {
    Run::new(&load(&guest.wat(), limits, Policy::Keep).unwrap())
}
