//! The order of callbacks, contexts, ticks, queues and calls.

use std::rc::Rc;

use engine_core::error::ErrorKind;
use engine_core::limits::Limit;
use filters::callout::{CallFailed, GrpcEvent, HttpAnswer};
use filters::{Direction, EndReason, Headers};
use proxy_wasm::Message;

use crate::harness::{Bench, ENGINES, World, config, filter, passed, reply, request, respond};

/// A filter that logs each callback with its arguments, by a letter and a digit each.
///
/// `$note` logs a letter and up to three numbers below ten.
fn noting(answers: &str, more: &str) -> String {
    let imports = r#"
      (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
      (import "env" "proxy_done" (func $done (result i32)))
      (import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
      (import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))
      (import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))
      (import "env" "proxy_http_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
      (import "env" "proxy_grpc_stream" (func $grpc (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
      (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
      (import "env" "proxy_get_status" (func $status (param i32 i32 i32) (result i32)))
    "#;
    let note = r#"
      (func $note (param $letter i32) (param $a i32) (param $b i32) (param $c i32)
        (i32.store8 (i32.const 16) (local.get $letter))
        (i32.store8 (i32.const 17) (i32.add (i32.const 48) (local.get $a)))
        (i32.store8 (i32.const 18) (i32.add (i32.const 48) (local.get $b)))
        (i32.store8 (i32.const 19) (i32.add (i32.const 48) (local.get $c)))
        (drop (call $log (i32.const 2) (i32.const 16) (i32.const 4))))
      (data (i32.const 64) "queue")
      (data (i32.const 80) "cluster")
      (data (i32.const 96) "message")
    "#;
    let mut rest = String::from(note);
    for (name, letter, params, result) in [
        ("proxy_on_context_create", 'c', 2, None),
        ("proxy_on_vm_start", 'v', 2, Some(1)),
        ("proxy_on_configure", 'p', 2, Some(1)),
        ("proxy_on_request_headers", 'h', 3, Some(0)),
        ("proxy_on_request_body", 'b', 3, Some(0)),
        ("proxy_on_request_trailers", 't', 2, Some(0)),
        ("proxy_on_response_headers", 'H', 3, Some(0)),
        ("proxy_on_response_body", 'B', 3, Some(0)),
        ("proxy_on_response_trailers", 'T', 2, Some(0)),
        ("proxy_on_new_connection", 'n', 1, Some(0)),
        ("proxy_on_downstream_data", 'd', 3, Some(0)),
        ("proxy_on_upstream_data", 'u', 3, Some(0)),
        ("proxy_on_downstream_connection_close", 'x', 2, None),
        ("proxy_on_upstream_connection_close", 'y', 2, None),
        ("proxy_on_done", 'D', 1, Some(1)),
        ("proxy_on_log", 'L', 1, None),
        ("proxy_on_delete", 'X', 1, None),
        ("proxy_on_tick", 'k', 1, None),
        ("proxy_on_queue_ready", 'q', 2, None),
        ("proxy_on_foreign_function", 'f', 3, None),
        ("proxy_on_http_call_response", 'r', 5, None),
        ("proxy_on_grpc_receive_initial_metadata", 'i', 3, None),
        ("proxy_on_grpc_receive", 'g', 3, None),
        ("proxy_on_grpc_receive_trailing_metadata", 'j', 3, None),
        ("proxy_on_grpc_close", 'z', 3, None),
    ] {
        if more.contains(&format!("\"{name}\"")) {
            continue;
        }
        let types = "i32 ".repeat(params);
        let args: Vec<_> = (0..3)
            .map(|n| {
                // Of five parameters, the last three.
                let n = if params == 5 { n + 2 } else { n };
                if n < params {
                    format!("(local.get {n})")
                } else {
                    "(i32.const 0)".into()
                }
            })
            .collect();
        let args = args.join(" ");
        let result = result.map_or(String::new(), |_| "(result i32)".into());
        let body = answers
            .lines()
            .find_map(|line| line.trim().strip_prefix(name))
            .map(str::trim)
            .unwrap_or_default();
        let body = match (body.is_empty(), result.is_empty()) {
            (false, _) => body.to_owned(),
            (true, true) => String::new(),
            (true, false) if matches!(letter, 'v' | 'p' | 'D') => "(i32.const 1)".into(),
            (true, false) => "(i32.const 0)".into(),
        };
        let code = u32::from(letter);
        rest.push_str(&format!(
            "(func (export \"{name}\") (param {types}) {result} (call $note (i32.const {code}) {args}) {body})\n"
        ));
    }
    rest.push_str(more);
    filter(imports, &rest)
}

/// The letters and numbers that were noted.
fn notes(bench: &Bench) -> String {
    notes_of(&bench.world)
}

fn notes_of(world: &World) -> String {
    let lines = world.lines.take();
    let notes: Vec<_> = lines
        .iter()
        .map(|line| line.strip_prefix("info probe: ").unwrap_or(line))
        .collect();
    notes.join(" ")
}

#[test]
fn a_request_and_its_response_are_told_in_order() {
    for engine in ENGINES {
        let bench = Bench::new(config(engine, &noting("", "")));
        // The plugin's context is 1; configurations have 9 and 13 bytes.
        assert_eq!(notes(&bench), "c100 v190 p1=0", "{engine}");
        let mut chain = bench.chain();
        request(&mut chain, false);
        chain.data(Direction::Request, "ab".into(), false);
        chain.trailers(Direction::Request, Headers::from_iter([("t", "1")]));
        respond(&mut chain, false);
        chain.data(Direction::Response, "abc".into(), true);
        chain.finish(EndReason::Done);
        assert_eq!(
            notes(&bench),
            "c210 h240 b220 t210 H210 B231 D200 L200 X200",
            "{engine}"
        );
        assert!(passed(&mut chain));
        assert_eq!(reply(&mut chain), Some(("200".into(), "abc".into())));
    }
}

#[test]
fn a_connection_is_told_in_order() {
    for engine in ENGINES {
        let bench = Bench::new(config(engine, &noting("", "")));
        notes(&bench);
        let mut chain = bench.tcp();
        chain.connection();
        chain.data(Direction::Request, "ab".into(), false);
        chain.data(Direction::Response, "abc".into(), true);
        chain.closed(Direction::Response, false);
        chain.closed(Direction::Request, true);
        chain.finish(EndReason::Done);
        assert_eq!(
            notes(&bench),
            "c210 n200 d220 u231 y220 x210 D200 L200 X200",
            "{engine}"
        );
    }
}

#[test]
fn a_filter_that_answers_false_refuses_to_start() {
    for engine in ENGINES {
        for step in ["proxy_on_vm_start", "proxy_on_configure"] {
            let code = noting(&format!("{step} (i32.const 0)"), "");
            let error = Bench::try_new(config(engine, &code))
                .err()
                .expect("refused");
            assert!(error.to_string().contains(step), "{error}");
        }
    }
}

#[test]
fn callbacks_of_older_versions_are_found_by_their_own_types() {
    for engine in ENGINES {
        let old = r#"
          (func (export "proxy_on_request_headers") (param i32 i32) (result i32)
            (call $note (i32.const 104) (local.get 0) (local.get 1) (i32.const 7)) (i32.const 0))
        "#;
        let bench = Bench::new(config(engine, &noting("", old)));
        notes(&bench);
        request(&mut bench.chain(), true);
        assert!(notes(&bench).starts_with("c210 h247"), "{engine}");
    }
}

#[test]
fn a_paused_request_goes_on_when_its_call_is_answered() {
    for engine in ENGINES {
        let answers = r#"
          proxy_on_request_headers (drop (call $call (i32.const 80) (i32.const 7) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 250) (i32.const 200))) (i32.const 1)
          proxy_on_http_call_response (drop (call $continue (i32.const 0)))
        "#;
        let bench = Bench::new(config(engine, &noting(answers, "")));
        notes(&bench);
        let mut chain = bench.chain();
        request(&mut chain, false);
        chain.data(Direction::Request, "ab".into(), true);
        assert!(!passed(&mut chain));
        let (call, done) = bench.world.calls.borrow_mut().pop().expect("a call");
        assert_eq!(
            (
                call.cluster.as_str(),
                call.timeout.map(|time| time.as_millis())
            ),
            ("cluster", Some(250))
        );
        let answer = HttpAnswer {
            headers: Headers::from_iter([(":status", "200"), ("a", "b")]),
            body: "12345".into(),
            trailers: Headers::default(),
        };
        done.expect("waiting")(Ok(answer));
        chain.pump();
        assert!(passed(&mut chain), "{engine}");
        assert_eq!(notes(&bench), "c210 h240 r250 b221", "{engine}");
        // The call is over, so nothing is left to give up.
        assert_eq!(bench.world.notes.borrow().as_slice(), ["call dropped"]);
    }
}

#[test]
fn calls_are_given_up_with_their_stream_and_a_failed_call_is_told_without_headers() {
    for engine in ENGINES {
        let answers = r#"
          proxy_on_request_headers (drop (call $call (i32.const 80) (i32.const 7) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 200))) (i32.const 1)
        "#;
        let bench = Bench::new(config(engine, &noting(answers, "")));
        let mut chain = bench.chain();
        request(&mut chain, true);
        notes(&bench);
        let (_, done) = bench.world.calls.borrow_mut().pop().expect("a call");
        done.expect("waiting")(Err(CallFailed::Timeout));
        assert_eq!(notes(&bench), "r000", "{engine}");
        let mut chain = bench.chain();
        request(&mut chain, true);
        bench.world.notes.take();
        let (_, late) = bench.world.calls.borrow_mut().pop().expect("a call");
        chain.finish(EndReason::Reset);
        assert_eq!(bench.world.notes.borrow().as_slice(), ["call dropped"]);
        notes(&bench);
        late.expect("waiting")(Ok(HttpAnswer::default()));
        assert_eq!(notes(&bench), "", "nobody is there for it on {engine}");
    }
}

#[test]
fn calls_are_bounded_by_stream_and_by_machine() {
    for engine in ENGINES {
        // Tries four calls for each request, and notes how many were begun: three of a stream may be, and five of all.
        let more = r#"
          (func $one (result i32)
            (i32.eqz (call $call (i32.const 80) (i32.const 7) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
              (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 200))))
          (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $note (i32.const 109)
              (i32.add (i32.add (call $one) (call $one)) (i32.add (call $one) (call $one)))
              (i32.const 0) (i32.const 0))
            (i32.const 0))
        "#;
        let bench = Bench::new(config(engine, &noting("", more)));
        let begun = || {
            let mut chain = bench.chain();
            request(&mut chain, true);
            let lines = bench.lines();
            let refused = lines.iter().any(|line| line.contains("too much under way"));
            assert!(refused, "{lines:?} on {engine}");
            let mut notes = lines
                .iter()
                .filter_map(|line| line.strip_prefix("info probe: m"));
            let note = notes.next().expect("a note").to_owned();
            (chain, note)
        };
        let (mut first, three) = begun();
        let (_second, two) = begun();
        assert_eq!((three.as_str(), two.as_str()), ("300", "200"), "{engine}");
        first.finish(EndReason::Done);
        assert_eq!(
            begun().1,
            "300",
            "what is over leaves its place on {engine}"
        );
    }
}

#[test]
fn a_thread_is_told_of_other_ticks_once_until_it_looks() {
    for engine in ENGINES {
        let answers = r#"
          proxy_on_configure (drop (call $tick (i32.const 9))) (drop (call $tick (i32.const 8))) (i32.const 1)
          proxy_on_request_headers (drop (call $tick (i32.const 7))) (drop (call $tick (i32.const 6))) (i32.const 0)
        "#;
        let bench = Bench::new(config(engine, &noting(answers, "")));
        let told = || bench.messages.lock().expect("no panic").clone();
        assert_eq!(told(), [Message::Ticks(0)], "{engine}");
        bench.deliver();
        request(&mut bench.chain(), true);
        assert_eq!(told(), [Message::Ticks(0)], "{engine}");
        let due = bench.world.now.get() + 6_000_000;
        assert_eq!(bench.thread.next_tick(), Some(due), "the last one counts");
    }
}

#[test]
fn a_grpc_stream_is_told_event_by_event() {
    for engine in ENGINES {
        let answers = r#"
          proxy_on_request_headers (drop (call $grpc (i32.const 80) (i32.const 7) (i32.const 96) (i32.const 7) (i32.const 96) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 200))) (i32.const 0)
        "#;
        let bench = Bench::new(config(engine, &noting(answers, "")));
        let mut chain = bench.chain();
        request(&mut chain, true);
        notes(&bench);
        let (call, mut events) = bench.world.streams.borrow_mut().pop().expect("a stream");
        assert_eq!(
            (call.service.as_str(), call.method.as_str()),
            ("message", "mess")
        );
        events(GrpcEvent::InitialMetadata(Headers::from_iter([("a", "b")])));
        events(GrpcEvent::Message("abc".into()));
        events(GrpcEvent::TrailingMetadata(Headers::default()));
        events(GrpcEvent::Closed(5, "gone".into()));
        events(GrpcEvent::Message("late".into()));
        assert_eq!(notes(&bench), "i211 g213 j210 z215", "{engine}");
    }
}

#[test]
fn a_status_is_that_of_the_callback_and_of_no_other() {
    // The number, and the length of the words.
    let status = "(drop (call $status (i32.const 208) (i32.const 212) (i32.const 216))) \
                  (call $note (i32.const 115) (i32.load (i32.const 208)) (i32.load (i32.const 216)) (i32.const 0))";
    for engine in ENGINES {
        let answers = format!(
            "proxy_on_request_headers (drop (call $call (i32.const 80) (i32.const 7) {zeros} (i32.const 200))) \
             (drop (call $grpc (i32.const 80) (i32.const 7) (i32.const 96) (i32.const 7) (i32.const 96) (i32.const 4) \
             (i32.const 0) (i32.const 0) (i32.const 200))) (i32.const 0)
             proxy_on_http_call_response {status}
             proxy_on_grpc_close {status}
             proxy_on_foreign_function {status}",
            zeros = "(i32.const 0) ".repeat(7),
        );
        let bench = Bench::new(config(engine, &noting(&answers, "")));
        let mut chain = bench.chain();
        request(&mut chain, true);
        let mut other = bench.chain();
        request(&mut other, true);
        notes(&bench);
        let (_, mut events) = bench.world.streams.borrow_mut().remove(0);
        events(GrpcEvent::Closed(5, "gone".into()));
        assert_eq!(notes(&bench), "z225 s540", "{engine}");
        let (_, done) = bench.world.calls.borrow_mut().remove(0);
        done.expect("waiting")(Ok(HttpAnswer::default()));
        assert_eq!(notes(&bench), "r000 s000", "{engine}");
        let (_, done) = bench.world.calls.borrow_mut().remove(0);
        done.expect("waiting")(Err(CallFailed::Timeout));
        assert_eq!(notes(&bench), "r000 s;70", "{engine}");
        bench.plugin.foreign(7, "abc".into()).expect("it stands");
        assert_eq!(notes(&bench), "f173 s000", "{engine}");
    }
}

#[test]
fn a_machine_ends_when_its_thread_and_its_streams_are_gone() {
    for engine in ENGINES {
        let call = format!(
            "(drop (call $call (i32.const 80) (i32.const 7) {} (i32.const 200)))",
            "(i32.const 0) ".repeat(7)
        );
        // Nothing new is begun at the end, and nobody waits for a guest that wants to go on.
        let answers = format!(
            "proxy_on_configure {call} (i32.const 1)
             proxy_on_done {call} (i32.const 0)"
        );
        let bench = Bench::new(config(engine, &noting(&answers, "")));
        let (mut over, mut chain) = (bench.chain(), bench.chain());
        request(&mut over, true);
        over.finish(EndReason::Done);
        request(&mut chain, false);
        let Bench {
            world,
            thread,
            plugin,
            ..
        } = bench;
        drop((thread, plugin));
        notes_of(&world);
        let memory = || world.metric("wasm.vm.vm.memory_bytes");
        assert!(memory() > 0, "a stream has it still on {engine}");
        chain.data(Direction::Request, "ab".into(), true);
        assert_eq!(notes_of(&world), "b321", "{engine}");
        world.notes.take();
        chain.finish(EndReason::Done);
        let lines = notes_of(&world);
        let (streams, plugin) = lines.split_once(" D100 ").expect("its plugin ends");
        assert_eq!(streams, "D300 L200 X200 L300 X300", "{engine}");
        assert!(plugin.ends_with(" L100 X100"), "{plugin} on {engine}");
        assert!(plugin.contains("no calls can be made"), "{plugin}");
        assert!(!world.notes.borrow().is_empty(), "its calls are given up");
        assert_eq!(memory(), 0, "{engine}");
        assert_eq!(Rc::strong_count(&world), 3, "its two chains and ourselves");
    }
}

#[test]
fn ticks_come_when_they_are_due_and_only_once_for_a_long_sleep() {
    for engine in ENGINES {
        let answers = "proxy_on_configure (drop (call $tick (i32.const 100))) (i32.const 1)";
        let bench = Bench::new(config(engine, &noting(answers, "")));
        notes(&bench);
        let start = bench.world.now.get();
        assert_eq!(bench.thread.next_tick(), Some(start + 100_000_000));
        bench.thread.tick();
        assert_eq!(notes(&bench), "");
        bench.world.now.set(start + 950_000_000);
        bench.thread.tick();
        bench.thread.tick();
        assert_eq!(notes(&bench), "k100", "{engine}");
        assert_eq!(bench.thread.next_tick(), Some(start + 1_050_000_000));
    }
}

#[test]
fn what_is_recorded_adds_to_a_counter_and_sets_a_gauge() {
    let imports = r#"
      (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
      (import "env" "proxy_record_metric" (func $record (param i32 i64) (result i32)))
      (import "env" "proxy_get_metric" (func $get (param i32 i32) (result i32)))
    "#;
    // What is read back of each goes into a gauge of its own.
    let rest = r#"
      (data (i32.const 64) "cgCG")
      (func $metric (param $kind i32) (param $name i32) (result i32)
        (drop (call $define (local.get $kind) (local.get $name) (i32.const 1) (i32.const 200)))
        (i32.load (i32.const 200)))
      (func $try (param $kind i32)
        (local $metric i32)
        (local.set $metric (call $metric (local.get $kind) (i32.add (i32.const 64) (local.get $kind))))
        (drop (call $record (local.get $metric) (i64.const 5)))
        (drop (call $record (local.get $metric) (i64.const 3)))
        (drop (call $get (local.get $metric) (i32.const 208)))
        (drop (call $record
          (call $metric (i32.const 1) (i32.add (i32.const 66) (local.get $kind)))
          (i64.load (i32.const 208)))))
      (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (call $try (i32.const 0))
        (call $try (i32.const 1))
        (i32.const 1))
    "#;
    for engine in ENGINES {
        let bench = Bench::new(config(engine, &filter(imports, rest)));
        let read = ["c", "C", "g", "G"].map(|name| bench.metric(name));
        assert_eq!(read, [8, 8, 3, 3], "{engine}");
    }
}

#[test]
fn a_message_reaches_who_registered_the_queue() {
    for engine in ENGINES {
        let answers = r#"
          proxy_on_configure (drop (call $register (i32.const 64) (i32.const 5) (i32.const 200))) (i32.const 1)
          proxy_on_request_headers (drop (call $enqueue (i32.load (i32.const 200)) (i32.const 96) (i32.const 7))) (i32.const 0)
        "#;
        let bench = Bench::new(config(engine, &noting(answers, "")));
        request(&mut bench.chain(), true);
        let ready = Message::QueueReady {
            machine: 0,
            plugin: 0,
            queue: 1,
        };
        assert!(bench.messages.lock().expect("no panic").contains(&ready));
        notes(&bench);
        bench.deliver();
        assert_eq!(notes(&bench), "q110", "{engine}");
    }
}

#[test]
fn a_context_stays_until_the_guest_is_done_with_it() {
    for engine in ENGINES {
        let answers = r#"
          proxy_on_done (i32.const 0)
          proxy_on_response_headers (drop (call $done)) (i32.const 0)
        "#;
        // A tick says that the first stream is done with.
        let more = r#"
          (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
          (func (export "proxy_on_tick") (param i32)
            (drop (call $effective (i32.const 2)))
            (call $note (i32.const 107) (call $done) (call $done) (i32.const 0)))
        "#;
        let (import, rest) = more.split_at(more.find("(func (export").expect("a function"));
        let code = noting(
            &answers.replace(
                "proxy_on_response_headers (drop (call $done)) (i32.const 0)",
                "proxy_on_configure (drop (call $tick (i32.const 1))) (i32.const 1)",
            ),
            rest,
        );
        let code = code.replacen("(module", &format!("(module {import}"), 1);
        let bench = Bench::new(config(engine, &code));
        let mut chain = bench.chain();
        request(&mut chain, true);
        notes(&bench);
        chain.finish(EndReason::Done);
        assert_eq!(notes(&bench), "D200", "{engine}");
        bench.world.now.set(bench.world.now.get() + 1_000_000_000);
        bench.thread.tick();
        // The first says OK, the second that there is nothing to be done with.
        assert_eq!(notes(&bench), "k010 L200 X200", "{engine}");
    }
}

#[test]
fn a_host_function_calls_the_plugin_back() {
    for engine in ENGINES {
        let bench = Bench::new(config(engine, &noting("", "")));
        notes(&bench);
        bench.plugin.foreign(7, "abc".into()).expect("it stands");
        assert_eq!(notes(&bench), "f173", "{engine}");
    }
}

#[test]
fn two_plugins_of_one_configuration_share_a_machine() {
    for engine in ENGINES {
        let code = noting("", "");
        let bench = Bench::new(config(engine, &code));
        let mut second = config(engine, &code);
        second.configuration = b"other".to_vec();
        let second = bench.process.load(second).expect("it loads");
        notes(&bench);
        let second = bench.thread.start(&second).expect("it starts");
        assert_eq!(notes(&bench), "c200 v290 p250", "{engine}");
        drop(second);
        let mut other = config(engine, &code);
        other.vm.vm_id = "another".into();
        let other = bench.process.load(other).expect("it loads");
        bench.thread.start(&other).expect("it starts");
        assert_eq!(notes(&bench), "c100 v190 p1=0", "{engine}");
    }
}

#[test]
fn a_body_is_seen_before_the_headers_go_on_where_the_plugin_wants_that() {
    for engine in ENGINES {
        let answers = r#"
          proxy_on_request_headers (i32.const 1)
          proxy_on_request_body (i32.eqz (local.get 2))
        "#;
        let mut config = config(engine, &noting(answers, ""));
        config.body_before_headers = true;
        let bench = Bench::new(config);
        notes(&bench);
        let mut chain = bench.chain();
        request(&mut chain, false);
        chain.data(Direction::Request, "ab".into(), false);
        assert!(!passed(&mut chain));
        chain.data(Direction::Request, "c".into(), true);
        assert!(passed(&mut chain));
        assert_eq!(notes(&bench), "c210 h240 b220 b231", "{engine}");
    }
}

#[test]
fn a_start_function_runs_first_and_within_a_budget() {
    for engine in ENGINES {
        let code = noting(
            "",
            "(func $begin (call $note (i32.const 115) (i32.const 0) (i32.const 0) (i32.const 0))) (start $begin)",
        );
        let bench = Bench::new(config(engine, &code));
        // No plugin has a context yet, so the line is the machine's.
        assert_eq!(notes(&bench), "info vm: s000 c100 v190 p1=0", "{engine}");
        let endless = noting("", "(func $begin (loop $again (br $again))) (start $begin)");
        let error = Bench::try_new(config(engine, &endless))
            .err()
            .expect("it never ends");
        assert_eq!(error.kind(), ErrorKind::Limit(Limit::Deadline), "{engine}");
    }
}
