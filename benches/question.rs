//! What is asked, with the arguments ready.

use std::cell::Cell;

use engine_core::engine::Invocation;
use engine_core::value::{Value, encode};

use crate::Subject;
use crate::application::{ITEMS, extension};

/// How many different arguments a question has in turn, so that rows are read all over their storages.
const TURNS: usize = 4_096;

/// An extension, and arguments for asking it again and again.
#[derive(Debug)]
pub struct Question {
    /// The name in reports.
    pub name: &'static str,
    extension: usize,
    args: Vec<Vec<u8>>,
    turn: Cell<usize>,
}

impl Question {
    fn new(name: &'static str, asked: &str, args: impl IntoIterator<Item = Vec<Value>>) -> Self {
        Self {
            name,
            extension: extension(asked),
            args: args.into_iter().map(|row| encode(&row)).collect(),
            turn: Cell::new(0),
        }
    }

    /// Nothing at all.
    pub fn empty() -> Self {
        Self::new("empty", "Empty", [Vec::new()])
    }

    /// One read.
    pub fn read() -> Self {
        Self::new("read", "ReadOne", items())
    }

    /// One read and one intent.
    pub fn read_write() -> Self {
        Self::new("read_write", "ReadWrite", items())
    }

    /// Ten reads and ten intents.
    pub fn ten() -> Self {
        Self::new("ten", "Ten", items())
    }

    /// The order command: two reads and three intents.
    pub fn order() -> Self {
        let mut random = Random::new();
        let orders = (0..TURNS as i64).map(|id| {
            let customer = random.below(ITEMS);
            let item = random.below(ITEMS);
            let quantity = 1 + random.below(5);
            [id, customer, item, quantity].map(Value::Int).to_vec()
        });
        Self::new("order", "Order", orders)
    }

    /// Arguments of so many bytes.
    pub fn payload(name: &'static str, bytes: usize) -> Self {
        Self::new(name, "Payload", [vec![Value::Bytes(vec![7; bytes])]])
    }

    /// A range of so many rows of 100 bytes: one of [`GROUPS`](crate::world::GROUPS).
    pub fn scan(name: &'static str, rows: i64) -> Self {
        Self::new(name, "Scan", [vec![Value::Int(rows)]])
    }

    /// A loop of so many steps.
    pub fn spin(name: &'static str, steps: i64) -> Self {
        Self::new(name, "Loop", [vec![Value::Int(steps)]])
    }

    /// Asks once, with the next arguments in turn.
    pub fn ask(&self, subject: &mut (impl Subject + ?Sized)) {
        let turn = self.turn.get();
        let next = turn + 1;
        self.turn
            .set(if next == self.args.len() { 0 } else { next });
        subject.ask(self.extension, &self.args[turn]);
    }

    /// So many invocations for one batch, with the next arguments in turn.
    pub fn batch(&self, count: usize) -> Vec<Invocation<'_>> {
        let turn = self.turn.get();
        self.turn.set((turn + count) % self.args.len());
        let invocation = |turn: usize| Invocation {
            extension: self.extension,
            args: &self.args[turn % self.args.len()],
            tracer: None,
        };
        (turn..turn + count).map(invocation).collect()
    }
}

fn items() -> impl Iterator<Item = Vec<Value>> {
    let mut random = Random::new();
    (0..TURNS).map(move |_| vec![Value::Int(random.below(ITEMS))])
}

/// Marsaglia's xorshift: fast, and the same in every run.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    fn below(&mut self, bound: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 1) as i64) % bound
    }
}
