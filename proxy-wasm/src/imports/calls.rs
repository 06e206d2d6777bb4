//! Calls to other services that a guest begins, feeds and gives up.

use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use filters::callout::{CallRefused, GrpcCall, GrpcEvents, HttpCall, HttpDone};
use filters::{Headers, Level};

use super::{Answered, Inside, Stop, give, i, put_u32, read, text};
use crate::abi::Status;
use crate::context::{Call, Context, Counted, State, UnderWay};
use crate::pairs;
use crate::service;
use crate::vm::Vm;

/// Bytes that are logged of what a guest took for a cluster.
const SHOWN: usize = 200;

fn map(guest: &Inside<'_>, at: i32, len: i32) -> Result<Headers, Stop> {
    pairs::decode(read(*guest, at, len)?).ok_or(Status::ParseFailure.into())
}

fn timeout(millis: i32) -> Option<Duration> {
    let millis = millis.cast_unsigned();
    (millis > 0).then(|| Duration::from_millis(millis.into()))
}

/// Who begins a new call: the machine and the context, with the call's number.
struct Caller {
    vm: Weak<Vm>,
    context: Rc<Context>,
    id: u32,
}

fn begin(state: &State, cluster: &str) -> Result<Caller, Stop> {
    let (Some(vm), Some(context)) = (state.vm.get().cloned(), state.effective()) else {
        return Err(Status::BadArgument.into());
    };
    if state.ending.get() {
        return Err(refused(state, cluster, CallRefused::Unavailable));
    }
    let limits = state.worker.limits();
    if context.calls.get() >= limits.stream_calls || state.calls.borrow().len() >= limits.calls {
        return Err(refused(state, cluster, CallRefused::Full));
    }
    let id = state.new_call_id();
    Ok(Caller { vm, context, id })
}

fn refused(state: &State, cluster: &str, refused: CallRefused) -> Stop {
    let (status, why) = match refused {
        CallRefused::UnknownCluster => (Status::BadArgument, "there is no such cluster".into()),
        CallRefused::BadRequest(why) => (Status::BadArgument, why),
        CallRefused::Full => (
            Status::InternalFailure,
            "the filter has too much under way".into(),
        ),
        CallRefused::Unavailable => (Status::InternalFailure, "no calls can be made".into()),
    };
    let shown = &cluster[..cluster.floor_char_boundary(SHOWN)];
    let shown = shown.escape_debug();
    state.log(
        Level::Warn,
        &format!("a call to cluster `{shown}` was refused: {why}"),
    );
    status.into()
}

/// The same for gRPC, of which guests expect other answers.
fn grpc_refused(state: &State, cluster: &str, why: CallRefused) -> Stop {
    let status = match why {
        CallRefused::UnknownCluster => {
            let why = "there is no such cluster; a service is a cluster's name, or a `GrpcService` that has \
                `envoy_grpc.cluster_name` and nothing but a timeout beside";
            refused(state, cluster, CallRefused::BadRequest(why.into()));
            return Status::ParseFailure.into();
        }
        _ => Status::InternalFailure,
    };
    refused(state, cluster, why);
    status.into()
}

fn under_way(guest: Inside<'_>, caller: Caller, under_way: UnderWay, out: i32) -> Answered {
    let state = guest.state();
    let call = Call {
        context: state.effective.get(),
        under_way,
        _counted: Counted::new(caller.context),
    };
    state.calls.borrow_mut().insert(caller.id, call);
    put_u32(guest, out, caller.id)
}

/// What a guest sends: a body, or a message.
fn content(guest: Inside<'_>, at: i32, len: i32) -> Result<Bytes, Stop> {
    let limits = guest.state().worker.limits();
    let content = limits.body(read(guest, at, len)?);
    content.ok_or(Status::InternalFailure.into())
}

/// `(cluster, its length, headers, …, body, …, trailers, …, milliseconds, where the call's number goes)`
pub(super) fn http_call(guest: Inside<'_>, places: &[u64]) -> Answered {
    let cluster = text(guest, i(places, 0), i(places, 1))?;
    let call = HttpCall {
        headers: map(&guest, i(places, 2), i(places, 3))?,
        body: content(guest, i(places, 4), i(places, 5))?,
        trailers: map(&guest, i(places, 6), i(places, 7))?,
        timeout: timeout(i(places, 8)),
        cluster: cluster.clone(),
    };
    let state = guest.state().clone();
    let caller = begin(&state, &cluster)?;
    let (vm, id) = (caller.vm.clone(), caller.id);
    let done: HttpDone = Box::new(move |answer| {
        if let Some(vm) = vm.upgrade() {
            vm.http_answer(id, answer);
        }
    });
    let pending = state.worker.http(call, done);
    let pending = pending.map_err(|why| refused(&state, &cluster, why))?;
    under_way(guest, caller, UnderWay::Http(pending), i(places, 9))
}

