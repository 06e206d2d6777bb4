//! The same filter in the forms that it had over the years.

use proxy::config::{HttpFilterKind, WasmPlugin};

use crate::{http, read};

/// A configuration around one HTTP filter, which begins at line 11.
pub(crate) fn around(filter: &str) -> String {
    let mut text = String::from(
        "static_resources:
  listeners:
  - address: { socket_address: { address: 0.0.0.0, port_value: 0 } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        config:
          stat_prefix: a
          route_config: { virtual_hosts: [{ name: a, domains: ['*'] }] }
          http_filters:
",
    );
    for line in filter.trim_matches('\n').lines() {
        text.push_str("          ");
        text.push_str(line);
        text.push('\n');
    }
    text.push_str("          - name: envoy.filters.http.router\n");
    text
}

fn plugin(filter: &str) -> WasmPlugin {
    let config = read(&around(filter));
    match &http(&config.bootstrap.listeners[0]).filters[..] {
        [filter] => match &filter.kind {
            HttpFilterKind::Wasm(plugin) => plugin.clone(),
            kind => panic!("{kind:?} is no plugin"),
        },
        filters => panic!("{} filters", filters.len()),
    }
}

#[test]
fn a_plugin_is_the_same_in_every_form() {
    let today = plugin(
        r#"
- name: any
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
    config:
      name: a
      configuration: { "@type": type.googleapis.com/google.protobuf.StringValue, value: x }
      vm_config: { code: { local: { filename: a.wasm } } }
"#,
    );
    for wrapper in ["udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct"] {
        let wrapped = plugin(&format!(
            r#"
- name: any
  typedConfig:
    "@type": type.googleapis.com/{wrapper}
    typeUrl: envoy.extensions.filters.http.wasm.v3.Wasm
    value:
      config:
        name: a
        configuration: {{ "@type": type.googleapis.com/google.protobuf.StringValue, value: x }}
        vmConfig: {{ code: {{ local: {{ filename: a.wasm }} }} }}
"#
        ));
        assert_eq!(
            WasmPlugin {
                place: today.place,
                ..wrapped
            },
            today,
            "{wrapper}"
        );
    }
    for name in ["envoy.filters.http.wasm", "envoy.wasm"] {
        let untyped = plugin(&format!(
            r#"
- name: {name}
  config: {{ config: {{ name: a, configuration: x, vm_config: {{ code: {{ local: {{ filename: a.wasm }} }} }} }} }}
"#
        ));
        assert_eq!(
            WasmPlugin {
                place: today.place,
                ..untyped
            },
            today,
            "{name}"
        );
    }
}

#[test]
fn a_configuration_is_the_bytes_that_its_message_stands_for() {
    for (configuration, expected) in [
        (
            r#"{ "@type": type.googleapis.com/google.protobuf.StringValue, value: "a\nb" }"#,
            "a\nb",
        ),
        (
            r#"{ "@type": type.googleapis.com/google.protobuf.StringValue }"#,
            "",
        ),
        (
            r#"{ "@type": type.googleapis.com/google.protobuf.BytesValue, value: YWI= }"#,
            "ab",
        ),
        (
            r#"{ "@type": type.googleapis.com/google.protobuf.Struct, value: { a: [1.0, x] } }"#,
            r#"{"a":[1,"x"]}"#,
        ),
        (
            r#"{ "@type": type.googleapis.com/google.protobuf.Empty }"#,
            "",
        ),
        ("{ a: { b: no } }", r#"{"a":{"b":false}}"#),
        ("{}", "{}"),
        ("plain text", "plain text"),
        ("~", ""),
    ] {
        let plugin = plugin(&format!(
            r#"
- name: envoy.filters.http.wasm
  config:
    config:
      configuration: {configuration}
      vm_config: {{ code: {{ local: {{ filename: a.wasm }} }} }}
"#
        ));
        assert_eq!(
            String::from_utf8_lossy(&plugin.configuration),
            expected,
            "{configuration}"
        );
    }
}

#[test]
fn plugins_share_a_machine_where_all_of_it_is_equal() {
    let with = |vm: &str| {
        plugin(&format!(
            "\n- name: envoy.wasm\n  config: {{ config: {{ vm_config: {{ {vm} }} }} }}\n"
        ))
        .vm
    };
    let code = "code: { local: { filename: a.wasm } }";
    assert_eq!(with(code), with(&format!("runtime: x, {code}")));
    assert_ne!(with(code), with(&format!("vm_id: x, {code}")));
    assert_ne!(with(code), with(&format!("configuration: x, {code}")));
    assert_ne!(with(code), with("code: { local: { filename: b.wasm } }"));
}
