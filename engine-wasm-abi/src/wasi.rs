//! The small deterministic part of WASI preview 1 for guests whose toolchain insists on it.
//!
//! Output becomes lines of the log, the clock stands still at the invocation's time, and random bytes are the
//! invocation's. Outside of an invocation output is dropped, the clock is at 1 µs, since Go does not start at 0, and random
//! bytes are 0.

use std::cell::{Cell, RefCell};

use engine_core::error::{Error, ErrorKind, Result};

use crate::inspect::ValType;
use crate::memory::{bytes, bytes_mut, numbers, write};
use crate::runtime::HostCall::{Many, N1, R0, R1, R2, R3, R3Long, R4, R4Long, R5};
use crate::runtime::{FunctionMany, Guest, HostCall, HostFunction};

const SUCCESS: i32 = 0;
const EBADF: i32 = 8;
const EINVAL: i32 = 28;
const EIO: i32 = 29;
const ESPIPE: i32 = 70;

/// The microseconds at which the clock stands outside of an invocation.
const AT_START: i64 = 1;

/// How many random bytes an ABI gives at a time.
pub const RANDOM_BLOCK: usize = 32;

/// A line is cut where it grows longer than this, so that a guest that ends none is logged all the same.
const LINE_BYTES: usize = 4096;

/// The most subscriptions of one `poll_oneoff`; no guest has more than a few.
const SUBSCRIPTIONS: u32 = 1024;

/// The most bytes of one `random_get`: each block of them is asked for by itself.
const RANDOM_BYTES: u32 = 1 << 20;

/// The streams' levels in the log: of standard output and of standard error.
const LEVELS: [&str; 2] = ["info", "error"];

/// What the stub asks of the state that an ABI keeps for an instance.
///
/// An error of these ends the guest.
pub trait WasiState: Clone + 'static {
    /// Whether the functions are also there under their older name, `wasi_unstable`.
    const UNSTABLE: bool = false;

    /// What the stub itself keeps for the instance.
    fn wasi(&self) -> &Wasi;

    /// Whether an invocation is running, and not lost already.
    ///
    /// # Errors
    /// What the invocation is lost by.
    fn running(&self) -> Result<bool>;

    /// The invocation's time in microseconds since 1970.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn time(&self) -> Result<i64>;

    /// The invocation's random bytes of this number.
    ///
    /// # Errors
    /// Where they cannot be read.
    fn random(&self, block: i64) -> Result<[u8; RANDOM_BLOCK]>;

    /// Takes a line of the log.
    ///
    /// # Errors
    /// The limit on them.
    fn log(&self, level: &str, line: &str) -> Result<()>;

    /// The environment that the guest sees: `name=value` each, with a NUL behind it.
    fn environment(&self) -> &[u8] {
        &[]
    }
}

/// What the stub keeps for one instance.
#[derive(Debug, Default)]
pub struct Wasi {
    /// Lines that are not ended yet, of each stream.
    lines: RefCell<[Vec<u8>; 2]>,
    /// How many random blocks were taken.
    randoms: Cell<i64>,
}

impl Wasi {
    /// Forgets the invocation before.
    pub fn begin(&self) {
        self.randoms.set(0);
        self.lines.borrow_mut().iter_mut().for_each(Vec::clear);
    }

    fn write<S: WasiState>(&self, state: &S, stream: usize, mut bytes: &[u8]) -> Result<()> {
        let line = &mut self.lines.borrow_mut()[stream];
        loop {
            let room = LINE_BYTES.saturating_sub(line.len()).min(bytes.len());
            let end = bytes[..room].iter().position(|&byte| byte == b'\n');
            line.extend_from_slice(&bytes[..end.unwrap_or(room)]);
            bytes = &bytes[end.map_or(room, |end| end + 1)..];
            if end.is_none() && line.len() < LINE_BYTES {
                return Ok(());
            }
            state.running()?;
            log(state, stream, line)?;
        }
    }

    /// Whether nothing is left to log.
    #[inline]
    pub fn is_flushed(&self) -> bool {
        self.lines.borrow().iter().all(Vec::is_empty)
    }

