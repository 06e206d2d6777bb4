//! Engine wasmer: WebAssembly extensions on Wasmer
