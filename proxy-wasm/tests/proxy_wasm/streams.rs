//! Headers and bodies as a filter changes them, and answers in the server's place.

use filters::{Direction, EndReason};

use crate::harness::{Bench, ENGINES, config, filter, passed, reply, request};

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
