//! Durable order commands a second: one at a time, 64 in flight, saturated, and saturated beside a thread of queries.
//!
//! Prints one JSON line for each round, load, engine and number of partitions; rounds are interleaved, so that a bad
//! phase of the disk meets every engine alike. Each partition has a client thread of its own.

mod orders;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use extengine::Application;
use orders::{Client, Outcome};
use serde_json::json;

#[derive(Parser)]
struct Flags {
    /// Engines to measure.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "builtin,wasmtime,wasmer,lua"
    )]
    engines: Vec<String>,
    /// Loads to measure.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "alone,pipelined,saturated,queried"
    )]
    loads: Vec<Load>,
    /// Numbers of partitions.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    partitions: Vec<u32>,
    /// Interleaved rounds.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Below which folder the data are written and removed again, instead of cargo's target folder.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Print the application's settings as a JSON line, and measure nothing.
    #[arg(long)]
    settings: bool,
    /// Cargo says this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Load {
    Alone,
    Pipelined,
    Saturated,
    Queried,
}

impl Load {
    fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Pipelined => "pipelined",
            Self::Saturated => "saturated",
            Self::Queried => "queried",
        }
    }

    /// The most commands in flight; a full queue is the limit where there is none.
    fn in_flight(self) -> usize {
        match self {
            Self::Alone => 1,
            Self::Pipelined => 64,
            Self::Saturated | Self::Queried => usize::MAX,
        }
    }
}

/// What one client saw.
struct Seen {
    commands: usize,
    seconds: f64,
    micros: Vec<f64>,
}

/// Orders until the time is over, then takes the answers that are still to come.
fn order(
    application: &Application,
    mut client: Client,
    load: Load,
    time: Duration,
) -> Outcome<Seen> {
    let mut micros = Vec::new();
    let mut waiting = VecDeque::new();
    let started = Instant::now();
    let mut sent = started;
    while sent - started < time || !waiting.is_empty() {
        let answer = match sent - started < time && waiting.len() < load.in_flight() {
            true => client.order(application)?,
            false => None,
        };
        if let Some(answer) = answer {
            waiting.push_back((sent, answer));
        } else if let Some((sent, answer)) = waiting.pop_front() {
            answer.wait()?;
            micros.push(sent.elapsed().as_secs_f64() * 1e6);
        }
        sent = Instant::now();
    }
    Ok(Seen {
        commands: micros.len(),
        seconds: started.elapsed().as_secs_f64(),
        micros,
    })
}

/// Asks for balances until told to stop.
fn query(application: &Application, done: &AtomicBool, asked: &AtomicU64) -> Outcome {
    let mut customer = 0;
    while !done.load(Ordering::Relaxed) {
        let args = json!({"shop": 0, "customer": customer});
        for answer in application.query("Balance", &args, 0)? {
            answer.wait()?;
        }
        asked.fetch_add(1, Ordering::Relaxed);
        customer = (customer + 7_919) % 10_000;
    }
    Ok(())
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, Outcome<T>>) -> Outcome<T> {
    thread.join().map_err(|_| "a client panicked")?
}

fn measure(
    engine: &str,
    partitions: u32,
    load: Load,
    time: Duration,
    below: Option<&Path>,
) -> Outcome<serde_json::Value> {
    let folder = orders::folder(below)?;
    let application = orders::open(engine, partitions, folder.path().join("data"))?;
    let clients = Client::of_each_partition(&application)?;
    let (done, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let seen: Vec<Seen> = thread::scope(|scope| {
        let queries = matches!(load, Load::Queried)
            .then(|| scope.spawn(|| query(&application, &done, &asked)));
        let clients: Vec<_> = clients
            .into_iter()
            .map(|client| scope.spawn(|| order(&application, client, load, time)))
            .collect();
        let seen = clients.into_iter().map(join).collect::<Outcome<_>>();
        done.store(true, Ordering::Relaxed);
        queries.map_or(Ok(()), join)?;
        seen
    })?;
    application.close()?;

    let rate: f64 = seen
        .iter()
        .map(|seen| seen.commands as f64 / seen.seconds)
        .sum();
    let mut micros: Vec<f64> = seen.into_iter().flat_map(|seen| seen.micros).collect();
    micros.sort_by(f64::total_cmp);
    let quantile = |q: f64| micros[((micros.len() - 1) as f64 * q) as usize].round();
    let mut line = json!({
        "question": format!("partition/{}/{partitions}", load.name()),
        "engine": engine,
        "rate": rate.round(),
        "p50_us": quantile(0.5),
        "p99_us": quantile(0.99),
    });
    if matches!(load, Load::Queried) {
        line["queries"] = (asked.into_inner() as f64 / time.as_secs_f64())
            .round()
            .into();
    }
    Ok(line)
}

/// What the manifest says, with the defaults of what it does not say.
fn settings() -> Outcome<serde_json::Value> {
    let spec = orders::spec()?;
    let mut partition = serde_json::to_value(&spec.partition)?;
    partition["store"] = spec.partition.store.name().into();
    let limits = spec
        .packages
        .iter()
        .map(|package| Ok((package.name.clone(), serde_json::to_value(&package.limits)?)))
        .collect::<Outcome<serde_json::Map<_, _>>>()?;
    Ok(json!({"partition": partition, "limits": limits}))
}

fn main() -> Outcome {
    let flags = Flags::parse();
    if flags.settings {
        println!("{}", settings()?);
        return Ok(());
    }
    let time = Duration::from_secs_f64(flags.seconds);
    for round in 0..flags.rounds {
        for &partitions in &flags.partitions {
            for &load in &flags.loads {
                for engine in &flags.engines {
                    let mut line = measure(engine, partitions, load, time, flags.data.as_deref())?;
                    line["round"] = round.into();
                    println!("{line}");
                }
            }
        }
    }
    Ok(())
}
