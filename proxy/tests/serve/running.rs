//! Starting, answering about itself, taking up other configurations, and ending.

use crate::endings::again;
use crate::harness::{Client, Running, config, direct, module, on_each_engine, wasm};

#[test]
fn the_proxy_answers_about_itself() {
    let running = Running::new(&config("", &direct("/", "x"), &[]), &[], 1);
    running.get("/");
    let mut admin = Client::new(running.address("admin"));
    assert_eq!(admin.get("/ready", &[]).body, "LIVE\n");
    let stats = admin.get("/stats/prometheus", &[]).body;
    assert!(stats.contains("http_test_requests_total 1\n"), "{stats}");
    assert_eq!(admin.get("/none", &[]).status, 404);
}

#[test]
fn another_configuration_is_taken_up_and_a_broken_one_is_not() {
    let running = Running::new(&config("", &direct("/", "one"), &[]), &[], 2);
    let mut old = Client::new(running.address("main"));
    assert_eq!(old.get("/", &[]).body, "one");
    running.write("static_resources: {listeners: [");
    running.wait_for("was not taken up", 1);
    assert_eq!(running.get("/").body, "one");
    let port = running.address("main").port();
    let next = config("", &direct("/", "two"), &[]).replacen(
        "address: 127.0.0.1, port_value: 0}}\n    per_connection",
        &format!("address: 127.0.0.1, port_value: {port}}}}}\n    per_connection"),
        1,
    );
    assert!(next.contains(&port.to_string()));
    running.write(&next);
    running.wait_for("was taken up", 1);
    assert_eq!(running.get("/").body, "two");
}

#[test]
fn a_notice_of_a_later_configuration_says_its_file() {
    let text = config("", &direct("/", "x"), &[]);
    let running = Running::new(&text, &[], 1);
    let text = text.replacen("admin: {", "admin: {access_log_path: /dev/null, ", 1);
    running.write(&again(&running, &text));
    running.wait_for("was taken up", 1);
    let path = running.path();
    running.wait_for(&format!("info proxy: {}:2:", path.display()), 1);
}

fn a_filter_that_refuses_its_configuration_refuses_the_proxy(engine: &str) {
    let refusing = module(
        "",
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 0))"#,
    );
    let text = config(&wasm("refusing", "no.wasm", ""), &direct("/", "x"), &[]);
    let error = Running::try_on(engine, &text, &[("no.wasm", &refusing)], 1)
        .err()
        .expect("refused");
    assert!(error.to_string().contains("proxy_on_configure"), "{error}");
    let missing = Running::try_on(engine, &text, &[], 1)
        .err()
        .expect("refused");
    assert!(missing.to_string().contains("no.wasm"), "{missing}");
}

fn a_configuration_that_one_worker_cannot_serve_is_served_by_none(engine: &str) {
    // The third machine of all refuses: after the main thread's, that of the second worker.
    let third = module(
        r#"
          (import "env" "proxy_get_shared_data" (func $get (param i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_set_shared_data" (func $set (param i32 i32 i32 i32 i32) (result i32)))
        "#,
        r#"
          (data (i32.const 64) "n")
          (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (i32.store8 (i32.const 80) (i32.const 1))
            (if (i32.eqz (call $get (i32.const 64) (i32.const 1) (i32.const 16) (i32.const 20) (i32.const 24)))
              (then (i32.store8 (i32.const 80) (i32.add (i32.const 1) (i32.load8_u (i32.load (i32.const 16)))))))
            (drop (call $set (i32.const 64) (i32.const 1) (i32.const 80) (i32.const 1) (i32.const 0)))
            (i32.ne (i32.load8_u (i32.const 80)) (i32.const 3)))
        "#,
    );
    let one = config("", &direct("/", "one"), &[]);
    let running = Running::on(engine, &one, &[("third.wasm", &third)], 2);
    let two = config(&wasm("third", "third.wasm", ""), &direct("/", "two"), &[]);
    let two = again(&running, &two);
    running.write(&two);
    running.wait_for("was not taken up", 1);
    running.wait_for("worker 1: ", 1);
    for _ in 0..50 {
        assert_eq!(running.get("/").body, "one");
    }
    running.write(&(two + "\n# once more\n"));
    running.wait_for("was taken up", 1);
    for _ in 0..50 {
        assert_eq!(running.get("/").body, "two");
    }
}

on_each_engine! {
    a_configuration_that_one_worker_cannot_serve_is_served_by_none
    a_filter_that_refuses_its_configuration_refuses_the_proxy
}
