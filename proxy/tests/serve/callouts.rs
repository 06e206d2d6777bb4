//! What filters on several workers do beside their streams, under load: gRPC callouts, shared data and shared queues.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::harness::{Client, Running, config, echo, module, on_each_engine, wasm};

/// A gRPC service that answers each message with itself.
fn grpc_echo() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("set");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((socket, _)) = listener.accept().await {
                let serving = http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(socket), service_fn(answer));
                tokio::spawn(serving);
            }
        });
    });
    address
}

async fn answer(
    request: Request<Incoming>,
) -> hyper::Result<Response<impl hyper::body::Body<Data = hyper::body::Bytes, Error = hyper::Error>>>
{
    let message = request.into_body().collect().await?.to_bytes();
    let mut end = HeaderMap::new();
    end.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(message).map_err(|never| -> hyper::Error { match never {} });
    let mut response = Response::new(body.with_trailers(ready(Some(Ok(end)))));
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", kind);
    Ok(response)
}

/// Asks the gRPC service about each request's `x-id` while that waits, and puts it into a queue; what comes out there is
/// counted. Each machine has a number, from 0 on, by shared data.
fn asking() -> String {
    module(
        r#"
          (import "env" "proxy_grpc_call" (func $ask
            (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
          (import "env" "proxy_get_buffer_bytes" (func $message (param i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_get_shared_data" (func $shared (param i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_set_shared_data" (func $share (param i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))
          (import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))
          (import "env" "proxy_dequeue_shared_queue" (func $dequeue (param i32 i32 i32) (result i32)))
          (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_increment_metric" (func $count (param i32 i64) (result i32)))
        "#,
        r#"
          (data (i32.const 64) "grpc")
          (data (i32.const 72) "test.Echo")
          (data (i32.const 88) "Say")
          (data (i32.const 96) "x-id")
          (data (i32.const 104) "x-answer")
          (data (i32.const 112) "x-machine")
          (data (i32.const 128) "taken")
          ;; The machine's number, as a digit.
          (data (i32.const 136) "0")
          (func $must (param $status i32)
            (if (local.get $status) (then unreachable)))
          (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (if (i32.eqz (call $shared (i32.const 112) (i32.const 9) (i32.const 200) (i32.const 204) (i32.const 208)))
              (then (i32.store8 (i32.const 136) (i32.add (i32.const 1) (i32.load8_u (i32.load (i32.const 200)))))))
            (call $must (call $share (i32.const 112) (i32.const 9) (i32.const 136) (i32.const 1) (i32.const 0)))
            (call $must (call $register (i32.const 96) (i32.const 4) (i32.const 212)))
            (call $must (call $define (i32.const 0) (i32.const 128) (i32.const 5) (i32.const 216)))
            (i32.const 1))
          (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $must (call $add (i32.const 0) (i32.const 112) (i32.const 9) (i32.const 136) (i32.const 1)))
            (call $must (call $get (i32.const 0) (i32.const 96) (i32.const 4) (i32.const 200) (i32.const 204)))
            (call $must (call $ask (i32.const 64) (i32.const 4) (i32.const 72) (i32.const 9) (i32.const 88) (i32.const 3)
              (i32.const 0) (i32.const 0) (i32.load (i32.const 200)) (i32.load (i32.const 204))
              (i32.const 20000) (i32.const 208)))
            (call $must (call $enqueue (i32.load (i32.const 212)) (i32.load (i32.const 200)) (i32.load (i32.const 204))))
            (i32.const 1))
          (func (export "proxy_on_grpc_receive") (param i32 i32 i32)
            (call $must (call $message (i32.const 5) (i32.const 0) (i32.const 99) (i32.const 200) (i32.const 204)))
            (call $must (call $add (i32.const 0) (i32.const 104) (i32.const 8)
              (i32.load (i32.const 200)) (i32.load (i32.const 204))))
            (call $must (call $continue (i32.const 0))))
          (func (export "proxy_on_queue_ready") (param $context i32) (param $queue i32)
            (call $must (call $dequeue (local.get $queue) (i32.const 200) (i32.const 204)))
            (call $must (call $count (i32.load (i32.const 216)) (i64.const 1))))
        "#,
    )
}

/// Sends a request, and answers the number of the machine that it passed.
fn ask(client: &mut Client, id: &str) -> String {
    let response = client.get("/", &[("x-id", id)]);
    assert_eq!(response.status, 200, "{}", response.body);
    let pairs = response
        .body
        .lines()
        .filter_map(|line| line.split_once('='));
    let headers: BTreeMap<_, _> = pairs.collect();
    assert_eq!((headers["x-id"], headers["x-answer"]), (id, id));
    headers["x-machine"].to_owned()
}

fn grpc_callouts_and_queues_of_two_workers_neither_lose_nor_mix_anything_under_load(engine: &str) {
    let (service, grpc) = (echo(), grpc_echo());
    let text = config(
        &wasm("asking", "asking.wasm", ""),
        r#"{match: {prefix: "/"}, route: {cluster: one}}"#,
        &[("one", service.port()), ("grpc", grpc.port())],
    );
    let text = text.replace(
        "- name: grpc\n",
        "- name: grpc\n    http2_protocol_options: {}\n",
    );
    let running = Running::on(engine, &text, &[("asking.wasm", &asking())], 2);
    // Until both workers have connections: the main thread's machine is 0, theirs are 1 and 2.
    let mut machines = BTreeSet::new();
    let mut clients = Vec::new();
    let mut sent = 0;
    while clients.len() < 8 || machines.len() < 2 {
        assert!(sent < 1000, "one worker takes every connection");
        let mut client = Client::new(running.address("main"));
        machines.insert(ask(&mut client, &format!("first-{sent}")));
        clients.push(client);
        sent += 1;
    }
    assert!(machines.iter().eq(["1", "2"]), "{machines:?}");
    let clients = clients.into_iter().take(8).enumerate();
    let threads: Vec<_> = clients
        .map(|(number, mut client)| {
            std::thread::spawn(move || {
                for request in 0..100 {
                    ask(&mut client, &format!("{number}-{request}"));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("every answer was right");
    }
    // What was put into the queue is taken out by one of the machines, each message once.
    running.wait_until("every message is taken", || {
        running.metric("taken") == sent + 800
    });
    assert_eq!(running.metric("wasm.asking.failures"), 0);
}

on_each_engine! {
    grpc_callouts_and_queues_of_two_workers_neither_lose_nor_mix_anything_under_load
}
