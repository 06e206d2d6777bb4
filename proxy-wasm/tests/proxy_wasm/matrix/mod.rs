//! Every function that a guest can import with every number that it can answer, the same on both runtimes.
//!
//! [`offered`] says which those are, [`cells`] has a case for each; a function or a number without one fails. That the host
//! answers nothing else is checked where it answers, in builds with debug assertions.

mod buffers;
mod calls;
mod cell;
mod contexts;
mod headers;
mod metrics;
mod shared;
mod wasi;

use std::collections::{BTreeMap, BTreeSet};

use engine_wasm_abi::inspect::ValType;
use filters::callout::{CallRefused, GrpcEvent, HttpAnswer};
use filters::{Direction, Headers};
use proxy_wasm::Status::InternalFailure;
use proxy_wasm::{Import, offered};

use crate::harness::{Bench, ENGINES, config, filter, request, respond};
use calls::{GRPC, HTTP};
use cell::Arg::{Bad, BadText, Got, N, Out, T};
use cell::{Call, Cell, Where};
use wasi::EIO;

/// Every case, by subject.
fn cells() -> Vec<Cell> {
    let subjects = [
        contexts::cells,
        buffers::cells,
        headers::cells,
        calls::cells,
        shared::cells,
        metrics::cells,
        wasi::cells,
    ];
    subjects.into_iter().flat_map(|cells| cells()).collect()
}

/// What no filter can be answered: its worker's clock does not fail.
const NEVER: (&str, i32) = ("clock_time_get", EIO);

/// A function's declaration as an import, by its name alone.
fn declared(import: &Import) -> String {
    let Import {
        module,
        name,
        signature,
        ..
    } = import;
    let types: Vec<_> = signature.params.iter().map(|ty| ty.to_string()).collect();
    let types = types.join(" ");
    format!("(import \"{module}\" \"{name}\" (func ${name} (param {types}) (result i32)))")
}

/// Where answers are put, and where texts begin.
const OUT: i64 = 512;
const TEXTS: usize = 1024;

/// A guest that makes some calls at a place and logs the last one's answer as a letter: `0` is 0.
fn guest(cell: &Cell, module: &str) -> String {
    let mut texts = String::new();
    let all = offered().filter(|import| import.module == "env" || import.module == module);
    let offered: BTreeMap<_, _> = all.map(|import| (import.name, import)).collect();
    let mut used: BTreeSet<_> = cell
        .before
        .iter()
        .chain([&cell.call])
        .map(|call| call.0)
        .collect();
    used.extend([
        "proxy_log",
        "proxy_http_call",
        "proxy_grpc_stream",
        "proxy_set_tick_period_milliseconds",
    ]);
    let imports: String = used.iter().map(|name| declared(&offered[name])).collect();
    let mut call = |(name, args): &Call| {
        let types = &offered[name].signature.params;
        let mut words: Vec<String> = Vec::new();
        for arg in *args {
            match arg {
                N(number) => {
                    let ty = if types[words.len()] == ValType::I64 {
                        "i64"
                    } else {
                        "i32"
                    };
                    words.push(format!("({ty}.const {number})"));
                }
                T(text) => {
                    words.push(format!("(i32.const {})", TEXTS + texts.len()));
                    words.push(format!("(i32.const {})", text.len()));
                    texts.push_str(text);
                }
                Out => words.push(format!("(i32.const {OUT})")),
                Got => words.push(format!("(i32.load (i32.const {OUT}))")),
                Bad => words.push("(i32.const 0x7fffff00)".into()),
                BadText => words.extend(["(i32.const 0x7fffff00)".into(), "(i32.const 4)".into()]),
            }
        }
        format!("(call ${name} {})", words.join(" "))
    };
    let mut body = String::new();
    for before in cell.before {
        body.push_str(&format!("(drop {})", call(before)));
    }
    let last = call(&cell.call);
    body.push_str(&format!(
        "(i32.store8 (i32.const 8) (i32.add (i32.const 48) {last})) (drop (call $proxy_log (i32.const 1) (i32.const 8) (i32.const 1)))"
    ));
    let http = call(&HTTP);
    let grpc = call(&GRPC);
    let texts = texts.replace('\0', "\\00");
    let at = |place: Where| if cell.at == place { body.as_str() } else { "" };
    let begin = match cell.at {
        Where::Answer => format!("(drop {http})"),
        Where::Message => format!("(drop {grpc})"),
        Where::Refused | Where::Unknown | Where::Unsendable | Where::Chanceless => body.clone(),
        _ => String::new(),
    };
    let tick = if cell.at == Where::Tick {
        "(drop (call $proxy_set_tick_period_milliseconds (i32.const 1)))"
    } else {
        ""
    };
    let done = i32::from(cell.at != Where::Tick);
    let rest = format!(
        r#"
          (data (i32.const {TEXTS}) "{texts}")
          (func (export "_initialize") {})
          (func (export "proxy_on_configure") (param i32 i32) (result i32) {tick} {} (i32.const 1))
          (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {begin} {} (i32.const 0))
          (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) {} (i32.const 0))
          (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) {} (i32.const 0))
          (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32) {})
          (func (export "proxy_on_grpc_receive") (param i32 i32 i32) {})
          (func (export "proxy_on_done") (param i32) (result i32) (i32.const {done}))
          (func (export "proxy_on_tick") (param i32) {})
        "#,
        at(Where::Start),
        at(Where::Configure),
        at(Where::Headers),
        at(Where::Body),
        at(Where::ResponseHeaders),
        at(Where::Answer),
        at(Where::Message),
        at(Where::Tick),
    );
    filter(&imports, &rest)
}

