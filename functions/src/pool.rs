//! The sandboxes of one plugin, each on a thread of its own, behind one bounded queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::panics::caught;

use crate::vm::{Code, Vm};

/// How long a thread looks for what comes next before it goes to sleep: about what falling asleep and waking costs.
const SPIN: Duration = Duration::from_micros(20);

/// Longer than anybody waits, and short enough for every clock: a sum of any two times would not be.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The instant so far ahead.
pub(crate) fn after(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(FAR)
}

/// What is to be done on a sandbox, or told why there is none.
type Task = Box<dyn FnOnce(Result<&mut dyn Vm>) + Send>;

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
            let spawned = thread.spawn(move || worker.run(ready));
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
    /// `busy` where no sandbox was free in time; `internal` where the host itself panicked; the sandbox's where it does not
    /// start again.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Vm) -> T + Send + 'static,
    ) -> Result<T> {
        let until = after(self.timeout);
        let (reply, answer) = oneshot::channel();
        let state = Arc::new(AtomicU8::new(WAITING));
        let shared = Arc::clone(&state);
        let task: Task = Box::new(move |vm| {
            if shared
                .compare_exchange(WAITING, STARTED, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
            {
                // Nobody may be waiting any more only if their thread has ended.
                let _ = reply.send(vm.map(work));
            }
        });
        self.tasks
            .send_deadline(task, until)
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
                    Ok(result) => return result,
                    Err(oneshot::TryRecvError::Empty) => std::hint::spin_loop(),
                    Err(oneshot::TryRecvError::Disconnected) => return Err(lost()),
                }
            }
        }
        match answer.recv_deadline(until) {
            Ok(result) => result,
            Err(oneshot::RecvTimeoutError::Disconnected) => Err(lost()),
            Err(oneshot::RecvTimeoutError::Timeout) => {
                let given_up =
                    state.compare_exchange(WAITING, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire);
                match given_up {
                    Ok(_) => Err(self.busy()),
                    // It has begun, and has a deadline of its own.
                    Err(_) => answer.recv().unwrap_or_else(|_| Err(lost())),
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
    fn run(self, ready: Sender<Result<()>>) {
        let mut vm = self.start();
        let _ = ready.send(vm.as_ref().map(|_| ()).map_err(Error::clone));
        // Whoever waits for it is to notice when there is no thread left that could tell.
        drop(ready);
        if vm.is_err() {
            return;
        }
        while let Some(task) = self.next() {
            if vm.is_err() {
                vm = self.start();
            }
            let done = match &mut vm {
                Ok(vm) => caught(|| {
                    task(Ok(&mut **vm));
                    vm.prepare();
                }),
                Err(error) => {
                    task(Err(error.clone()));
                    continue;
                }
            };
            if done.is_none() {
                // What the panic left behind is not looked at again.
                vm = self.start();
            }
        }
    }

    /// Makes a sandbox; where that fails, so does the next task alone, and the thread stays.
    fn start(&self) -> Result<Box<dyn Vm>> {
        caught(|| self.code.start()).unwrap_or_else(|| {
            let message = "the host panicked while it started an instance";
            Err(Error::new(ErrorKind::Internal, message))
        })
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::signature::Function;
    use crate::value::Value;

    /// Code whose starts are numbered from 0, and go as this function says.
    #[derive(Debug)]
    struct Starts(AtomicUsize, fn(usize) -> Result<()>);

    impl Code for Starts {
        fn functions(&self) -> &[Function] {
            &[]
        }

        fn start(&self) -> Result<Box<dyn Vm>> {
            (self.1)(self.0.fetch_add(1, Ordering::Relaxed))?;
            Ok(Box::new(Nothing))
        }
    }

    struct Nothing;

    impl Vm for Nothing {
        fn call(&mut self, _function: usize, _args: &[Value]) -> Result<Value> {
            Ok(Value::Null)
        }

        fn prepare(&mut self) {}
    }

    fn pool(threads: usize, starts: fn(usize) -> Result<()>) -> Result<Pool> {
        let code: Arc<dyn Code> = Arc::new(Starts(AtomicUsize::new(0), starts));
        Pool::start(&code, "test", threads, 4, Duration::MAX)
    }

    #[test]
    fn a_sandbox_that_does_not_start_again_fails_its_task_and_the_next_one_tries_anew() {
        let pool = pool(1, |number| match number {
            1 => Err(Error::new(ErrorKind::Trap, "not now")),
            2 => Err(Error::new(ErrorKind::Trap, "not yet")),
            3 => panic!("not even so"),
            _ => Ok(()),
        });
        let pool = pool.unwrap();
        let call = || pool.run(|vm| vm.call(0, &[]))?;
        assert_eq!(call().unwrap(), Value::Null);
        let lost = pool.run(|_| -> u8 { panic!("in a task") }).unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::Internal);
        assert_eq!(call().unwrap_err().message(), "not yet");
        assert_eq!(call().unwrap_err().kind(), ErrorKind::Internal);
        assert_eq!(call().unwrap(), Value::Null);
    }

    #[test]
    fn a_panic_in_one_start_of_several_is_told() {
        let (told, outcome) = mpsc::channel();
        thread::spawn(move || {
            let started = pool(3, |number| {
                assert_ne!(number, 1);
                Ok(())
            });
            let _ = told.send(started.map(drop).map_err(|error| error.kind()));
        });
        let outcome = outcome.recv_timeout(Duration::from_secs(60));
        assert_eq!(outcome.unwrap(), Err(ErrorKind::Internal));
    }
}
