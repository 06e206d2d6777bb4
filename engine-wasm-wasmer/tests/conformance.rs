//! The behaviour suite on engine `wasmer`.

conformance::suite!(wasm, engine_wasm_wasmer::WasmerFactory);
