//! The orders: random items for random customers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Items, and customers.
pub const NUMBERS: u64 = 10_000;

/// So much of everything that no order is refused.
pub const PLENTY: i64 = 1_000_000_000_000;

/// What an item costs.
pub fn price(item: u64) -> i64 {
    1 + (item % 100) as i64
}

/// One order, of one piece.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Its number, which no other order has.
    pub order: u64,
    /// Who orders.
    pub customer: u64,
    /// What is ordered.
    pub item: u64,
}

/// A stream of orders with numbers that it shares with other streams.
#[derive(Debug)]
pub struct Orders {
    next: Arc<AtomicU64>,
    random: u64,
}

impl Orders {
    /// A stream of its own.
    pub fn new() -> Self {
        Self::sharing(&Arc::default())
    }

    /// A stream whose numbers come from `next`.
    pub fn sharing(next: &Arc<AtomicU64>) -> Self {
        let streams = Arc::strong_count(next) as u64;
        Self {
            next: next.clone(),
            random: 0x9e37_79b9_7f4a_7c15 ^ next.load(Ordering::Relaxed) << 20 ^ streams << 8,
        }
    }

    /// The next order.
    pub fn next(&mut self) -> Order {
        Order {
            order: self.next.fetch_add(1, Ordering::Relaxed),
            customer: self.number(),
            item: self.number(),
        }
    }

    /// A number of an item or a customer (xorshift).
    fn number(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % NUMBERS
    }
}
