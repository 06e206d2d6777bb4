//! Streams that cannot be written: what is said is lost and nothing else is, and what is not taken is no success.

use std::fs::OpenOptions;
use std::io::pipe;
use std::path::Path;
use std::process::Output;

use crate::support::{LUA, MANIFEST, application, extengine, lines, program, said};

fn commands(count: u64) -> String {
    let line = |k| format!("{{\"command\": \"C\", \"args\": {{\"k\": {k}}}, \"id\": \"{k}\"}}\n");
    (0..count).map(line).collect()
}

#[test]
fn standard_error_that_is_full_loses_lines_and_nothing_else() {
    let lua = LUA.replace("host.put", "host.log('line') host.put");
    let folder = application(MANIFEST, &lua);
    std::fs::write(folder.path().join("commands"), commands(3)).unwrap();
    for args in [
        &["run", ".", "--commands", "commands"][..],
        &["call", ".", "C", "{\"k\": 1}", "--trace"],
        &["replay", "."],
        &["verify", "--data", ".extengine/x"],
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = program(folder.path(), args);
        let output = command.stderr(full).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
    }
    let state = extengine(folder.path(), &["state", "."], b"");
    assert_eq!(lines(&state).len(), 3);
}

/// Runs the program with a standard output that nobody reads.
fn unread(folder: &Path, args: &[&str]) -> Output {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    program(folder, args).stdout(writer).output().unwrap()
}

#[test]
fn standard_output_that_is_closed_is_no_success() {
    let folder = application(MANIFEST, LUA);
    std::fs::write(folder.path().join("commands"), commands(3_000)).unwrap();
    let run = ["run", ".", "--commands", "commands"];
    let ran = unread(folder.path(), &run);
    assert_eq!(ran.status.code(), Some(1));
    let said = said(&ran);
    assert!(
        said.contains("standard output was closed when ") && said.contains("harmless"),
        "{said}"
    );
    // As it says.
    let ran = extengine(folder.path(), &run, b"");
    assert_eq!(ran.status.code(), Some(0));
    for args in [
        &["state", "."][..],
        &["check", "."],
        &["verify", "--data", ".extengine/x"],
        &["call", ".", "C", "{\"k\": 1}"],
        &["engines"],
        &["completions", "zsh"],
        &["--help"],
    ] {
        let output = unread(folder.path(), args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}
