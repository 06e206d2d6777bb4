//! Which way a request takes: its route, what filters make of it, and what they can read of the configuration.

use crate::bodies::status;
use crate::harness::{Client, Running, config, direct, echo, module, on_each_engine, wasm};
use crate::mixed::tracing;

/// A script under a name of its own.
fn lua(name: &str, more: &str, code: &str) -> String {
    format!(
        r#"
          - name: {name}
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
              default_source_code: {{inline_string: "{code}"}}
              {more}"#
    )
}

/// Sends the request to `/b` where the client says so, and has the route chosen anew where he says that.
const FIRST: &str = "function envoy_on_request(h) \
                       if h:headers():get('go') then h:headers():replace(':path', '/b') end \
                       if h:headers():get('clear') then h:clearRouteCache() end end";

/// Answers what it sees of the route.
const SECOND: &str = "function envoy_on_request(h) seen = h:streamInfo():routeName() .. ' ' .. tostring(h:metadata():get('k')) end \
                      function envoy_on_response(h) h:headers():add('seen', seen) h:headers():add('script', 'default') end";

const ROUTES: &str = r#"
  {name: ra, match: {prefix: /a}, direct_response: {status: 200, body: {inline_string: A}}},
  {name: rb, match: {prefix: /b}, direct_response: {status: 200, body: {inline_string: B}},
   metadata: {filter_metadata: {second: {k: fromB}}},
   typed_per_filter_config: {second: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.LuaPerRoute,
     source_code: {inline_string: "function envoy_on_request(h) seen = h:streamInfo():routeName() .. ' ' .. tostring(h:metadata():get('k')) end function envoy_on_response(h) h:headers():add('seen', seen) h:headers():add('script', 'of B') end"}}}}"#;

fn seen(running: &Running, headers: &[(&str, &str)]) -> [String; 3] {
    let mut response = Client::new(running.address("main")).get("/a", headers);
    let mut header = |name| response.headers.remove(name).unwrap_or_default();
    let [seen, script] = [header("seen"), header("script")];
    [response.body, seen, script]
}

#[test]
fn a_request_keeps_its_route_until_a_filter_asks_for_another() {
    for (more, go) in [
        ("clear_route_cache: false", ["A", "ra nil", "default"]),
        ("clear_route_cache: true", ["B", "rb fromB", "of B"]),
        ("", ["B", "rb fromB", "of B"]),
    ] {
        let filters = lua("first", more, FIRST) + &lua("second", "", SECOND);
        let running = Running::new(&config(&filters, ROUTES, &[]), &[], 1);
        assert_eq!(seen(&running, &[]), ["A", "ra nil", "default"], "{more}");
        assert_eq!(seen(&running, &[("go", "1")]), go, "{more}");
        let both = [("go", "1"), ("clear", "1")];
        assert_eq!(seen(&running, &both), ["B", "rb fromB", "of B"], "{more}");
    }
}

fn a_plugin_that_changes_a_requests_headers_has_the_route_chosen_anew(engine: &str) {
    let filters = lua("first", "clear_route_cache: false", FIRST)
        + &wasm("tracing", "tracing.wasm", "")
        + &lua("second", "", SECOND);
    let text = config(&filters, ROUTES, &[]);
    let running = Running::on(engine, &text, &[("tracing.wasm", &tracing())], 1);
    assert_eq!(seen(&running, &[("go", "1")]), ["B", "rb fromB", "of B"]);
}

