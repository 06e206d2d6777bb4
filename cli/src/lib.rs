//! The extengine command line, as a library with a thin binary.
//!
//! An application with native extensions links them and this into a binary of its own:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     extengine_cli::main()
//! }
//! ```
//!
//! JSON lines in and out on standard input and output; messages and progress on standard error. The exit status is 0
//! when all went well, 1 when a command was refused, a check or anything else failed, or nobody reads standard output to
//! its end, 2 for bad usage and for names that nothing has.

#![deny(clippy::print_stderr, clippy::print_stdout)]

use std::io;
use std::process::ExitCode;

use clap::Parser;
use extengine::contract::say;
use extengine::{Error, ErrorKind, Result};

mod args;
mod cache;
mod call;
mod check;
mod engines;
#[cfg(feature = "filters")]
mod filter;
mod input;
mod open;
mod output;
mod pipe;
#[cfg(feature = "filters")]
mod proxy;
mod query;
mod replay;
mod row;
mod rule;
mod run;
mod shadow;
mod state;
mod verify;
mod watch;
mod words;

use args::{Args, Command};

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(usage) => {
            // Help is usage too, but asked for.
            let code = match usage.print() {
                Err(_) if usage.exit_code() == 0 => 1,
                _ => u8::try_from(usage.exit_code()).unwrap_or(2),
            };
            return ExitCode::from(code);
        }
    };
    cache::keep_code();
    match dispatch(args.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        // Whoever closed it knows.
        Err(error) if output::is_closed(&error) => ExitCode::from(1),
        Err(error) => {
            say!("error ({}): {}", error.kind(), words::report(&error));
            if is_out_of_files(&error) {
                say!(
                    "Every partition keeps files open: let the process have more (`ulimit -n`), or the application fewer partitions."
                );
            }
            ExitCode::from(if error.kind() == ErrorKind::Unknown {
                2
            } else {
                1
            })
        }
    }
}

/// Whether an error comes from the limit on the files that a process has open.
fn is_out_of_files(error: &Error) -> bool {
    // What Linux and macOS call EMFILE; the standard library has no kind for it.
    const EMFILE: i32 = 24;
    let first = std::error::Error::source(error);
    let mut causes = std::iter::successors(first, |cause| cause.source());
    causes.any(|cause| {
        let cause = cause.downcast_ref::<io::Error>();
        cfg!(unix) && cause.is_some_and(|cause| cause.raw_os_error() == Some(EMFILE))
    })
}

/// Runs one command: true when all went well, false when something was refused or a check failed.
fn dispatch(command: Command) -> Result<bool> {
    match command {
        Command::Run(args) => run::run(&args),
        Command::Query(args) => query::query(&args),
        Command::State(args) => state::state(&args),
        Command::Call(args) => call::call(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Check(args) => check::check(&args),
        Command::Verify(args) => verify::verify(&args),
        Command::Pipe(args) => pipe::pipe(&args),
        #[cfg(feature = "filters")]
        Command::Proxy(args) => proxy::proxy(&args),
        #[cfg(feature = "filters")]
        Command::Filter(args) => filter::filter(&args),
        Command::Engines => engines::engines(),
        Command::Completions { shell } => output::all(&args::completions(shell)),
    }
}
