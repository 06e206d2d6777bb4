//! Native filters in a chain: their answers, tasks, calls and configuration.

mod answers;
mod bench;
mod config;
mod many;
mod tasks;
