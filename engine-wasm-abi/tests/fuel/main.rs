//! Metered modules: what they cost, that they compute what they did, and that engines agree.
#![allow(clippy::unwrap_used, reason = "a panic fails the test, as it should")]

mod charges;
mod engines;
mod modules;
mod programs;
mod random;