/// Answers with a header for each property that is there, `p` and a letter by its place; logs `node.id` when it starts.
fn asking(paths: &[&str]) -> String {
    let (mut data, mut calls) = (String::new(), String::new());
    let mut at = 1024;
    for (place, path) in paths.iter().enumerate() {
        let (path, len) = (path.replace('.', "\\00"), path.len());
        let letter = char::from(b'a' + place as u8);
        data.push_str(&format!("(data (i32.const {at}) \"{path}p{letter}\")"));
        let name = at + len;
        calls.push_str(&format!(
            "(if (i32.eqz (call $get (i32.const {at}) (i32.const {len}) (i32.const 16) (i32.const 20)))
               (then
                 (if (i32.eq (i32.load (i32.const 20)) (i32.const 8))
                   (then (i32.store8 (i32.load (i32.const 16)) (i32.add (i32.const 48) (i32.load8_u (i32.load (i32.const 16)))))
                     (i32.store (i32.const 20) (i32.const 1))))
                 (drop (call $add (i32.const 2) (i32.const {name}) (i32.const 2) (i32.load (i32.const 16)) (i32.load (i32.const 20))))))\n"
        ));
        at = name + 2;
    }
    module(
        r#"
          (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
          (import "env" "proxy_get_property" (func $get (param i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
        "#,
        &format!(
            r#"
              {data} (data (i32.const 64) "node\00id")
              (func (export "proxy_on_configure") (param i32 i32) (result i32)
                (drop (call $get (i32.const 64) (i32.const 7) (i32.const 16) (i32.const 20)))
                (drop (call $log (i32.const 2) (i32.load (i32.const 16)) (i32.load (i32.const 20))))
                (i32.const 1))
              (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
                {calls} (i32.const 0))
            "#
        ),
    )
}

fn a_plugin_reads_what_the_configuration_says_of_node_listener_route_and_cluster(engine: &str) {
    let mut paths = Vec::new();
    let mut expected = Vec::new();
    for (path, value) in [
        ("node.id", "n1"),
        ("node.cluster", "c1"),
        ("node.metadata.NAMESPACE", "ns"),
        ("listener_direction", "2"),
        ("listener_metadata.filter_metadata.r.k", "of a listener"),
        ("cluster_metadata.filter_metadata.r.k", "of a cluster"),
        ("route_metadata.filter_metadata.r.k", "of a route"),
        ("cluster_name", "one"),
        ("route_name", "rn"),
    ] {
        for path in [path.to_owned(), format!("xds.{path}")] {
            paths.push(path);
            expected.push(value);
        }
    }
    for (path, value) in [
        ("xds.virtual_host_name", "all"),
        ("xds.filter_chain_name", "chain"),
        ("route_metadata.filter_metadata.r.deep.k", "deeper"),
    ] {
        paths.push(path.to_owned());
        expected.push(value);
    }
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    let service = echo();
    let routes = r#"{name: rn, match: {prefix: "/"}, route: {cluster: one},
      metadata: {filter_metadata: {r: {k: of a route, deep: {k: deeper}}}}}"#;
    let text = config(
        &wasm("asking", "asking.wasm", ""),
        routes,
        &[("one", service.port())],
    );
    let metadata = |of| format!("    metadata: {{filter_metadata: {{r: {{k: of a {of}}}}}}}\n");
    let text = text
        .replace(
            "  - name: main\n",
            &format!(
                "  - name: main\n    traffic_direction: OUTBOUND\n{}",
                metadata("listener")
            ),
        )
        .replace(
            "  - name: one\n",
            &format!("  - name: one\n{}", metadata("cluster")),
        )
        .replace("    - filters:\n", "    - name: chain\n      filters:\n");
    let text = format!("node: {{id: n1, cluster: c1, metadata: {{NAMESPACE: ns}}}}\n{text}");
    let running = Running::on(engine, &text, &[("asking.wasm", &asking(&paths))], 1);
    running.wait_for("info asking: n1", 2);
    let response = running.get("/");
    for (place, (path, value)) in paths.iter().zip(expected).enumerate() {
        let name = format!("p{}", char::from(b'a' + place as u8));
        let found = response.headers.get(&name).map(String::as_str);
        assert_eq!(found, Some(value), "{path}");
    }
}

fn what_cannot_be_loaded_is_named_with_its_file(engine: &str) {
    let refusing = module(
        "",
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 0))"#,
    );
    for (filter, place) in [
        (lua("first", "", "function ("), "proxy.yaml:2"),
        (wasm("no", "no.wasm", ""), "proxy.yaml:2"),
        (wasm("none", "none.wasm", ""), "proxy.yaml:31:"),
    ] {
        let text = config(&filter, &direct("/", "x"), &[]);
        let refused = Running::try_on(engine, &text, &[("no.wasm", &refusing)], 1);
        let error = refused.err().expect("refused");
        let message = error.to_string();
        assert!(message.contains(place), "{message}");
    }
}

#[test]
fn headers_beyond_the_limit_are_answered_with_431() {
    for (limit, fits, sizes) in [
        (60, 61_000, [62_000, 66_000, 200_000]),
        (8, 8_000, [8_300, 9_000, 40_000]),
    ] {
        let text = config("", &direct("/", "x"), &[]);
        let text = text.replace(
            "          codec_type: AUTO\n",
            &format!("          codec_type: AUTO\n          max_request_headers_kb: {limit}\n"),
        );
        let running = Running::new(&text, &[], 1);
        let address = running.address("main");
        for http2 in [false, true] {
            assert_eq!(status(address, http2, fits), 200, "{limit} {http2}");
            assert_eq!(status(address, http2, sizes[0]), 431, "{limit} {http2}");
        }
        for size in sizes {
            assert_eq!(status(address, true, size), 431, "{limit} {size}");
        }
    }
}

on_each_engine! {
    a_plugin_that_changes_a_requests_headers_has_the_route_chosen_anew
    a_plugin_reads_what_the_configuration_says_of_node_listener_route_and_cluster
    what_cannot_be_loaded_is_named_with_its_file
}