/// Brings a guest to the place, and answers what it logged.
fn run(engine: &str, code: &str, at: Where, allowed: Option<BTreeSet<String>>) -> Vec<String> {
    let mut config = config(engine, code);
    config.vm.capabilities = allowed;
    let bench = Bench::small(config);
    bench.world.refuse.set(match at {
        Where::Refused => Some(|| CallRefused::Unavailable),
        Where::Unknown => Some(|| CallRefused::UnknownCluster),
        Where::Unsendable => Some(|| CallRefused::BadRequest("no path".into())),
        _ => None,
    });
    bench.world.chanceless.set(at == Where::Chanceless);
    let mut chain = bench.chain();
    request(&mut chain, false);
    chain.data(Direction::Request, "body".into(), true);
    respond(&mut chain, true);
    let call = bench.world.calls.borrow_mut().pop();
    if let Some((_, Some(done))) = call.filter(|_| at == Where::Answer) {
        done(Ok(HttpAnswer {
            headers: Headers::from_iter([(":status", "200")]),
            ..HttpAnswer::default()
        }));
    }
    let stream = bench.world.streams.borrow_mut().pop();
    if let Some((_, mut events)) = stream.filter(|_| at == Where::Message) {
        events(GrpcEvent::Message("message".into()));
    }
    chain.finish(filters::EndReason::Done);
    bench.world.now.set(bench.world.now.get() + 1_000_000_000);
    bench.thread.tick();
    let lines = bench.lines();
    lines
        .into_iter()
        .filter(|line| line.starts_with("debug probe: ") || line.starts_with("debug vm: "))
        .collect()
}

/// What is logged for an answer.
fn letter(answer: i32) -> char {
    char::from(b'0' + answer as u8)
}

#[test]
fn every_host_function_answers_every_status_it_can() {
    let mut seen: BTreeSet<(&str, &str, i32)> = BTreeSet::new();
    for cell in cells() {
        let (name, _) = cell.call;
        for import in offered().filter(|import| import.name == name) {
            let code = guest(&cell, import.module);
            for engine in ENGINES {
                let lines = run(engine, &code, cell.at, None);
                let found = lines.first().and_then(|line| line.chars().last());
                assert_eq!(
                    found,
                    Some(letter(cell.answer)),
                    "{name} at {:?} on {engine} should answer {}: {lines:?}",
                    cell.at,
                    cell.answer
                );
            }
            seen.insert((import.module, name, cell.answer));
        }
    }
    for import in offered() {
        for answer in import.answers {
            let (module, name) = (import.module, import.name);
            assert!(
                seen.remove(&(module, name, *answer)) || (name, *answer) == NEVER,
                "no case for {module}.{name} answering {answer}"
            );
        }
    }
    assert!(seen.is_empty(), "not declared: {seen:?}");
}

#[test]
fn what_answers_nothing_is_known() {
    let silent = offered().filter(|import| import.answers.is_empty());
    let silent: BTreeSet<_> = silent.map(|import| import.name).collect();
    let expected = [
        "emscripten_notify_memory_growth",
        "proc_exit",
        "pthread_equal",
    ];
    assert_eq!(silent, expected.into());
}

#[test]
fn a_function_that_may_not_be_used_refuses_and_the_others_work() {
    for engine in ENGINES {
        for import in offered() {
            if import.answers.is_empty() || import.name == "proxy_log" {
                continue;
            }
            let args = import.signature.params.iter();
            let args: Vec<_> = args.map(|ty| format!("({ty}.const 0)")).collect();
            let Import { module, name, .. } = import;
            let code = filter(
                &format!(
                    r#"{} (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))"#,
                    declared(&import)
                ),
                &format!(
                    r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                        (i32.store8 (i32.const 8) (i32.add (i32.const 48) (call ${name} {})))
                        (drop (call $log (i32.const 1) (i32.const 8) (i32.const 1)))
                        (i32.const 0))"#,
                    args.join(" ")
                ),
            );
            let allowed = [
                "proxy_log",
                "proxy_on_request_headers",
                "proxy_on_context_create",
            ];
            let allowed = allowed.into_iter().map(str::to_owned).collect();
            let lines = run(engine, &code, Where::Headers, Some(allowed));
            let refused = letter(InternalFailure as i32);
            assert_eq!(
                lines,
                [format!("debug probe: {refused}")],
                "{module}.{name} on {engine}"
            );
        }
    }
}
