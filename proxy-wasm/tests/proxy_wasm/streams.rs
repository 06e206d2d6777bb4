//! Headers and bodies as a filter changes them, and answers in the server's place.

use filters::callout::CallRefused;
use filters::{Direction, EndReason};

use crate::harness::{Bench, ENGINES, config, filter, passed, reply, request, respond};

#[test]
fn a_filter_answers_in_the_servers_place() {
    for engine in ENGINES {
        let code = filter(
            r#"(import "env" "proxy_send_local_response"
                 (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))"#,
            r#"
              (data (i32.const 64) "stop")
              (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (call $reply (i32.const 418) (i32.const 64) (i32.const 4) (i32.const 64) (i32.const 2)
                  (i32.const 0) (i32.const 0) (i32.const -1)))
            "#,
        );
        let bench = Bench::new(config(engine, &code));
        let mut chain = bench.chain();
        request(&mut chain, false);
        assert!(!passed(&mut chain));
        assert_eq!(
            reply(&mut chain),
            Some(("418".into(), "st".into())),
            "{engine}"
        );
        assert_eq!(chain.stream().info().details, "stop");
    }
}

#[test]
fn a_filter_changes_the_body_that_it_holds() {
    for engine in ENGINES {
        // Prepends `<`, appends `>`, and puts `-` in the place of the second byte.
        let code = filter(
            r#"(import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))"#,
            r#"
              (data (i32.const 64) "<>-")
              (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
                (if (i32.eqz (local.get 2)) (then (return (i32.const 1))))
                (drop (call $set (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 66) (i32.const 1)))
                (drop (call $set (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 1)))
                (call $set (i32.const 0) (i32.const 99) (i32.const 0) (i32.const 65) (i32.const 1)))
            "#,
        );
        let bench = Bench::new(config(engine, &code));
        let mut chain = bench.chain();
        request(&mut chain, false);
        chain.data(Direction::Request, "ab".into(), false);
        chain.data(Direction::Request, "cd".into(), true);
        let mut body = Vec::new();
        while let Some(part) = chain.take(Direction::Request) {
            if let filters::Part::Data { data, .. } = part {
                body.extend_from_slice(&data);
            }
        }
        assert_eq!(String::from_utf8_lossy(&body), "<a-cd>", "{engine}");
    }
}