    /// Logs what is left when an invocation ends.
    ///
    /// # Errors
    /// Those of [`WasiState::log`].
    pub fn flush(&self, state: &impl WasiState) -> Result<()> {
        for (stream, line) in self.lines.borrow_mut().iter_mut().enumerate() {
            if !line.is_empty() {
                log(state, stream, line)?;
            }
        }
        Ok(())
    }
}

fn log(state: &impl WasiState, stream: usize, line: &mut Vec<u8>) -> Result<()> {
    let logged = state.log(LEVELS[stream], &String::from_utf8_lossy(line));
    line.clear();
    logged
}

/// The functions of the stub, for an ABI's state.
pub fn functions<S: WasiState>() -> impl Iterator<Item = &'static HostFunction<S>> {
    let old = S::UNSTABLE.then_some(Stub::<S>::UNSTABLE);
    let all = [Some(Stub::<S>::PREVIEW1), old];
    all.into_iter().flatten().flatten()
}

struct Stub<S>(std::marker::PhantomData<S>);

macro_rules! functions {
    ($module:literal: $($name:literal [$($errno:ident)*] $shape:ident($($arg:tt)*) $answer:expr;)*) => {
        &[
            $(HostFunction {
                module: $module,
                name: $name,
                call: $shape(|$($arg),*| declared($name, &[$($errno),*], $answer)),
            },)*
            HostFunction {
                module: $module,
                name: "proc_exit",
                call: N1(|_, status| {
                    let message = format!("the guest exited with status {status}");
                    Err(Error::new(ErrorKind::Trap, message))
                }),
            },
        ]
    };
}

macro_rules! answers {
    (: $($name:literal [$($errno:ident)*] $shape:ident($($arg:tt)*) $answer:expr;)*) => {
        &[$(($name, &[$($errno),*])),*]
    };
}

/// The functions with the numbers that each one answers, for `functions` under the name of a module, or for `answers`.
macro_rules! stub {
    ($list:ident $($module:literal)?) => {
        $list! { $($module)?:
            "args_get" [SUCCESS] R2(_ _ _) Ok(SUCCESS);
            "args_sizes_get" [SUCCESS] R2(guest count size) nothing_there(guest, count, size);
            "clock_res_get" [SUCCESS] R2(guest _ out) write_u64(guest, out, 1000);
            "clock_time_get" [SUCCESS EIO] R3Long(guest _ _ out) clock_time_get(guest, out);
            "environ_get" [SUCCESS] R2(guest list block) environ_get(guest, list, block);
            "environ_sizes_get" [SUCCESS] R2(guest count size) environ_sizes_get(guest, count, size);
            "fd_close" [SUCCESS EBADF] R1(_ fd) Ok(standard(fd).map_or(EBADF, |_| SUCCESS));
            "fd_fdstat_get" [SUCCESS EBADF] R2(guest fd out) fd_fdstat_get(guest, fd, out);
            "fd_fdstat_set_flags" [SUCCESS EBADF] R2(_ fd _) Ok(standard(fd).map_or(EBADF, |_| SUCCESS));
            "fd_prestat_dir_name" [EBADF] R3(_ _ _ _) Ok(EBADF);
            "fd_prestat_get" [EBADF] R2(_ _ _) Ok(EBADF);
            "fd_read" [SUCCESS EBADF] R4(guest fd _ _ out) fd_read(guest, fd, out);
            "fd_seek" [EBADF ESPIPE] R4Long(_ fd _ _ _) Ok(standard(fd).map_or(EBADF, |_| ESPIPE));
            "fd_write" [SUCCESS EBADF EINVAL] R4(guest fd list count out) fd_write(guest, fd, list, count, out);
            "path_filestat_get" [EBADF] R5(_ _ _ _ _ _) Ok(EBADF);
            "path_open" [EBADF] opening(_ _) Ok(EBADF);
            "poll_oneoff" [SUCCESS EINVAL] R4(guest input out count events) poll_oneoff(guest, input, out, count, events);
            "random_get" [SUCCESS EIO EINVAL] R2(guest at len) random_get(guest, at, len);
            "sched_yield" [SUCCESS] R0(_) Ok(SUCCESS);
        }
    };
}

