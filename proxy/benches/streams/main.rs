//! The proxy under load: what filters cost, what traps do to other streams, and whether a stream is lost or crossed.
//!
//!     cargo bench --workspace --bench streams -- [throughput | traps | soak] [FLAGS]
//!
//! The proxy is a process of its own, so that its processor time and its memory are told from those of the client and the
//! services, which are this process. Prints JSON lines; a stream that was answered wrongly ends with a status that is not 0.
//!
//! Goals: with one WASM filter at least 90 % of the requests a second of the same proxy without, with a native filter 95 %;
//! where each tenth of 1,000 streams a second traps, the 99th percentile of the others at most twice that of a run without
//! traps, and memory that does not grow in ten minutes; of a million requests none lost or crossed.

mod client;
mod filters;
mod process;
mod service;
mod soak;
mod throughput;
mod traps;
#[path = "../../tests/serve/yaml.rs"]
mod yaml;

use clap::{Parser, Subcommand};

/// How everything here ends.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Parser)]
struct Flags {
    #[command(subcommand)]
    question: Option<Question>,
    /// Cargo says this to every bench.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Question {
    /// Requests a second, and the proxy's processor time for each, with filters of every kind and with none.
    Throughput(throughput::Flags),
    /// Streams at a fixed rate, of which each tenth makes its filter trap, beside a run without traps.
    Traps(traps::Flags),
    /// Requests whose numbers go through callouts and shared data while ticks run.
    Soak(soak::Flags),
    /// Is the proxy.
    #[command(hide = true)]
    Serve(process::Flags),
}

/// The value at a share of all, which must be in order.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let place = (last as f64 * share) as usize;
    sorted.get(place).map_or(f64::NAN, |value| value.round())
}

fn main() -> Outcome {
    let question = Flags::parse().question;
    let question = question.or_else(|| Flags::parse_from(["streams", "throughput"]).question);
    let question = match question {
        Some(Question::Serve(flags)) => return process::serve(&flags),
        question => question,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match question {
            Some(Question::Traps(flags)) => traps::run(&flags).await,
            Some(Question::Soak(flags)) => soak::run(&flags).await,
            Some(Question::Throughput(flags)) => throughput::run(&flags).await,
            Some(Question::Serve(_)) | None => Ok(()),
        }
    })
}
