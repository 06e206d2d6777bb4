//! The behaviour suite on engine `wasmer`, with guests of both versions of the ABI.

mod abi_1_1 {
    conformance::suite!(wasm, engine_wasm_wasmer::WasmerFactory);
}

mod abi_1_0 {
    conformance::suite!(wasm_1_0, engine_wasm_wasmer::WasmerFactory);
}
