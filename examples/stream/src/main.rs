//! A small stream pipeline that calls functions of plugins: lines in, scored and labelled on two threads, counted by carrier.
//!
//! Each thread has an executor of its own, with instances of its own, so a call is a plain call. In the middle of the
//! stream a plugin is changed: nothing stops, and from some line on the new version answers.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use extengine::functions::{Manager, PluginConfig, Value};
use serde_json::Value as Json;

/// By carrier: flights, the sum of their scores, and how many were very late.
type Table = BTreeMap<String, (u32, f64, u32)>;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How many threads call functions.
const THREADS: usize = 2;

/// How many lines may wait between two stages.
const ROOM: usize = 256;

/// What is wanted of a flight.
struct Flight {
    carrier: String,
    departure: Value,
    arrival: Value,
}

/// What the functions made of it.
struct Rated {
    carrier: String,
    score: f64,
    label: String,
}

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let plugins = args
        .next()
        .unwrap_or_else(|| "examples/stream/plugins".to_owned());
    let lines = args
        .next()
        .unwrap_or_else(|| "examples/flights/commands.jsonl".to_owned());
    let manager = Manager::with_logger(|line| {
        eprintln!("{}/{}: {}", line.plugin, line.function, line.message)
    });
    for config in PluginConfig::from_folder(plugins.as_ref())? {
        let config = config?;
        let name = config.name.clone();
        manager.add(config)?;
        manager.wait_ready(&name, Duration::from_secs(60))?;
    }

    let table = pipeline(&manager, lines.as_ref())?;
    println!(
        "{:8} {:>8} {:>10} {:>10}",
        "carrier", "flights", "mean score", "very late"
    );
    for (carrier, (flights, total, very_late)) in table {
        let mean = total / f64::from(flights);
        println!("{carrier:8} {flights:>8} {mean:>10.1} {very_late:>10}");
    }
    Ok(())
}

/// Runs the stages on threads of their own until the lines end or one of them fails.
fn pipeline(manager: &Manager, lines: &Path) -> Outcome<Table> {
    thread::scope(|scope| {
        let (rated, collected) = sync_channel(ROOM);
        let mut inputs = Vec::new();
        for _ in 0..THREADS {
            let (input, flights) = sync_channel(ROOM);
            let rated = rated.clone();
            scope.spawn(move || rate(manager, &flights, &rated));
            inputs.push(input);
        }
        drop(rated);
        let reader = scope.spawn(|| read(lines, inputs, manager));
        let table = collect(collected);
        match reader.join() {
            // Where the collector failed, that is why the reader did.
            Ok(read) => table.and_then(|table| read.map(|()| table)),
            Err(_) => Err("the reader panicked".into()),
        }
    })
}

/// Hands flights to the threads in turn, and changes a plugin on the way.
fn read(path: &Path, inputs: Vec<SyncSender<Flight>>, manager: &Manager) -> Outcome<()> {
    let mut flights = 0;
    for line in BufReader::new(File::open(path)?).lines() {
        let line: Json = serde_json::from_str(&line?)?;
        let args = &line["args"];
        let Some(carrier) = args["carrier"]
            .as_str()
            .filter(|_| args["date"].is_string())
        else {
            continue;
        };
        let flight = Flight {
            carrier: carrier.to_owned(),
            departure: Value::from_json(&args["dep_delay"]),
            arrival: Value::from_json(&args["arr_delay"]),
        };
        inputs[flights % inputs.len()].send(flight)?;
        flights += 1;
        if flights == 500 {
            let mut config = manager.status("labels")?.config;
            config.instance_num = 2;
            // It is loaded beside the old one, which goes on until then.
            manager.change(config)?;
        }
    }
    Ok(())
}

/// Calls the functions; a flight that was cancelled has no delays, and is passed over.
fn rate(manager: &Manager, flights: &Receiver<Flight>, rated: &SyncSender<Outcome<Rated>>) {
    let mut executor = manager.local();
    let mut one = |flight: Flight| -> Outcome<Option<Rated>> {
        let args = [flight.departure, flight.arrival];
        if args.contains(&Value::Null) {
            return Ok(None);
        }
        let score = executor.execute("score", &args)?;
        let label = executor.execute("label", std::slice::from_ref(&score))?;
        match (score, label) {
            (Value::F64(score), Value::Text(label)) => Ok(Some(Rated {
                carrier: flight.carrier,
                score,
                label,
            })),
            other => Err(format!("not what the functions declare: {other:?}").into()),
        }
    };
    for flight in flights {
        if let Some(result) = one(flight).transpose()
            && rated.send(result).is_err()
        {
            return;
        }
    }
}

/// Counts by carrier.
///
/// The receiver goes with the first failure, so that nobody waits for room in its channel.
fn collect(rated: Receiver<Outcome<Rated>>) -> Outcome<Table> {
    let mut table = BTreeMap::new();
    for rated in rated {
        let Rated {
            carrier,
            score,
            label,
        } = rated?;
        let (flights, total, very_late): &mut (u32, f64, u32) = table.entry(carrier).or_default();
        *flights += 1;
        *total += score;
        *very_late += u32::from(label == "very late");
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_that_fails_ends_the_stream() {
        let lines = concat!(env!("CARGO_MANIFEST_DIR"), "/../flights/commands.jsonl");
        let error = pipeline(&Manager::new(), lines.as_ref()).unwrap_err();
        assert_eq!(error.to_string(), "no plugin offers a function `score`");
    }
}
