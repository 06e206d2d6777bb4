//! SDK for extensions written in Rust
