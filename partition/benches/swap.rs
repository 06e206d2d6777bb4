//! A package replaced under saturated load: failed commands, and the latest answers beside those of a quiet run.
//!
//! The command is the order of the bench `commands`; both versions of its package are the same native code, so that what
//! is measured is the switch and not the extension. Each round asks the same load twice, without and with replacements,
//! and the clock of an answer begins when its command is submitted.
//!
//! Goal: no failed command, and no answer later than 20 ms plus the quiet run's 99th percentile.

#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on has nothing to say"
)]

mod order;

use std::collections::VecDeque;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use engine_core::engine::Code;
use serde_json::json;

const COMMANDS: u64 = 200_000;
/// How many commands wait at a time.
const WAITING: usize = 1_000;
/// How often a package is replaced in a run.
const SWAPS: usize = 5;

/// What a run answered: how many failed, and how long each answer took, in milliseconds and in order of length.
struct Answers {
    failed: usize,
    took: Vec<f64>,
}

impl Answers {
    fn percentile(&self, percent: usize) -> f64 {
        self.took[(self.took.len() - 1) * percent / 100]
    }
}

/// Runs the load, and replaces the package as often as told, evenly over the run.
fn run(swaps: usize) -> (Answers, Vec<f64>) {
    let folder = tempfile::tempdir().unwrap();
    let application = order::open(folder.path());
    order::fill(&application);
    let mut draw = order::Draw::new();
    let mut answers = Answers {
        failed: 0,
        took: Vec::new(),
    };
    let mut waiting: VecDeque<(Instant, partition::Answer<_>)> = VecDeque::new();
    let (due, swap) = channel::<u64>();
    let swapped = thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            let swaps = swap.into_iter().map(|number| {
                let start = Instant::now();
                let name = format!("shop-{number}");
                application
                    .replace("shop", Code::Native(name.into()))
                    .unwrap();
                start.elapsed().as_secs_f64() * 1e3
            });
            swaps.collect()
        });
        let mut take = |(start, answer): (Instant, partition::Answer<_>)| {
            answers.failed += usize::from(answer.wait().is_err());
            let took: Duration = start.elapsed();
            answers.took.push(took.as_secs_f64() * 1e3);
        };
        for id in 0..COMMANDS {
            if waiting.len() == WAITING {
                take(waiting.pop_front().unwrap());
            }
            let every = COMMANDS / (swaps as u64 + 1) + 1;
            if id > 0 && id % every == 0 {
                due.send(id).unwrap();
            }
            let start = Instant::now();
            let answer = order::submit(&application, id, &mut draw, None);
            waiting.push_back((start, answer));
        }
        drop(due);
        waiting.drain(..).for_each(&mut take);
        swapping.join().unwrap()
    });
    answers.took.sort_by(f64::total_cmp);
    (answers, swapped)
}

/// Takes a number of rounds, or does three. Prints a JSON object for each, and one with the failures of all.
fn main() {
    let mut arguments = std::env::args().skip(1).filter(|a| !a.starts_with('-'));
    let rounds = arguments.next().map_or(3, |rounds| rounds.parse().unwrap());
    let mut failed = 0;
    let say = |mut line: serde_json::Value| {
        line["question"] = "swap/saturated".into();
        line["engine"] = "builtin".into();
        println!("{line}");
    };
    for round in 0..rounds {
        let (quiet, _) = run(0);
        let (swapped, took) = run(SWAPS);
        failed += swapped.failed;
        let micros = |milliseconds: f64| (milliseconds * 1e3).round();
        say(json!({
            "round": round,
            "late_us": micros(swapped.percentile(100) - quiet.percentile(99)),
            "p99_us": micros(swapped.percentile(99)),
            "latest_us": micros(swapped.percentile(100)),
            "quiet_p99_us": micros(quiet.percentile(99)),
            "quiet_latest_us": micros(quiet.percentile(100)),
            "replacement_us": micros(took.iter().copied().fold(0.0, f64::max)),
        }));
    }
    say(json!({ "wrong": failed }));
}
