//! `extengine engines`: what is compiled in.

use extengine::Result;
use extengine::contract::factory::factories;
use extengine::contract::limits::{Keeping, Limit};
use serde_json::{Map, Value as Json, json};

use crate::output::Lines;

/// The engine of WASM filters where none is named.
#[cfg(feature = "filters")]
pub(crate) const WASM: &str = if cfg!(feature = "wasmtime") {
    "wasmtime"
} else {
    "wasmer"
};

pub(crate) fn engines() -> Result<bool> {
    let mut lines = Lines::new();
    for factory in factories() {
        let capabilities = factory.capabilities();
        let limits: Map<String, Json> = Limit::ALL
            .into_iter()
            .map(|limit| {
                let keeping = match capabilities.of(limit) {
                    Keeping::Kept => "kept",
                    Keeping::NotKept => "not kept",
                    Keeping::NoObject => "nothing to limit",
                };
                (limit.name().to_owned(), Json::from(keeping))
            })
            .collect();
        lines.put(&json!({
            "engine": factory.name(),
            "kind": factory.kind().name(),
            "version": factory.version(),
            "limits": limits,
        }))?;
    }
    lines.flush()?;
    Ok(true)
}
