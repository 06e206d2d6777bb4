//! What a guest asks of everything but its stream: contexts, log, time, properties, metrics, and what machines share.

use std::sync::Arc;

use filters::Level;

use super::{Answered, Inside, Stop, give, i, put_u32, put_u64, read, text};
use crate::abi::{self, Status};
use crate::context::{Context, State};
use crate::machine::Message;
use crate::properties;
use crate::shared::Owner;

/// Bytes of a line of the log that are kept.
const LINE_BYTES: i32 = 64 << 10;

fn effective(state: &State) -> Result<std::rc::Rc<Context>, Stop> {
    state.effective().ok_or(Status::BadArgument.into())
}

pub(super) fn done(guest: Inside<'_>) -> Answered {
    let state = guest.state();
    let context = effective(state)?;
    if !context.lingers.replace(false) {
        return Err(Status::NotFound.into());
    }
    state.done.borrow_mut().push(state.effective.get());
    Ok(())
}

pub(super) fn set_effective_context(guest: Inside<'_>, context: i32) -> Answered {
    let state = guest.state();
    let id = context.cast_unsigned();
    if state.context(id).is_none() {
        return Err(Status::BadArgument.into());
    }
    state.effective.set(id);
    Ok(())
}

pub(super) fn log(guest: Inside<'_>, level: i32, at: i32, len: i32) -> Answered {
    let level = abi::level(level).ok_or(Status::BadArgument)?;
    read(guest, at, len)?;
    let len = len.cast_unsigned().min(LINE_BYTES.cast_unsigned());
    let line = text(guest, at, len.cast_signed())?;
    guest.state().log(level, &line);
    Ok(())
}

pub(super) fn log_level(guest: Inside<'_>, out: i32) -> Answered {
    let level = guest.state().worker.log_level();
    put_u32(guest, out, level as u32)
}

pub(super) fn time(guest: Inside<'_>, out: i32) -> Answered {
    let time = guest.state().worker.time();
    put_u64(guest, out, time)
}

pub(super) fn set_tick(guest: Inside<'_>, millis: i32) -> Answered {
    let state = guest.state();
    let context = effective(state)?;
    let period = u64::from(millis.cast_unsigned()) * 1_000_000;
    let due = state.worker.time().saturating_add(period);
    let tick = (period > 0).then_some((period, due));
    context.root.tick.set(tick);
    if !state.ticks_told.replace(true) {
        (state.mailbox)(Message::Ticks(state.machine));
    }
    Ok(())
}

pub(super) fn configuration(guest: Inside<'_>, at: i32, len: i32) -> Answered {
    let context = effective(guest.state())?;
    give(guest, &context.root.config.configuration, at, len)
}

pub(super) fn get_property(
    guest: Inside<'_>,
    path: i32,
    path_len: i32,
    at: i32,
    len: i32,
) -> Answered {
    let path = read(guest, path, path_len)?;
    let value = properties::get(guest.state(), path).ok_or(Status::NotFound)?;
    give(guest, &value, at, len)
}

pub(super) fn set_property(
    guest: Inside<'_>,
    path: i32,
    path_len: i32,
    at: i32,
    len: i32,
) -> Answered {
    let (path, value) = (read(guest, path, path_len)?, read(guest, at, len)?);
    properties::set(guest.state(), path, value)?;
    Ok(())
}

pub(super) fn define_metric(guest: Inside<'_>, kind: i32, at: i32, len: i32, out: i32) -> Answered {
    let kind = abi::metric_kind(kind).ok_or(Status::BadArgument)?;
    let name = text(guest, at, len)?;
    let state = guest.state();
    let metrics = state.worker.metrics();
    let owner = format!("wasm.{}", state.module.vm_id);
    let metric = metrics.define_for(&owner, kind, &name);
    let metric = metric.ok_or(Status::InternalFailure)?;
    let mut metrics = state.metrics.borrow_mut();
    let known = metrics.iter().position(|known| Arc::ptr_eq(known, &metric));
    let id = known.unwrap_or_else(|| {
        metrics.push(metric);
        metrics.len() - 1
    });
    drop(metrics);
    put_u32(guest, out, id as u32)
}

fn with_metric(
    guest: &Inside<'_>,
    metric: i32,
    change: impl FnOnce(&filters::metrics::Metric) -> bool,
) -> Answered {
    let metrics = guest.state().metrics.borrow();
    let metric = metrics.get(metric.cast_unsigned() as usize);
    if change(metric.ok_or(Status::NotFound)?) {
        Ok(())
    } else {
        Err(Status::BadArgument.into())
    }
}

