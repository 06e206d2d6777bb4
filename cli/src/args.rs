//! What can be said on the command line.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::shadow::Other;

/// Runs users' code (WebAssembly, Lua, native Rust) next to the data that it works on.
#[derive(Debug, Parser)]
#[command(
    name = "extengine",
    version,
    after_help = "\
Compiled WebAssembly is kept in the user's cache folder; EXTENGINE_CODE_CACHE names another one, or none where it is empty."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run commands and make what they ask for durable.
    #[command(after_help = "\
Commands are JSON lines: {\"command\": \"AddAirline\", \"args\": {\"carrier\": \"UA\", …}, \"id\": \"optional\"}.
Each gives one line, in order: {\"ok\": …, \"partition\": 0, \"offset\": 12} or {\"error\": {\"kind\": \"…\", \"message\": \"…\"}}.
Jobs run until the last command is answered: those that are due at the start first, later ones at their time.

Examples:
  extengine run examples/flights
  extengine run examples/flights --engine lua --data flights-data --commands more.jsonl
  extengine run examples/flights --data again --shadow flights=examples/flights/flights.wasm
  tail -f commands.jsonl | extengine run examples/flights --commands - --watch")]
    Run(Run),
    /// Ask a query; every result row is one line.
    #[command(after_help = "\
Examples:
  extengine query examples/flights CarrierReport '{\"carrier\": \"UA\"}'
  extengine query examples/flights WorstRoutes '{\"min_flights\": 10, \"limit\": 5}'")]
    Query(Query),
    /// Print the rows of the state, or one hash of them.
    #[command(after_help = "\
Rows are flat JSON objects in key order, the key's fields first. Without STORAGE each row names its storage.

Examples:
  extengine state examples/flights airline
  extengine state examples/flights --hash")]
    State(State),
    /// Invoke one extension once and apply nothing: print its results, intents and ledger.
    #[command(after_help = "\
The arguments of a validator or projector are the event: {\"command\": \"…\", \"args\": {…}, \"result\": {…}}.
--state takes rows as `extengine state APP` prints them.

Examples:
  extengine call examples/flights AddAirline '{\"carrier\": \"UA\", \"name\": \"United\"}' --trace
  extengine call examples/flights CarrierReport '{\"carrier\": \"UA\"}' --state rows.jsonl --engine lua")]
    Call(Call),
    /// Run the logged commands again, on this build's engines, and report every difference in intents.
    #[command(after_help = "\
A command runs on the version of its package that the log names, if that was kept for engines of the same kind.

Examples:
  extengine replay examples/flights --engine lua
  extengine replay examples/flights --today")]
    Replay(Replay),
    /// Say what a package exports, imports and needs, and whether it would load.
    #[command(after_help = "\
Examples:
  extengine check examples/flights
  extengine check examples/flights/flights.wasm")]
    Check(Check),
    /// Check that the log and the state of a data folder are whole and agree.
    #[command(after_help = "\
Example:
  extengine verify --data .extengine/flights")]
    Verify(Verify),
    /// Add the results of functions to JSON lines, line by line in order.
    #[command(after_help = "\
--plugins names a folder of configurations in JSON or TOML, each with the functions that its code offers.
An argument is a field of the line (`a.b` for one inside another; null where it is not there) or a value in JSON. A call with
null where the function takes none is not made, and gives null. Rules follow one another, so one sees the fields of those
before it.

Examples:
  extengine pipe --plugins examples/stream/plugins --call 'score = delays.score(dep_delay, arr_delay)' flights.jsonl
  tail -f lines.jsonl | extengine pipe --plugins plugins --call 'x = f(a, 1)' --call 'y = g(x)' --on-error drop")]
    Pipe(Pipe),
    /// Serve a configuration in the form of Envoy's static bootstrap, with WASM, Lua and native filters.
    #[cfg(feature = "filters")]
    #[command(after_help = "\
Another content of the file is taken up while the proxy runs; what cannot be served is logged and changes nothing.
Requests under way end on the configuration that they began on, within 10 minutes.
SIGTERM and SIGINT let them end within 25 seconds; a second one ends the process at once.

Examples:
  extengine proxy examples/proxy/envoy.yaml --concurrency 2
  extengine proxy envoy.yaml --mode validate")]
    Proxy(ProxyArgs),
    /// Test filters, and look into them.
    #[cfg(feature = "filters")]
    #[command(subcommand)]
    Filter(Filter),
    /// List the engines that are compiled in, their versions, and the limits that each keeps.
    Engines,
    /// Print a completion script for a shell.
    #[command(after_help = "\
Example:
  extengine completions bash > ~/.local/share/bash-completion/completions/extengine")]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// A proxy.
#[cfg(feature = "filters")]
#[derive(Debug, clap::Args)]
pub(crate) struct ProxyArgs {
    /// The configuration: YAML or JSON.
    #[arg(value_name = "CONFIG")]
    pub(crate) config: PathBuf,
    /// The workers that serve connections [default: one for each core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) concurrency: Option<u16>,
    /// Serve, or say only whether that would go well.
    #[arg(long, value_enum, default_value_t = Mode::Serve)]
    pub(crate) mode: Mode,
    /// The engine of WASM filters, whatever their `runtime` says.
    #[arg(long, value_name = "NAME", default_value = crate::engines::WASM)]
    pub(crate) engine: String,
    /// The least level that is logged: trace, debug, info, warn, error or critical.
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = level)]
    pub(crate) log_level: extengine::filters::Level,
}

/// What to do with a proxy's configuration.
#[cfg(feature = "filters")]
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Mode {
    /// Open the listeners and serve.
    Serve,
    /// Prepare everything, open nothing, and end.
    Validate,
}

#[cfg(feature = "filters")]
fn level(name: &str) -> Result<extengine::filters::Level, String> {
    extengine::filters::Level::from_name(name).ok_or_else(|| "there is no such level".into())
}

/// An application and its data.
#[derive(Debug, clap::Args)]
pub(crate) struct App {
    /// The application: a folder with an app.toml.
    #[arg(value_name = "APP")]
    pub(crate) app: PathBuf,
    /// The data folder [default: .extengine/NAME in the current directory].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The engine for all packages: wasmtime, wasmer, lua or builtin [default: as the manifest says].
    #[arg(long, value_name = "NAME")]
    pub(crate) engine: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) app: App,
    /// Where the commands are, or - for standard input [default: the manifest's file, else standard input].
    #[arg(long, value_name = "FILE")]
    pub(crate) commands: Option<PathBuf>,
    /// How many partitions a new data folder gets [default: as the manifest says].
    #[arg(long, value_name = "N")]
    pub(crate) partitions: Option<u32>,
    /// Look at the packages' files, and replace a package while it runs when its file changes.
    #[arg(long)]
    pub(crate) watch: bool,
    /// Run a file's code beside a package on the same commands, apply nothing of it, and report at the end where it differs.
    #[arg(long, value_name = "PACKAGE=FILE")]
    pub(crate) shadow: Vec<Other>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Query {
    #[command(flatten)]
    pub(crate) app: App,
    /// The query.
    pub(crate) name: String,
    /// Its arguments as a JSON object.
    #[arg(default_value = "{}")]
    pub(crate) args: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct State {
    #[command(flatten)]
    pub(crate) app: App,
    /// One storage, instead of all.
    pub(crate) storage: Option<String>,
    /// Print one hash of the rows, which depends on nothing but the rows.
    #[arg(long)]
    pub(crate) hash: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Call {
    /// The application: a folder with an app.toml.
    #[arg(value_name = "APP")]
    pub(crate) app: PathBuf,
    /// The extension.
    pub(crate) extension: String,
    /// Its arguments as a JSON object.
    #[arg(default_value = "{}")]
    pub(crate) args: String,
    /// Rows that the extension sees, as JSON lines.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// The engine: wasmtime, wasmer, lua or builtin [default: as the manifest says].
    #[arg(long, value_name = "NAME")]
    pub(crate) engine: Option<String>,
    /// Print each crossing between partition, instance, guest and host state to standard error, with times.
    #[arg(long)]
    pub(crate) trace: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    pub(crate) app: App,
    /// Run the code that the manifest names today, and not the version that the log names for each command.
    #[arg(long)]
    pub(crate) today: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// An application's folder, or a package's file (.wasm, .lua or .luau).
    #[arg(value_name = "APP|PACKAGE")]
    pub(crate) target: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// The data folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Pipe {
    /// The folder with the plugins' configurations.
    #[arg(long, value_name = "DIR")]
    pub(crate) plugins: PathBuf,
    /// A rule: `field = plugin.function(argument, …)`, where the plugin may be left out.
    #[arg(long = "call", value_name = "RULE", required = true)]
    pub(crate) calls: Vec<String>,
    /// The lines, or - for standard input [default: standard input].
    #[arg(value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// How many lines are given to a function at once, at most.
    #[arg(long, value_name = "N", default_value = "1024", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub(crate) batch: usize,
    /// What becomes of a line whose call fails, or that is no JSON object.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = OnError::Null)]
    pub(crate) on_error: OnError,
}

/// What is done with a filter.
#[cfg(feature = "filters")]
#[derive(Debug, Subcommand)]
pub(crate) enum Filter {
    /// Run cases for a filter, without a network.
    #[command(after_help = "\
Each case gives a line: {\"case\": \"…\", \"engine\": \"wasmtime\", \"ok\": true}, with what failed where it did. Without --engine every
runtime that is compiled in runs them, and what differs between them has failed. Cases are TOML; see filter-test/README.md.

Examples:
  extengine filter test examples/proxy/filters/jwt.wasm examples/proxy/filters/jwt.toml
  extengine filter test examples/filters-lua/redact.lua examples/filters-lua/redact.toml")]
    Test(FilterTest),
    /// Say what a filter exports and imports, what it was made with, and whether it would run.
    #[command(after_help = "\
Example:
  extengine filter inspect examples/proxy/filters/jwt.wasm")]
    Inspect {
        /// The filter: a proxy-wasm module.
        #[arg(value_name = "PLUGIN")]
        plugin: PathBuf,
    },
}

#[cfg(feature = "filters")]
#[derive(Debug, clap::Args)]
pub(crate) struct FilterTest {
    /// The filter: a proxy-wasm module, or a script in Lua whose name ends in `.lua`.
    #[arg(value_name = "PLUGIN")]
    pub(crate) plugin: PathBuf,
    /// The cases, in TOML.
    #[arg(value_name = "CASES")]
    pub(crate) cases: PathBuf,
    /// The engine: wasmtime or wasmer, lua for a script [default: all that are compiled in].
    #[arg(long, value_name = "NAME")]
    pub(crate) engine: Option<String>,
}

/// What becomes of a line whose call fails, or that is no JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OnError {
    /// It stays, with null in the field; one that is no object has no fields, and ends everything behind the lines before it.
    Null,
    /// It is left out.
    Drop,
    /// It ends everything, behind the lines before it.
    Stop,
}

/// The completion script of a shell.
pub(crate) fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "extengine", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_help_begins_with_what_the_program_does() {
        let about = Args::command().get_about().map(ToString::to_string);
        assert!(about.is_some_and(|about| about.starts_with("Runs users' code")));
    }
}
