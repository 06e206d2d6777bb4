//! `extengine pipe` as its user runs it: lines in, lines out, and what is said when something is wrong.

#![cfg(all(feature = "wasmtime", feature = "lua"))]
#![allow(clippy::unwrap_used, reason = "a test may panic where it is set up")]

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value as Json, json};

const PLUGINS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/stream/plugins");
const FLIGHTS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/flights/commands.jsonl"
);

/// Runs `extengine pipe` over these lines.
fn pipe(plugins: &str, args: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_extengine"));
    command.args(["pipe", "--plugins", plugins]).args(args);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // A program that ends early does not read all of it.
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
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

#[test]
fn every_flight_of_the_sample_gets_its_score_and_label() {
    let flights = fs::read_to_string(FLIGHTS).unwrap();
    for batch in ["1", "7", "1024"] {
        let rules = [
            "--call",
            "score = delays.score(args.dep_delay, args.arr_delay)",
            "--call",
            "label = label(score)",
            "--batch",
            batch,
        ];
        let output = pipe(PLUGINS, &rules, &flights);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        let out = lines(&output);
        assert_eq!(out.len(), flights.lines().count());
        let mut scored = 0;
        for (before, mut after) in flights.lines().zip(out) {
            let before: Json = serde_json::from_str(before).unwrap();
            let added = after.as_object_mut().unwrap();
            let (score, label) = (
                added.remove("score").unwrap(),
                added.remove("label").unwrap(),
            );
            assert_eq!(after, before);
            let delay = |name: &str| before["args"][name].as_f64();
            let (Some(departure), Some(arrival)) = (delay("dep_delay"), delay("arr_delay")) else {
                assert_eq!((score, label), (Json::Null, Json::Null));
                continue;
            };
            let expected = departure.max(0.0) + 2.0 * (arrival - departure).max(0.0);
            assert_eq!(score.as_f64(), Some(expected));
            assert_eq!(
                label,
                json!(if expected < 15.0 {
                    "on time"
                } else if expected < 60.0 {
                    "late"
                } else {
                    "very late"
                })
            );
            scored += 1;
        }
        assert!(scored > 900, "{scored}");
    }
}

#[test]
fn a_line_that_fails_stays_goes_or_ends_it_all() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("odd.lua"),
        "function half(args) if args.n % 2 == 1 then host.reject('odd') end return args.n / 2 end",
    )
    .unwrap();
    fs::write(
        folder.path().join("odd.toml"),
        "engine = 'lua'\npath = 'odd.lua'\nfunctions = ['half(n: i64) -> i64']",
    )
    .unwrap();
    let folder = folder.path().to_str().unwrap();
    let input = "{\"n\":2}\n\n{\"n\":3}\n{\"n\":\"x\"}\n{}\n{\"n\":8}\n";
    let call = |more: &[&str]| {
        pipe(
            folder,
            &[&["--call", "half = odd.half(n)"], more].concat(),
            input,
        )
    };

    let kept = call(&[]);
    assert_eq!(kept.status.code(), Some(1));
    let expected = [
        json!({"n": 2, "half": 1}),
        json!({"n": 3, "half": null}),
        json!({"n": "x", "half": null}),
        json!({"half": null}),
        json!({"n": 8, "half": 4}),
    ];
    assert_eq!(lines(&kept), expected);
    let said = errors(&kept);
    for part in [
        "line 3: odd/half: odd",
        "line 4: odd/half: argument 1 `n`: i64 wanted, text given",
        "2 failed",
        "failed as bad_args: 1",
        "failed as rejected: 1",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }

    let dropped = call(&["--on-error", "drop"]);
    assert_eq!(dropped.status.code(), Some(1));
    assert_eq!(lines(&dropped).len(), 3);

    let stopped = call(&["--on-error", "stop"]);
    assert_eq!(stopped.status.code(), Some(1));
    assert_eq!(lines(&stopped), [json!({"n": 2, "half": 1})]);
    assert!(errors(&stopped).contains("line 3: odd/half: odd"));
}

#[test]
fn what_is_wrong_is_said_before_a_line_is_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("a.toml"),
        "path = 'gone.wasm'\nfunctions = ['f']",
    )
    .unwrap();
    fs::write(folder.path().join("b.json"), "{}").unwrap();
    let broken = folder.path().to_str().unwrap();
    let empty = tempfile::tempdir().unwrap();
    let empty = empty.path().to_str().unwrap();
    for (plugins, rule, status, parts) in [
        (PLUGINS, "score", 1, vec!["expected `=` at character 6"]),
        (
            PLUGINS,
            "x = nobody(a)",
            2,
            vec!["no plugin offers a function `nobody`"],
        ),
        (
            PLUGINS,
            "x = labels.score(a, b)",
            2,
            vec!["plugin `labels` offers no function `score`; plugin `delays` does"],
        ),
        (empty, "x = f(a)", 1, vec!["no plugin in"]),
        (
            broken,
            "x = f(a)",
            1,
            vec!["gone.wasm", "b.json", "`functions` is empty"],
        ),
        ("/nowhere", "x = f(a)", 1, vec!["/nowhere: cannot be read"]),
    ] {
        let output = pipe(plugins, &["--call", rule], "");
        assert_eq!(
            output.status.code(),
            Some(status),
            "{rule}: {}",
            errors(&output)
        );
        for part in parts {
            assert!(
                errors(&output).contains(part),
                "{part}: {}",
                errors(&output)
            );
        }
    }
    for (input, part) in [
        ("{}\n[1]\n", "line 2 of the input: not an object"),
        ("{\n", "line 1 of the input: EOF"),
    ] {
        let output = pipe(PLUGINS, &["--call", "km = kilometres(miles)"], input);
        assert_eq!(output.status.code(), Some(1));
        assert!(errors(&output).contains(part), "{}", errors(&output));
    }
}