/// The numbers that a function answers; none for one that answers nothing, and for one that is not here.
pub fn answers(function: &str) -> &'static [i32] {
    const ANSWERS: &[(&str, &[i32])] = stub!(answers);
    let found = ANSWERS.iter().find(|(name, _)| *name == function);
    found.map_or(&[], |(_, answers)| answers)
}

/// What a function answers, which the table above must have of it.
fn declared(name: &str, answers: &[i32], answered: Result<i32>) -> Result<i32> {
    if let Ok(number) = answered {
        debug_assert!(answers.contains(&number), "`{name}` answers {number}");
    }
    answered
}

/// Descriptor, flags, path, its length, flags, rights, inherited rights, flags, where the descriptor goes.
const PATH_OPEN: &[ValType] = {
    use ValType::{I32, I64};
    &[I32, I32, I32, I32, I32, I64, I64, I32, I32]
};

const fn opening<S>(call: FunctionMany<S>) -> HostCall<S> {
    Many(PATH_OPEN, call)
}

impl<S: WasiState> Stub<S> {
    const PREVIEW1: &'static [HostFunction<S>] = stub!(functions "wasi_snapshot_preview1");
    const UNSTABLE: &'static [HostFunction<S>] = stub!(functions "wasi_unstable");
}

/// The rights of a standard stream; `None` for any other descriptor.
fn standard(fd: i32) -> Option<u64> {
    const READ: u64 = 1 << 1;
    const WRITE: u64 = 1 << 6;
    match fd {
        0 => Some(READ),
        1 | 2 => Some(WRITE),
        _ => None,
    }
}

fn write_u32<S>(guest: &mut dyn Guest<S>, at: i32, value: u32) -> Result<()> {
    let at = at.cast_unsigned();
    write(
        guest.split().0,
        "a result of WASI",
        at,
        &value.to_le_bytes(),
    )
}

fn write_u64<S>(guest: &mut dyn Guest<S>, at: i32, value: u64) -> Result<i32> {
    let at = at.cast_unsigned();
    write(
        guest.split().0,
        "a result of WASI",
        at,
        &value.to_le_bytes(),
    )?;
    Ok(SUCCESS)
}

fn environ_sizes_get<S: WasiState>(guest: &mut dyn Guest<S>, count: i32, size: i32) -> Result<i32> {
    let state = guest.state().clone();
    let environment = state.environment();
    let entries = environment.iter().filter(|&&byte| byte == 0).count();
    // A configuration is far from 4 GiB.
    write_u32(guest, count, entries as u32)?;
    write_u32(guest, size, environment.len() as u32)?;
    Ok(SUCCESS)
}

fn environ_get<S: WasiState>(guest: &mut dyn Guest<S>, list: i32, block: i32) -> Result<i32> {
    let state = guest.state().clone();
    let environment = state.environment();
    let (list, block) = (list.cast_unsigned(), block.cast_unsigned());
    write(guest.split().0, "the environment", block, environment)?;
    let mut start = 0;
    for (number, entry) in environment.split_inclusive(|&byte| byte == 0).enumerate() {
        let at = list.wrapping_add(4 * number as u32).cast_signed();
        write_u32(guest, at, block.wrapping_add(start))?;
        start += entry.len() as u32;
    }
    Ok(SUCCESS)
}

/// The sizes of empty arguments.
fn nothing_there<S>(guest: &mut dyn Guest<S>, count: i32, size: i32) -> Result<i32> {
    write_u32(guest, count, 0)?;
    write_u32(guest, size, 0)?;
    Ok(SUCCESS)
}

fn clock_time_get<S: WasiState>(guest: &mut dyn Guest<S>, out: i32) -> Result<i32> {
    let state = guest.state();
    let micros = if state.running()? {
        let Ok(micros) = state.time() else {
            return Ok(EIO);
        };
        micros
    } else {
        AT_START
    };
    let nanos = u64::try_from(micros).unwrap_or(0).saturating_mul(1000);
    write_u64(guest, out, nanos)
}

