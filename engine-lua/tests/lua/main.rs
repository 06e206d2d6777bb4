//! What is engine `lua`'s own: its sandbox, its limits, its conversions. What all engines share is in `conformance`.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod common;
mod errors;
mod escapes;
mod lifecycle;
mod limits;
mod rows;
