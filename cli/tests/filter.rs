//! `extengine filter` as its user runs it: cases, what failed of them, and what a filter says of itself.

#![cfg(all(feature = "filters", feature = "wasmtime"))]
#![allow(clippy::unwrap_used, reason = "a test may panic where it is set up")]

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value as Json, json};

const FILTERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/proxy/filters");

fn filter(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_extengine"));
    command.arg("filter").args(args).output().unwrap()
}

fn lines(output: &Output) -> Vec<Json> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs cases of this text for `add-header`.
fn with_cases(text: &str, more: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let cases = folder.path().join("cases.toml");
    fs::write(&cases, text).unwrap();
    let module = format!("{FILTERS}/add-header.wasm");
    let mut args = vec!["test", &module, cases.to_str().unwrap()];
    args.extend(more);
    filter(&args)
}

#[test]
fn cases_that_hold_end_with_success() {
    let module = format!("{FILTERS}/add-header.wasm");
    let cases = format!("{FILTERS}/add-header.toml");
    let output = filter(&["test", &module, &cases, "--engine", "wasmtime"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let lines = lines(&output);
    let first =
        json!({"case": "headers are added to both directions", "engine": "wasmtime", "ok": true});
    assert_eq!(lines[0], first);
    assert_eq!(
        errors(&output),
        format!("{} cases, 0 failed\n", lines.len())
    );
}

#[cfg(feature = "lua")]
#[test]
fn a_script_has_cases_too() {
    const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/filters-lua");
    let [script, cases] = ["lua", "toml"].map(|end| format!("{SCRIPTS}/redact.{end}"));
    let output = filter(&["test", &script, &cases]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(lines(&output)[0]["engine"], "lua");
    let output = filter(&["test", &script, &cases, "--engine", "wasmtime"]);
    assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
    assert!(
        errors(&output).contains("there are: lua"),
        "{}",
        errors(&output)
    );
}

#[test]
fn what_does_not_hold_is_a_line_with_its_place() {
    let output = with_cases(
        "[[case]]\nname = \"a\"\n[[case.step]]\nrequest = { headers = {} }\nexpect.request = \"held\"",
        &["--engine", "wasmtime"],
    );
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    let failure =
        json!({"step": 1, "line": 3, "what": "request", "expected": "held", "found": "passed"});
    let line = json!({"case": "a", "engine": "wasmtime", "ok": false, "failures": [failure]});
    assert_eq!(lines(&output), [line]);
}

#[test]
fn wrong_files_and_engines_are_refused() {
    let refused = [
        (
            with_cases("[[case]]\nnames = 1", &[]),
            1,
            "unknown field `names`",
        ),
        (
            with_cases("[[case]]\nname = \"a\"", &["--engine", "v8"]),
            2,
            "no engine `v8` runs this filter here",
        ),
        (
            filter(&["test", "nothing.wasm", "nothing.toml"]),
            1,
            "cannot read nothing.wasm",
        ),
        (filter(&["test"]), 2, "<PLUGIN>"),
    ];
    for (output, status, words) in refused {
        assert_eq!(output.status.code(), Some(status), "{words}");
        assert!(errors(&output).contains(words), "{}", errors(&output));
    }
}

#[test]
fn a_filter_is_looked_into() {
    let output = filter(&["inspect", &format!("{FILTERS}/jwt.wasm")]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let line = &lines(&output)[0];
    assert_eq!(line["abi"], "0.2.1");
    assert_eq!(line["sdk"], "Rust, proxy-wasm 0.2.5");
    assert_eq!(line["runs"], true);
    let exports = line["exports"].as_array().unwrap();
    assert!(exports.contains(&json!({"name": "proxy_on_request_headers", "parameters": 3})));
    assert!(
        line["imports"]
            .as_array()
            .unwrap()
            .contains(&json!("env.proxy_http_call"))
    );
    let output = filter(&["inspect", &format!("{FILTERS}/assemblyscript.wasm")]);
    assert_eq!(
        lines(&output)[0]["sdk"],
        "AssemblyScript, @solo-io/proxy-runtime"
    );
    let output = filter(&["inspect", &format!("{FILTERS}/jwt.toml")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!lines(&output)[0]["problems"].as_array().unwrap().is_empty());
}
