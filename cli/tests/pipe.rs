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
fn what_no_rule_touches_is_written_as_it_was_read() {
    let input =
        r#"{"id":123456789012345678901234567890,"p":1.10,"e":1E5,"far":1e400,"dep":1,"arr":2}"#;
    let output = pipe(PLUGINS, &["--call", "s = delays.score(dep, arr)"], input);
    let written = String::from_utf8(output.stdout.clone()).unwrap();
    let untouched = input.strip_suffix('}').unwrap();
    assert!(
        written.starts_with(&format!("{untouched},\"s\":")),
        "{written}"
    );
    assert!(output.status.success());
    let output = pipe(PLUGINS, &["--call", "s = delays.score(far, arr)"], input);
    assert!(errors(&output).contains("line 1: "), "{}", errors(&output));
    assert!(
        errors(&output).contains("field `far`"),
        "{}",
        errors(&output)
    );
    assert!(!output.status.success());
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
        (
            PLUGINS,
            "x = score(null)",
            2,
            vec!["the rule for `x`: 2 arguments wanted, 1 given: score("],
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

/// A folder with a plugin in Lua that offers these functions.
fn plugin(lua: &str, functions: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("own.lua", lua);
    write(
        "own.toml",
        &format!(
            "engine = 'lua'\npath = 'own.lua'\nfunctions = [{functions}]\n[limits]\nmemory = '16 MiB'"
        ),
    );
    folder
}

#[test]
fn words_of_functions_begin_no_line_and_command_no_terminal() {
    let folder = plugin(
        "function say(args)
           print('printed\\n2 lines in no time\\27[2J')
           host.reject('refused\\n2 lines in no time\\27[2J')
         end",
        "'say() -> i64?'",
    );
    let folder = folder.path().to_str().unwrap();
    for wish in ["null", "drop", "stop"] {
        let output = pipe(folder, &["--call", "z = say()", "--on-error", wish], "{}\n");
        let said = errors(&output);
        for words in ["printed", "line 1: own/say: refused"] {
            let escaped = format!("{words}\\n2 lines in no time\\u{{1b}}[2J");
            assert!(said.contains(&escaped), "{escaped}: {said}");
        }
        assert!(!said.contains('\u{1b}'), "{said}");
        assert!(
            !said.lines().any(|line| line.starts_with("2 lines")),
            "{said}"
        );
    }
}

#[test]
fn the_last_argument_of_a_rule_may_be_a_number() {
    let folder = plugin(
        "function add(args) return args.a + args.b end",
        "'add(a: f64, b: f64) -> f64'",
    );
    let folder = folder.path().to_str().unwrap();
    let output = pipe(folder, &["--call", "z = add(x, -1.5e1)"], "{\"x\":1}\n");
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(lines(&output), [json!({"x": 1, "z": -14.0})]);
}

#[test]
fn floats_that_json_has_no_number_for_go_from_rule_to_rule() {
    let folder = plugin(
        "function div(args) return args.a / args.b end function neg(args) return -args.a end",
        "'div(a: f64, b: f64) -> f64', 'neg(a: f64) -> f64'",
    );
    let folder = folder.path().to_str().unwrap();
    let rules = ["--call", "q = div(x, 0)", "--call", "n = neg(q)"];
    let input = "{\"x\":1}\n{\"x\":-1}\n{\"x\":0}\n{\"x\":\"Nan\"}\n";
    let output = pipe(folder, &rules, input);
    let out = lines(&output);
    assert_eq!(
        out[..3],
        [
            json!({"x": 1, "q": "Infinity", "n": "-Infinity"}),
            json!({"x": -1, "q": "-Infinity", "n": "Infinity"}),
            json!({"x": 0, "q": "NaN", "n": "NaN"}),
        ],
        "{}",
        errors(&output)
    );
    assert!(
        errors(&output).contains("line 4: own/div: argument 1 `a`: f64 wanted, text given"),
        "{}",
        errors(&output)
    );
}

#[test]
fn a_line_that_is_no_object_costs_no_other_line() {
    let folder = plugin(
        "function id(args) return args.a end",
        "'id(a: i64?) -> i64?'",
    );
    let folder = folder.path().to_str().unwrap();
    let good = |n: u64| json!({"a": n, "b": n});
    for (broken, what) in [
        ("bad", "line 2 of the input: expected value at column 1"),
        ("[1]", "line 2 of the input: not an object"),
    ] {
        let input = format!("{{\"a\":1}}\n{broken}\n{{\"a\":3}}\n");
        for (wish, expected) in [
            ("drop", vec![good(1), good(3)]),
            ("null", vec![good(1)]),
            ("stop", vec![good(1)]),
        ] {
            let output = pipe(folder, &["--call", "b = id(a)", "--on-error", wish], &input);
            assert_eq!(output.status.code(), Some(1), "{wish}");
            assert_eq!(lines(&output), expected, "{wish}");
            assert!(errors(&output).contains(what), "{}", errors(&output));
        }
    }
}

#[test]
fn standard_output_that_is_closed_is_no_success() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_extengine"));
    command.args([
        "pipe",
        "--plugins",
        PLUGINS,
        "--call",
        "s = label(1)",
        FLIGHTS,
    ]);
    let output = command.stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = errors(&output);
    assert!(said.contains("standard output was closed"), "{said}");
}
