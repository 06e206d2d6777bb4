//! Lines that a thread of their own writes: where nobody reads them, no stream waits.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use filters::metrics::Metrics;

/// Bytes of lines that wait at most.
const MOST: usize = 4 << 20;

/// Bytes that are written together, about.
const BATCH: usize = 64 << 10;

/// Lines on their way to who may not read them.
///
/// Up to 4 MiB of them wait; beyond that they are dropped and counted. A line that cannot be written is lost without a word.
pub struct Lines {
    send: Sender<Message>,
    waiting: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
    dropped: &'static str,
}

enum Message {
    Line(String),
    /// Everything before this is to be written; dropped when it is.
    Flush(Sender<()>),
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

impl Lines {
    /// Lines to be written there. A metric of this name counts those that are dropped.
    ///
    /// # Errors
    /// Where the system has no thread for them.
    pub fn new(
        to: impl Write + Send + 'static,
        metrics: &Arc<Metrics>,
        dropped: &'static str,
    ) -> io::Result<Self> {
        let (send, receive) = mpsc::channel();
        let waiting = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&waiting);
        let thread = std::thread::Builder::new().name("lines".into());
        thread.spawn(move || write(to, &receive, &count))?;
        Ok(Self {
            send,
            waiting,
            metrics: Arc::clone(metrics),
            dropped,
        })
    }

    /// Lets a line be written, with whatever ends it.
    pub fn put(&self, line: String) {
        let size = line.len();
        if self.waiting.fetch_add(size, Ordering::Relaxed) + size > MOST {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
            return self.metrics.count(self.dropped);
        }
        // A writer that is gone has panicked, and said so.
        let _ = self.send.send(Message::Line(line));
    }

    /// Waits until everything that was put before is written, or so long.
    pub fn flush(&self, most: Duration) {
        let (written, wait) = mpsc::channel();
        let _ = self.send.send(Message::Flush(written));
        // It ends by the other side's leaving, or is over.
        let _ = wait.recv_timeout(most);
    }
}

/// Writes until nobody puts lines any more.
fn write(mut to: impl Write, receive: &Receiver<Message>, waiting: &AtomicUsize) {
    while let Ok(first) = receive.recv() {
        let mut text = String::new();
        let mut flushed = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next.take() {
            match message {
                Message::Line(line) => text.push_str(&line),
                Message::Flush(written) => flushed.push(written),
            }
            if text.len() < BATCH {
                next = receive.try_recv().ok();
            }
        }
        // Where nobody reads, nothing is missed.
        let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
        waiting.fetch_sub(text.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes bytes only while the other side lets it.
    struct Slow(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_nobody_reads_are_dropped_and_counted_and_hold_nobody_up() {
        let (allow, allowed) = mpsc::channel();
        let (send, written) = mpsc::channel();
        let metrics = Arc::<Metrics>::default();
        let lines = Lines::new(Slow(allowed, send), &metrics, "dropped").expect("a thread");
        let line = "x".repeat(MOST / 4);
        for _ in 0..10 {
            lines.put(line.clone());
        }
        lines.flush(Duration::from_millis(1));
        assert_eq!(metrics.get("dropped").map(|metric| metric.get()), Some(6));
        for _ in 0..5 {
            allow.send(()).expect("somebody waits");
        }
        lines.flush(Duration::from_secs(60));
        let bytes: usize = written.try_iter().map(|bytes| bytes.len()).sum();
        assert_eq!(bytes, MOST);
        lines.put("last\n".into());
        lines.flush(Duration::from_secs(60));
        assert_eq!(written.try_iter().collect::<Vec<_>>(), [b"last\n"]);
    }
}
