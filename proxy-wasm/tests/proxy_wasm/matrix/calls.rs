//! Calls to other services, over HTTP and gRPC.

use proxy_wasm::Status::{
    BadArgument, InternalFailure, InvalidMemoryAccess, NotFound, Ok as Fine, ParseFailure,
};

use super::cell::Arg::{BadText, Got, N, Out, T};
use super::cell::Where::{Headers, Refused, Start, Unknown, Unsendable};
use super::cell::{Call, Cell, EMPTY_MAP, after, cell};

pub(super) const HTTP: Call = (
    "proxy_http_call",
    &[T("cluster"), T(EMPTY_MAP), T(""), T(EMPTY_MAP), N(9), Out],
);
pub(super) const GRPC: Call = (
    "proxy_grpc_stream",
    &[T("cluster"), T("s"), T("m"), T(EMPTY_MAP), Out],
);
const GRPC_CALL: Call = (
    "proxy_grpc_call",
    &[T("c"), T("s"), T("m"), T(EMPTY_MAP), T("x"), N(0), Out],
);

pub(super) fn cells() -> Vec<Cell> {
    vec![
        after(&[HTTP; 3], InternalFailure, Headers, HTTP),
        cell(
            InternalFailure,
            Headers,
            (
                "proxy_http_call",
                &[
                    T("cluster"),
                    T(EMPTY_MAP),
                    N(0),
                    N((64 << 10) + 1),
                    T(EMPTY_MAP),
                    N(9),
                    Out,
                ],
            ),
        ),
        cell(Fine, Headers, HTTP),
        cell(BadArgument, Start, HTTP),
        cell(InternalFailure, Refused, HTTP),
        cell(BadArgument, Unknown, HTTP),
        cell(BadArgument, Unsendable, HTTP),
        cell(
            ParseFailure,
            Headers,
            (
                "proxy_http_call",
                &[T("c"), T("no map"), T(""), T(EMPTY_MAP), N(9), Out],
            ),
        ),
        cell(
            InvalidMemoryAccess,
            Headers,
            (
                "proxy_http_call",
                &[BadText, T(EMPTY_MAP), T(""), T(EMPTY_MAP), N(9), Out],
            ),
        ),
        cell(
            Fine,
            Headers,
            (
                "proxy_grpc_call",
                &[T("c"), T("s"), T("m"), T(EMPTY_MAP), T("x"), N(0), Out],
            ),
        ),
        cell(
            BadArgument,
            Start,
            (
                "proxy_grpc_call",
                &[T("c"), T("s"), T("m"), T(EMPTY_MAP), T("x"), N(0), Out],
            ),
        ),
        cell(InternalFailure, Refused, GRPC_CALL),
        cell(ParseFailure, Unknown, GRPC_CALL),
        cell(InternalFailure, Unsendable, GRPC_CALL),
        cell(
            ParseFailure,
            Headers,
            (
                "proxy_grpc_call",
                &[T("c"), T("s"), T("m"), T("no map"), T("x"), N(0), Out],
            ),
        ),
        cell(
            InvalidMemoryAccess,
            Headers,
            (
                "proxy_grpc_call",
                &[T("c"), T("s"), T("m"), T(EMPTY_MAP), BadText, N(0), Out],
            ),
        ),
        after(&[GRPC; 3], InternalFailure, Headers, GRPC),
        cell(Fine, Headers, GRPC),
        cell(BadArgument, Start, GRPC),
        cell(InternalFailure, Refused, GRPC),
        cell(ParseFailure, Unknown, GRPC),
        cell(InternalFailure, Unsendable, GRPC),
        cell(
            ParseFailure,
            Headers,
            (
                "proxy_grpc_stream",
                &[T("c"), T("s"), T("m"), T("no map"), Out],
            ),
        ),
        cell(
            InvalidMemoryAccess,
            Headers,
            (
                "proxy_grpc_stream",
                &[T("c"), BadText, T("m"), T(EMPTY_MAP), Out],
            ),
        ),
        after(
            &[GRPC],
            InternalFailure,
            Headers,
            ("proxy_grpc_send", &[Got, N(0), N((32 << 10) + 1), N(0)]),
        ),
        after(
            &[GRPC],
            Fine,
            Headers,
            ("proxy_grpc_send", &[Got, T("x"), N(1)]),
        ),
        after(
            &[HTTP],
            BadArgument,
            Headers,
            ("proxy_grpc_send", &[Got, T("x"), N(1)]),
        ),
        cell(
            NotFound,
            Headers,
            ("proxy_grpc_send", &[N(99), T("x"), N(1)]),
        ),
        after(
            &[GRPC],
            InvalidMemoryAccess,
            Headers,
            ("proxy_grpc_send", &[Got, BadText, N(1)]),
        ),
        after(&[GRPC], Fine, Headers, ("proxy_grpc_cancel", &[Got])),
        after(&[HTTP], BadArgument, Headers, ("proxy_grpc_cancel", &[Got])),
        cell(NotFound, Headers, ("proxy_grpc_cancel", &[N(99)])),
        after(&[GRPC], Fine, Headers, ("proxy_grpc_close", &[Got])),
        after(&[HTTP], BadArgument, Headers, ("proxy_grpc_close", &[Got])),
        after(
            &[GRPC, ("proxy_grpc_cancel", &[Got])],
            NotFound,
            Headers,
            ("proxy_grpc_close", &[Got]),
        ),
    ]
}
