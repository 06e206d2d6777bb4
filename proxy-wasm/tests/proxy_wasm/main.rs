//! The host of proxy-wasm filters, on both runtimes, with filters written by hand.

mod failing;
mod harness;
mod life;
mod streams;
