//! An application whose extension calls a built-in foreign function: checked, run, called alone and replayed.

#![cfg(feature = "lua")]
#![allow(clippy::unwrap_used, reason = "a test may panic where it is set up")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value as Json, json};

const MANIFEST: &str = r#"
[app]
name = "sums"
engine = "lua"
[storages.sum]
key = "of: text"
value = "sum: bytes"
[packages.sums]
lua = "sums.lua"
[extensions.Sum]
kind = "command"
args = "of: text"
result = "sum: bytes"
access = { sum = ["put"] }
foreign = ["sha256"]
"#;

const LUA: &str = r#"
function Sum(args)
  local sum = host.call("sha256", args.of)
  host.put_value("sum", { of = args.of }, { sum = sum })
  return sum
end
"#;

/// The hash of `abc`.
const SUM: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";

fn extengine(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_extengine"));
    command.current_dir(folder).args(args).output().unwrap()
}

fn line(output: &Output) -> Json {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    serde_json::from_str(text.lines().next().unwrap()).unwrap()
}

#[test]
fn an_application_calls_a_built_in_function() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("app.toml", MANIFEST);
    write("sums.lua", LUA);
    write("commands", r#"{"command": "Sum", "args": {"of": "abc"}}"#);
    let ran = extengine(folder.path(), &["run", ".", "--commands", "commands"]);
    assert_eq!(line(&ran)["ok"], json!({"sum": SUM}), "{ran:?}");
    let replayed = extengine(folder.path(), &["replay", "."]);
    assert_eq!(replayed.status.code(), Some(0), "{replayed:?}");
    let called = extengine(
        folder.path(),
        &["call", ".", "Sum", r#"{"of": "abc"}"#, "--trace"],
    );
    assert_eq!(line(&called), json!({"result": {"sum": SUM}}));
    let trace = String::from_utf8(called.stderr).unwrap();
    assert!(
        trace.contains("Instance -> Foreign    call sha256 with 3 bytes"),
        "{trace}"
    );

    write("app.toml", &MANIFEST.replace("sha256", "sha265"));
    let checked = extengine(folder.path(), &["check", "."]);
    assert_eq!(checked.status.code(), Some(1));
    let words = String::from_utf8(checked.stderr).unwrap();
    let problem =
        "app.toml:15:12: `sha265` is no foreign function of this program: did you mean `sha256`?";
    assert!(words.contains(problem), "{words}");
}
