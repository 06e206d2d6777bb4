//! What a contender is, and what is measured of it.

use std::error::Error;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

/// What the program does when something goes wrong: it ends.
pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// A system in one shape of use.
pub trait Contender {
    /// The system and how it is used, as in `redis/loopback/16x64`.
    fn name(&self) -> String;

    /// The system's version and settings, and how it is asked.
    fn settings(&self) -> String;

    /// Orders for so long.
    ///
    /// # Errors
    /// Whatever goes wrong, a refused order too.
    fn measure(&mut self, time: Duration) -> Outcome<Measured>;
}

/// One measurement.
#[derive(Debug, Default)]
pub struct Measured {
    /// Orders that were answered.
    pub commands: u64,
    /// How long that took.
    pub seconds: f64,
    /// The p50 and p99 of one batch in microseconds, where they were seen.
    pub quantiles: Option<(f64, f64)>,
    /// Processor seconds of the client and of the server, where they are two processes.
    pub processor: Option<(f64, f64)>,
}

impl Measured {
    /// Orders a second.
    pub fn rate(&self) -> f64 {
        self.commands as f64 / self.seconds
    }

    /// Adds what was measured to a line.
    pub fn tell(&self, line: &mut Json) {
        line["rate"] = self.rate().round().into();
        if let Some((p50, p99)) = self.quantiles {
            line["p50_us"] = p50.round().into();
            line["p99_us"] = p99.round().into();
        }
        if let Some((client, server)) = self.processor {
            let each = |seconds: f64| (seconds * 1e9 / self.commands as f64).round() / 1e3;
            line["client_cpu_us"] = each(client).into();
            line["server_cpu_us"] = each(server).into();
        }
    }
}

/// Calls `batch`, which orders and says how many, again and again until the time is over.
///
/// # Errors
/// Those of `batch`.
pub fn repeat(time: Duration, mut batch: impl FnMut() -> Outcome<u64>) -> Outcome<Measured> {
    let mut micros = Vec::new();
    let mut commands = 0;
    let started = Instant::now();
    let mut before = started;
    while before - started < time {
        commands += batch()?;
        let after = Instant::now();
        micros.push((after - before).as_secs_f64() * 1e6);
        before = after;
    }
    Ok(Measured {
        commands,
        seconds: (before - started).as_secs_f64(),
        quantiles: quantiles(micros),
        processor: None,
    })
}

/// The p50 and the p99.
pub fn quantiles(mut micros: Vec<f64>) -> Option<(f64, f64)> {
    micros.sort_by(f64::total_cmp);
    let last = micros.len().checked_sub(1)? as f64;
    let quantile = |q: f64| micros[(last * q) as usize];
    Some((quantile(0.5), quantile(0.99)))
}
