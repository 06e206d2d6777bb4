//! The hot paths, for counting their instructions: `scripts/guard.py` runs this under callgrind.
//!
//!     guard [TEXT]
//!
//! Each path, or each whose name contains the text, is warmed up and then measured within [`measured`], by whose name
//! callgrind knows what to count. One line for each goes to standard output, in the order of the measurements: its name
//! and the number of calls. `raw` paths are the runtimes alone; where they grow, the growth is not ours. A call of
//! `batch_64` is a batch of 64 orders.
//!
//! No path leads through a partition: its writer, its log and its clients are threads, and how many commands meet in a
//! group depends on how they are scheduled, so its counts differ from run to run. Nor is there one for a guest of ABI 1.0.

use std::cell::LazyCell;
use std::hint::black_box;
use std::slice;

use benches::Subject;
use benches::adding::{LocalAdd, RawAdd};
use benches::application::{catalog, limits, storage};
use benches::engine::{ENGINES, Instance, load};
use benches::filtering::{ASKS, SUBJECTS, Work, headers};
use benches::question::Question;
use benches::raw::{LuaTemplate, RawBuiltin, WasmerTemplate, WasmtimeTemplate, Watch};
use engine_core::factory::EngineKind;
use engine_core::key::{self, Extent, KeyWriter};
use engine_core::manifest::Policy;
use engine_core::value::{self, Value, Writer};

/// Calls until memory has grown to what a path needs.
const WARM_UP: usize = 200;

/// Calls that are counted.
const CALLS: usize = 1_000;

/// Invocations of a batch.
const BATCH: usize = 64;

/// What callgrind counts.
#[inline(never)]
fn measured(calls: usize, ask: &mut dyn FnMut()) {
    for _ in 0..calls {
        ask();
    }
}

struct Guard {
    only: String,
}

impl Guard {
    /// Measures a path that is made only if it is wanted.
    fn path<F: FnMut()>(&self, name: &str, make: impl FnOnce() -> F) {
        self.calls(name, 1, make);
    }

    /// The same, where a call does so many times as much.
    fn calls<F: FnMut()>(&self, name: &str, each: usize, make: impl FnOnce() -> F) {
        if !name.contains(&self.only) {
            return;
        }
        let mut ask = make();
        for _ in 0..WARM_UP.div_ceil(each) {
            ask();
        }
        let calls = CALLS.div_ceil(each);
        measured(calls, &mut ask);
        println!("{name} {calls}");
    }

    /// Measures what a subject answers.
    fn subject<S: Subject>(
        &self,
        engine: &str,
        way: &str,
        questions: &[Question],
        make: &dyn Fn() -> S,
    ) {
        for question in questions {
            self.path(&format!("{engine}/{}/{way}", question.name), || {
                let mut subject = make();
                move || question.ask(&mut subject)
            });
        }
    }

    fn engines(&self) {
        let questions = [
            Question::empty(),
            Question::order(),
            Question::scan("rows_100", 100),
            Question::ten(),
            Question::payload("args_1k", 1 << 10),
        ];
        let raw = &questions[..2];
        for factory in ENGINES {
            let package = LazyCell::new(|| load(factory, Policy::Keep, limits()));
            let keep = || Instance::of(&package);
            self.subject(factory.name(), "keep", &questions, &keep);
            // Where a batch is one crossing.
            if factory.kind() == EngineKind::Wasm {
                self.calls(&format!("{}/order/batch_64", factory.name()), BATCH, || {
                    let (mut instance, order) = (keep(), Question::order());
                    move || instance.ask_batch(&order.batch(BATCH))
                });
            }
            if ["wasmtime", "builtin"].contains(&factory.name()) {
                let order = slice::from_ref(&questions[1]);
                self.subject(factory.name(), "fresh", order, &|| {
                    Instance::new(factory, Policy::Fresh)
                });
            }
        }
        self.subject("builtin", "raw", raw, &RawBuiltin::default);
        let wasmtime = LazyCell::new(|| WasmtimeTemplate::new(Watch::Epoch));
        self.subject("wasmtime", "raw", raw, &|| wasmtime.instantiate());
        let wasmer = LazyCell::new(|| WasmerTemplate::new(true));
        self.subject("wasmer", "raw", raw, &|| wasmer.instantiate());
        let lua = LazyCell::new(|| LuaTemplate::new(true));
        self.subject("lua", "raw", raw, &|| lua.instantiate());
    }

    /// A plugin's function of two numbers.
    fn functions(&self) {
        self.path("functions/add/raw", || {
            let mut raw = RawAdd::default();
            move || assert_eq!(raw.add(black_box(1), 2), 3)
        });
        for engine in ["wasmtime", "wasmer"] {
            self.path(&format!("functions/add/{engine}"), || {
                let mut local = LocalAdd::new(engine);
                move || assert_eq!(local.add(black_box(1), 2), 3)
            });
        }
    }

    /// A request's headers in a filter, each time others.
    fn filters(&self) {
        for work in Work::ALL {
            for (asked, ask) in ASKS {
                for (engine, way, make) in SUBJECTS {
                    let name = format!("filters/{asked}_{}/{engine}/{way}", work.name());
                    self.path(&name, || {
                        let mut subject = make(work);
                        let ready: Vec<_> = (0..WARM_UP + CALLS).map(|_| headers()).collect();
                        let mut ready = ready.into_iter();
                        let mut passed = Vec::with_capacity(WARM_UP + CALLS);
                        move || {
                            let next = ready.next().expect("one for each call");
                            passed.push(ask(&mut *subject, next));
                        }
                    });
                }
            }
        }
    }

    /// What every engine shares: the form of keys and rows.
    fn core(&self) {
        let order = catalog().storage(storage(2));
        let fields = [77, 8_888, 3, 1_234].map(Value::Int);
        let (id, row) = ([Value::Int(123_456)], value::encode(&fields));
        let key = key::encode(&id).expect("a key of the benches");
        self.path("core/check_key", || {
            || {
                order
                    .key
                    .check_key(black_box(&key), Extent::Full)
                    .expect("a key")
            }
        });
        self.path("core/check_row", || {
            || order.value.check(black_box(&row)).expect("a row")
        });
        let mut bytes = Vec::new();
        self.path("core/write_row", || {
            || {
                bytes.clear();
                KeyWriter(&mut bytes).int(black_box(123_456));
                Writer(&mut bytes).row(black_box(&fields));
            }
        });
    }
}

fn main() {
    let guard = Guard {
        only: std::env::args().nth(1).unwrap_or_default(),
    };
    guard.core();
    guard.engines();
    guard.functions();
    guard.filters();
}
