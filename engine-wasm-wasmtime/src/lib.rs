//! Engine wasmtime: WebAssembly extensions on Wasmtime
