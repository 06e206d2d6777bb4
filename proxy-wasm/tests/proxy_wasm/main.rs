//! The host of proxy-wasm filters, on both runtimes, with filters written by hand.

mod callbacks;
mod failing;
mod harness;
mod life;
mod matrix;
mod others;
mod properties;
mod streams;
