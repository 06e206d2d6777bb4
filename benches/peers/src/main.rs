//! The order command, durable, on systems that a user could pick instead of Extengine, on bare parts, and on Extengine.
//!
//! Every contender is measured once in each round, so that a bad phase of the disk meets all alike. One JSON line for
//! each measurement goes to standard output; settings and a table of medians go to standard error.

mod bare;
mod measure;
mod ours;
mod pipeline;
mod redis;
mod server;
mod sqlite;
mod table;
mod tarantool;
mod work;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use measure::{Contender, Outcome};
use serde_json::json;

/// Measures the order command on peers and on Extengine.
#[derive(Parser)]
struct Flags {
    /// Interleaved rounds.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Only contenders whose name, as in `redis/loopback/16x64`, has this in it.
    #[arg(long, default_value = "")]
    only: String,
    /// The folder below which all data are written and removed again.
    #[arg(long)]
    data: PathBuf,
    /// The program `extengine`.
    #[arg(long)]
    extengine: PathBuf,
    /// The program of the bench `partition`.
    #[arg(long)]
    partition: PathBuf,
    /// The folder of the application `orders`.
    #[arg(long)]
    app: PathBuf,
}

fn main() -> Outcome {
    let flags = Flags::parse();
    std::fs::create_dir_all(&flags.data)?;
    let data = flags.data.as_path();
    let wanted = |name: &str| name.contains(&flags.only);
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    contenders.extend(bare::contenders(data));
    contenders.extend(sqlite::contenders(data)?);
    contenders.extend(tarantool::contenders(data, &wanted)?);
    contenders.extend(redis::contenders(data, &wanted)?);
    contenders.extend(ours::contenders(
        data,
        &flags.extengine,
        &flags.partition,
        &flags.app,
    )?);
    contenders.retain(|contender| wanted(&contender.name()));

    let mut told = Vec::new();
    for contender in &contenders {
        let settings = contender.settings();
        if !told.contains(&settings) {
            eprintln!("{settings}");
            told.push(settings);
        }
    }

    let time = Duration::from_secs_f64(flags.seconds);
    let mut table = table::Table::default();
    for round in 0..flags.rounds {
        for contender in &mut contenders {
            let name = contender.name();
            let measured = contender
                .measure(time)
                .map_err(|error| format!("{name}: {error}"))?;
            let (engine, question) = name.split_once('/').unwrap_or((&name, ""));
            let mut line = json!({"question": format!("peers/{question}"), "engine": engine});
            measured.tell(&mut line);
            line["round"] = round.into();
            println!("{line}");
            table.add(question, engine, measured.rate());
        }
        eprintln!("round {} of {}", round + 1, flags.rounds);
    }
    eprint!("{table}");
    Ok(())
}
