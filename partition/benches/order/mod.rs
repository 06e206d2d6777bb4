//! The shop that the benches of commands order from: its manifest, its rows, and random orders.

#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on has nothing to say"
)]

use std::collections::VecDeque;
use std::path::Path;

use engine_core::value::{Value, encode};
use partition::application::{Application, Options};
use partition::manifest::AppSpec;
use partition::{Accepted, Answer};
use serde_json::json;

mod engine;

/// Items, and customers.
pub(crate) const ROWS: u64 = 10_000;

const MANIFEST: &str = r#"
[app]
name = "shop"
engine = "order"

[storages.item]
key = "id: int"
value = "stock: int, price: int"

[storages.customer]
key = "id: int"
value = "balance: int"

[storages.order]
key = "id: int"
value = "customer: int, item: int, quantity: int, total: int"

[packages.shop]
builtin = "shop"
rollback = { failures = 1, of = 1_000 }

[extensions.Order]
kind = "command"
args = "id: int, item: int, customer: int, quantity: int"
access = { item = ["read", "update"], customer = ["read", "update"], order = ["insert"] }

[extensions.Fill]
kind = "command"
args = "from: int, to: int"
access = { item = ["put"], customer = ["put"] }
"#;

/// The items and customers that orders go to, always the same ones.
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new() -> Self {
        Self(88_172_645_463_325_252)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % ROWS
    }
}

pub(crate) fn open(data: &Path) -> Application {
    let spec = AppSpec::parse(MANIFEST, Path::new(".")).unwrap();
    let options = Options {
        data: Some(data.to_owned()),
        ..Options::default()
    };
    Application::open(spec, options).unwrap()
}

/// Puts the items and the customers there.
pub(crate) fn fill(application: &Application) {
    for from in (0..ROWS).step_by(1000) {
        let args = json!({"from": from, "to": from + 1000});
        application.run("Fill", &args, None).unwrap();
    }
}

/// Orders something random so many times, with at most `waiting` orders on their way.
pub(crate) fn order(application: &Application, commands: u64, waiting: usize) {
    let mut draw = Draw::new();
    let mut answers = VecDeque::new();
    let command = application.command("Order").unwrap();
    for number in 0..commands {
        if answers.len() == waiting {
            let answer: Answer<Accepted> = answers.pop_front().unwrap();
            answer.wait().unwrap();
        }
        let order = [number, draw.next(), draw.next(), 1 + number % 3];
        let args = encode(&order.map(|n| Value::Int(n as i64)));
        answers.push_back(application.submit_row_to(command, args, None).unwrap());
    }
    for answer in answers {
        answer.wait().unwrap();
    }
}
