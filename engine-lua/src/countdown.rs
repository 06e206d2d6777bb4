//! The short way through an interrupt: most of them have nothing to look at, and mlua's way into Rust costs each as much
//! as several steps of Lua code.

use std::cell::Cell;
use std::io;
use std::os::raw::c_int;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use engine_core::ticker::Ticker;
use mlua::{Lua, ffi};

/// How many ticks all engines of the process have seen.
static TICKS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static WAIT: Wait = const {
        Wait {
            left: Cell::new(1),
            tick: Cell::new(0),
            bytes: Cell::new(0),
        }
    };
}

/// What the sandbox that runs on this thread waits for.
struct Wait {
    /// Interrupts up to the next one that is looked at, at least one.
    left: Cell<u32>,
    /// The tick after which the next interrupt is looked at.
    tick: Cell<u32>,
    /// How much memory makes the next interrupt one that is looked at.
    bytes: Cell<usize>,
}

/// Starts a ticker for deadlines, which has every running sandbox look at its next interrupt.
///
/// # Errors
/// The operating system's, where it gives no thread.
pub fn ticker() -> io::Result<Ticker> {
    Ticker::start_with(|| {
        TICKS.fetch_add(1, Ordering::Relaxed);
    })
}

/// Lets interrupts pass until the one of this number, at least the first, or until the next tick, or until the virtual
/// machine has more memory.
pub(crate) fn start(left: u32, bytes: usize) {
    WAIT.with(|wait| {
        wait.left.set(left);
        wait.tick.set(TICKS.load(Ordering::Relaxed));
        wait.bytes.set(bytes);
    });
}

/// How many interrupts there are up to the next one that is looked at.
pub(crate) fn left() -> u32 {
    WAIT.with(|wait| wait.left.get())
}

/// Keeps what another sandbox on this thread waits for, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    left: u32,
    bytes: usize,
}

impl Turn {
    pub(crate) fn begin() -> Self {
        WAIT.with(|wait| Self {
            left: wait.left.get(),
            bytes: wait.bytes.get(),
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        start(self.left, self.bytes);
    }
}

type Interrupt = unsafe extern "C-unwind" fn(*mut ffi::lua_State, c_int);

/// The memory of all categories.
const ALL: c_int = -1;

/// mlua's own, the same for all virtual machines.
static LONG: OnceLock<Interrupt> = OnceLock::new();

/// Puts the countdown before the interrupt that was set, and answers how much memory the virtual machine has.
#[allow(unsafe_code, reason = "mlua has no way to leave an interrupt early")]
pub(crate) fn install(lua: &Lua) -> mlua::Result<usize> {
    // SAFETY: the closure leaves the stack as it is and raises nothing. `lua_callbacks` gives the callbacks of a living
    // virtual machine, which only its own thread uses, and `short` keeps what Luau asks of an interrupt, see there.
    unsafe {
        let mut bytes = 0;
        lua.exec_raw::<()>((), |state| {
            let interrupt = &mut (*ffi::lua_callbacks(state)).interrupt;
            if let Some(set) = *interrupt {
                LONG.get_or_init(|| set);
                *interrupt = Some(short);
            }
            bytes = ffi::lua_totalbytes(state, ALL);
        })?;
        Ok(bytes)
    }
}

#[allow(unsafe_code, reason = "Luau calls it, and it calls mlua")]
unsafe extern "C-unwind" fn short(state: *mut ffi::lua_State, collecting: c_int) {
    // The collector's interrupts, which mlua passes over too.
    if collecting >= 0 {
        return;
    }
    // SAFETY: it reads a number of the virtual machine that calls this.
    let bytes = unsafe { ffi::lua_totalbytes(state, ALL) };
    let passes = WAIT.with(|wait| {
        let left = wait.left.get();
        let tick = TICKS.load(Ordering::Relaxed);
        let passes = left > 1 && wait.tick.get() == tick && bytes <= wait.bytes.get();
        if passes {
            wait.left.set(left - 1);
        }
        passes
    });
    if passes {
        return;
    }
    if let Some(long) = LONG.get() {
        // SAFETY: what Luau gave goes on to what was set for it. It may raise an error through this frame, which has
        // nothing to drop.
        unsafe { long(state, collecting) }
    }
}
