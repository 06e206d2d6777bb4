//! Requests a second through one worker, and the proxy's processor time for each.

use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::client::Connection;
use crate::filters::Kind;
use crate::process::Process;
use crate::{Outcome, quantile, service, yaml};

#[derive(clap::Args)]
pub(crate) struct Flags {
    /// The filters.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "none,wasmtime,wasmer,native,redact,lua"
    )]
    filters: Vec<Kind>,
    /// Who answers.
    #[arg(long, value_delimiter = ',', default_value = "direct,service")]
    routes: Vec<Route>,
    /// Interleaved rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Connections of HTTP/1.1, each with one request after another.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Counts instructions too, under valgrind, as the difference between so many requests and three times as many.
    #[arg(long)]
    instructions: Option<u64>,
}

/// Who answers a request that has passed the filters.
#[derive(Clone, Copy, ValueEnum)]
enum Route {
    /// The proxy itself, so that filters are a large part of all work.
    Direct,
    /// A service on loopback.
    Service,
}

impl Route {
    fn question(self) -> &'static str {
        match self {
            Self::Direct => "throughput/direct",
            Self::Service => "throughput/service",
        }
    }

    fn config(self, kind: Kind, service: u16) -> String {
        match self {
            Self::Direct => yaml::config(&kind.yaml(), &yaml::direct("/", "example body"), &[]),
            Self::Service => {
                let route = r#"{match: {prefix: "/"}, route: {cluster: service}}"#;
                yaml::config(&kind.yaml(), route, &[("service", service)])
            }
        }
    }
}

pub(crate) async fn run(flags: &Flags) -> Outcome {
    let service = service::echo()?;
    for &route in &flags.routes {
        let start = |kind: &Kind| -> Outcome<_> {
            let process = Process::start(&route.config(*kind, service), kind.engine(), 1)?;
            Ok((*kind, process))
        };
        let proxies: Vec<_> = flags.filters.iter().map(start).collect::<Outcome<_>>()?;
        for round in 0..flags.rounds {
            // Nobody is always the first.
            for place in 0..proxies.len() {
                let (kind, process) = &proxies[(round + place) % proxies.len()];
                let mut line = measure(flags, *kind, process).await?;
                line["question"] = route.question().into();
                line["engine"] = kind.name().into();
                line["round"] = round.into();
                println!("{line}");
            }
        }
        drop(proxies);
        let Some(requests) = flags.instructions else {
            continue;
        };
        for kind in &flags.filters {
            let mut totals = [0; 2];
            for (total, requests) in totals.iter_mut().zip([requests, 3 * requests]) {
                let config = route.config(*kind, service);
                let process = Process::counted(&config, kind.engine(), 1)?;
                let mut connection = Connection::http1(process.address).await?;
                for _ in 0..requests {
                    ask(&mut connection, *kind).await?;
                }
                *total = process.end()?;
            }
            let each = totals[1].saturating_sub(totals[0]) / (2 * requests);
            let line = json!({
                "question": route.question(), "engine": kind.name(), "instructions": each,
            });
            println!("{line}");
        }
    }
    Ok(())
}

/// Asks one connection after another's answers for a while.
async fn measure(flags: &Flags, kind: Kind, process: &Process) -> Outcome<Value> {
    let mut connections = Vec::new();
    for _ in 0..flags.connections {
        connections.push(Connection::http1(process.address).await?);
    }
    let time = Duration::from_secs_f64(flags.seconds);
    let begin = Instant::now() + time / 5;
    let end = begin + time;
    let mut tasks = JoinSet::new();
    for mut connection in connections {
        tasks.spawn(async move {
            let mut micros = Vec::new();
            loop {
                let sent = Instant::now();
                ask(&mut connection, kind).await?;
                let now = Instant::now();
                if now >= end {
                    return Outcome::Ok(micros);
                }
                if now >= begin {
                    micros.push((now - sent).as_secs_f64() * 1e6);
                }
            }
        });
    }
    sleep_until(begin).await;
    let before = process.cpu()?;
    sleep_until(end).await;
    let cpu = process.cpu()? - before;
    let mut micros = Vec::new();
    while let Some(seen) = tasks.join_next().await {
        micros.extend(seen??);
    }
    micros.sort_by(f64::total_cmp);
    let requests = micros.len() as f64;
    Ok(json!({
        "requests": (requests / time.as_secs_f64()).round(),
        "cpu_us": (cpu.as_secs_f64() * 1e8 / requests).round() / 100.0,
        "p50_us": quantile(&micros, 0.5),
        "p99_us": quantile(&micros, 0.99),
    }))
}

/// Asks once, and looks whether the answer is as the filter should make it.
async fn ask(connection: &mut Connection, kind: Kind) -> Outcome {
    let request = connection.request().body(Full::new(Bytes::new()))?;
    let response = connection.ask(request).await?;
    let marked = kind
        .mark()
        .is_none_or(|mark| response.headers().contains_key(mark));
    if response.status() != 200 || !marked {
        return Err(format!("{}: {response:?}", kind.name()).into());
    }
    Ok(())
}
