//! The command line on the sample of real flights: every engine, SQL's totals, kills and replays.

#![allow(clippy::unwrap_used, reason = "a test may panic where it is set up")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const APP: &str = env!("CARGO_MANIFEST_DIR");

/// The engines of this build.
fn engines() -> Vec<&'static str> {
    let mut engines = vec!["builtin"];
    for (name, compiled) in [
        ("wasmtime", cfg!(feature = "wasmtime")),
        ("wasmer", cfg!(feature = "wasmer")),
        ("lua", cfg!(feature = "lua")),
    ] {
        if compiled {
            engines.push(name);
        }
    }
    engines
}

fn flights(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flights"));
    command.args(args);
    command
}

fn output(args: &[&str]) -> Output {
    flights(args).stdin(Stdio::null()).output().unwrap()
}

/// Runs a command that goes well, and gives its lines.
fn lines(args: &[&str]) -> String {
    let output = output(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A data folder of its own for each engine.
fn data(folder: &TempDir, engine: &str) -> String {
    folder.path().join(engine).to_str().unwrap().to_owned()
}

fn expected(storage: &str) -> String {
    let file: PathBuf = Path::new(APP)
        .join("expected")
        .join(format!("{storage}.jsonl"));
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn every_engine_comes_to_the_state_that_sql_has() {
    let folder = TempDir::new().unwrap();
    let mut seen = Vec::new();
    for engine in engines() {
        let data = data(&folder, engine);
        let place = ["--engine", engine, "--data", &data];
        let answers = lines(&[&["run", APP], &place[..]].concat());
        assert_eq!(answers.lines().count(), 1_016);
        let hash = lines(&[&["state", APP, "--hash"], &place[..]].concat());
        seen.push((answers, hash));
        for storage in ["airline", "flight", "carrier_stats", "day", "route"] {
            let rows = lines(&[&["state", APP, storage], &place[..]].concat());
            assert!(rows == expected(storage), "{engine}: {storage}");
        }
    }
    assert!(seen.iter().all(|one| *one == seen[0]));
}

#[test]
fn a_run_killed_again_and_again_ends_as_one_left_alone() {
    let folder = TempDir::new().unwrap();
    let (calm, killed) = (data(&folder, "calm"), data(&folder, "killed"));
    let answers = lines(&["run", APP, "--data", &calm]);
    let hash = lines(&["state", APP, "--data", &calm, "--hash"]);
    // Each life ends behind a number of answers, wherever the process is then.
    for life in [1, 40, 300, 301, 700, 1_000] {
        let mut process = flights(&["run", APP, "--data", &killed])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut answered = BufReader::new(process.stdout.take().unwrap()).lines();
        let before: Vec<_> = answered.by_ref().take(life).map_while(Result::ok).collect();
        process.kill().unwrap();
        process.wait().unwrap();
        // What was answered stays: the same answers come again.
        assert!(
            before
                .iter()
                .map(String::as_str)
                .eq(answers.lines().take(life))
        );
    }
    assert!(lines(&["run", APP, "--data", &killed]) == answers);
    assert_eq!(lines(&["state", APP, "--data", &killed, "--hash"]), hash);
    let verified = lines(&["verify", "--data", &killed]);
    assert!(verified.contains("\"whole\":true"), "{verified}");
}

#[test]
fn a_replay_on_any_engine_finds_no_difference() {
    let folder = TempDir::new().unwrap();
    let data = data(&folder, "data");
    lines(&["run", APP, "--data", &data]);
    for engine in engines() {
        assert_eq!(
            lines(&["replay", APP, "--data", &data, "--engine", engine]),
            ""
        );
    }
}

#[test]
fn partitions_share_the_flights_and_keep_their_number() {
    let folder = TempDir::new().unwrap();
    let data = data(&folder, "data");
    lines(&["run", APP, "--data", &data, "--partitions", "3"]);
    let flights = lines(&["state", APP, "--data", &data, "flight"]);
    assert_eq!(flights.lines().count(), 1_000);
    assert!((0..3).all(|n| flights.contains(&format!("\"partition\":{n}"))));
    let report = lines(&[
        "query",
        APP,
        "--data",
        &data,
        "CarrierReport",
        "{\"carrier\":\"UA\"}",
    ]);
    assert_eq!(report.lines().count(), 1);
    let refused = output(&["run", APP, "--data", &data, "--partitions", "2"]);
    assert_eq!(refused.status.code(), Some(1));
}

#[cfg(feature = "lua")]
#[test]
fn a_shadow_reports_where_other_code_differs_and_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let same = format!("{APP}/flights.lua");
    let code = std::fs::read_to_string(&same).unwrap();
    let shouting = code.replace("name = args.name }", "name = args.name .. \"!\" }");
    assert_ne!(shouting, code);
    let other = folder.path().join("other.lua");
    std::fs::write(&other, shouting).unwrap();
    let run = |name: &str, file: &str| {
        let (data, shadow) = (data(&folder, name), format!("flights={file}"));
        let ran = output(&[
            "run", APP, "--engine", "lua", "--data", &data, "--shadow", &shadow,
        ]);
        assert!(ran.status.success());
        let hash = lines(&["state", APP, "--engine", "lua", "--data", &data, "--hash"]);
        (hash, String::from_utf8(ran.stderr).unwrap())
    };
    let (hash, said) = run("same", &same);
    assert!(said.contains("1016 commands compared, 0 differ"), "{said}");
    let (changed, said) = run("other", other.to_str().unwrap());
    assert!(said.contains("1016 commands compared, 16 differ"), "{said}");
    assert!(said.contains("offset 0, AddAirline: "), "{said}");
    assert_eq!(changed, hash);
    let bad = output(&["run", APP, "--shadow", "flights"]);
    assert_eq!(bad.status.code(), Some(2));
}

#[test]
fn a_refused_command_is_status_one_and_bad_usage_is_status_two() {
    let folder = TempDir::new().unwrap();
    let data = data(&folder, "data");
    let file = folder.path().join("commands.jsonl");
    let airline = r#"{"command":"AddAirline","args":{"carrier":"XX","name":"Example"}}"#;
    let unknown = r#"{"command":"RecordFlight","args":{"carrier":"YY","flight":1,"time_hour":"t","date":"d","origin":"A","dest":"B","distance":1}}"#;
    std::fs::write(
        &file,
        format!("{airline}\n{airline}\n{unknown}\nnot json\n"),
    )
    .unwrap();
    let ran = output(&[
        "run",
        APP,
        "--data",
        &data,
        "--commands",
        file.to_str().unwrap(),
    ]);
    assert_eq!(ran.status.code(), Some(1));
    let answers = String::from_utf8(ran.stdout).unwrap();
    let kinds: Vec<_> = answers
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| line["error"]["kind"].as_str().unwrap_or("ok").to_owned())
        .collect();
    assert_eq!(kinds, ["ok", "exists", "rejected", "bad_args"]);
    assert_eq!(output(&["run"]).status.code(), Some(2));
    assert_eq!(output(&["fly", APP]).status.code(), Some(2));
    assert_eq!(output(&["--help"]).status.code(), Some(0));
}

#[test]
fn a_trace_shows_each_crossing_in_order() {
    let args = r#"{"carrier":"XX","flight":1,"time_hour":"t","date":"d","origin":"A","dest":"B","dep_delay":1,"distance":1}"#;
    let called = output(&["call", APP, "RecordFlight", args, "--trace"]);
    assert!(called.status.success());
    let trace = String::from_utf8(called.stderr).unwrap();
    let mut crossings = trace.lines();
    for (way, what) in [
        ("Partition -> Instance", "Invoke(RecordFlight)"),
        ("Instance -> Guest", "WasmInvoke(RecordFlight, command)"),
        ("Guest -> Instance", "HostGet(carrier_stats)"),
        ("Instance -> HostState", "get carrier_stats(\"XX\")"),
        ("HostState -> Instance", "no such row"),
        ("Instance -> Guest", "done HostGet: -1"),
        ("Guest -> Instance", "done WasmInvoke"),
        ("Instance -> Partition", "insert flight(\"XX\", 1, \"t\")"),
        ("Instance -> Partition", "put carrier_stats(\"XX\")"),
        ("Instance -> Partition", "done Invoke"),
    ] {
        let found = crossings.any(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            words.join(" ").contains(way) && line.contains(what)
        });
        assert!(found, "{way} {what} in\n{trace}");
    }
    let answers = String::from_utf8(called.stdout).unwrap();
    assert_eq!(
        answers
            .lines()
            .filter(|line| line.contains("\"intent\""))
            .count(),
        2
    );
}
