//! A worker: a thread that accepts connections and serves them on its site.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use engine_core::error::{Error, ErrorKind, Result};
use filters::{Level, Worker as _};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle as Task, LocalSet, spawn_local};
use tokio::time::{Instant, sleep};

use super::connection::serve;
use super::end::Drain;
use super::generation::Generation;
use super::site::Site;

/// What a worker is told.
pub(crate) enum Order {
    /// Make ready to serve new connections on this generation, which listens here.
    Prepare(
        Arc<Generation>,
        Vec<Arc<StdListener>>,
        oneshot::Sender<Result<()>>,
    ),
    /// Serve new connections on what was made ready.
    Commit(oneshot::Sender<()>),
    /// Forget what was made ready.
    Abandon,
    /// Let all connections end, and end then.
    Stop,
}

/// A worker, as its owner has it.
#[derive(Debug)]
pub(crate) struct WorkerThread {
    orders: mpsc::UnboundedSender<Order>,
    thread: JoinHandle<()>,
}

impl WorkerThread {
    /// Starts a thread.
    ///
    /// # Errors
    /// `io` where the system has none.
    pub(crate) fn spawn(number: usize) -> Result<Self> {
        let (orders, receive) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name(format!("worker-{number}"));
        let thread = thread.spawn(move || run(receive)).map_err(io)?;
        Ok(Self { orders, thread })
    }

    /// Gives the worker a generation, and waits until it could serve it; it serves what it served before.
    ///
    /// # Errors
    /// Those of [`Site::start`], and `io` where it cannot listen.
    async fn prepare(
        &self,
        generation: &Arc<Generation>,
        listeners: &[Arc<StdListener>],
    ) -> Result<()> {
        self.order(|done| Order::Prepare(Arc::clone(generation), listeners.to_vec(), done))
            .await?
    }

    /// Gives an order, and waits for the answer.
    async fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T> {
        let (done, answer) = oneshot::channel();
        // A worker that has stopped answers nothing.
        let _ = self.orders.send(order(done));
        let gone = || Error::new(ErrorKind::Stopped, "a worker has stopped");
        answer.await.map_err(|_| gone())
    }
}

