//! Seconds to reopen an application: after a clean end, and after `kill -9` of a process in the midst of its work, whose
//! commands had ids or none.
//!
//! Prints one JSON line for each round, engine, number of commands and way to end. The data are written by a process of
//! their own, with checkpoints as the manifest's defaults make them.

mod orders;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use clap::Parser;
use orders::{Client, Outcome};
use serde_json::json;

#[derive(Parser)]
struct Flags {
    /// Engines to measure.
    #[arg(long, value_delimiter = ',', default_value = "wasmtime")]
    engines: Vec<String>,
    /// Numbers of commands in the log.
    #[arg(long, value_delimiter = ',', default_value = "100000,1000000")]
    commands: Vec<u64>,
    /// Interleaved rounds.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Below which folder the data are written and removed again, instead of cargo's target folder.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Instead of measuring: runs so many commands on the first engine into this folder, says so, and goes on until the
    /// input ends.
    #[arg(long, hide = true)]
    write: Option<PathBuf>,
    /// Those commands have ids.
    #[arg(long, hide = true)]
    with_ids: bool,
    /// Cargo says this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Fills a data folder, says so, and goes on with one command after another until the parent closes the input.
fn write(engine: &str, commands: u64, with_ids: bool, data: PathBuf) -> Outcome {
    let application = orders::open(engine, 1, data)?;
    let client = Client::of_each_partition(&application)?.remove(0);
    let mut client = client.with_ids(with_ids);
    let mut waiting = VecDeque::new();
    let mut answered = 0;
    while answered < commands {
        match client.order(&application)? {
            Some(answer) => waiting.push_back(answer),
            None => {
                if let Some(answer) = waiting.pop_front() {
                    answer.wait()?;
                    answered += 1;
                }
            }
        }
    }
    for answer in waiting {
        answer.wait()?;
    }
    println!("written");
    std::io::stdout().flush()?;
    let ended = std::thread::spawn(|| std::io::stdin().lines().next().is_none());
    while !ended.is_finished() {
        if let Some(answer) = client.order(&application)? {
            answer.wait()?;
        }
    }
    Ok(application.close()?)
}

/// Has a process write a data folder, and ends it.
fn written(engine: &str, commands: u64, with_ids: bool, data: &Path, kill: bool) -> Outcome {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--engines", engine, "--commands", &commands.to_string()])
        .args(with_ids.then_some("--with-ids"))
        .arg("--write")
        .arg(data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().ok_or("the writer has no output")?;
    let said = BufReader::new(output).lines().next();
    if said.transpose()?.as_deref() != Some("written") {
        return Err("the writer failed".into());
    }
    if kill {
        child.kill()?;
    }
    drop(child.stdin.take());
    let status = child.wait()?;
    match kill || status.success() {
        true => Ok(()),
        false => Err("the writer failed".into()),
    }
}

fn main() -> Outcome {
    let flags = Flags::parse();
    if let Some(data) = flags.write {
        return write(&flags.engines[0], flags.commands[0], flags.with_ids, data);
    }
    for round in 0..flags.rounds {
        for &commands in &flags.commands {
            for engine in &flags.engines {
                for (how, kill, with_ids) in [
                    ("closed", false, false),
                    ("killed", true, false),
                    ("killed_with_ids", true, true),
                ] {
                    let folder = orders::folder(flags.data.as_deref())?;
                    let data = folder.path().join("data");
                    written(engine, commands, with_ids, &data, kill)?;
                    let started = Instant::now();
                    let application = orders::open(engine, 1, data)?;
                    let seconds = started.elapsed().as_secs_f64();
                    let recovered = application.snapshots()?[0].0;
                    application.close()?;
                    if recovered < commands {
                        return Err(format!("{recovered} of {commands} commands are back").into());
                    }
                    let line = json!({
                        "question": format!("recovery/{how}/{commands}"),
                        "engine": engine,
                        "seconds": seconds,
                        "recovered": recovered,
                        "round": round,
                    });
                    println!("{line}");
                }
            }
        }
    }
    Ok(())
}
