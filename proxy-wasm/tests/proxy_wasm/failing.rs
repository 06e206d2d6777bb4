//! Guests that trap, run for ever or grow: who is answered, what is counted, and what stands afterwards.

use filters::{Direction, EndReason, Headers, Part};
use proxy_wasm::FailurePolicy;

use crate::harness::{Bench, ENGINES, config, filter, passed, reply, request, respond};

/// Traps where the header `x-trap` is there, pauses where `x-pause` is.
fn trapping() -> String {
    filter(
        r#"
          (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
        "#,
        r#"
          (data (i32.const 64) "x-trapx-pause")
          (func $there (param $at i32) (param $len i32) (result i32)
            (i32.eqz (call $get (i32.const 0) (local.get $at) (local.get $len) (i32.const 200) (i32.const 204))))
          (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (if (call $there (i32.const 64) (i32.const 6)) (then unreachable))
            (drop (call $add (i32.const 0) (i32.const 66) (i32.const 4) (i32.const 66) (i32.const 4)))
            (call $there (i32.const 70) (i32.const 7)))
          (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (if (call $there (i32.const 64) (i32.const 6)) (then unreachable))
            (i32.const 0))
        "#,
    )
}

fn with(chain: &mut filters::Chain, header: &str) {
    let headers = Headers::from_iter([(":path", "/"), (header, "1")]);
    chain.headers(Direction::Request, headers, true);
}

#[test]
fn a_trap_is_answered_at_once_and_the_next_stream_finds_a_new_machine() {
    for engine in ENGINES {
        let bench = Bench::new(config(engine, &trapping()));
        for round in 0..10 {
            let mut good = bench.chain();
            with(&mut good, "x-good");
            assert!(passed(&mut good), "{engine} {round}");
            respond(&mut good, true);
            good.finish(EndReason::Done);
            let mut bad = bench.chain();
            with(&mut bad, "x-trap");
            assert!(!passed(&mut bad));
            let (status, _) = reply(&mut bad).expect("an answer");
            assert_eq!(status, "503", "{engine} {round}");
        }
        assert_eq!(bench.metric("wasm.probe.failures"), 10, "{engine}");
        // The last one is replaced when the thread has time.
        bench.deliver();
        assert_eq!(bench.metric("wasm.probe.reloads"), 10, "{engine}");
    }
}

#[test]
fn an_open_plugin_lets_its_stream_pass() {
    for engine in ENGINES {
        let mut config = config(engine, &trapping());
        config.policy = FailurePolicy::Open;
        let bench = Bench::new(config);
        let mut chain = bench.chain();
        with(&mut chain, "x-trap");
        assert!(passed(&mut chain), "{engine}");
        respond(&mut chain, true);
        assert_eq!(
            reply(&mut chain).map(|(status, _)| status).as_deref(),
            Some("200")
        );
    }
}

#[test]
fn streams_of_a_machine_that_is_lost_go_on_with_another() {
    for engine in ENGINES {
        let bench = Bench::new(config(engine, &trapping()));
        let mut held = bench.chain();
        with(&mut held, "x-pause");
        let mut waiting = bench.chain();
        with(&mut waiting, "x-good");
        assert!(passed(&mut waiting) && !passed(&mut held));
        let mut bad = bench.chain();
        with(&mut bad, "x-trap");
        held.pump();
        waiting.pump();
        // The held one was asked again, with its headers as they had been: `trap` is there once.
        assert!(!passed(&mut held) && reply(&mut held).is_none());
        let added = held
            .stream()
            .headers(Direction::Request)
            .expect("headers")
            .all("trap")
            .count();
        assert_eq!(added, 1, "{engine}");
        respond(&mut waiting, true);
        assert_eq!(
            reply(&mut waiting).map(|(status, _)| status).as_deref(),
            Some("200"),
            "{engine}"
        );
    }
}

/// Traps where the header `x-trap` is there; where the header `x-pause` is, it pauses until its foreign function is called,
/// and refuses responses with 299.
fn deciding() -> String {
    filter(
        r#"
          (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_set_effective_context" (func $about (param i32) (result i32)))
          (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
        "#,
        r#"
          (data (i32.const 64) "x-trapx-pause:status299")
          (func (export "proxy_on_foreign_function") (param i32 i32 i32)
            (drop (call $about (global.get $refused)))
            (drop (call $continue (i32.const 0))))
          (global $refused (mut i32) (i32.const 0))
          (func $there (param $at i32) (param $len i32) (result i32)
            (i32.eqz (call $get (i32.const 0) (local.get $at) (local.get $len) (i32.const 200) (i32.const 204))))
          (func (export "proxy_on_request_headers") (param $context i32) (param i32 i32) (result i32)
            (if (call $there (i32.const 64) (i32.const 6)) (then unreachable))
            (if (result i32) (call $there (i32.const 70) (i32.const 7))
              (then
                (global.set $refused (local.get $context))
                (drop (call $add (i32.const 0) (i32.const 66) (i32.const 4) (i32.const 66) (i32.const 4)))
                (i32.const 1))
              (else (i32.const 0))))
          (func (export "proxy_on_response_headers") (param $context i32) (param i32 i32) (result i32)
            (if (i32.eq (local.get $context) (global.get $refused))
              (then (drop (call $replace (i32.const 2) (i32.const 77) (i32.const 7) (i32.const 84) (i32.const 3)))))
            (i32.const 0))
          (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.const 0))
        "#,
    )
}

/// A stream that the filter has let go on after a pause.
fn resumed(bench: &Bench, end: bool) -> filters::Chain {
    let mut chain = bench.chain();
    let headers = Headers::from_iter([(":path", "/"), ("x-pause", "1")]);
    chain.headers(Direction::Request, headers, end);
    assert!(!passed(&mut chain));
    bench
        .plugin
        .foreign(0, bytes::Bytes::new())
        .expect("it stands");
    chain.pump();
    assert!(passed(&mut chain));
    chain
}

fn trap(bench: &Bench) {
    let mut chain = bench.chain();
    with(&mut chain, "x-trap");
    assert_eq!(reply(&mut chain).expect("an answer").0, "503");
}

fn status_of(chain: &mut filters::Chain) -> Option<String> {
    chain.pump();
    reply(chain).map(|(status, _)| status)
}

#[test]
fn the_next_machine_is_told_of_the_headers_that_passed_the_one_before() {
    for engine in ENGINES {
        let bench = Bench::new(config(engine, &deciding()));
        for _ in 0..3 {
            let mut chain = resumed(&bench, true);
            trap(&bench);
            chain.pump();
            // Who is told again changes and pauses nothing that has passed.
            respond(&mut chain, true);
            assert_eq!(status_of(&mut chain).as_deref(), Some("299"), "{engine}");
            let stream = chain.stream();
            let headers = stream.headers(Direction::Request).expect("headers");
            assert_eq!(headers.all("trap").count(), 1, "{engine}");
        }
    }
}

#[test]
fn the_next_machine_is_told_of_the_headers_before_the_data_that_come_first() {
    for engine in ENGINES {
        let bench = Bench::new(config(engine, &deciding()));
        let mut chain = resumed(&bench, false);
        trap(&bench);
        // The stream has not yet heard of the loss.
        chain.data(Direction::Request, "all".into(), true);
        // Nor has it now, and its body has passed.
        trap(&bench);
        respond(&mut chain, true);
        assert_eq!(status_of(&mut chain).as_deref(), Some("299"), "{engine}");
        let mut bytes = 0;
        while let Some(part) = chain.take(Direction::Request) {
            if let Part::Data { data, .. } = part {
                bytes += data.len();
            }
        }
        assert_eq!(bytes, 3, "what is told again does not pass again");
    }
}

#[test]
fn a_stream_of_which_too_much_has_passed_is_answered_by_the_policy() {
    for engine in ENGINES {
        for (policy, expected) in [(FailurePolicy::Closed, "503"), (FailurePolicy::Open, "200")] {
            let mut config = config(engine, &deciding());
            config.policy = policy;
            let bench = Bench::new(config);
            let mut chain = resumed(&bench, false);
            let data = |chain: &mut filters::Chain, end| {
                chain.data(Direction::Request, vec![0; 40 << 10].into(), end);
            };
            data(&mut chain, false);
            data(&mut chain, false);
            let mut bad = bench.chain();
            with(&mut bad, "x-trap");
            chain.pump();
            data(&mut chain, true);
            respond(&mut chain, true);
            assert_eq!(status_of(&mut chain).as_deref(), Some(expected), "{engine}");
        }
    }
}

#[test]
fn a_stream_that_loses_machine_after_machine_is_answered_by_the_policy() {
    for engine in ENGINES {
        let bench = Bench::new(config(engine, &deciding()));
        let mut chain = bench.chain();
        with(&mut chain, "x-pause");
        for _ in 0..3 {
            trap(&bench);
            assert_eq!(status_of(&mut chain), None, "{engine}");
        }
        trap(&bench);
        assert_eq!(status_of(&mut chain).as_deref(), Some("503"), "{engine}");
    }
}

#[test]
fn a_machine_that_has_not_served_for_a_while_rests_longer_and_longer() {
    for engine in ENGINES {
        let bench = Bench::new(config(engine, &trapping()));
        let start = bench.world.now.get();
        let second = 1_000_000_000;
        let trap = || {
            let mut chain = bench.chain();
            with(&mut chain, "x-trap");
            assert_eq!(reply(&mut chain).expect("an answer").0, "503");
        };
        let good = || {
            let mut chain = bench.chain();
            with(&mut chain, "x-good");
            passed(&mut chain)
        };
        for _ in 0..3 {
            trap();
        }
        assert!(good(), "it is young and stands again on {engine}");
        let mut rested = start + 10 * second;
        bench.world.now.set(rested);
        trap();
        assert!(
            bench.plugin.foreign(0, bytes::Bytes::new()).is_ok(),
            "the last one served"
        );
        for longest in [second, 2 * second, 4 * second, 4 * second] {
            bench.world.now.set(rested + 10 * second);
            trap();
            bench.deliver();
            let now = bench.world.now.get();
            let rest = bench.thread.next_tick().expect("it rests") - now;
            assert!(
                (longest / 2..=longest).contains(&rest),
                "{rest} on {engine}"
            );
            assert!(!good(), "it rests on {engine}");
            rested = now;
        }
        bench.world.now.set(rested + 10 * second);
        bench.thread.tick();
        assert!(good(), "{engine}");
        trap();
        assert!(good(), "it has just served on {engine}");
    }
}

/// The status of the answer to a stream that may trap; 0 where it passes.
fn status(bench: &Bench, header: &str) -> u16 {
    let mut chain = bench.chain();
    with(&mut chain, header);
    if passed(&mut chain) {
        return 0;
    }
    let (status, _) = reply(&mut chain).expect("an answer");
    status.parse().expect("a number")
}

#[test]
fn a_reloading_plugin_refuses_streams_until_its_back_off_is_over() {
    for engine in ENGINES {
        let mut config = config(engine, &trapping());
        config.policy = FailurePolicy::Reload;
        let bench = Bench::new(config);
        let second = 1_000_000_000;
        // Chance takes half of a wait at most, and nothing at least.
        for (chance, wait) in [(0, second), (u8::MAX, second / 2)] {
            bench.world.chance.set(chance);
            assert_eq!(status(&bench, "x-good"), 0, "{engine}");
            assert_eq!(status(&bench, "x-trap"), 503, "{engine}");
            let failed = bench.world.now.get();
            bench.deliver();
            assert_eq!(bench.thread.next_tick(), Some(failed + wait), "{engine}");
            bench.world.now.set(failed + wait - 1);
            bench.thread.tick();
            assert_eq!(status(&bench, "x-good"), 503, "it rests on {engine}");
            bench.world.now.set(failed + wait);
            // The next stream finds another machine, whether or not the thread has ticked.
            assert_eq!(status(&bench, "x-good"), 0, "{engine}");
        }
        assert_eq!(bench.metric("wasm.probe.failures"), 2, "{engine}");
        assert_eq!(bench.metric("wasm.probe.reloads"), 2, "{engine}");
    }
}

#[test]
fn a_reloading_plugin_that_fails_in_a_row_rests_longer_up_to_its_longest() {
    for engine in ENGINES {
        let mut config = config(engine, &trapping());
        config.policy = FailurePolicy::Reload;
        let bench = Bench::new(config);
        let second = 1_000_000_000;
        let mut rest = |seconds: u64| {
            assert_eq!(status(&bench, "x-trap"), 503, "{engine}");
            bench.deliver();
            let due = bench.world.now.get() + seconds * second;
            assert_eq!(bench.thread.next_tick(), Some(due), "{engine}");
            bench.world.now.set(due);
        };
        [1, 2, 4, 4].into_iter().for_each(&mut rest);
        assert_eq!(status(&bench, "x-good"), 0, "{engine}");
        rest(1);
    }
}

#[test]
fn an_open_plugin_that_rests_lets_streams_pass() {
    for engine in ENGINES {
        let mut config = config(engine, &trapping());
        config.policy = FailurePolicy::Open;
        let bench = Bench::new(config);
        bench.world.now.set(bench.world.now.get() + 5_000_000_000);
        assert_eq!(status(&bench, "x-trap"), 0, "{engine}");
        bench.deliver();
        assert!(bench.thread.next_tick().is_some(), "it rests on {engine}");
        assert_eq!(status(&bench, "x-good"), 0, "{engine}");
        assert_eq!(bench.metric("wasm.probe.reloads"), 0, "{engine}");
    }
}

#[test]
fn the_plugin_that_failed_says_how_its_machine_is_replaced() {
    for engine in ENGINES {
        let bench = Bench::new(config(engine, &trapping()));
        let mut other = config(engine, &trapping());
        other.policy = FailurePolicy::Reload;
        other.name = "other".into();
        let other = bench.process.load(other).expect("it loads");
        let other = bench.thread.start(&other).expect("it starts");
        assert_eq!(status(&bench, "x-trap"), 503, "{engine}");
        assert_eq!(status(&bench, "x-good"), 0, "at once on {engine}");
        let mut chain = bench.chain_of(&other);
        with(&mut chain, "x-trap");
        assert_eq!(reply(&mut chain).expect("an answer").0, "503", "{engine}");
        assert_eq!(status(&bench, "x-good"), 503, "it rests on {engine}");
        let failures =
            ["probe", "other"].map(|name| bench.metric(&format!("wasm.{name}.failures")));
        assert_eq!(failures, [1, 1], "{engine}");
        let reloads = ["probe", "other"].map(|name| bench.metric(&format!("wasm.{name}.reloads")));
        assert_eq!(reloads, [1, 1], "both are on the machine on {engine}");
    }
}

#[test]
fn a_machine_that_does_not_start_again_is_counted_and_tried_later() {
    for engine in ENGINES {
        // Refuses its configuration where the shared data has the key `x-trap`, and stores it at a trap.
        let code = filter(
            r#"
              (import "env" "proxy_set_shared_data" (func $set (param i32 i32 i32 i32 i32) (result i32)))
              (import "env" "proxy_get_shared_data" (func $get (param i32 i32 i32 i32 i32) (result i32)))
            "#,
            r#"
              (data (i32.const 64) "x-trap")
              (func (export "proxy_on_configure") (param i32 i32) (result i32)
                (i32.ne (i32.const 0)
                  (call $get (i32.const 64) (i32.const 6) (i32.const 200) (i32.const 204) (i32.const 208))))
              (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (drop (call $set (i32.const 64) (i32.const 6) (i32.const 64) (i32.const 1) (i32.const 0)))
                unreachable)
            "#,
        );
        let bench = Bench::new(config(engine, &code));
        assert_eq!(status(&bench, "x-any"), 503, "{engine}");
        bench.deliver();
        assert_eq!(bench.metric("wasm.probe.reload_failures"), 1, "{engine}");
        assert_eq!(bench.metric("wasm.probe.reloads"), 0, "{engine}");
        let due = bench.world.now.get() + 1_000_000_000;
        assert_eq!(bench.thread.next_tick(), Some(due), "{engine}");
        bench.world.now.set(due);
        bench.thread.tick();
        assert_eq!(bench.metric("wasm.probe.reload_failures"), 2, "{engine}");
        assert_eq!(
            bench.thread.next_tick(),
            Some(due + 2_000_000_000),
            "{engine}"
        );
    }
}

#[test]
fn a_guest_that_never_returns_hits_its_deadline() {
    for engine in ENGINES {
        let code = filter(
            "",
            r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                 (loop $for_ever (br $for_ever)) (i32.const 0))"#,
        );
        let bench = Bench::new(config(engine, &code));
        let mut chain = bench.chain();
        request(&mut chain, true);
        assert_eq!(reply(&mut chain).expect("an answer").0, "503", "{engine}");
        assert_eq!(bench.metric("wasm.probe.deadlines"), 1, "{engine}");
        let lines = bench.lines().join("\n");
        assert!(lines.contains("`extengine.wasm.deadline`"), "{lines}");
    }
}

#[test]
fn a_guest_that_grows_without_end_hits_its_memory_limit() {
    for engine in ENGINES {
        let code = filter(
            "",
            r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                 (loop $more (br_if $more (i32.ne (memory.grow (i32.const 64)) (i32.const -1)))) (i32.const 0))"#,
        );
        let bench = Bench::new(config(engine, &code));
        let pages = bench.metric("wasm.vm.vm.memory_bytes");
        assert_eq!(pages, 2 << 16, "{engine}");
        let mut chain = bench.chain();
        request(&mut chain, true);
        assert_eq!(reply(&mut chain).expect("an answer").0, "503", "{engine}");
        assert_eq!(bench.metric("wasm.probe.memory_limits"), 1, "{engine}");
        assert_eq!(bench.metric("wasm.vm.vm.memory_bytes"), 0, "{engine}");
    }
}

#[test]
fn everything_that_keeps_a_module_from_running_is_in_one_report() {
    for engine in ENGINES {
        let code = r#"(module
            (import "env" "proxy_none" (func (param i32)))
            (import "env" "proxy_log" (func (param i64) (result i32)))
            (func (export "proxy_on_tick") (param i64)))"#;
        let error = Bench::try_new(config(engine, code)).err().expect("refused");
        let report = error.to_string();
        for part in [
            "proxy_none",
            "proxy_log",
            "proxy_on_tick",
            "malloc",
            "proxy_abi_version",
            "`memory`",
        ] {
            assert!(report.contains(part), "{part} is not in {report}");
        }
    }
}