/// Lets all workers end their connections, and waits for their ends for a time; answers how many have not ended then.
pub(crate) async fn stop_all(workers: &[WorkerThread], time: Duration) -> usize {
    for worker in workers {
        // One that has stopped has said why itself.
        let _ = worker.orders.send(Order::Stop);
    }
    let until = Instant::now() + time;
    loop {
        let running = workers.iter().filter(|worker| !worker.thread.is_finished());
        let running = running.count();
        if running == 0 || Instant::now() >= until {
            return running;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Lets all workers serve a generation, once each of them can.
///
/// # Errors
/// Those of the first worker that cannot; all serve what they served before then.
pub(crate) async fn serve_all(
    workers: &[WorkerThread],
    generation: &Arc<Generation>,
    listeners: &[Arc<StdListener>],
) -> Result<()> {
    for (number, worker) in workers.iter().enumerate() {
        if let Err(error) = worker.prepare(generation, listeners).await {
            for worker in workers {
                // One that has stopped has nothing to forget.
                let _ = worker.orders.send(Order::Abandon);
            }
            return Err(error.at(|| format!("worker {number}")));
        }
    }
    for worker in workers {
        // One that has stopped by now has said so itself, and what others serve does not change with it.
        let _ = worker.order(Order::Commit).await;
    }
    Ok(())
}

pub(crate) fn io(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, error.to_string()).with_source(error)
}

/// The runtime of one thread.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().map_err(io)
}

fn run(orders: mpsc::UnboundedReceiver<Order>) {
    match runtime() {
        Ok(runtime) => LocalSet::new().block_on(&runtime, obey(orders)),
        // Whoever waits for an answer sees that there is none.
        Err(error) => drop(error),
    }
}

/// A site that could accept connections.
struct Ready {
    site: Rc<Site>,
    listeners: Vec<TcpListener>,
}

impl Ready {
    fn new(generation: &Arc<Generation>, listeners: &[Arc<StdListener>]) -> Result<Self> {
        let site = Site::start(generation, false)?;
        let listeners = listeners.iter().map(|listener| {
            let listener = listener.try_clone().and_then(TcpListener::from_std);
            listener.map_err(io)
        });
        Ok(Self {
            site,
            listeners: listeners.collect::<Result<_>>()?,
        })
    }

    fn accept(self) -> Serving {
        let site = self.site;
        let accepting = self.listeners.into_iter().enumerate();
        let accepting = accepting
            .map(|(number, listener)| spawn_local(accept(Rc::clone(&site), number, listener)))
            .collect();
        Serving { site, accepting }
    }
}

/// A site that accepts connections.
struct Serving {
    site: Rc<Site>,
    accepting: Vec<Task<()>>,
}

impl Serving {
    /// Accepts no more, and lets connections end.
    fn retire(self, why: Drain) -> Rc<Site> {
        self.accepting.iter().for_each(Task::abort);
        self.site.drain(why);
        self.site
    }
}

async fn obey(mut orders: mpsc::UnboundedReceiver<Order>) {
    let mut serving: Option<Serving> = None;
    let mut ready: Option<Ready> = None;
    // Sites that have connections still.
    let mut old: Vec<Weak<Site>> = Vec::new();
    while let Some(order) = orders.recv().await {
        match order {
            Order::Prepare(generation, listeners, done) => {
                let made = Ready::new(&generation, &listeners);
                // Who gave the order may be gone.
                let _ = done.send(made.map(|made| ready = Some(made)));
            }
            Order::Commit(done) => {
                if let Some(ready) = ready.take() {
                    old.retain(|site| site.strong_count() > 0);
                    if let Some(replaced) = serving.replace(ready.accept()) {
                        old.push(Rc::downgrade(&replaced.retire(Drain::Replaced)));
                    }
                }
                let _ = done.send(());
            }
            Order::Abandon => ready = None,
            Order::Stop => break,
        }
    }
    let mut sites: Vec<_> = old.iter().filter_map(Weak::upgrade).collect();
    sites.iter().for_each(|site| site.drain(Drain::Stopping));
    sites.extend(serving.map(|serving| serving.retire(Drain::Stopping)));
    // Connections keep to the time that they have.
    while sites.iter().any(|site| site.connections.get() > 0) {
        sleep(Duration::from_millis(10)).await;
    }
}

async fn accept(site: Rc<Site>, number: usize, listener: TcpListener) {
    let name = &site.generation.bootstrap.listeners[number].name;
    let total = format!("listener.{name}.connections_total");
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                site.world.metrics().count(&total);
                // Small answers are not held back for more.
                let _ = socket.set_nodelay(true);
                spawn_local(serve(Rc::clone(&site), number, socket, peer));
            }
            Err(error) => {
                let line = format!("listener `{name}` cannot accept: {error}");
                site.world.log(Level::Error, "proxy", &line);
                // Out of descriptors, most likely: others will be given back.
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// The sockets of a process's listeners, kept across generations.
#[derive(Debug, Default)]
pub(crate) struct Sockets(BTreeMap<SocketAddr, Arc<StdListener>>);

impl Sockets {
    /// The sockets of a generation, and the same in the order of its listeners; those of addresses that are open already
    /// are among them.
    ///
    /// # Errors
    /// `io` with the address that cannot be listened on.
    pub(crate) fn open(&self, generation: &Generation) -> Result<(Self, Vec<Arc<StdListener>>)> {
        let mut all = Vec::new();
        let mut kept = BTreeMap::new();
        for listener in &generation.bootstrap.listeners {
            let address = listener.address;
            // One that was asked for any port has one now.
            let is_there = |socket: &&Arc<StdListener>| {
                socket.local_addr().is_ok_and(|local| local == address)
            };
            let open = self.0.get(&address).or(self.0.values().find(is_there));
            let socket = match open {
                Some(socket) => Arc::clone(socket),
                None => Arc::new(bind(address)?),
            };
            kept.insert(address, Arc::clone(&socket));
            all.push(socket);
        }
        Ok((Self(kept), all))
    }
}

fn bind(address: SocketAddr) -> Result<StdListener> {
    let open = || {
        let socket = StdListener::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    open().map_err(|error: std::io::Error| {
        let message = format!("cannot listen on {address}: {error}");
        Error::new(ErrorKind::Io, message).with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_is_stuck_is_not_waited_for() {
        let (release, stuck) = std::sync::mpsc::channel::<()>();
        let (orders, _) = mpsc::unbounded_channel();
        let thread = std::thread::spawn(move || {
            let _ = stuck.recv();
        });
        let workers = [
            WorkerThread { orders, thread },
            WorkerThread::spawn(1).expect("a thread"),
        ];
        let soon = Duration::from_millis(500);
        assert_eq!(stop_all(&workers, soon).await, 1);
        drop(release);
        assert_eq!(stop_all(&workers, Duration::from_secs(60)).await, 0);
    }
}
