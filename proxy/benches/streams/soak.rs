//! Requests whose numbers go through calls to a service and through shared data: each answer must have its own, and in the end
//! everything must have been counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::Full;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::client::Connection;
use crate::process::Process;
use crate::{Outcome, service, yaml};

#[derive(clap::Args)]
pub(crate) struct Flags {
    /// The engines.
    #[arg(long, value_delimiter = ',', default_value = "wasmtime")]
    engines: Vec<String>,
    /// Requests, with each engine.
    #[arg(long, default_value_t = 20_000)]
    requests: u64,
    /// Connections: each second one speaks HTTP/2, with four requests at a time.
    #[arg(long, default_value_t = 64)]
    connections: u64,
    /// Workers.
    #[arg(long, default_value_t = 2)]
    workers: usize,
}

/// Requests at a time on a connection of HTTP/2.
const LANES: usize = 4;

/// How long an answer may take; what takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// The filter of `examples/proxy/filters/rust/soak`, as a part of a configuration.
pub(crate) fn filter() -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guests");
    yaml::wasm("soak", "soak.wasm", "").replace("FOLDER", folder)
}

/// What all connections share.
#[derive(Default)]
struct Work {
    next: AtomicU64,
    answered: AtomicU64,
    lost: AtomicU64,
    crossed: AtomicU64,
}

pub(crate) async fn run(flags: &Flags) -> Outcome {
    let service = service::echo()?;
    let config = yaml::config(&filter(), &yaml::direct("/", "x"), &[("echo", service)]);
    let config = config + yaml::PATIENT;
    let mut wrong = 0;
    for engine in &flags.engines {
        let process = Process::start(&config, engine, flags.workers)?;
        wrong += soak(flags, engine, process.address).await?;
    }
    match wrong {
        0 => Ok(()),
        wrong => Err(format!("{wrong} requests were lost, crossed or not counted").into()),
    }
}

async fn soak(flags: &Flags, engine: &str, address: SocketAddr) -> Outcome<u64> {
    let mut lanes = Vec::new();
    for number in 0..flags.connections {
        if number % 2 == 0 {
            lanes.push(Connection::http1(address).await?);
        } else {
            lanes.extend(Connection::http2(address, LANES).await?);
        }
    }
    let work: Arc<Work> = Arc::default();
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for (slot, lane) in lanes.into_iter().enumerate() {
        tasks.spawn(drive(lane, slot, Arc::clone(&work), flags.requests));
    }
    let told = Arc::clone(&work);
    let telling = tokio::spawn(async move {
        loop {
            sleep(Duration::from_secs(10)).await;
            eprintln!("{} answered", told.answered.load(Ordering::Relaxed));
        }
    });
    while let Some(lane) = tasks.join_next().await {
        lane??;
    }
    telling.abort();
    let seconds = begin.elapsed().as_secs_f64();
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (answered, lost, crossed) = (of(&work.answered), of(&work.lost), of(&work.crossed));
    let [
        started,
        called,
        logged,
        ticks,
        ticks_answered,
        ticks_crossed,
    ] = counted(address, flags.requests).await?;
    let wrong = lost + crossed + ticks_crossed;
    let wrong = [answered, started, called, logged]
        .iter()
        .fold(wrong, |wrong, counted| {
            wrong + counted.abs_diff(flags.requests)
        });
    let line = json!({
        "question": format!("soak/{}", flags.connections),
        "engine": engine,
        "requests": (answered as f64 / seconds).round(),
        "seconds": seconds.round(),
        "answered": answered,
        "lost": lost,
        "crossed": crossed + ticks_crossed,
        "counted": { "started": started, "answered": called, "logged": logged },
        "ticks": ticks,
        "ticks_answered": ticks_answered,
        "wrong": wrong,
    });
    println!("{line}");
    Ok(wrong)
}

/// Sends one request after another on one lane, until there are enough.
async fn drive(mut lane: Connection, slot: usize, work: Arc<Work>, requests: u64) -> Outcome {
    loop {
        let id = work.next.fetch_add(1, Ordering::Relaxed);
        if id >= requests {
            return Ok(());
        }
        let request = lane
            .request()
            .header("x-id", id)
            .header("x-slot", slot)
            .body(Full::new(Bytes::new()))?;
        match timeout(PATIENCE, lane.ask(request)).await {
            Ok(Ok(response)) => {
                work.answered.fetch_add(1, Ordering::Relaxed);
                if !is_own(&response, id) {
                    eprintln!("request {id} was answered so: {response:?}");
                    work.crossed.fetch_add(1, Ordering::Relaxed);
                }
            }
            lost => {
                eprintln!("request {id} was lost: {lost:?}");
                work.lost.fetch_add(1, Ordering::Relaxed);
                // The connection is of no more use; the others go on.
                return Ok(());
            }
        }
    }
}

/// Whether an answer has the request's own number, from the service and from shared data.
fn is_own(response: &Response<Bytes>, id: u64) -> bool {
    let id = id.to_string();
    let is = |headers: &HeaderMap, name: &str| headers.get(name).is_some_and(|value| *value == *id);
    let headers = response.headers();
    response.status() == 200 && is(headers, "x-echoed") && is(headers, "x-shared")
}

/// What the filter's machines have counted, once all requests are over.
async fn counted(address: SocketAddr, requests: u64) -> Outcome<[u64; 6]> {
    let mut connection = Connection::http1(address).await?;
    let mut counted = [0; 6];
    for _ in 0..100 {
        let request = connection.request().header("x-count", "1");
        let response = connection
            .ask(request.body(Full::new(Bytes::new()))?)
            .await?;
        let text = std::str::from_utf8(response.body())?;
        for (place, line) in counted.iter_mut().zip(text.lines()) {
            *place = line.split(' ').next_back().unwrap_or_default().parse()?;
        }
        // A stream is logged behind its answer.
        if counted[2] >= requests {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(counted)
}
