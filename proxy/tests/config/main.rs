//! What the reading of configurations accepts, refuses and survives.

mod accepted;
mod arbitrary;
mod forms;
mod mistakes;

use engine_core::error::ErrorKind;
use proxy::config::{ChainEnd, Config, HttpConnectionManager, Listener};

/// Reads a configuration that has no mistakes.
fn read(text: &str) -> Config {
    match Config::parse(text, "test.yaml") {
        Ok(config) => config,
        Err(error) => panic!("{}", error.message()),
    }
}

/// Reads a configuration that has mistakes, and answers their lines without the file's name.
fn refused(text: &str) -> Vec<String> {
    let error = Config::parse(text, "test.yaml").expect_err("the configuration has mistakes");
    assert_eq!(error.kind(), ErrorKind::Manifest);
    let lines = error.message().lines();
    let lines = lines.map(|line| line.strip_prefix("test.yaml:").expect("a line has a place"));
    lines.map(str::to_owned).collect()
}

/// The HTTP connection manager of a listener's first chain.
fn http(listener: &Listener) -> &HttpConnectionManager {
    match &listener.filter_chains[0].end {
        ChainEnd::Http(http) => http,
        ChainEnd::Tcp(_) => panic!("the chain ends at HTTP"),
    }
}
