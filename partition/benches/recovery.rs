//! Seconds to reopen a partition whose process was killed after so many orders, with checkpoints as they are by default.
//!
//! Takes a number of orders, a million by default, and a number of rounds; every round asks once with ids and once
//! without. Goal: at most one second after a million orders.

#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on has nothing to say"
)]

mod order;

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Orders into a folder, says so, and waits to be killed.
fn write(data: &Path, commands: u64, with_ids: bool) {
    let application = order::open(data);
    order::fill(&application);
    order::order(&application, commands, 1_000, with_ids);
    print!("done");
    std::io::Write::flush(&mut std::io::stdout()).unwrap();
    loop {
        std::thread::park();
    }
}

/// Seconds to open what a process left that was killed.
fn reopened(commands: u64, with_ids: bool) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["write", folder.path().to_str().unwrap()])
        .args([commands.to_string(), with_ids.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writer
        .stdout
        .take()
        .unwrap()
        .read_exact(&mut [0; 4])
        .unwrap();
    writer.kill().unwrap();
    writer.wait().unwrap();
    let start = Instant::now();
    let application = order::open(folder.path());
    let took = start.elapsed();
    assert!(application.snapshots().unwrap()[0].0 > commands);
    took.as_secs_f64()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [what, data, commands, with_ids] = &arguments[..]
        && what == "write"
    {
        return write(
            data.as_ref(),
            commands.parse().unwrap(),
            with_ids.parse().unwrap(),
        );
    }
    let mut numbers = arguments.iter().filter(|a| !a.starts_with('-'));
    let commands = numbers.next().map_or(1_000_000, |n| n.parse().unwrap());
    let rounds = numbers.next().map_or(3, |n| n.parse().unwrap());
    let mut measured = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (with_ids, measured) in [false, true].into_iter().zip(&mut measured) {
            measured.push(reopened(commands, with_ids));
        }
    }
    for (what, mut seconds) in ["without", "with"].iter().zip(measured) {
        seconds.sort_by(f64::total_cmp);
        let median = seconds[seconds.len() / 2];
        println!("reopened in {median:.3} s after {commands} orders {what} ids");
    }
}
