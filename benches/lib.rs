//! The workload that every bench shares: one small shop, on each engine and on each raw runtime.
//!
//! [`application`] declares the shop, [`world`] holds its rows, and [`question`] says what is asked. Whatever can be
//! asked is a [`Subject`]: an instance of an [`engine`], or, beside it in the same run, the [`raw`] runtime. [`adding`] asks a
//! plugin's function instead, and [`filtering`] a filter.

pub mod adding;
pub mod application;
pub mod engine;
pub mod filtering;
pub mod question;
pub mod raw;
pub mod world;

// Links the native guest in.
use bench_guest as _;

/// Something that runs the benches' extensions.
pub trait Subject {
    /// Runs the extension of this number once, with encoded arguments.
    ///
    /// # Panics
    /// Where the extension fails, as a bench of failures is no bench.
    fn ask(&mut self, extension: usize, args: &[u8]);
}
