//! A package replaced under saturated load: failed commands, and the latest answers beside those of a quiet run.
//!
//! Each version is the orders package with a few bytes more that change nothing, so it is compiled and warmed like any
//! other while orders run, and what is measured is the replacement and not another extension. Each round asks the same
//! load twice, without and with replacements, and the clock of an answer begins when its command is submitted.
//!
//! Goal: no failed command, and no answer later than 20 ms plus the quiet run's 99th percentile.

mod orders;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Instant;

use clap::Parser;
use extengine::contract::engine::Code;
use extengine::{Accepted, Answer, Application};
use orders::{Client, Outcome};
use serde_json::json;

/// How many commands wait at a time.
const WAITING: usize = 1_000;

#[derive(Parser)]
struct Flags {
    /// Engines to measure.
    #[arg(long, value_delimiter = ',', default_value = "wasmtime,wasmer,lua")]
    engines: Vec<String>,
    /// Rounds for each.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Commands of each run.
    #[arg(long, default_value_t = 300_000)]
    commands: usize,
    /// How often the package is replaced in a run.
    #[arg(long, default_value_t = 5)]
    swaps: usize,
    /// Cargo says this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What a run answered: how many failed, and how long each answer took, in microseconds and in order of length.
struct Answers {
    failed: usize,
    took: Vec<f64>,
}

impl Answers {
    fn percentile(&self, percent: usize) -> f64 {
        self.took[(self.took.len() - 1) * percent / 100].round()
    }
}

/// The package's code with so many bytes more that no engine runs.
fn version(engine: &str, number: usize) -> Outcome<Code> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("orders");
    let code = if engine == "lua" {
        let mut code = std::fs::read(folder.join("orders.lua"))?;
        code.extend(format!("\n-- version {number}\n").bytes());
        code
    } else {
        let mut code = std::fs::read(folder.join("orders.wasm"))?;
        let name = format!("version {number}");
        // A custom section of which nothing is known but its name.
        code.extend([0, 1 + name.len() as u8, name.len() as u8]);
        code.extend(name.bytes());
        code
    };
    Ok(Code::Bytes(code.into()))
}

/// Orders so many times, and asks for a replacement as often as told, evenly over the run.
fn order(
    application: &Application,
    client: &mut Client,
    flags: &Flags,
    swaps: usize,
    due: &Sender<usize>,
) -> Outcome<Answers> {
    let mut answers = Answers {
        failed: 0,
        took: Vec::with_capacity(flags.commands),
    };
    let mut take = |(start, answer): (Instant, Answer<Accepted>)| {
        answers.failed += usize::from(answer.wait().is_err());
        answers.took.push(start.elapsed().as_secs_f64() * 1e6);
    };
    let every = flags.commands / (swaps + 1) + 1;
    let mut waiting = VecDeque::with_capacity(WAITING);
    for number in 0..flags.commands {
        if waiting.len() == WAITING {
            waiting.pop_front().into_iter().for_each(&mut take);
        }
        if number > 0 && number % every == 0 {
            due.send(number / every)?;
        }
        let start = Instant::now();
        let answer = client.order(application)?.ok_or("the queue is full")?;
        waiting.push_back((start, answer));
    }
    waiting.into_iter().for_each(take);
    answers.took.sort_by(f64::total_cmp);
    Ok(answers)
}

/// One run; gives its answers and how many microseconds the longest replacement took.
fn run(engine: &str, flags: &Flags, swaps: usize) -> Outcome<(Answers, f64)> {
    let folder = orders::folder(None)?;
    let application = orders::open(engine, 1, folder.path().join("data"))?;
    let mut clients = Client::of_each_partition(&application)?;
    let client = clients.first_mut().ok_or("no partition")?;
    let (due, asked) = channel();
    let ran = thread::scope(|scope| {
        let replacing = scope.spawn(|| -> Outcome<f64> {
            let mut longest: f64 = 0.0;
            for number in asked {
                let start = Instant::now();
                application.replace("orders", version(engine, number)?)?;
                longest = longest.max(start.elapsed().as_secs_f64() * 1e6);
            }
            Ok(longest.round())
        });
        let answers = order(&application, client, flags, swaps, &due);
        drop(due);
        let longest = replacing.join().map_err(|_| "a replacement panicked")?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((answers?, longest?))
    })?;
    application.close()?;
    Ok(ran)
}

/// Prints a JSON object for each round, and one with the failures of all for each engine.
fn main() -> Outcome {
    let flags = Flags::parse();
    for engine in &flags.engines {
        let mut failed = 0;
        let say = |mut line: serde_json::Value| {
            line["question"] = "swap/saturated".into();
            line["engine"] = engine.as_str().into();
            println!("{line}");
        };
        for round in 0..flags.rounds {
            let (quiet, _) = run(engine, &flags, 0)?;
            let (swapped, longest) = run(engine, &flags, flags.swaps)?;
            failed += swapped.failed;
            say(json!({
                "round": round,
                "late_us": swapped.percentile(100) - quiet.percentile(99),
                "p99_us": swapped.percentile(99),
                "latest_us": swapped.percentile(100),
                "quiet_p99_us": quiet.percentile(99),
                "quiet_latest_us": quiet.percentile(100),
                "replacement_us": longest,
            }));
        }
        say(json!({ "wrong": failed }));
    }
    Ok(())
}