#[test]
fn headers_that_a_stream_never_had_are_read_as_none() {
    // Logs the statuses of reading response headers, trailers, and one header, and how long the maps are.
    let imports = r#"
      (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
      (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
      (import "env" "proxy_get_header_map_value" (func $value (param i32 i32 i32 i32 i32) (result i32)))
    "#;
    let note = |at: u32, number: &str| {
        format!("(i32.store8 (i32.const {at}) (i32.add (i32.const 48) {number}))")
    };
    let pairs = |at: u32, map: u32| {
        let status = format!("(call $pairs (i32.const {map}) (i32.const 200) (i32.const 204))");
        note(at, &status) + &note(at + 1, "(i32.load (i32.const 204))")
    };
    let value =
        "(call $value (i32.const 2) (i32.const 64) (i32.const 1) (i32.const 200) (i32.const 204))";
    let log = format!(
        r#"(func (export "proxy_on_log") (param i32) {} {} {} (drop (call $log (i32.const 2) (i32.const 16) (i32.const 5))))"#,
        pairs(16, 2),
        pairs(18, 1),
        note(20, value),
    );
    let newest = filter(imports, &log);
    let oldest = newest.replace("proxy_abi_version_0_2_1", "proxy_abi_version_0_1_0");
    for engine in ENGINES {
        for (code, noted) in [(&newest, "04041"), (&oldest, "04040")] {
            let bench = Bench::new(config(engine, code));
            let mut chain = bench.chain();
            request(&mut chain, true);
            chain.finish(EndReason::Reset);
            assert_eq!(bench.lines(), [format!("info probe: {noted}")], "{engine}");
        }
    }
}

#[test]
fn a_filter_puts_trailers_behind_the_last_data_and_nowhere_else() {
    // Adds a trailer at each chunk, twice at the last one, and logs the statuses.
    let imports = r#"
      (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
      (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
      (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
    "#;
    let add = |at: u32, map: u32| {
        format!(
            "(i32.store8 (i32.const {at}) (i32.add (i32.const 48)
               (call $add (i32.const {map}) (i32.const 64) (i32.const 1) (i32.const 65) (i32.const 1))))"
        )
    };
    let rest = format!(
        r#"(data (i32.const 64) "kv")
           (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
             (i32.store8 (i32.const 16) (i32.add (i32.const 48)
               (call $remove (i32.const 1) (i32.const 64) (i32.const 1))))
             {} {} {}
             (drop (call $log (i32.const 2) (i32.const 16) (i32.const 4)))
             (i32.const 0))"#,
        add(17, 3),
        add(18, 1),
        add(19, 1),
    );
    for engine in ENGINES {
        let bench = Bench::new(config(engine, &filter(imports, &rest)));
        let mut chain = bench.chain();
        request(&mut chain, false);
        chain.data(Direction::Request, "a".into(), false);
        assert_eq!(bench.lines(), ["info probe: 2222"], "{engine}");
        chain.data(Direction::Request, "b".into(), true);
        // The response's trailers are not those of the direction that ends.
        assert_eq!(bench.lines(), ["info probe: 0200"], "{engine}");
        let stream = chain.stream();
        let trailers = stream.trailers(Direction::Request).expect("set");
        let pairs: Vec<_> = trailers.pairs().collect();
        assert_eq!(pairs, [(&b"k"[..], &b"v"[..]); 2], "{engine}");
    }
}

#[test]
fn trailers_of_a_guest_that_is_lost_are_put_there_anew_and_not_twice() {
    let imports = r#"
      (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
    "#;
    // The first stream's body is held at its end, the other one's goes on; both get a trailer.
    let rest = r#"
      (data (i32.const 64) "kv")
      (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
        (if (call $add (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 65) (i32.const 1))
          (then unreachable))
        (i32.eq (local.get 1) (i32.const 1)))
      (func (export "proxy_on_foreign_function") (param i32 i32 i32) unreachable)
    "#;
    for engine in ENGINES {
        let bench = Bench::new(config(engine, &filter(imports, rest)));
        let (mut held, mut gone) = (bench.chain(), bench.chain());
        for (chain, body) in [(&mut held, "a"), (&mut gone, "ab")] {
            request(chain, false);
            chain.data(Direction::Request, body.into(), true);
        }
        bench.plugin.foreign(0, "".into()).expect("it stands");
        for chain in [&mut held, &mut gone] {
            chain.pump();
            respond(chain, true);
            let stream = chain.stream();
            let trailers = stream.trailers(Direction::Request).expect("set");
            assert_eq!(trailers.len(), 1, "{engine}");
        }
        assert_eq!(bench.metric("wasm.probe.failures"), 1, "{engine}");
    }
}

/// A filter that, at the end of a request's body, answers with the part from `start` on, of at most `max` bytes.
fn reading(start: u32, max: u32, allocate: &str) -> String {
    let answer = format!(
        r#"
          (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
            (if (i32.eqz (local.get 2)) (then (return (i32.const 1))))
            (if (call $get (i32.const 0) (i32.const {start}) (i32.const {max}) (i32.const 200) (i32.const 204))
              (then unreachable))
            (call $reply (i32.const 200) (i32.const 0) (i32.const 0)
              (i32.load (i32.const 200)) (i32.load (i32.const 204)) (i32.const 0) (i32.const 0) (i32.const -1)))
        "#
    );
    let imports = r#"
      (import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))
      (import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))
      (import "env" "proxy_send_local_response"
        (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    "#;
    filter(imports, &format!("{allocate} {answer}"))
}

/// What comes of a body of three chunks.
fn read(engine: &str, code: &str) -> String {
    let bench = Bench::new(config(engine, code));
    let mut chain = bench.chain();
    request(&mut chain, false);
    for (chunk, end) in [("abc", false), ("de", false), ("fgh", true)] {
        chain.data(Direction::Request, chunk.into(), end);
    }
    reply(&mut chain).expect("an answer").1
}

#[test]
fn a_part_of_a_body_is_read_across_its_chunks() {
    for engine in ENGINES {
        for (start, max, part) in [
            (0, 99, "abcdefgh"),
            (0, 3, "abc"),
            (1, 3, "bcd"),
            (2, 4, "cdef"),
            (3, 2, "de"),
            (7, 1, "h"),
            (7, 99, "h"),
            (8, 1, ""),
            (99, 1, ""),
            (4, 0, ""),
        ] {
            assert_eq!(
                read(engine, &reading(start, max, "")),
                part,
                "{start} {max} on {engine}"
            );
        }
    }
}

#[test]
fn a_guest_that_changes_the_body_while_it_allocates_reads_what_is_there_then() {
    for engine in ENGINES {
        // Puts text in the place of the whole body.
        let changing = |text: &str| {
            format!(
                r#"
                  (data (i32.const 64) "{text}")
                  (func (export "proxy_on_memory_allocate") (param i32) (result i32)
                    (drop (call $set (i32.const 0) (i32.const 0) (i32.const 99) (i32.const 64) (i32.const {})))
                    (i32.const 1024))
                "#,
                text.len()
            )
        };
        for (text, part) in [("1234", "34"), ("123456789", "3456"), ("1", ""), ("", "")] {
            assert_eq!(
                read(engine, &reading(2, 4, &changing(text))),
                part,
                "{text} on {engine}"
            );
        }
    }
}

/// Logs the number at an address as a letter: `0` is 0.
const NOTE: &str = r#"
  (func $note (param $number i32)
    (i32.store8 (i32.const 8) (i32.add (i32.const 48) (local.get $number)))
    (drop (call $log (i32.const 1) (i32.const 8) (i32.const 1))))
"#;
const LOG: &str = r#"(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))"#;

#[test]
fn an_empty_buffer_has_a_place_where_its_length_has_none() {
    for engine in ENGINES {
        let code = filter(
            &format!(
                r#"{LOG}
                (import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))"#
            ),
            &format!(
                r#"{NOTE}
                (data (i32.const 0) "zero")
                (func (export "proxy_on_configure") (param $context i32) (param $size i32) (result i32)
                  (i32.store (i32.const 256) (i32.const 9))
                  (i32.store (i32.const 260) (i32.const 9))
                  (call $note (call $get (i32.const 7) (i32.const 0) (local.get $size) (i32.const 256) (i32.const 260)))
                  (call $note (i32.load (i32.const 256)))
                  (call $note (i32.load (i32.const 260)))
                  (call $note (call $get (i32.const 7) (i32.const 0) (local.get $size) (i32.const 256) (local.get $size)))
                  (call $note (i32.ne (i32.load (i32.const 256)) (i32.const 0)))
                  (call $note (i32.eqz (i32.load (i32.const 0))))
                  (i32.const 1))"#
            ),
        );
        let mut config = config(engine, &code);
        config.configuration.clear();
        let bench = Bench::new(config);
        let noted = bench.lines().concat().replace("debug probe: ", "");
        assert_eq!(noted, "000010", "{engine}");
    }
}

#[test]
fn a_grpc_call_takes_a_clusters_name_or_a_service_that_names_one() {
    let metadata = r"\n\06\n\04back\2a\00";
    for (target, cluster) in [
        (r"back", "back"),
        (r"\n\06\n\04back", "back"),
        (metadata, "\n\u{6}\n\u{4}back*\0"),
    ] {
        for engine in ENGINES {
            let len = cluster
                .len()
                .max(if target.starts_with('b') { 4 } else { 8 });
            let code = filter(
                r#"(import "env" "proxy_grpc_stream" (func $grpc (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))"#,
                &format!(
                    r#"(data (i32.const 64) "{target}")
                    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                      (drop (call $grpc (i32.const 64) (i32.const {len}) (i32.const 64) (i32.const 0)
                        (i32.const 64) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 256)))
                      (i32.const 0))"#
                ),
            );
            let bench = Bench::new(config(engine, &code));
            request(&mut bench.chain(), true);
            let called = bench.world.streams.borrow_mut().pop().expect("a call");
            assert_eq!(called.0.cluster, cluster, "{engine}");
            bench.world.refuse.set(Some(|| CallRefused::UnknownCluster));
            request(&mut bench.chain(), true);
            let lines = bench.lines().concat();
            assert!(lines.contains("`envoy_grpc.cluster_name`"), "{lines}");
            assert!(!lines.contains('\n'), "{lines}");
        }
    }
}

#[test]
fn a_foreign_function_clears_the_cache_of_the_route() {
    for engine in ENGINES {
        // As guests in C++ call it: with no place for an answer.
        let call = "(call $note (call $foreign (i32.const 64) (i32.const 17) (i32.const 0) (i32.const 0) \
            (i32.const 0) (i32.const 0)))";
        let code = filter(
            &format!(
                r#"{LOG}
                (import "env" "proxy_call_foreign_function" (func $foreign (param i32 i32 i32 i32 i32 i32) (result i32)))"#
            ),
            &format!(
                r#"{NOTE}
                (data (i32.const 0) "zero")
                (data (i32.const 64) "clear_route_cache")
                (func (export "proxy_on_configure") (param i32 i32) (result i32) {call} (i32.const 1))
                (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                  (if (local.get 2) (then {call}))
                  (call $note (i32.eqz (i32.load (i32.const 0))))
                  (i32.const 0))"#
            ),
        );
        let bench = Bench::new(config(engine, &code));
        for end in [false, true] {
            let mut chain = bench.chain();
            request(&mut chain, end);
            assert_eq!(chain.take_route_stale(), end, "{engine}");
        }
        let noted = bench.lines().concat().replace("debug probe: ", "");
        assert_eq!(noted, "0000", "{engine}");
    }
}
