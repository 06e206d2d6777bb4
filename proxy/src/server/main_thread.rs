//! The main thread: it starts workers, has machines of its own for ticks and services, answers about the proxy, and takes up
//! other configurations.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use engine_core::error::{Error, ErrorKind, Result};
use filters::Level;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use super::Listening;
use super::admin::Admin;
use super::end::Drain;
use super::generation::{Generation, Options};
use super::lines::Lines;
use super::site::Site;
use super::worker::{self, Sockets, WorkerThread, io, runtime};
use crate::config::{Config, Notice};

/// How often the configuration's file is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How long a worker may take for its end once its streams have had their time.
const GRACE: Duration = Duration::from_secs(1);

/// How long lines and tasks that are left at the end have.
const LAST: Duration = Duration::from_secs(1);

/// A proxy that is about to serve.
#[derive(Debug)]
pub struct Proxy {
    path: PathBuf,
    options: Options,
    /// Where native filters' tasks run: a task that blocks holds up no worker.
    tasks: Tasks,
    lines: Arc<Lines>,
}

/// A runtime whose end waits for no task that is stuck.
#[derive(Debug)]
struct Tasks(Option<Runtime>);

impl Drop for Tasks {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(LAST);
        }
    }
}

/// Done when the process is asked to end: by SIGTERM or SIGINT. A second one of them ends the process at once.
///
/// It needs tokio's `LocalSet`, in which [`Proxy::run`] polls it.
pub async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        // Without handlers both end the process at once.
        return std::future::pending().await;
    };
    let mut next = async move || {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    next().await;
    tokio::task::spawn_local(async move {
        next().await;
        std::process::exit(1);
    });
}

impl Proxy {
    /// A proxy for the configuration in a file.
    ///
    /// # Errors
    /// `io` where the system has no threads for the tasks of native filters, and for the access logs.
    pub fn new(path: &Path, options: Options) -> Result<Self> {
        let tasks = tokio::runtime::Builder::new_multi_thread()
            .thread_name("filter-task")
            .enable_all()
            .build();
        let dropped = "access_log.lines_dropped_total";
        let lines = Lines::new(std::io::stdout(), &options.metrics, dropped).map_err(io)?;
        Ok(Self {
            path: path.to_owned(),
            options,
            tasks: Tasks(Some(tasks.map_err(io)?)),
            lines: Arc::new(lines),
        })
    }

    /// Reads and prepares the configuration as for serving it, without opening anything; answers what would be done in
    /// the proxy's own way.
    ///
    /// # Errors
    /// Those of [`Config::load`], and everything that cannot be prepared: files that are missing, modules that would not
    /// run, certificates that cannot be read, filters that refuse their configuration.
    pub fn validate(&self) -> Result<Vec<Notice>> {
        let (generation, notices) = self.prepare()?;
        let local = LocalSet::new();
        let started = async { Site::start(&generation, true).map(drop) };
        local.block_on(&runtime()?, started)?;
        Ok(notices)
    }

    /// Serves until `stop` is done, which is told once where the proxy listens and what it does in its own way.
    ///
    /// Where the file changes to another configuration that can be served, new connections are; old ones are told to end,
    /// and their streams end on what they began on, within 10 minutes. Where it cannot, that is logged and nothing changes.
    /// At the end streams have 25 seconds; nothing that is stuck then is waited for.
    ///
    /// # Errors
    /// Those of the first configuration, and `io` where an address cannot be listened on.
    pub fn run<F: Future<Output = ()>>(
        &self,
        started: impl FnOnce(&[Listening], &[Notice]),
        stop: F,
    ) -> Result<()> {
        let runtime = runtime()?;
        let local = LocalSet::new();
        let served = local.block_on(&runtime, self.serve(started, stop));
        drop(local);
        // A name that is still being looked up is of no use any more.
        runtime.shutdown_background();
        served
    }

    async fn serve<F: Future<Output = ()>>(
        &self,
        started: impl FnOnce(&[Listening], &[Notice]),
        stop: F,
    ) -> Result<()> {
        let mut seen = modified(&self.path);
        let (generation, notices) = self.prepare()?;
        // On this thread first: what a plugin refuses, it refuses once.
        let mut site = Site::start(&generation, true)?;
        let (mut sockets, listeners) = Sockets::default().open(&generation)?;
        let mut workers = Vec::new();
        for number in 0..self.options.concurrency.max(1) {
            workers.push(WorkerThread::spawn(number)?);
        }
        worker::serve_all(&workers, &generation, &listeners).await?;
        let mut listening = Vec::new();
        for (listener, socket) in generation.bootstrap.listeners.iter().zip(&listeners) {
            listening.push(Listening {
                name: listener.name.clone(),
                address: socket.local_addr().map_err(io)?,
            });
        }
        let admin = Admin::default();
        let moved = admin.moved(generation.bootstrap.admin, &self.options);
        let mut admin = moved.await?.unwrap_or(admin);
        listening.extend(admin.address().map(|address| Listening {
            name: "admin".into(),
            address,
        }));
        drop(listeners);
        started(&listening, &notices);
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = tokio::time::sleep(LOOK) => {}
            }
            let now = modified(&self.path);
            if now == seen {
                continue;
            }
            seen = now;
            match self.reload(&mut sockets, &mut admin, &workers).await {
                Ok(next) => {
                    site.drain(Drain::Replaced);
                    site = next;
                    self.log(Level::Info, "the configuration was taken up");
                }
                Err(error) => {
                    let line = format!(
                        "the configuration was not taken up, what was served is served on: {error}"
                    );
                    self.log(Level::Error, &line);
                }
            }
        }
        let time = Drain::Stopping.bound().unwrap_or_default() + GRACE;
        let stuck = worker::stop_all(&workers, time).await;
        if stuck > 0 {
            self.log(
                Level::Error,
                &format!("{stuck} workers did not end in time"),
            );
        }
        self.lines.flush(LAST);
        Ok(())
    }

    fn prepare(&self) -> Result<(Arc<Generation>, Vec<Notice>)> {
        let Config { bootstrap, notices } = Config::load(&self.path)?;
        let file = self.path.display().to_string();
        let tasks = self.tasks.0.as_ref();
        let tasks = tasks.ok_or_else(|| Error::new(ErrorKind::Stopped, "the proxy has ended"))?;
        let tasks = tasks.handle();
        let generation = Generation::prepare(bootstrap, file, &self.options, tasks, &self.lines)?;
        Ok((generation, notices))
    }

    async fn reload(
        &self,
        sockets: &mut Sockets,
        admin: &mut Admin,
        workers: &[WorkerThread],
    ) -> Result<Rc<Site>> {
        let (generation, notices) = self.prepare()?;
        let site = Site::start(&generation, true)?;
        let moved = admin.moved(generation.bootstrap.admin, &self.options);
        let moved = moved.await?;
        let (opened, listeners) = sockets.open(&generation)?;
        worker::serve_all(workers, &generation, &listeners).await?;
        *sockets = opened;
        if let Some(moved) = moved {
            *admin = moved;
        }
        for notice in notices {
            self.log(Level::Info, &format!("{}:{notice}", self.path.display()));
        }
        self.options.metrics.count("proxy.reloads_total");
        Ok(site)
    }

    fn log(&self, level: Level, line: &str) {
        if level >= self.options.level {
            (self.options.log)(level, "proxy", line);
        }
    }
}

/// When a file was changed, and how long it is; none where it is not there, which a change in two steps may leave for a
/// moment.
fn modified(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