fn random_get<S: WasiState>(guest: &mut dyn Guest<S>, at: i32, len: i32) -> Result<i32> {
    let state = guest.state().clone();
    let (at, len) = (at.cast_unsigned(), len.cast_unsigned());
    if len > RANDOM_BYTES {
        return Ok(EINVAL);
    }
    let place = bytes_mut(guest.split().0, "the place for random bytes", at, len)?;
    place.fill(0);
    for block in place.chunks_mut(RANDOM_BLOCK) {
        if !state.running()? {
            break;
        }
        let randoms = &state.wasi().randoms;
        let number = randoms.get();
        randoms.set(number + 1);
        let Ok(random) = state.random(number) else {
            return Ok(EIO);
        };
        block.copy_from_slice(&random[..block.len()]);
    }
    Ok(SUCCESS)
}

fn fd_fdstat_get<S>(guest: &mut dyn Guest<S>, fd: i32, out: i32) -> Result<i32> {
    const CHARACTER_DEVICE: u8 = 2;
    let Some(rights) = standard(fd) else {
        return Ok(EBADF);
    };
    let mut stat = [0; 24];
    stat[0] = CHARACTER_DEVICE;
    stat[8..16].copy_from_slice(&rights.to_le_bytes());
    write(
        guest.split().0,
        "a result of WASI",
        out.cast_unsigned(),
        &stat,
    )?;
    Ok(SUCCESS)
}

/// Standard input is at its end.
fn fd_read<S>(guest: &mut dyn Guest<S>, fd: i32, out: i32) -> Result<i32> {
    if fd != 0 {
        return Ok(EBADF);
    }
    write_u32(guest, out, 0)?;
    Ok(SUCCESS)
}

fn fd_write<S: WasiState>(
    guest: &mut dyn Guest<S>,
    fd: i32,
    list: i32,
    count: i32,
    out: i32,
) -> Result<i32> {
    const ENTRY: u32 = 8;
    let stream = match fd {
        1 => 0,
        2 => 1,
        _ => return Ok(EBADF),
    };
    let Some(list_len) = count.cast_unsigned().checked_mul(ENTRY) else {
        return Ok(EINVAL);
    };
    let state = guest.state().clone();
    let memory = guest.memory();
    let mut total = 0u32;
    let list = bytes(
        memory,
        "the list of what to write",
        list.cast_unsigned(),
        list_len,
    )?;
    for entry in list.chunks_exact(ENTRY as usize) {
        let [at, len] = numbers(entry, "an entry of what to write", 0)?;
        let piece = bytes(memory, "what to write", at, len)?;
        let Some(sum) = total.checked_add(len) else {
            return Ok(EINVAL);
        };
        total = sum;
        if state.running()? {
            state.wasi().write(&state, stream, piece)?;
        }
    }
    write_u32(guest, out, total)?;
    Ok(SUCCESS)
}

/// Every clock has rung and no descriptor is ever ready: nothing waits, since time stands still.
fn poll_oneoff<S>(
    guest: &mut dyn Guest<S>,
    input: i32,
    out: i32,
    count: i32,
    events: i32,
) -> Result<i32> {
    const SUBSCRIPTION: u32 = 48;
    const EVENT: u32 = 32;
    const CLOCK: u8 = 0;
    let (input, out, count) = (
        input.cast_unsigned(),
        out.cast_unsigned(),
        count.cast_unsigned(),
    );
    if !(1..=SUBSCRIPTIONS).contains(&count) {
        return Ok(EINVAL);
    }
    let input_len = count * SUBSCRIPTION;
    bytes(guest.memory(), "the subscriptions", input, input_len)?;
    bytes(guest.memory(), "the place for events", out, count * EVENT)?;
    for index in 0..count {
        let subscription = bytes(
            guest.memory(),
            "a subscription",
            input + index * SUBSCRIPTION,
            SUBSCRIPTION,
        )?;
        let mut event = [0; EVENT as usize];
        // User data, then the error, then the type.
        event[..8].copy_from_slice(&subscription[..8]);
        event[10] = subscription[8];
        if subscription[8] != CLOCK {
            event[8] = EBADF as u8;
        }
        write(guest.split().0, "an event", out + index * EVENT, &event)?;
    }
    write_u32(guest, events, count)?;
    Ok(SUCCESS)
}
