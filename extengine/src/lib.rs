//! Extengine: user code in WebAssembly, Lua and Rust next to the data it works on
