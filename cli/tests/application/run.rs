//! `extengine run`: each line has its answer, in order, whatever the others are.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::{LUA, MANIFEST, application, extengine, lines, program, said};

#[test]
fn a_line_that_is_no_command_is_answered_in_its_place() {
    let folder = application(MANIFEST, LUA);
    let mut input = "\u{feff}{\"command\": \"C\", \"args\": {\"k\": 1}}\n"
        .as_bytes()
        .to_vec();
    input.extend_from_slice(b"{\"command\": \"C\", \"args\": {\"k\": \xff}}\n");
    let broken = [
        "{bad}",
        r#"["C", {"k": 1}, null]"#,
        "7",
        r#"{"command": "C", "args": {"k": 1, "k": 2}}"#,
        r#"{"command": "C", "command": "C"}"#,
        r#"{"command": "D"}"#,
    ];
    for line in broken {
        input.extend_from_slice(line.as_bytes());
        input.push(b'\n');
    }
    input.extend_from_slice(br#"{"command": "C", "args": {"k": 2}}"#);
    let ran = extengine(folder.path(), &["run", "."], &input);
    assert_eq!(ran.status.code(), Some(1));
    let lines = lines(&ran);
    assert_eq!(lines.len(), 9, "{lines:?}");
    assert_eq!(lines[0], json!({"ok": null, "partition": 0, "offset": 0}));
    assert_eq!(lines[8], json!({"ok": null, "partition": 0, "offset": 1}));
    for (place, message) in [
        (1, "line 2 is no command: invalid utf-8"),
        (2, "line 3 is no command: key must be a string at column 2"),
        (3, "line 4 is no command: not an object"),
        (4, "line 5 is no command: not an object"),
        (5, "line 6 is no command: `k` stands twice"),
        (6, "line 7 is no command: duplicate field `command`"),
        (7, "`D`"),
    ] {
        let error = &lines[place]["error"]["message"];
        let error = error.as_str().unwrap();
        assert!(error.contains(message), "{message}: {error}");
        assert!(!error.contains("at line 1"), "{error}");
    }
}

#[test]
fn a_recorded_result_of_another_schema_is_an_error_of_its_line_alone() {
    let manifest = |result: &str| format!("{MANIFEST}result = \"{result}\"\n");
    let lua = |result: &str| format!("function C(a) return {{{result}}} end");
    let folder = application(&manifest("r: int"), &lua("r = a.k"));
    let first = "{\"command\": \"C\", \"args\": {\"k\": 1}, \"id\": \"one\"}\n";
    let ran = extengine(folder.path(), &["run", "."], first.as_bytes());
    assert_eq!(ran.status.code(), Some(0), "{}", said(&ran));

    // A data folder of an earlier build does not say what its commands gave.
    let facts = folder.path().join(".extengine/x/application.json");
    let text = fs::read_to_string(&facts).unwrap();
    let mut kept: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(kept.as_object_mut().unwrap().remove("commands").is_some());
    fs::write(&facts, kept.to_string()).unwrap();
    fs::write(folder.path().join("app.toml"), manifest("t: text")).unwrap();
    fs::write(folder.path().join("p.lua"), lua("t = 'new'")).unwrap();
    let new = "{\"command\": \"C\", \"args\": {\"k\": 2}}\n";
    let input = [new, first, new].concat();
    let ran = extengine(folder.path(), &["run", "."], input.as_bytes());
    assert_eq!(ran.status.code(), Some(1));
    let lines = lines(&ran);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[0]["ok"], json!({"t": "new"}));
    assert_eq!(lines[2]["ok"], json!({"t": "new"}));
    let error = lines[1]["error"]["message"].as_str().unwrap();
    assert!(
        error.starts_with("command `C` with id `one` was accepted"),
        "{error}"
    );
}

