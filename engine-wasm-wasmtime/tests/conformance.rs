//! The behaviour suite on engine `wasmtime`, with guests of both versions of the ABI.

mod abi_1_1 {
    conformance::suite!(wasm, engine_wasm_wasmtime::WasmtimeFactory);
}

mod abi_1_0 {
    conformance::suite!(wasm_1_0, engine_wasm_wasmtime::WasmtimeFactory);
}