pub(super) fn record_metric(guest: Inside<'_>, metric: i32, value: i64) -> Answered {
    with_metric(&guest, metric, |metric| {
        metric.record(value.cast_unsigned());
        true
    })
}

pub(super) fn increment_metric(guest: Inside<'_>, metric: i32, by: i64) -> Answered {
    with_metric(&guest, metric, |metric| metric.add(by))
}

pub(super) fn get_metric(guest: Inside<'_>, metric: i32, out: i32) -> Answered {
    let mut value = 0;
    with_metric(&guest, metric, |metric| {
        value = metric.get();
        true
    })?;
    put_u64(guest, out, value)
}

pub(super) fn set_shared(
    guest: Inside<'_>,
    key: i32,
    key_len: i32,
    at: i32,
    len: i32,
    cas: i32,
) -> Answered {
    let (key, value) = (read(guest, key, key_len)?, read(guest, at, len)?);
    let state = guest.state();
    let shared = &state.process.shared;
    shared.set(&state.module.vm_id, key, value, cas.cast_unsigned())?;
    Ok(())
}

pub(super) fn get_shared(
    guest: Inside<'_>,
    key: i32,
    key_len: i32,
    at: i32,
    len: i32,
    cas: i32,
) -> Answered {
    let key = read(guest, key, key_len)?;
    let state = guest.state();
    let found = state.process.shared.get(&state.module.vm_id, key);
    let (value, number) = found.ok_or(Status::NotFound)?;
    give(guest, &value, at, len)?;
    put_u32(guest, cas, number)
}

pub(super) fn register_queue(guest: Inside<'_>, at: i32, len: i32, out: i32) -> Answered {
    let state = guest.state();
    let owner = Owner {
        mailbox: Arc::clone(&state.mailbox),
        machine: state.machine,
        plugin: effective(state)?.root.plugin,
    };
    let name = read(guest, at, len)?;
    let shared = &state.process.shared;
    let queue = shared.register(&state.module.vm_id, name, owner)?;
    put_u32(guest, out, queue)
}

pub(super) fn resolve_queue(
    guest: Inside<'_>,
    vm: i32,
    vm_len: i32,
    at: i32,
    len: i32,
    out: i32,
) -> Answered {
    let (vm, name) = (read(guest, vm, vm_len)?, read(guest, at, len)?);
    let state = guest.state();
    // No name is the machine's own.
    let vm = if vm.is_empty() {
        state.module.vm_id.as_bytes()
    } else {
        vm
    };
    let queue = state.process.shared.resolve(vm, name);
    put_u32(guest, out, queue.ok_or(Status::NotFound)?)
}

pub(super) fn enqueue(guest: Inside<'_>, queue: i32, at: i32, len: i32) -> Answered {
    let message = read(guest, at, len)?;
    let shared = &guest.state().process.shared;
    shared.enqueue(queue.cast_unsigned(), message)?;
    Ok(())
}

pub(super) fn dequeue(guest: Inside<'_>, queue: i32, at: i32, len: i32) -> Answered {
    let message = guest
        .state()
        .process
        .shared
        .dequeue(queue.cast_unsigned())?;
    give(guest, &message, at, len)
}

/// `(name, its length, arguments, their length, where the answer's address and length go)`
pub(super) fn call_foreign(guest: Inside<'_>, places: &[u64]) -> Answered {
    let name = text(guest, i(places, 0), i(places, 1))?;
    let args = read(guest, i(places, 2), i(places, 3))?;
    let state = guest.state().clone();
    let Some(function) = state.process.foreign.get(&name) else {
        // The only way to it since 0.2.0; outside of a stream it does nothing, as in Envoy.
        if name != "clear_route_cache" {
            return Err(Status::NotFound.into());
        }
        if let Some(stream) = state.stream() {
            stream.clear_route_cache();
        }
        return match (i(places, 4), i(places, 5)) {
            // Nothing comes of it, so that guests in C++ have no place for an answer.
            (0, _) | (_, 0) => Ok(()),
            (at, len) => give(guest, &[], at, len),
        };
    };
    match function.call(args) {
        Ok(bytes) => give(guest, &bytes, i(places, 4), i(places, 5)),
        Err(error) => {
            state.log(
                Level::Warn,
                &format!("foreign function `{name}` failed: {error}"),
            );
            Err(Status::InternalFailure.into())
        }
    }
}
