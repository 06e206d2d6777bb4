//! The short way through an interrupt: most of them have nothing to look at, and mlua's way into Rust costs each as much
//! as ten steps of Lua code.

use std::cell::Cell;
use std::os::raw::c_int;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use mlua::{Lua, ffi};

/// How many ticks all engines of the process have seen.
static TICKS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// What the sandbox that runs on this thread waits for.
    static WAIT: Cell<Wait> = const { Cell::new(Wait { left: 1, tick: 0, bytes: 0 }) };
}

#[derive(Clone, Copy)]
struct Wait {
    /// Interrupts up to the next one that is looked at, at least one.
    left: u32,
    /// The tick after which the next interrupt is looked at.
    tick: u32,
    /// How much memory makes the next interrupt one that is looked at.
    bytes: usize,
}

/// Has every running sandbox look at its next interrupt.
pub(crate) fn tick() {
    TICKS.fetch_add(1, Ordering::Relaxed);
}

/// Lets interrupts pass until the one of this number, at least the first, or until the next tick, or until the virtual
/// machine has more memory.
pub(crate) fn start(left: u32, bytes: usize) {
    let tick = TICKS.load(Ordering::Relaxed);
    WAIT.set(Wait { left, tick, bytes });
}

/// How many interrupts there are up to the next one that is looked at.
pub(crate) fn left() -> u32 {
    WAIT.get().left
}

/// Keeps what another sandbox on this thread waits for, until it is dropped.
pub(crate) struct Turn(Wait);

impl Turn {
    pub(crate) fn begin() -> Self {
        Self(WAIT.get())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        start(self.0.left, self.0.bytes);
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
    let wait = WAIT.get();
    // SAFETY: it reads a number of the virtual machine that calls this.
    let bytes = unsafe { ffi::lua_totalbytes(state, ALL) };
    if wait.left > 1 && wait.tick == TICKS.load(Ordering::Relaxed) && bytes <= wait.bytes {
        let left = wait.left - 1;
        return WAIT.set(Wait { left, ..wait });
    }
    if let Some(long) = LONG.get() {
        // SAFETY: what Luau gave goes on to what was set for it. It may raise an error through this frame, which has
        // nothing to drop.
        unsafe { long(state, collecting) }
    }
}
