//! An application of one command, and how the program is run on it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value as Json;
use tempfile::TempDir;

/// One storage, one command.
pub(crate) const MANIFEST: &str = r#"
[app]
name = "x"
engine = "lua"
[storages.a]
key = "k: int"
value = "v: int"
[packages.p]
lua = "p.lua"
[extensions.C]
kind = "command"
args = "k: int"
access = { a = ["put"] }
"#;

/// Behind [`MANIFEST`]: a storage that an asynchronous projector writes, and a query.
pub(crate) const PROJECTED: &str = r#"
[storages.b]
key = "k: int"
value = "v: int"
[extensions.P]
kind = "projector"
mode = "async"
on = ["C"]
access = { b = ["put"] }
[extensions.Q]
kind = "query"
result = "k: int"
access = { a = ["read"] }
"#;

/// What it does.
pub(crate) const LUA: &str = r#"function C(a) host.put_value("a", {k = a.k}, {v = 1}) end"#;

/// A folder with an application.
pub(crate) fn application(manifest: &str, lua: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.toml"), manifest).unwrap();
    fs::write(folder.path().join("p.lua"), lua).unwrap();
    folder
}

/// The program in a folder.
pub(crate) fn program(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_extengine"));
    command.current_dir(folder).args(args);
    command
}

/// Runs the program in a folder, with these bytes on its standard input.
pub(crate) fn extengine(folder: &Path, args: &[&str], input: &[u8]) -> Output {
    let mut command = program(folder, args);
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // A program that ends early does not read all of it.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// The lines of its standard output.
pub(crate) fn lines(output: &Output) -> Vec<Json> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

/// What it said on standard error.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