#[test]
fn lines_that_are_refused_at_once_are_answered_while_more_come() {
    let folder = application(MANIFEST, LUA);
    let mut command = program(folder.path(), &["run", "."]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    // There is always more to read, until nobody reads it.
    let writer = std::thread::spawn(move || {
        let lines = "{bad}\n".repeat(1_000);
        while stdin.write_all(lines.as_bytes()).is_ok() {}
    });
    let mut answer = String::new();
    for _ in 0..5_000 {
        answer.clear();
        stdout.read_line(&mut answer).unwrap();
        assert!(answer.contains("bad_args"), "{answer}");
    }
    drop(stdout);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    writer.join().unwrap();
}

#[test]
fn arguments_and_rows_that_say_two_things_are_refused_everywhere() {
    let query = "[extensions.Q]\nkind = \"query\"\nargs = \"k: int\"\nresult = \"k: int\"\n";
    let lua = format!("{LUA} function Q(a) return {{k = a.k}} end");
    let folder = application(&format!("{MANIFEST}{query}"), &lua);
    let twice = "{\"k\": 1, \"k\": 2}";
    fs::write(
        folder.path().join("rows"),
        "{\"storage\": \"a\", \"k\": 1, \"v\": 1, \"v\": 2}",
    )
    .unwrap();
    extengine(folder.path(), &["run", "."], b"");
    for (args, message) in [
        (
            &["query", ".", "Q", twice][..],
            "ARGS cannot be read: `k` stands twice at column",
        ),
        (
            &["call", ".", "C", twice],
            "ARGS cannot be read: `k` stands twice at column",
        ),
        (
            &["call", ".", "C", "{\"k\": 1}", "--state", "rows"],
            "a row cannot be read: `v` stands twice at column",
        ),
        (
            &["query", ".", "Q", "{\"k\": 1} 2"],
            "ARGS cannot be read: trailing characters at column",
        ),
    ] {
        let output = extengine(folder.path(), args, b"");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(lines(&output).is_empty(), "{args:?}: {output:?}");
        let said = said(&output);
        assert!(said.contains(message), "{said}");
        assert!(said.starts_with("error (bad_args)"), "{said}");
    }
    let asked = extengine(folder.path(), &["query", ".", "Q", "{\"k\": 1}"], b"");
    assert_eq!(lines(&asked), [json!({"k": 1})]);
}

#[cfg(unix)]
#[test]
fn a_process_that_may_open_too_few_files_is_told_what_to_do() {
    let manifest = MANIFEST.replace("\"command\"", "\"command\"\nroute = \"k\"");
    let folder = application(&manifest, LUA);
    let run = "ulimit -n 60 && exec \"$0\" run . --partitions 64 < /dev/null";
    let mut command = Command::new("sh");
    command.args(["-c", run, env!("CARGO_BIN_EXE_extengine")]);
    let ran = command.current_dir(folder.path()).output().unwrap();
    assert_eq!(ran.status.code(), Some(1));
    let said = said(&ran);
    for part in ["(os error 24)", "`ulimit -n`"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn commands_that_cannot_be_read_make_no_data_folder() {
    let folder = application(MANIFEST, LUA);
    fs::create_dir(folder.path().join("lines")).unwrap();
    for (name, what) in [("lines", "directory"), ("gone", "No such file")] {
        let ran = extengine(folder.path(), &["run", ".", "--commands", name], b"");
        assert_eq!(ran.status.code(), Some(1));
        let said = said(&ran);
        let message = format!("cannot read {name}: ");
        assert!(said.contains(&message) && said.contains(what), "{said}");
    }
    assert!(!folder.path().join(".extengine").exists());
}

#[test]
fn a_call_refuses_the_key_that_a_run_refuses() {
    let manifest = MANIFEST.replace("k: int", "k: text");
    let folder = application(&manifest, LUA);
    for (length, fits) in [(1 << 10, true), (61 << 10, false)] {
        let args = json!({"k": "x".repeat(length)}).to_string();
        let called = extengine(folder.path(), &["call", ".", "C", &args], b"");
        let command = format!("{{\"command\": \"C\", \"args\": {args}}}");
        let ran = extengine(folder.path(), &["run", "."], command.as_bytes());
        for output in [called, ran] {
            assert_eq!(output.status.success(), fits, "{length}");
            let first = &lines(&output)[0];
            assert_eq!(first.get("error").is_none(), fits, "{first}");
        }
    }
}
