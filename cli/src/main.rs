//! The `extengine` command.

fn main() -> std::process::ExitCode {
    extengine_cli::main()
}
