//! The command line with the flights example's native extensions linked in.

use flights_extensions as _;

fn main() -> std::process::ExitCode {
    extengine_cli::main()
}
