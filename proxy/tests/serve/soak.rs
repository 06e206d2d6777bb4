//! Many requests at a time through a filter that makes calls, shares data and ticks; the bench `streams` has the long form.

use std::time::Duration;

use crate::harness::{Client, Running, config, direct, on_each_engine, service, wasm};

const CLIENTS: usize = 16;
const REQUESTS: usize = 200;

on_each_engine! {
    no_stream_is_lost_or_crossed_while_calls_shared_data_and_ticks_run
}

fn no_stream_is_lost_or_crossed_while_calls_shared_data_and_ticks_run(engine: &str) {
    let module = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guests/soak.wasm");
    let echo = service(|_, body| body.to_owned());
    let text = config(
        &wasm("soak", "soak.wasm", "").replace("FOLDER/soak.wasm", module),
        &direct("/", "x"),
        &[("echo", echo.port())],
    );
    let running = Running::on(engine, &text, &[], 2);
    let address = running.address("main");
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || ask(&mut Client::new(address), client));
        }
    });
    let all = CLIENTS * REQUESTS;
    let expected = format!("started {all}\nanswered {all}\nlogged {all}\n");
    let mut client = Client::new(address);
    let mut counted = String::new();
    // A stream is logged behind its answer.
    for _ in 0..1000 {
        counted = client.get("/", &[("x-count", "1")]).body;
        if counted.starts_with(&expected) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(counted.starts_with(&expected), "{counted}");
    assert!(counted.ends_with("\ncrossed 0\n"), "{counted}");
    assert!(!counted.contains("ticks_answered 0\n"), "{counted}");
}

/// Sends one request after another, and looks whether each answer is its own.
fn ask(client: &mut Client, number: usize) {
    let slot = number.to_string();
    for request in 0..REQUESTS {
        let id = (number * REQUESTS + request).to_string();
        let response = client.get("/", &[("x-id", &id), ("x-slot", &slot)]);
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.headers["x-echoed"], id);
        assert_eq!(response.headers["x-shared"], id);
    }
}