/// `(cluster, …, service, …, method, …, metadata, …, message, …, milliseconds, where the call's number goes)`
pub(super) fn grpc_call(guest: Inside<'_>, places: &[u64]) -> Answered {
    let message = content(guest, i(places, 8), i(places, 9))?;
    let timeout = timeout(i(places, 10));
    grpc(guest, places, timeout, Some(message), i(places, 11))
}

/// `(cluster, …, service, …, method, …, metadata, …, where the call's number goes)`
pub(super) fn grpc_stream(guest: Inside<'_>, places: &[u64]) -> Answered {
    grpc(guest, places, None, None, i(places, 8))
}

fn grpc(
    guest: Inside<'_>,
    places: &[u64],
    timeout: Option<Duration>,
    only: Option<Bytes>,
    out: i32,
) -> Answered {
    // As Envoy has it: a message, and what is none is a name. Filters in C++ send messages.
    let target = read(guest, i(places, 0), i(places, 1))?;
    let cluster = match service::cluster(target) {
        Some(cluster) => cluster.to_owned(),
        None => text(guest, i(places, 0), i(places, 1))?,
    };
    let call = GrpcCall {
        service: text(guest, i(places, 2), i(places, 3))?,
        method: text(guest, i(places, 4), i(places, 5))?,
        metadata: map(&guest, i(places, 6), i(places, 7))?,
        cluster: cluster.clone(),
        timeout,
    };
    let state = guest.state().clone();
    let caller = begin(&state, &cluster)?;
    let (vm, id) = (caller.vm.clone(), caller.id);
    let events: GrpcEvents = Box::new(move |event| {
        if let Some(vm) = vm.upgrade() {
            vm.grpc_event(id, event);
        }
    });
    let stream = state.worker.grpc(call, events);
    let mut stream = stream.map_err(|why| grpc_refused(&state, &cluster, why))?;
    if let Some(message) = only {
        let sent = stream.send(message, true);
        sent.map_err(|why| grpc_refused(&state, &cluster, why))?;
    }
    under_way(guest, caller, UnderWay::Grpc(stream), out)
}

pub(super) fn grpc_send(guest: Inside<'_>, call: i32, at: i32, len: i32, end: i32) -> Answered {
    let message = content(guest, at, len)?;
    let mut calls = guest.state().calls.borrow_mut();
    match calls
        .get_mut(&call.cast_unsigned())
        .map(|call| &mut call.under_way)
    {
        Some(UnderWay::Grpc(stream)) => {
            let sent = stream.send(message, end != 0);
            sent.map_err(|_| Status::InternalFailure.into())
        }
        Some(UnderWay::Http(_)) => Err(Status::BadArgument.into()),
        None => Err(Status::NotFound.into()),
    }
}

pub(super) fn grpc_close(guest: Inside<'_>, call: i32) -> Answered {
    let mut calls = guest.state().calls.borrow_mut();
    match calls
        .get_mut(&call.cast_unsigned())
        .map(|call| &mut call.under_way)
    {
        Some(UnderWay::Grpc(stream)) => {
            stream.close();
            Ok(())
        }
        Some(UnderWay::Http(_)) => Err(Status::BadArgument.into()),
        None => Err(Status::NotFound.into()),
    }
}

pub(super) fn grpc_cancel(guest: Inside<'_>, call: i32) -> Answered {
    let id = call.cast_unsigned();
    let mut calls = guest.state().calls.borrow_mut();
    match calls.get(&id).map(|call| &call.under_way) {
        Some(UnderWay::Grpc(_)) => {
            let call = calls.remove(&id);
            drop(calls);
            drop(call);
            Ok(())
        }
        Some(UnderWay::Http(_)) => Err(Status::BadArgument.into()),
        None => Err(Status::NotFound.into()),
    }
}

pub(super) fn status(guest: Inside<'_>, code: i32, at: i32, len: i32) -> Answered {
    let (status, message) = guest.state().answer.borrow().status.clone();
    put_u32(guest, code, status)?;
    give(guest, &message, at, len)
}
