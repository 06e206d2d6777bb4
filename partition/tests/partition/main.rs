//! What a partition promises, on a simulated machine and with closures for extensions.

#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests fail as tests do, by a panic"
)]

mod app;
mod engine;

mod ahead;
mod answers;
mod changes;
mod checkpoints;
mod commands;
mod context;
#[cfg(feature = "disk")]
mod disk;
mod faults;
mod folder;
mod foreign;
mod groups;
mod hashes;
mod ids;
mod jobs;
mod projectors;
mod queries;
mod replay;
mod shadow;
mod swap;
mod verify;
