//! WASM filters in a proxy that serves.

use std::io::Write;
use std::net::TcpListener;

use crate::endings::{connect, rest, with};
use crate::harness::{
    Client, Running, config, direct, echo, module, on_each_engine, service, wasm,
};

/// Logs `configured` and `tick`, ticks each 50 ms, adds `x-filter: on` to responses, traps on `x-trap`.
fn noting() -> String {
    module(
        r#"
          (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
          (import "env" "proxy_set_tick_period_milliseconds" (func $period (param i32) (result i32)))
          (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
        "#,
        r#"
          (data (i32.const 64) "configuredtickx-filteronx-trap")
          (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (drop (call $log (i32.const 2) (i32.const 64) (i32.const 10)))
            (drop (call $period (i32.const 50)))
            (i32.const 1))
          (func (export "proxy_on_tick") (param i32)
            (drop (call $log (i32.const 2) (i32.const 74) (i32.const 4))))
          (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (if (i32.eqz (call $get (i32.const 0) (i32.const 88) (i32.const 6) (i32.const 16) (i32.const 20)))
              (then unreachable))
            (i32.const 0))
          (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (drop (call $add (i32.const 2) (i32.const 78) (i32.const 8) (i32.const 86) (i32.const 2)))
            (i32.const 0))
        "#,
    )
}

fn each_worker_and_the_main_thread_have_a_machine_of_their_own(engine: &str) {
    let text = config(&wasm("noting", "noting.wasm", ""), &direct("/", "x"), &[]);
    let running = Running::on(engine, &text, &[("noting.wasm", &noting())], 2);
    let lines = running.lines.lock().expect("no panic").clone();
    let configured = lines
        .iter()
        .filter(|line| line.ends_with("info noting: configured"));
    assert_eq!(configured.count(), 3, "{lines:?}");
    running.wait_for("info noting: tick", 6);
}

fn a_direct_response_passes_the_filters(engine: &str) {
    let text = config(&wasm("noting", "noting.wasm", ""), &direct("/", "x"), &[]);
    let running = Running::on(engine, &text, &[("noting.wasm", &noting())], 1);
    assert_eq!(running.get("/").headers["x-filter"], "on");
}

fn every_tenth_request_traps_and_all_others_are_served(engine: &str) {
    let text = config(
        &wasm("noting", "noting.wasm", ""),
        &direct("/", "fine"),
        &[],
    );
    let running = Running::on(engine, &text, &[("noting.wasm", &noting())], 2);
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let address = running.address("main");
            std::thread::spawn(move || {
                let mut client = Client::new(address);
                for number in 1..=200 {
                    let headers: &[_] = if number % 10 == 0 {
                        &[("x-trap", "1")]
                    } else {
                        &[]
                    };
                    let response = client.get("/", headers);
                    if number % 10 == 0 {
                        assert_eq!(response.status, 503);
                    } else {
                        assert_eq!((response.status, response.body.as_str()), (200, "fine"));
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("every answer was right");
    }
    assert_eq!(running.metric("wasm.noting.failures"), 160);
}

fn a_filter_asks_another_service_while_its_request_waits(engine: &str) {
    let asking = module(
        r#"
          (import "env" "proxy_http_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
          (import "env" "proxy_get_buffer_bytes" (func $body (param i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
        "#,
        r#"
          (data (i32.const 64) "asked")
          (data (i32.const 128) "\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\02\00\00\00\0a\00\00\00\01\00\00\00:method\00GET\00:path\00/q\00:authority\00a\00")
          (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (if (call $call (i32.const 64) (i32.const 5) (i32.const 128) (i32.const 62) (i32.const 0) (i32.const 0)
                  (i32.const 0) (i32.const 0) (i32.const 5000) (i32.const 16))
              (then unreachable))
            (i32.const 1))
          (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
            (drop (call $body (i32.const 4) (i32.const 0) (i32.const 99) (i32.const 16) (i32.const 20)))
            (drop (call $add (i32.const 0) (i32.const 64) (i32.const 5) (i32.load (i32.const 16)) (i32.load (i32.const 20))))
            (drop (call $continue (i32.const 0))))
        "#,
    );
    let asked = service(|(first, _), _| format!("answer to {first}"));
    let service = echo();
    let routes = r#"{match: {prefix: "/"}, route: {cluster: one}}"#;
    let text = config(
        &wasm("asking", "asking.wasm", ""),
        routes,
        &[("one", service.port()), ("asked", asked.port())],
    );
    let running = Running::on(engine, &text, &[("asking.wasm", &asking)], 1);
    let response = Client::new(running.address("main")).send("POST", "/", &[], Some("body"));
    assert!(
        response.body.contains("asked=answer to GET /q HTTP/1.1\n"),
        "{}",
        response.body
    );
    assert!(response.body.ends_with("body"));
}

fn a_body_that_a_filter_would_hold_beyond_the_limit_is_refused(engine: &str) {
    let holding = module(
        "",
        r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.const 1))"#,
    );
    let service = echo();
    let routes = r#"{match: {prefix: "/"}, route: {cluster: one}}"#;
    let text = config(
        &wasm("holding", "holding.wasm", ""),
        routes,
        &[("one", service.port())],
    );
    let running = Running::on(engine, &text, &[("holding.wasm", &holding)], 1);
    let body = "x".repeat(200_000);
    let response = Client::new(running.address("main")).send("POST", "/", &[], Some(&body));
    assert_eq!(response.status, 413);
}

fn a_network_filter_sees_the_bytes_in_front_of_http(engine: &str) {
    // Puts `GET /two` in the place of `GET /one`.
    let changing = module(
        r#"(import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))"#,
        r#"
          (data (i32.const 64) "two")
          (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32)
            (if (local.get 1) (then
              (drop (call $set (i32.const 2) (i32.const 5) (i32.const 3) (i32.const 64) (i32.const 3)))))
            (i32.const 0))
        "#,
    );
    let routes = format!("{}, {}", direct("/one", "one"), direct("/two", "two"));
    let text = behind("changing", &config("", &routes, &[]));
    let running = Running::on(engine, &text, &[("changing.wasm", &changing)], 1);
    assert_eq!(running.get("/one").body, "two");
}

/// A configuration with a network filter of this name before the first listener's HTTP.
fn behind(name: &str, text: &str) -> String {
    let filter = format!(
        r#"    - filters:
      - name: envoy.filters.network.wasm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm
          config:
            name: {name}
            vm_config: {{runtime: envoy.wasm.runtime.v8, code: {{local: {{filename: "FOLDER/{name}.wasm"}}}}}}"#
    );
    text.replacen("    - filters:", &filter, 1)
}

fn a_client_behind_a_network_filter_is_left_when_http_has_ended(engine: &str) {
    let over = module(
        r#"(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))"#,
        r#"
          (data (i32.const 64) "it is over")
          (func (export "proxy_on_log") (param i32)
            (drop (call $log (i32.const 2) (i32.const 64) (i32.const 10))))
        "#,
    );
    let text = behind("over", &config("", &direct("/", "x"), &[]));
    let asked = |running: &Running| {
        let mut socket = connect(running.address("main"));
        socket
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .expect("written");
        assert!(rest(&socket).ends_with(b"\r\n\r\nx"));
        // It is open still.
        socket
    };
    let modules = [("over.wasm", over.as_str())];
    let soon = with("delayed_close_timeout: 0.2s", &text);
    let running = Running::on(engine, &soon, &modules, 1);
    let _open = asked(&running);
    running.wait_for("info over: it is over", 1);

    let late = with("delayed_close_timeout: 3s", &text);
    let running = Running::on(engine, &late, &modules, 1);
    let _open = asked(&running);
    let stopping = std::time::Instant::now();
    drop(running);
    // The process waits for connections that it knows of.
    assert!(
        stopping.elapsed().as_secs() >= 1,
        "{:?}",
        stopping.elapsed()
    );
}

fn an_answer_to_head_has_sent_nothing(engine: &str) {
    let sent = flags()
        .replace("flags\")", "size\")")
        .replace("(i32.const 14)", "(i32.const 13)");
    let text = config(&wasm("sent", "sent.wasm", ""), &direct("/", "x"), &[]);
    let running = Running::on(engine, &text, &[("sent.wasm", &sent)], 1);
    let line = |count: u8| format!("info sent: {}\0\0\0\0\0\0\0", char::from(count));
    running.get("/");
    running.wait_for(&line(1), 1);
    let mut client = Client::new(running.address("main"));
    client.raw(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n");
    running.wait_for(&line(0), 1);
}

fn a_service_that_is_one_for_all_runs_on_the_main_thread_alone(engine: &str) {
    for (singleton, times) in [(true, 1), (false, 3)] {
        let mut text = config("", &direct("/", "x"), &[]);
        text.push_str(&format!(
            r#"
bootstrap_extensions:
- name: envoy.bootstrap.wasm
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.wasm.v3.WasmService
    singleton: {singleton}
    config:
      name: noting
      vm_config: {{vm_id: service, runtime: envoy.wasm.runtime.v8, code: {{local: {{filename: "FOLDER/noting.wasm"}}}}}}
"#
        ));
        let running = Running::on(engine, &text, &[("noting.wasm", &noting())], 2);
        running.wait_for("info noting: tick", 2 * times);
        let lines = running.lines.lock().expect("no panic").clone();
        let configured = lines
            .iter()
            .filter(|line| line.ends_with("info noting: configured"));
        assert_eq!(configured.count(), times, "{lines:?}");
    }
}

fn a_plugin_that_failed_is_away_for_as_long_as_its_policy_says(engine: &str) {
    for (policy, failing, later) in [
        ("FAIL_CLOSED", 503, 200),
        ("FAIL_OPEN", 200, 200),
        ("FAIL_RELOAD", 503, 503),
    ] {
        let more = format!(
            "                failure_policy: {policy}
                reload_config: {{backoff: {{base_interval: 3600s, max_interval: 3600s}}}}"
        );
        let text = config(
            &wasm("noting", "noting.wasm", &more),
            &direct("/", "x"),
            &[],
        );
        let running = Running::on(engine, &text, &[("noting.wasm", &noting())], 1);
        let mut client = Client::new(running.address("main"));
        assert_eq!(client.get("/", &[]).status, 200);
        assert_eq!(
            client.get("/", &[("x-trap", "1")]).status,
            failing,
            "{policy}"
        );
        assert_eq!(client.get("/", &[]).status, later, "{policy}");
        assert_eq!(running.metric("wasm.noting.failures"), 1, "{policy}");
    }
}

/// Logs `response.flags`, eight bytes, when a stream is over.
pub(crate) fn flags() -> String {
    module(
        r#"
          (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
          (import "env" "proxy_get_property" (func $get (param i32 i32 i32 i32) (result i32)))
        "#,
        r#"
          (data (i32.const 64) "response\00flags")
          (func (export "proxy_on_log") (param i32)
            (drop (call $get (i32.const 64) (i32.const 14) (i32.const 16) (i32.const 20)))
            (drop (call $log (i32.const 2) (i32.load (i32.const 16)) (i32.load (i32.const 20)))))
        "#,
    )
}

fn what_went_wrong_is_told(engine: &str) {
    let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
    let bound = || TcpListener::bind("127.0.0.1:0").expect("a port");
    let (gone, silent, closing) = (port(&bound()), bound(), bound());
    let ports = [
        ("gone", gone),
        ("silent", port(&silent)),
        ("closing", port(&closing)),
    ];
    std::thread::spawn(move || closing.incoming().for_each(drop));
    let routes = r#"
        {match: {prefix: "/fine"}, direct_response: {status: 200}},
        {match: {prefix: "/gone"}, route: {cluster: gone}},
        {match: {prefix: "/closing"}, route: {cluster: closing}},
        {match: {prefix: "/late"}, route: {cluster: silent, timeout: 0.1s}},
        {match: {prefix: "/leave"}, route: {cluster: silent, timeout: 0s}},
        {match: {prefix: "/upload"}, route: {cluster: silent, timeout: 0s}}"#;
    let text = config(&wasm("flags", "flags.wasm", ""), routes, &ports);
    let running = Running::on(engine, &text, &[("flags.wasm", &flags())], 1);
    for (path, status, bit) in [
        ("/fine", 200, None),
        ("/none", 404, Some(8)),
        ("/gone", 503, Some(5)),
        ("/closing", 503, Some(6)),
        ("/late", 504, Some(2)),
        ("/leave", 0, Some(14)),
        ("/upload", 0, Some(14)),
    ] {
        running.lines.lock().expect("no panic").clear();
        let mut client = Client::new(running.address("main"));
        let asked = if status == 0 {
            let more = match path {
                "/upload" => "content-length: 10\r\n\r\nabc",
                _ => "\r\n",
            };
            client.raw(format!("PUT {path} HTTP/1.1\r\nhost: a\r\n{more}").as_bytes());
            // It leaves when its request is under way.
            let asked = silent.accept().expect("asked");
            drop(client);
            Some(asked)
        } else {
            assert_eq!(client.get(path, &[]).status, status, "{path}");
            (status == 504).then(|| silent.accept().expect("asked"))
        };
        let flags: u64 = bit.map_or(0, |bit: u32| 1 << bit);
        let flags = String::from_utf8(flags.to_le_bytes().to_vec()).expect("text");
        running.wait_for(&format!("info flags: {flags}"), 1);
        drop(asked);
    }
}

on_each_engine! {
    what_went_wrong_is_told
    a_plugin_that_failed_is_away_for_as_long_as_its_policy_says
    each_worker_and_the_main_thread_have_a_machine_of_their_own
    a_direct_response_passes_the_filters
    every_tenth_request_traps_and_all_others_are_served
    a_filter_asks_another_service_while_its_request_waits
    a_body_that_a_filter_would_hold_beyond_the_limit_is_refused
    a_client_behind_a_network_filter_is_left_when_http_has_ended
    an_answer_to_head_has_sent_nothing
    a_network_filter_sees_the_bytes_in_front_of_http
    a_service_that_is_one_for_all_runs_on_the_main_thread_alone
}
