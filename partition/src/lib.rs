//! The single writer that owns a host state, a command log and its extensions.
//!
//! An [`Application`](application::Application) is opened from its manifest. Each of its partitions has one writer
//! thread: it takes a command, runs its extension, its validators and its synchronous projectors, gathers the intents of
//! many commands in one group, appends the group to the log, applies it and answers. Asynchronous projectors follow the
//! log, queries read snapshots. This crate names no engine: engines are found through `engine_core::factory`.

#![deny(clippy::print_stderr, clippy::print_stdout)]

mod answer;
mod appender;
pub mod application;
mod board;
mod checkpoint;
mod difference;
mod folder;
mod host;
mod ids;
mod instances;
mod jobs;
mod journal;
mod lineup;
pub mod log;
pub mod manifest;
mod overlay;
mod packages;
mod partition;
pub mod platform;
pub mod program;
mod projector;
mod queries;
pub mod record;
pub mod replay;
mod routing;
pub mod rows;
mod runner;
mod shadow;
pub mod single;
mod state;
pub mod store;
pub mod verify;
mod writer;

pub use answer::{Answer, AnswerFuture};
pub use folder::{CommandFacts, FolderFacts, StorageFacts, StorageWriter};
pub use host::{LogLine, Logger};
pub use lineup::{PackageStatus, RolledBack, hex};
pub use partition::{Accepted, QueryAnswer};
pub use runner::Cost;
pub use shadow::{Shadow, ShadowReport};
