//! Shared data and queues.

use proxy_wasm::Status::{
    BadArgument, CasMismatch, Empty, InternalFailure, InvalidMemoryAccess, NotFound, Ok as Fine,
};

use super::cell::Arg::{Bad, BadText, Got, N, Out, T};
use super::cell::Where::{Configure, Headers, Start};
use super::cell::{Call, Cell, after, cell};

const QUEUE: Call = ("proxy_register_shared_queue", &[T("queue"), Out]);

pub(super) fn cells() -> Vec<Cell> {
    vec![
        cell(
            Fine,
            Start,
            ("proxy_set_shared_data", &[T("k"), T("v"), N(0)]),
        ),
        cell(
            CasMismatch,
            Headers,
            ("proxy_set_shared_data", &[T("k"), T("v"), N(7)]),
        ),
        cell(
            InvalidMemoryAccess,
            Headers,
            ("proxy_set_shared_data", &[T("k"), BadText, N(0)]),
        ),
        cell(
            InternalFailure,
            Headers,
            ("proxy_set_shared_data", &[T("k"), N(0), N(4097), N(0)]),
        ),
        after(
            &[("proxy_set_shared_data", &[T("k"), T("v"), N(0)])],
            Fine,
            Headers,
            ("proxy_get_shared_data", &[T("k"), Out, Out, Out]),
        ),
        cell(
            NotFound,
            Headers,
            ("proxy_get_shared_data", &[T("none"), Out, Out, Out]),
        ),
        after(
            &[("proxy_set_shared_data", &[T("k"), T("v"), N(0)])],
            InvalidMemoryAccess,
            Headers,
            ("proxy_get_shared_data", &[T("k"), Out, Out, Bad]),
        ),
        cell(Fine, Configure, QUEUE),
        cell(BadArgument, Start, QUEUE),
        cell(
            InvalidMemoryAccess,
            Headers,
            ("proxy_register_shared_queue", &[T("q"), Bad]),
        ),
        after(
            &[QUEUE],
            InternalFailure,
            Headers,
            ("proxy_register_shared_queue", &[T("another"), Out]),
        ),
        after(
            &[QUEUE],
            Fine,
            Headers,
            ("proxy_resolve_shared_queue", &[T("vm"), T("queue"), Out]),
        ),
        after(
            &[QUEUE],
            Fine,
            Headers,
            ("proxy_resolve_shared_queue", &[T(""), T("queue"), Out]),
        ),
        after(
            &[QUEUE],
            NotFound,
            Headers,
            ("proxy_resolve_shared_queue", &[T("other"), T("queue"), Out]),
        ),
        after(
            &[QUEUE],
            InvalidMemoryAccess,
            Headers,
            ("proxy_resolve_shared_queue", &[T("vm"), T("queue"), Bad]),
        ),
        after(
            &[QUEUE],
            Fine,
            Headers,
            ("proxy_enqueue_shared_queue", &[Got, T("m")]),
        ),
        cell(
            NotFound,
            Headers,
            ("proxy_enqueue_shared_queue", &[N(9), T("m")]),
        ),
        after(
            &[QUEUE],
            InvalidMemoryAccess,
            Headers,
            ("proxy_enqueue_shared_queue", &[Got, BadText]),
        ),
        after(
            &[QUEUE],
            InternalFailure,
            Headers,
            ("proxy_enqueue_shared_queue", &[Got, N(0), N(4097)]),
        ),
        after(
            &[QUEUE, ("proxy_enqueue_shared_queue", &[Got, T("m")])],
            Fine,
            Headers,
            ("proxy_dequeue_shared_queue", &[Got, Out, Out]),
        ),
        cell(
            NotFound,
            Headers,
            ("proxy_dequeue_shared_queue", &[N(9), Out, Out]),
        ),
        after(
            &[QUEUE],
            Empty,
            Headers,
            ("proxy_dequeue_shared_queue", &[Got, Out, Out]),
        ),
        after(
            &[QUEUE, ("proxy_enqueue_shared_queue", &[Got, T("m")])],
            InvalidMemoryAccess,
            Headers,
            ("proxy_dequeue_shared_queue", &[Got, Bad, Out]),
        ),
    ]
}
