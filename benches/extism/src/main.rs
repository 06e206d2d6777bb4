//! The order command through Extism's Rust SDK, beside the same through Extengine's engine wasmtime.
//!
//! Both read rows from a hash map and gather the writes; neither applies them. `order` has its instance kept,
//! `order_fresh` a new one for each call, `empty` is a call of nothing. Prints a JSON line for each round, question and
//! side, with the median nanoseconds of a call; the rounds are interleaved.
//!
//!     extism-bench [ROUNDS]

mod extengine;
mod plugin;

use std::error::Error;
use std::time::{Duration, Instant};

use serde_json::json;

/// What the program does when something goes wrong: it ends.
pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Items, and customers.
pub const NUMBERS: i64 = 10_000;

/// So much of everything that no order is refused.
pub const PLENTY: i64 = 1_000_000_000_000;

/// What an item costs.
pub fn price(item: i64) -> i64 {
    1 + item % 100
}

/// Order, customer, item and quantity, again and again, random but the same for both sides.
pub struct Orders {
    random: u64,
    order: i64,
}

impl Orders {
    fn new() -> Self {
        Self {
            random: 0x9e37_79b9_7f4a_7c15,
            order: 0,
        }
    }

    /// The next order.
    pub fn next(&mut self) -> [i64; 4] {
        self.order += 1;
        [self.order, self.number(), self.number(), 1]
    }

    /// A number of an item or a customer (xorshift).
    fn number(&mut self) -> i64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % NUMBERS as u64) as i64
    }
}

/// Something to call.
pub trait Side {
    /// Calls once.
    ///
    /// # Errors
    /// Where the call fails, or does not write what an order writes.
    fn call(&mut self, orders: &mut Orders) -> Outcome;
}

/// The median nanoseconds of a call.
fn measure(side: &mut dyn Side, time: Duration) -> Outcome<f64> {
    /// Calls under one reading of the clock.
    const BATCH: u32 = 20;
    let mut orders = Orders::new();
    let mut nanos = Vec::new();
    let started = Instant::now();
    while started.elapsed() < time {
        let before = Instant::now();
        for _ in 0..BATCH {
            side.call(&mut orders)?;
        }
        nanos.push(before.elapsed().as_nanos() as f64 / f64::from(BATCH));
    }
    nanos.sort_by(f64::total_cmp);
    Ok(nanos[nanos.len() / 2])
}

fn main() -> Outcome {
    let rounds: u32 = std::env::args()
        .nth(1)
        .map_or(Ok(5), |rounds| rounds.parse())?;
    let mut sides: Vec<(&str, &str, Box<dyn Side>)> = vec![
        ("empty", "extism", Box::new(plugin::Kept::new("empty", 0)?)),
        ("order", "extism", Box::new(plugin::Kept::new("order", 3)?)),
        ("order", "wasmtime", Box::new(extengine::Instance::kept()?)),
        ("order_fresh", "extism", Box::new(plugin::Fresh::new()?)),
        (
            "order_fresh",
            "wasmtime",
            Box::new(extengine::Instance::fresh()?),
        ),
    ];
    for (_, _, side) in &mut sides {
        measure(&mut **side, Duration::from_millis(100))?;
    }
    for round in 0..rounds {
        for (question, engine, side) in &mut sides {
            let ns = measure(&mut **side, Duration::from_millis(200))?;
            let question = format!("extism/{question}");
            println!(
                "{}",
                json!({"question": question, "engine": engine, "ns": ns, "round": round})
            );
        }
    }
    Ok(())
}
