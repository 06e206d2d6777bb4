//! The clock of an engine: one thread that counts milliseconds while calls are running.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
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
    /// The tick at which the thread woke, and when that was, of the last times that it did.
    woken: Mutex<VecDeque<(u64, Instant)>>,
}

/// How many times are remembered: a call is rarely so long that the thread slept more than once while it ran.
const WOKEN: usize = 64;

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
            woken: Mutex::new(VecDeque::with_capacity(WOKEN)),
        });
        shared.wake(Instant::now());
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

    /// Milliseconds since a tick, by a clock: the count may have stopped, or may have for a while.
    #[cold]
    pub fn since(&self, tick: u64) -> u64 {
        let woken = self
            .shared
            .woken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = woken.iter().rev().find(|(at, _)| *at <= tick);
        let Some((at, when)) = before.or_else(|| woken.front()) else {
            return self.now().saturating_sub(tick);
        };
        let elapsed = u64::try_from(when.elapsed().as_millis()).unwrap_or(u64::MAX);
        elapsed.saturating_add(*at).saturating_sub(tick)
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

impl Shared {
    /// Remembers that the thread counts on, from now.
    fn wake(&self, now: Instant) {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        if woken.len() == WOKEN {
            woken.pop_front();
        }
        woken.push_back((self.ticks.load(Ordering::Relaxed), now));
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
            last = Instant::now();
            if let Some(shared) = weak.upgrade() {
                shared.wake(last);
                shared.asleep.store(false, Ordering::SeqCst);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sleep(ms: u64) {
        thread::sleep(Duration::from_millis(ms));
    }

    /// Waits until the thread sleeps behind the last deadline.
    fn fall_asleep(ticker: &Ticker) {
        while !ticker.shared.asleep.load(Ordering::SeqCst) {
            sleep(1);
        }
    }

    /// Calls something that takes its whole deadline; answers the tick at which it began.
    fn call(ticker: &Ticker) -> u64 {
        let (tick, deadline) = ticker.start(1);
        while ticker.now() < deadline {
            sleep(1);
        }
        tick
    }

    #[test]
    fn the_clock_tells_the_time_for_which_the_count_stood_still() {
        let ticker = Ticker::start_with(|| {}).unwrap();
        let begun = Instant::now();
        let first = call(&ticker);
        for _ in 0..3 {
            fall_asleep(&ticker);
            sleep(100);
            call(&ticker);
        }
        let counted = ticker.now() - first;
        let told = ticker.since(first);
        let most = u64::try_from(begun.elapsed().as_millis()).unwrap();
        assert!(told >= counted + 290, "{told} of which {counted} counted");
        assert!(told <= most + 1, "{told} of {most}");
    }

    #[test]
    fn a_call_that_wakes_the_thread_is_not_charged_with_its_sleep() {
        let ticker = Ticker::start_with(|| {}).unwrap();
        fall_asleep(&ticker);
        sleep(500);
        let begun = Instant::now();
        let told = ticker.since(call(&ticker));
        let most = u64::try_from(begun.elapsed().as_millis()).unwrap();
        assert!((1..=most + 1).contains(&told), "{told} of {most}");
    }
}
