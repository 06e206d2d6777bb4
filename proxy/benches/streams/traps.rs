//! Streams at a fixed rate, of which some make their filter trap: how late the others are answered, whether rightly, and
//! what memory the proxy has.
//!
//! Each round is a while with traps on one proxy, and then a shorter one without on another.
//! A request's time counts from when it was due, so that one that had to wait for another is late too.
//! Some requests wait for their service, so that there are streams under way in each machine that traps; they must be
//! answered rightly as well, but their time does not count.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::client::Connection;
use crate::process::Process;
use crate::service::{self, DELAY};
use crate::soak::filter;
use crate::{Outcome, quantile, yaml};

#[derive(clap::Args)]
pub(crate) struct Flags {
    /// The engines.
    #[arg(long, value_delimiter = ',', default_value = "wasmtime")]
    engines: Vec<String>,
    /// Seconds with traps.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Seconds with traps of a round; without, a quarter of it.
    #[arg(long, default_value_t = 10.0)]
    slice: f64,
    /// Streams a second.
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Each so many-th stream traps, and as many wait for their service.
    #[arg(long, default_value_t = 10)]
    every: u64,
    /// Connections of HTTP/1.1.
    #[arg(long, default_value_t = 64)]
    connections: u32,
}

/// What was seen of some streams.
#[derive(Default)]
struct Seen {
    micros: Vec<f64>,
    answered: u64,
    trapped: u64,
    wrong: u64,
}

/// Seconds from the beginning, and the bytes then.
type Sample = (f64, f64);

pub(crate) async fn run(flags: &Flags) -> Outcome {
    let service = service::echo()?;
    let route = r#"{match: {prefix: "/"}, route: {cluster: echo}}"#;
    let config = yaml::config(&filter(), route, &[("echo", service)]) + yaml::PATIENT;
    let mut wrong = 0;
    for engine in &flags.engines {
        let trapping = Process::start(&config, engine, 1)?;
        let quiet = Process::start(&config, engine, 1)?;
        let question = format!("traps/{}", flags.rate);
        let (mut samples, mut spent, mut wrong_here) = (Vec::new(), 0.0, 0);
        let mut round = 0;
        while spent < flags.seconds {
            let time = flags.slice.min(flags.seconds - spent);
            for (process, traps, time) in [(&trapping, true, time), (&quiet, false, time / 4.0)] {
                let mut memory = Vec::new();
                let mut seen = slice(flags, process, traps, time, &mut memory).await?;
                if traps {
                    samples.extend(memory.iter().map(|(at, bytes)| (spent + at, *bytes)));
                }
                seen.micros.sort_by(f64::total_cmp);
                wrong_here += seen.wrong;
                let line = json!({
                    "question": question,
                    "engine": engine,
                    "way": if traps { "trapping" } else { "quiet" },
                    "round": round,
                    "requests": (seen.answered as f64 / time).round(),
                    "answered": seen.answered,
                    "trapped": seen.trapped,
                    "right": seen.answered - seen.wrong,
                    "p50_us": quantile(&seen.micros, 0.5),
                    "p99_us": quantile(&seen.micros, 0.99),
                });
                println!("{line}");
            }
            spent += time;
            round += 1;
        }
        let tenth = (samples.len() / 10).max(1);
        let first = mean(&samples[..tenth.min(samples.len())]);
        let last = mean(&samples[samples.len().saturating_sub(tenth)..]);
        let line = json!({
            "question": question,
            "engine": engine,
            "way": "trapping",
            "wrong": wrong_here,
            "first_tenth_bytes": first.round(),
            "last_tenth_bytes": last.round(),
            "growth": (last - first).round(),
            "bytes_a_minute": (slope(&samples[tenth.min(samples.len())..]) * 60.0).round(),
        });
        println!("{line}");
        wrong += wrong_here;
    }
    match wrong {
        0 => Ok(()),
        wrong => Err(format!("{wrong} streams were answered wrongly").into()),
    }
}

/// Sends streams for a while, evenly over all connections, and looks at the memory twice a second.
async fn slice(
    flags: &Flags,
    process: &Process,
    traps: bool,
    seconds: f64,
    memory: &mut Vec<Sample>,
) -> Outcome<Seen> {
    let mut connections = Vec::new();
    for _ in 0..flags.connections {
        connections.push(Connection::http1(process.address).await?);
    }
    let begin = Instant::now() + Duration::from_millis(100);
    let end = begin + Duration::from_secs_f64(seconds);
    let (rate, step, every) = (flags.rate, u64::from(flags.connections), flags.every);
    let mut tasks = JoinSet::new();
    for (number, mut connection) in connections.into_iter().enumerate() {
        tasks.spawn(async move {
            let mut seen = Seen::default();
            let mut number = number as u64;
            loop {
                let due = begin + Duration::from_secs_f64(number as f64 / f64::from(rate));
                if due >= end {
                    return Outcome::Ok(seen);
                }
                one(&mut connection, &mut seen, number, due, (every, traps)).await?;
                number += step;
            }
        });
    }
    let mut at = begin;
    while at < end {
        sleep_until(at).await;
        memory.push(((at - begin).as_secs_f64(), process.resident()? as f64));
        at += Duration::from_millis(500);
    }
    let mut all = Seen::default();
    while let Some(seen) = tasks.join_next().await {
        let seen = seen??;
        all.micros.extend(seen.micros);
        all.answered += seen.answered;
        all.trapped += seen.trapped;
        all.wrong += seen.wrong;
    }
    Ok(all)
}

/// Sends one stream when it is due.
async fn one(
    connection: &mut Connection,
    seen: &mut Seen,
    number: u64,
    due: Instant,
    (every, traps): (u64, bool),
) -> Outcome {
    let (tenth, waits) = (number.is_multiple_of(every), number % every == every / 2);
    let mut request = connection.request();
    if tenth && traps {
        request = request.header("x-trap", "1");
    }
    if waits {
        request = request.header(DELAY, "20");
    }
    let request = request.body(Full::new(Bytes::from(number.to_string())))?;
    // The timer is up to a millisecond late, which is not the proxy's doing.
    let since = if Instant::now() < due {
        sleep_until(due).await;
        Instant::now()
    } else {
        due
    };
    let response = connection.ask(request).await?;
    seen.answered += 1;
    if tenth && traps {
        seen.trapped += 1;
        seen.wrong += u64::from(response.status() != 503);
        return Ok(());
    }
    let marked = response.headers().get("x-filter");
    let right = response.status() == 200
        && marked.is_some_and(|mark| mark == "soak")
        && *response.body() == number.to_string();
    seen.wrong += u64::from(!right);
    if !tenth && !waits {
        seen.micros.push(since.elapsed().as_secs_f64() * 1e6);
    }
    Ok(())
}

fn mean(samples: &[Sample]) -> f64 {
    samples.iter().map(|(_, bytes)| bytes).sum::<f64>() / samples.len() as f64
}

/// Bytes a second, by least squares.
fn slope(samples: &[Sample]) -> f64 {
    let count = samples.len() as f64;
    let middle = samples.iter().map(|(at, _)| at).sum::<f64>() / count;
    let (above, below) = samples
        .iter()
        .fold((0.0, 0.0), |(above, below), (at, bytes)| {
            let from = at - middle;
            (above + from * bytes, below + from * from)
        });
    above / below
}
