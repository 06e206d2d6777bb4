//! The sandboxes of one plugin, each on a thread of its own, behind one bounded queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};
use engine_core::error::{Error, ErrorKind, Result};

use crate::vm::{Code, Vm};

/// How long a thread looks for what comes next before it goes to sleep: about what falling asleep and waking costs.
const SPIN: Duration = Duration::from_micros(20);

type Task = Box<dyn FnOnce(&mut dyn Vm) + Send>;

/// The threads of one plugin.
#[derive(Debug)]
pub(crate) struct Pool {
    tasks: Sender<Task>,
    timeout: Duration,
    spins: bool,
}

// What has become of a task, so that nobody works for a caller that has gone.
const WAITING: u8 = 0;
const STARTED: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Pool {
    /// Starts so many threads and waits until each has made its sandbox.
    ///
    /// # Errors
    /// The first sandbox's that does not start; `internal` where there is no thread.
    pub(crate) fn start(
        code: &Arc<dyn Code>,
        name: &str,
        threads: usize,
        queue: usize,
        timeout: Duration,
    ) -> Result<Self> {
        let (tasks, receiver) = bounded(queue);
        let (ready, started) = bounded(threads);
        let spins = thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        let spinning = Arc::new(AtomicUsize::new(0));
        for number in 0..threads {
            let worker = Worker {
                code: Arc::clone(code),
                tasks: receiver.clone(),
                spinning: spins.then(|| Arc::clone(&spinning)),
            };
            let ready = ready.clone();
            let thread = thread::Builder::new().name(format!("{name}/{number}"));
            let spawned = thread.spawn(move || worker.run(&ready));
            spawned.map_err(|error| {
                Error::new(ErrorKind::Internal, "no thread for an instance").with_source(error)
            })?;
        }
        drop(ready);
        for _ in 0..threads {
            let started = started.recv();
            started
                .map_err(|_| Error::new(ErrorKind::Internal, "an instance's thread ended"))??;
        }
        Ok(Self {
            tasks,
            timeout,
            spins,
        })
    }

    /// Runs `work` on a sandbox of the pool and waits for what it answers.
    ///
    /// # Errors
    /// `busy` where no sandbox was free in time; `internal` where the host itself panicked.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Vm) -> T + Send + 'static,
    ) -> Result<T> {
        let until = Instant::now() + self.timeout;
        let (reply, answer) = oneshot::channel();
        let state = Arc::new(AtomicU8::new(WAITING));
        let shared = Arc::clone(&state);
        let task: Task = Box::new(move |vm| {
            if shared
                .compare_exchange(WAITING, STARTED, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
            {
                // Nobody may be waiting any more only if their thread has ended.
                let _ = reply.send(work(vm));
            }
        });
        self.tasks
            .send_timeout(task, self.timeout)
            .map_err(|error| match error {
                SendTimeoutError::Timeout(_) => self.busy(),
                SendTimeoutError::Disconnected(_) => {
                    Error::new(ErrorKind::Stopped, "the plugin was removed")
                }
            })?;
        let lost = || Error::new(ErrorKind::Internal, "the host panicked in this call");
        if self.spins {
            let spin_until = Instant::now() + SPIN;
            while Instant::now() < spin_until {
                match answer.try_recv() {
                    Ok(value) => return Ok(value),
                    Err(oneshot::TryRecvError::Empty) => std::hint::spin_loop(),
                    Err(oneshot::TryRecvError::Disconnected) => return Err(lost()),
                }
            }
        }
        match answer.recv_deadline(until) {
            Ok(value) => Ok(value),
            Err(oneshot::RecvTimeoutError::Disconnected) => Err(lost()),
            Err(oneshot::RecvTimeoutError::Timeout) => {
                let given_up =
                    state.compare_exchange(WAITING, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire);
                match given_up {
                    Ok(_) => Err(self.busy()),
                    // It has begun, and has a deadline of its own.
                    Err(_) => answer.recv().map_err(|_| lost()),
                }
            }
        }
    }

    fn busy(&self) -> Error {
        let ms = self.timeout.as_millis();
        let message = format!(
            "no instance was free within {ms} ms; try again later, or give the plugin more instances"
        );
        Error::new(ErrorKind::Busy, message)
    }
}

struct Worker {
    code: Arc<dyn Code>,
    tasks: Receiver<Task>,
    /// How many threads of the pool look for tasks without sleeping; not there where that does not pay.
    spinning: Option<Arc<AtomicUsize>>,
}

impl Worker {
    fn run(self, ready: &Sender<Result<()>>) {
        let mut vm = match self.code.start() {
            Ok(vm) => {
                let _ = ready.send(Ok(()));
                vm
            }
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        while let Some(task) = self.next() {
            let done = catch_unwind(AssertUnwindSafe(|| task(&mut *vm)));
            if done.is_err() {
                // What the panic left behind is not looked at again.
                match self.code.start() {
                    Ok(new) => vm = new,
                    Err(_) => return,
                }
            }
            vm.prepare();
        }
    }

    /// The next task; one thread at a time looks for it without sleeping, for a little while.
    fn next(&self) -> Option<Task> {
        if let Some(spinning) = &self.spinning {
            if spinning.fetch_add(1, Ordering::AcqRel) == 0 {
                let until = Instant::now() + SPIN;
                while Instant::now() < until {
                    if let Ok(task) = self.tasks.try_recv() {
                        spinning.fetch_sub(1, Ordering::AcqRel);
                        return Some(task);
                    }
                    std::hint::spin_loop();
                }
            }
            spinning.fetch_sub(1, Ordering::AcqRel);
        }
        self.tasks.recv().ok()
    }
}
