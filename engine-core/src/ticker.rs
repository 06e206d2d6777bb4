//! The clock of an engine: one thread that counts milliseconds while calls are running.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Counts ticks of one millisecond, so that a deadline costs a call one load instead of a look at a clock.
///
/// The count goes on at least until the last deadline that was asked for, then the thread sleeps until the next call.
/// A tick may come late on a busy machine and the missed ones are made up for, so a deadline is over at the earliest
/// when its time has passed and at the latest when the thread next runs.
pub struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

struct Shared {
    ticks: AtomicU64,
    horizon: AtomicU64,
    asleep: AtomicBool,
    on_tick: Box<dyn Fn() + Send + Sync>,
}

const PERIOD: Duration = Duration::from_millis(1);

/// How long the thread counts on behind the last deadline, so that calls in a row find it awake.
const LINGER: u64 = 100;

impl Ticker {
    /// Starts a ticker that calls `on_tick` before each tick is counted, on its own thread.
    ///
    /// # Errors
    /// The operating system's, where it gives no thread.
    pub fn start_with(on_tick: impl Fn() + Send + Sync + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            ticks: AtomicU64::new(0),
            horizon: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
            on_tick: Box::new(on_tick),
        });
        let weak = Arc::downgrade(&shared);
        let handle = thread::Builder::new()
            .name("extengine-ticker".to_owned())
            .spawn(move || run(&weak))?;
        Ok(Self {
            shared,
            thread: handle.thread().clone(),
        })
    }

    /// The present tick.
    #[inline]
    pub fn now(&self) -> u64 {
        self.shared.ticks.load(Ordering::Relaxed)
    }

    /// Milliseconds since a tick.
    #[inline]
    pub fn since(&self, tick: u64) -> u64 {
        self.now().saturating_sub(tick)
    }

    /// Begins a call: the present tick, and the one at which a deadline of so many milliseconds is over.
    ///
    /// The first tick after now may come at once, so the deadline has one more than its milliseconds.
    #[inline]
    pub fn start(&self, deadline_ms: u32) -> (u64, u64) {
        let now = self.now();
        let at = now.saturating_add(u64::from(deadline_ms)).saturating_add(1);
        if self.shared.horizon.load(Ordering::SeqCst) < at {
            self.shared.horizon.fetch_max(at, Ordering::SeqCst);
        }
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        (now, at)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        // The thread sees that nobody holds the counter any more.
        self.thread.unpark();
    }
}

impl fmt::Debug for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticker")
            .field("ticks", &self.now())
            .finish_non_exhaustive()
    }
}

fn run(weak: &Weak<Shared>) {
    let mut last = Instant::now();
    while let Some(shared) = weak.upgrade() {
        let now = shared.ticks.load(Ordering::Relaxed);
        if now > shared.horizon.load(Ordering::SeqCst).saturating_add(LINGER) {
            shared.asleep.store(true, Ordering::SeqCst);
            let idle = now > shared.horizon.load(Ordering::SeqCst).saturating_add(LINGER);
            drop(shared);
            if idle {
                thread::park();
            }
            if let Some(shared) = weak.upgrade() {
                shared.asleep.store(false, Ordering::SeqCst);
            }
            last = Instant::now();
            continue;
        }
        drop(shared);
        thread::sleep(PERIOD.saturating_sub(last.elapsed()));
        let Some(shared) = weak.upgrade() else { return };
        while last.elapsed() >= PERIOD {
            last += PERIOD;
            // Whoever begins a call between the two gets a tick more and never one less.
            (shared.on_tick)();
            shared.ticks.fetch_add(1, Ordering::Relaxed);
        }
    }
}
