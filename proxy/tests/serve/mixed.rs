//! Filters of three kinds in one chain, and what scripts ask of the proxy.

use filters::native::{Answer, BoxError, NativeFilter, Stream, StreamFilter};

use crate::harness::{Client, Running, config, direct, echo, module, on_each_engine, wasm};

/// Adds `native` behind the header `trace` of requests and responses.
struct Trace;

impl StreamFilter for Trace {
    fn decode_headers(&mut self, stream: &Stream<'_, Self>, _end: bool) -> Answer {
        append(stream);
        Answer::Continue
    }

    fn encode_headers(&mut self, stream: &Stream<'_, Self>, _end: bool) -> Answer {
        append(stream);
        Answer::Continue
    }
}

fn append(stream: &Stream<'_, Trace>) {
    let direction = stream.direction();
    let mut headers = stream.headers(direction).expect("headers");
    headers.add("trace", "native");
}

impl NativeFilter for Trace {
    type Config = ();

    fn parse(_: &serde_json::Value) -> Result<(), BoxError> {
        Ok(())
    }

    fn new(_: &std::sync::Arc<()>) -> Self {
        Self
    }
}

filters::native_filter!("test.trace", Trace);

const NATIVE: &str = r#"
          - name: native
            typed_config: {"@type": type.googleapis.com/extengine.filters.http.native.v1.Native, name: test.trace}"#;

pub(crate) fn lua(code: &str) -> String {
    format!(
        r#"
          - name: envoy.filters.http.lua
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
              default_source_code: {{inline_string: "{code}"}}"#
    )
}

/// Adds `wasm` behind the header `trace` of requests and responses.
pub(crate) fn tracing() -> String {
    module(
        r#"(import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))"#,
        r#"
          (data (i32.const 64) "tracewasm")
          (func $trace (param $map i32)
            (drop (call $add (local.get $map) (i32.const 64) (i32.const 5) (i32.const 69) (i32.const 4))))
          (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $trace (i32.const 0)) (i32.const 0))
          (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (call $trace (i32.const 2)) (i32.const 0))
        "#,
    )
}

fn three_kinds_of_filters_pass_requests_in_order_and_responses_in_reverse(engine: &str) {
    let script = "function envoy_on_request(h) h:headers():add('trace', 'lua') end \
                  function envoy_on_response(h) \
                    local seen = {} \
                    for name, value in pairs(h:headers()) do if name == 'trace' then table.insert(seen, value) end end \
                    h:headers():add('seen', table.concat(seen, '-')) end";
    let service = echo();
    let routes = r#"{match: {prefix: "/"}, route: {cluster: one}}"#;
    let filters = format!(
        "{}{}{NATIVE}",
        lua(script),
        wasm("tracing", "tracing.wasm", "")
    );
    let running = Running::on(
        engine,
        &config(&filters, routes, &[("one", service.port())]),
        &[("tracing.wasm", &tracing())],
        1,
    );
    let response = running.get("/");
    // The service keeps the last of several headers of a name.
    assert!(
        response.body.contains("trace=native\n"),
        "{}",
        response.body
    );
    assert_eq!(
        response.headers["seen"], "native-wasm",
        "the script is the last one to see a response"
    );
}

#[test]
fn a_script_chooses_the_words_of_the_status_and_ends_the_connection() {
    let script = "function envoy_on_response(h) h:headers():setHttp1ReasonPhrase('Fine By Me') \
                  h:streamInfo():drainConnectionUponCompletion() end";
    let running = Running::new(&config(&lua(script), &direct("/", "x"), &[]), &[], 1);
    let mut client = Client::new(running.address("main"));
    let response = client.get("/", &[]);
    assert_eq!(response.reason, "Fine By Me");
    assert_eq!(response.headers["connection"], "close");
}

#[test]
fn the_metrics_of_a_script_have_its_prefix() {
    let prefixed = lua("function envoy_on_request(h) end").replace(
        "default_source_code",
        "stat_prefix: mine\n              default_source_code",
    );
    let running = Running::new(&config(&prefixed, &direct("/", "x"), &[]), &[], 1);
    running.get("/");
    assert_eq!(running.metric("lua.mine.executions"), 1);
}

#[test]
fn a_script_chooses_the_server() {
    let (one, other) = (echo(), crate::harness::service(|_, _| "other".into()));
    let script = "function envoy_on_request(h) h:setUpstreamOverrideHost(h:headers():get('to'), h:headers():get('strict') ~= nil) end";
    let text = config(
        &lua(script),
        r#"{match: {prefix: "/"}, route: {cluster: one}}"#,
        &[("one", one.port())],
    );
    let both = text.replace(
        "endpoints: [{lb_endpoints: [",
        &format!(
            "endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}}}, ",
            other.port()
        ),
    );
    let running = Running::new(&both, &[], 1);
    let mut client = Client::new(running.address("main"));
    for _ in 0..3 {
        let to = other.to_string();
        assert_eq!(client.get("/", &[("to", &to)]).body, "other");
        let to = one.to_string();
        assert_ne!(
            client.get("/", &[("to", &to), ("strict", "1")]).body,
            "other"
        );
    }
    let nowhere = client.get("/", &[("to", "127.0.0.1:1"), ("strict", "1")]);
    assert_eq!(nowhere.status, 503);
    assert_eq!(client.get("/", &[("to", "127.0.0.1:1")]).status, 200);
}

on_each_engine! {
    three_kinds_of_filters_pass_requests_in_order_and_responses_in_reverse
}

#[test]
fn a_length_without_a_body_reaches_no_service() {
    let service = echo();
    let script = "function envoy_on_request(h) h:headers():add('content-length', '40') end";
    let routes = r#"{match: {prefix: "/"}, route: {cluster: one}}"#;
    let text = config(&lua(script), routes, &[("one", service.port())]);
    let running = Running::new(&text, &[], 1);
    let mut client = Client::new(running.address("main"));
    for path in ["/first", "/second"] {
        let response = client.get(path, &[]);
        let line = format!("GET {path} HTTP/1.1\n");
        assert!(response.body.starts_with(&line), "{}", response.body);
        assert!(
            response.body.contains("content-length=0\n"),
            "{}",
            response.body
        );
    }
}
