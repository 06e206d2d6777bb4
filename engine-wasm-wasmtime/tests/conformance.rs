//! The behaviour suite on engine `wasmtime`.

conformance::suite!(wasm, engine_wasm_wasmtime::WasmtimeFactory);
