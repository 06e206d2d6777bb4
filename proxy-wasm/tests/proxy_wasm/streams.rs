//! Headers and bodies as a filter changes them, and answers in the server's place.

use filters::Direction;

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
