//! WASI, which answers numbers of its own.

use super::cell::Arg::{N, Out, T};
use super::cell::Where::Chanceless;
use super::cell::{Arg, Call, Cell, Where};

/// A place of some size.
const PLACE: Arg = N(4096);
const SUCCESS: i32 = 0;
const EBADF: i32 = 8;
const EINVAL: i32 = 28;
pub(super) const EIO: i32 = 29;
const ESPIPE: i32 = 70;

/// A case of a function of WASI's, which answers a number of its own.
const fn wasi(answer: i32, call: Call) -> Cell {
    Cell {
        answer,
        at: Where::Headers,
        before: &[],
        call,
    }
}

pub(super) fn cells() -> Vec<Cell> {
    vec![
        wasi(SUCCESS, ("args_get", &[PLACE, PLACE])),
        wasi(SUCCESS, ("args_sizes_get", &[Out, Out])),
        wasi(SUCCESS, ("clock_res_get", &[N(0), Out])),
        wasi(SUCCESS, ("clock_time_get", &[N(0), N(0), Out])),
        wasi(SUCCESS, ("environ_get", &[Out, PLACE])),
        wasi(SUCCESS, ("environ_sizes_get", &[Out, Out])),
        wasi(SUCCESS, ("fd_close", &[N(1)])),
        wasi(EBADF, ("fd_close", &[N(3)])),
        wasi(SUCCESS, ("fd_fdstat_get", &[N(2), PLACE])),
        wasi(EBADF, ("fd_fdstat_get", &[N(-1), PLACE])),
        wasi(SUCCESS, ("fd_fdstat_set_flags", &[N(0), N(0)])),
        wasi(EBADF, ("fd_fdstat_set_flags", &[N(3), N(0)])),
        wasi(EBADF, ("fd_prestat_dir_name", &[N(3), PLACE, N(9)])),
        wasi(EBADF, ("fd_prestat_get", &[N(3), PLACE])),
        wasi(SUCCESS, ("fd_read", &[N(0), PLACE, N(0), Out])),
        wasi(EBADF, ("fd_read", &[N(1), PLACE, N(0), Out])),
        wasi(ESPIPE, ("fd_seek", &[N(1), N(0), N(0), Out])),
        wasi(EBADF, ("fd_seek", &[N(3), N(0), N(0), Out])),
        wasi(SUCCESS, ("fd_write", &[N(1), PLACE, N(1), Out])),
        wasi(EBADF, ("fd_write", &[N(0), PLACE, N(1), Out])),
        wasi(EINVAL, ("fd_write", &[N(2), PLACE, N(-1), Out])),
        wasi(EBADF, ("path_filestat_get", &[N(3), N(0), T("a"), PLACE])),
        wasi(
            EBADF,
            (
                "path_open",
                &[N(3), N(0), T("a"), N(0), N(0), N(0), N(0), Out],
            ),
        ),
        wasi(SUCCESS, ("poll_oneoff", &[PLACE, N(8192), N(1), Out])),
        wasi(EINVAL, ("poll_oneoff", &[PLACE, N(8192), N(0), Out])),
        wasi(SUCCESS, ("random_get", &[PLACE, N(40)])),
        wasi(EINVAL, ("random_get", &[PLACE, N(-1)])),
        Cell {
            at: Chanceless,
            ..wasi(EIO, ("random_get", &[PLACE, N(1)]))
        },
        wasi(SUCCESS, ("sched_yield", &[])),
    ]
}
