//! Every callback: left out, answered in each way, and failed in.

use filters::callout::{GrpcEvent, HttpAnswer};
use filters::{Direction, EndReason, Headers};
use proxy_wasm::callbacks;

use crate::harness::{Bench, ENGINES, config, filter, passed, reply, request, respond};

/// A filter that makes a call and opens a stream for each request, wants ticks and a queue, and has one callback more.
fn asking(callback: &str) -> String {
    let imports = r#"
      (import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
      (import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))
      (import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))
      (import "env" "proxy_http_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
      (import "env" "proxy_grpc_stream" (func $grpc (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    "#;
    let mut rest = String::new();
    if !callback.contains("\"proxy_on_configure\"") {
        rest.push_str(
            r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
                 (drop (call $tick (i32.const 10)))
                 (drop (call $register (i32.const 16) (i32.const 1) (i32.const 200)))
                 (drop (call $enqueue (i32.load (i32.const 200)) (i32.const 16) (i32.const 1)))
                 (i32.const 1))"#,
        );
    }
    if !callback.contains("\"proxy_on_request_headers\"") {
        let nothing = "(i32.const 0) ".repeat(8);
        rest.push_str(&format!(
            r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                 (drop (call $call {nothing} (i32.const 0) (i32.const 300)))
                 (drop (call $grpc {nothing} (i32.const 304)))
                 (i32.const 0))"#
        ));
    }
    rest.push_str(callback);
    filter(imports, &rest)
}

/// The parameters and the result of each callback, as the newest version has them.
fn shape(name: &str) -> (usize, bool) {
    match name {
        "extengine:start" | "_initialize" | "_start" => (0, false),
        "main" => (2, true),
        "malloc" | "proxy_on_memory_allocate" | "proxy_on_done" | "proxy_on_new_connection" => {
            (1, true)
        }
        "proxy_on_log" | "proxy_on_delete" | "proxy_on_tick" => (1, false),
        "proxy_on_vm_start" | "proxy_on_configure" => (2, true),
        "proxy_on_request_trailers" | "proxy_on_response_trailers" => (2, true),
        "proxy_on_context_create" | "proxy_on_queue_ready" => (2, false),
        "proxy_on_downstream_connection_close" | "proxy_on_upstream_connection_close" => (2, false),
        "proxy_on_http_call_response" => (5, false),
        "proxy_on_foreign_function" => (3, false),
        grpc if grpc.starts_with("proxy_on_grpc") => (3, false),
        _ => (3, true),
    }
}

/// Brings everything about that a callback can be about.
fn exercise(bench: &Bench) {
    bench.deliver();
    let mut chain = bench.chain();
    request(&mut chain, false);
    chain.data(Direction::Request, "x".into(), false);
    chain.trailers(Direction::Request, Headers::default());
    respond(&mut chain, false);
    chain.data(Direction::Response, "x".into(), false);
    chain.trailers(Direction::Response, Headers::default());
    let call = bench.world.calls.borrow_mut().pop();
    if let Some((_, Some(done))) = call {
        done(Ok(HttpAnswer::default()));
    }
    let stream = bench.world.streams.borrow_mut().pop();
    if let Some((_, mut events)) = stream {
        events(GrpcEvent::InitialMetadata(Headers::default()));
        events(GrpcEvent::Message("m".into()));
        events(GrpcEvent::TrailingMetadata(Headers::default()));
        events(GrpcEvent::Closed(0, String::new()));
    }
    chain.pump();
    chain.finish(EndReason::Done);
    drop(chain);
    let mut tcp = bench.tcp();
    tcp.connection();
    tcp.data(Direction::Request, "x".into(), true);
    tcp.data(Direction::Response, "x".into(), true);
    tcp.closed(Direction::Request, false);
    tcp.closed(Direction::Response, false);
    tcp.finish(EndReason::Done);
    bench.world.now.set(bench.world.now.get() + 1_000_000_000);
    bench.thread.tick();
    // A machine that rests after failures takes nothing.
    let _ = bench.plugin.foreign(1, "x".into());
}

fn callback(name: &str, body: &str) -> String {
    let (params, result) = shape(name);
    let params = "i32 ".repeat(params);
    let result = if result { "(result i32)" } else { "" };
    format!("(func (export \"{name}\") (param {params}) {result} {body})")
}

/// Those that the harness itself has, or that exclude one another.
const STARTING: [&str; 7] = [
    "extengine:start",
    "_initialize",
    "main",
    "_start",
    "malloc",
    "proxy_on_vm_start",
    "proxy_on_configure",
];

#[test]
fn a_filter_may_leave_out_every_callback() {
    for engine in ENGINES {
        let bench = Bench::new(config(engine, &filter("", "")));
        exercise(&bench);
        assert_eq!(bench.metric("wasm.probe.failures"), 0, "{engine}");
        let mut chain = bench.chain();
        request(&mut chain, true);
        assert!(passed(&mut chain));
        respond(&mut chain, true);
        assert_eq!(reply(&mut chain).expect("a response").0, "200", "{engine}");
    }
}

#[test]
fn a_failure_in_any_callback_is_counted_and_the_next_stream_is_served() {
    for engine in ENGINES {
        for name in callbacks() {
            let code = asking(&callback(name, "unreachable"));
            if STARTING.contains(&name) {
                if name != "malloc" && name != "main" && name != "_start" {
                    let refused = Bench::try_new(config(engine, &code)).err();
                    assert!(refused.is_some(), "{name} on {engine}");
                }
                continue;
            }
            if name == "proxy_on_memory_allocate" || name == "proxy_on_context_create" {
                continue;
            }
            let bench = Bench::new(config(engine, &code));
            exercise(&bench);
            assert!(
                bench.metric("wasm.probe.failures") >= 1,
                "{name} on {engine}"
            );
            // It has rested enough.
            bench.world.now.set(bench.world.now.get() + 100_000_000_000);
            bench.deliver();
            assert!(
                bench.metric("wasm.probe.reloads") >= 1,
                "{name} on {engine}"
            );
        }
    }
}

#[test]
fn a_start_is_one_of_two_forms() {
    let imports = r#"(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))"#;
    let log = |at: u32| format!("(drop (call $log (i32.const 1) (i32.const {at}) (i32.const 1)))");
    let texts = r#"(data (i32.const 16) "imsx")"#;
    for engine in ENGINES {
        let both = [
            callback("_initialize", &log(16)),
            callback("main", &format!("{} (i32.const 0)", log(17))),
            callback("_start", &log(18)),
        ];
        let bench = Bench::new(config(
            engine,
            &filter(imports, &format!("{texts}{}", both.concat())),
        ));
        assert_eq!(bench.lines(), ["debug vm: i", "debug vm: m"], "{engine}");
        let old = callback("_start", &log(18));
        let bench = Bench::new(config(engine, &filter(imports, &format!("{texts}{old}"))));
        assert_eq!(bench.lines(), ["debug vm: s"], "{engine}");
        let bad = callback("_initialize", "unreachable");
        assert!(
            Bench::try_new(config(engine, &filter("", &bad))).is_err(),
            "{engine}"
        );
    }
}

#[test]
fn an_action_continues_or_pauses_at_each_place() {
    let places = [
        "proxy_on_request_headers",
        "proxy_on_request_body",
        "proxy_on_request_trailers",
        "proxy_on_response_headers",
        "proxy_on_response_body",
        "proxy_on_response_trailers",
    ];
    for engine in ENGINES {
        for (number, name) in places.iter().enumerate() {
            for pause in [0, 1] {
                let code = filter("", &callback(name, &format!("(i32.const {pause})")));
                let bench = Bench::new(config(engine, &code));
                let mut chain = bench.chain();
                request(&mut chain, false);
                chain.data(Direction::Request, "x".into(), false);
                chain.trailers(Direction::Request, Headers::default());
                respond(&mut chain, false);
                chain.data(Direction::Response, "x".into(), false);
                chain.trailers(Direction::Response, Headers::default());
                let direction = Direction::BOTH[number / 3];
                let mut parts = 0;
                while chain.take(direction).is_some() {
                    parts += 1;
                }
                // Headers held hold everything; a body held holds itself until its trailers; trailers hold themselves.
                let expected = match (pause, number % 3) {
                    (0, _) => 3,
                    (_, 0) => 0,
                    (_, 1) => 3,
                    (_, _) => 2,
                };
                assert_eq!(parts, expected, "{name} answering {pause} on {engine}");
            }
        }
    }
}
