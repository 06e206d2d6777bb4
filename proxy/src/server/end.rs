//! How a connection ends: when it has been idle, when it is told to, and without its streams' being cut before they may be.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

use super::connection::{BoxIo, Connection};

/// Whether connections should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drain {
    /// They go on.
    No,
    /// Another configuration has taken the place of theirs.
    Replaced,
    /// The process ends.
    Stopping,
}

impl Drain {
    /// How long streams may go on then; for ever where connections need not end.
    pub(crate) fn bound(self) -> Option<Duration> {
        match self {
            Self::No => None,
            Self::Replaced => Some(Duration::from_secs(600)),
            // Less than the 30 seconds that Kubernetes leaves.
            Self::Stopping => Some(Duration::from_secs(25)),
        }
    }
}

/// Waits until connections should end.
pub(crate) async fn told(drain: &mut watch::Receiver<Drain>) -> Drain {
    match drain.wait_for(|drain| *drain != Drain::No).await {
        Ok(drain) => *drain,
        // Whoever would say it is gone, and with him the reason to go on.
        Err(_) => Drain::Stopping,
    }
}

/// Waits until streams have had the time that they may take.
pub(crate) async fn expired(mut drain: watch::Receiver<Drain>) {
    loop {
        let now = *drain.borrow_and_update();
        let bound = async {
            match now.bound() {
                Some(bound) => sleep(bound).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = bound => return,
            changed = drain.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// What the streams of a connection tell of it.
#[derive(Debug, Default)]
pub(crate) struct Life {
    /// Streams under way.
    open: Cell<usize>,
    /// Streams that began.
    begun: Cell<u64>,
    /// Writes to the client.
    written: Cell<u64>,
    /// HTTP/2 is spoken, which has words for an end of its own.
    pub(crate) is_http2: Cell<bool>,
    /// The client may still send what nobody reads.
    pub(crate) has_unread: Cell<bool>,
    /// The connection was closed above its streams.
    pub(crate) is_cut: Cell<bool>,
}

impl Life {
    pub(crate) fn begin(&self) {
        self.open.set(self.open.get() + 1);
        self.begun.set(self.begun.get() + 1);
    }

    pub(crate) fn end(&self) {
        self.open.set(self.open.get() - 1);
    }

    /// Waits until no stream has been for so long.
    pub(crate) async fn idle(&self, time: Duration) {
        self.still(time, || self.begun.get()).await;
    }

    /// Waits until no stream has been, and the client has taken nothing, for so long.
    pub(crate) async fn stalled(&self, time: Duration) {
        self.still(time, || self.begun.get() + self.written.get())
            .await;
    }

    /// Waits until no stream has been and a count has not changed for so long, or up to a quarter longer, so that streams
    /// need not ask for the time.
    async fn still(&self, time: Duration, count: impl Fn() -> u64) {
        let mut quiet = 0;
        let mut last = count();
        while quiet < 5 {
            sleep(time / 4).await;
            let is_quiet = self.open.get() == 0 && count() == last;
            quiet = if is_quiet { quiet + 1 } else { 0 };
            last = count();
        }
    }
}

/// The bytes of a client, who is read to the end where his request was answered before he had sent it all: he would be
/// reset otherwise, and might never see the answer.
pub(crate) struct Lingering {
    io: BoxIo,
    connection: Rc<Connection>,
    /// How long he is read at most.
    time: Duration,
    until: Option<Pin<Box<Sleep>>>,
}

impl Lingering {
    pub(crate) fn new(io: BoxIo, connection: &Rc<Connection>, time: Duration) -> Self {
        Self {
            io,
            connection: Rc::clone(connection),
            time,
            until: None,
        }
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let count = &self.connection.life.written;
        count.set(count.get() + u64::from(written.is_ready()));
        written
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, bytes);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self {
            io,
            connection,
            time,
            until,
        } = &mut *self;
        if until.is_none() {
            std::task::ready!(Pin::new(&mut *io).poll_shutdown(context))?;
            if !connection.life.has_unread.get() || time.is_zero() {
                return Poll::Ready(Ok(()));
            }
        }
        let until = until.get_or_insert_with(|| Box::pin(sleep(*time)));
        let mut scratch = [std::mem::MaybeUninit::uninit(); 4096];
        // A client who always has more to say leaves other tasks their turn: tokio's sockets see to that.
        while until.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::uninit(&mut scratch);
            match std::task::ready!(Pin::new(&mut *io).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_only_without_streams() {
        let life = Life::default();
        let hour = Duration::from_secs(3600);
        life.begin();
        let idle = life.idle(hour);
        tokio::pin!(idle);
        let waits = tokio::time::timeout(10 * hour, idle.as_mut()).await;
        assert!(waits.is_err());
        life.end();
        let ended = tokio::time::Instant::now();
        idle.await;
        assert!(
            (hour..=hour * 5 / 4).contains(&ended.elapsed()),
            "{:?}",
            ended.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn streams_have_longer_for_another_configuration_than_for_the_end() {
        let (send, drain) = watch::channel(Drain::No);
        let start = tokio::time::Instant::now();
        send.send_replace(Drain::Replaced);
        expired(drain.clone()).await;
        assert_eq!(start.elapsed().as_secs(), 600);
        let both = async {
            sleep(Duration::from_secs(100)).await;
            send.send_replace(Drain::Stopping);
        };
        tokio::join!(expired(drain), both);
        assert_eq!(start.elapsed().as_secs(), 600 + 100 + 25);
    }
}
