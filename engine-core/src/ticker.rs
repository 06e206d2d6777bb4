//! The clock of an engine: one thread that counts milliseconds while calls are running, as seldom as their deadlines allow.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Counts ticks of one millisecond, so that a deadline costs a call one load instead of a look at a clock.
///
/// The count goes on at least until the last deadline that was asked for, then the thread sleeps until the next call.
/// It moves by 8 ticks at a time, since waking a thread on a busy machine costs its neighbours far more than a tick, and
/// by single ones while a deadline of less than 100 ms is asked for.
///
/// A deadline is over when its time has passed, never before, and at most two strides and 3 ms later on a machine that
/// runs the thread in time. Where it runs it later than 3 ms, the count stands still in the meantime: that is time that
/// calls have not had either.
pub struct Ticker {
    shared: Arc<Shared>,
    // Last: the thread is woken when nobody holds the counter any more, and sees that.
    thread: Waker,
}

/// The thread, which is woken once more when this goes.
struct Waker(Thread);

impl Drop for Waker {
    fn drop(&mut self) {
        self.0.unpark();
    }
}

struct Shared {
    ticks: AtomicU64,
    /// The last deadline that was asked for.
    horizon: AtomicU64,
    /// The last one of a short call.
    short_horizon: AtomicU64,
    /// How many ticks are counted at a time.
    stride: AtomicU64,
    asleep: AtomicBool,
    on_tick: Box<dyn Fn() + Send + Sync>,
    /// The tick at which the thread woke, and when that was, of the last times that it did.
    woken: Mutex<VecDeque<(u64, Instant)>>,
}

/// How many times are remembered: a call is rarely so long that the thread slept more than once while it ran.
const WOKEN: usize = 64;

const PERIOD: Duration = Duration::from_millis(1);

/// How many ticks are counted at a time for calls that are not short.
const STRIDE: u64 = 8;

/// How many ticks late the thread may be and makes up for them.
const LATE: u64 = 3;

/// Milliseconds that a short call has less than.
const SHORT_MS: u32 = 100;

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
            short_horizon: AtomicU64::new(0),
            stride: AtomicU64::new(STRIDE),
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
            thread: Waker(handle.thread().clone()),
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
    /// The count may be behind by what comes next at once, so the deadline has as many ticks more than its milliseconds.
    #[inline]
    pub fn start(&self, deadline_ms: u32) -> (u64, u64) {
        let shared = &*self.shared;
        let stride = match deadline_ms {
            SHORT_MS.. => STRIDE,
            _ => self.hurry(deadline_ms),
        };
        let now = self.now();
        let at = now
            .saturating_add(u64::from(deadline_ms))
            .saturating_add(stride + LATE);
        if shared.horizon.load(Ordering::SeqCst) < at {
            shared.horizon.fetch_max(at, Ordering::SeqCst);
        }
        if shared.asleep.load(Ordering::SeqCst) {
            self.thread.0.unpark();
        }
        (now, at)
    }

    /// Has single ticks counted until a short call must be over; answers how many are counted at a time by now.
    #[inline]
    fn hurry(&self, deadline_ms: u32) -> u64 {
        let shared = &*self.shared;
        let until = self.now() + u64::from(deadline_ms) + STRIDE + LATE;
        if shared.short_horizon.load(Ordering::SeqCst) < until {
            shared.short_horizon.fetch_max(until, Ordering::SeqCst);
        }
        let stride = shared.stride.load(Ordering::SeqCst);
        if stride > 1 {
            self.thread.0.unpark();
        }
        stride
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

    /// Settles how many ticks the thread counts next.
    ///
    /// Who begins a short call says so and then looks at the stride, and the thread does it the other way round, so one
    /// of them sees the other.
    fn settle_stride(&self, now: u64) -> u32 {
        self.stride.store(STRIDE, Ordering::SeqCst);
        if now > self.short_horizon.load(Ordering::SeqCst) {
            return STRIDE as u32;
        }
        self.stride.store(1, Ordering::SeqCst);
        1
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
        let stride = shared.settle_stride(now);
        drop(shared);
        thread::park_timeout((PERIOD * stride).saturating_sub(last.elapsed()));
        let Some(shared) = weak.upgrade() else { return };
        let most = last + PERIOD * (stride + LATE as u32);
        let time = Instant::now();
        while last + PERIOD <= time.min(most) {
            last += PERIOD;
            // Whoever begins a call between the two gets a tick more and never one less.
            (shared.on_tick)();
            shared.ticks.fetch_add(1, Ordering::Relaxed);
        }
        if last == most {
            last = time;
            shared.wake(last);
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
    fn the_thread_ends_with_its_ticker() {
        let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
        let before = threads();
        for _ in 0..20 {
            let tickers: Vec<_> = (0..50)
                .map(|_| Ticker::start_with(|| {}).unwrap())
                .collect();
            tickers.iter().for_each(fall_asleep);
        }
        // Other tests have tickers as well, but not as many.
        while threads() > before + 20 {
            sleep(1);
        }
    }

    #[test]
    fn no_call_has_less_than_its_time_whatever_runs_beside_it() {
        let ticker = Ticker::start_with(|| {}).unwrap();
        for round in 0..200 {
            // Each as the count stands: with the thread asleep at first, in strides, or at single ticks.
            let ms = [SHORT_MS + round, 1 + round % 3][usize::from(round % 20 > 3)];
            let begun = Instant::now();
            let (_, deadline) = ticker.start(ms);
            while ticker.now() < deadline {
                thread::yield_now();
            }
            let lasted = begun.elapsed();
            assert!(
                lasted >= Duration::from_millis(ms.into()),
                "{ms}: {lasted:?}"
            );
        }
    }

    #[test]
    fn single_ticks_are_counted_while_a_short_call_may_run() {
        let ticker = Ticker::start_with(|| {}).unwrap();
        let stride = || ticker.shared.stride.load(Ordering::SeqCst);
        for _ in 0..3 {
            ticker.start(10 * SHORT_MS);
            while stride() == 1 {
                sleep(1);
            }
            let (_, deadline) = ticker.start(50);
            while stride() > 1 {
                assert!(ticker.now() < deadline, "nobody hurries");
            }
        }
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
