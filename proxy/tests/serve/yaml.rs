//! Configurations of proxies, as text. `FOLDER` in them is where modules are.

/// What a configuration ends with in which no busy machine makes a callback late.
pub(crate) const PATIENT: &str = "extengine: {wasm: {deadline: 60s}, lua: {deadline: 60s}}\n";

/// A configuration: HTTP filters, the routes of one virtual host, and clusters by name and port.
pub(crate) fn config(filters: &str, routes: &str, clusters: &[(&str, u16)]) -> String {
    let routes = routes.replace('\n', " ");
    let mut text = format!(
        r#"
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  listeners:
  - name: main
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    per_connection_buffer_limit_bytes: 65536
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: test
          codec_type: AUTO
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{routes}]
          http_filters:
{filters}
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
"#
    );
    text.push_str(&self::clusters(clusters));
    text
}

pub(crate) fn clusters(clusters: &[(&str, u16)]) -> String {
    let mut text = String::new();
    if !clusters.is_empty() {
        text.push_str("  clusters:\n");
    }
    for (name, port) in clusters {
        text.push_str(&format!(
            "  - name: {name}
    connect_timeout: 1s
    load_assignment:
      cluster_name: {name}
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]}}]\n"
        ));
    }
    text
}

/// A route that answers with a body.
pub(crate) fn direct(prefix: &str, body: &str) -> String {
    format!(
        "{{match: {{prefix: \"{prefix}\"}}, direct_response: {{status: 200, body: {{inline_string: \"{body}\"}}}}}}"
    )
}

/// A WASM filter of a module in the folder.
pub(crate) fn wasm(name: &str, module: &str, more: &str) -> String {
    format!(
        r#"
          - name: {name}
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: {name}
                root_id: {name}
                vm_config:
                  vm_id: {name}
                  runtime: envoy.wasm.runtime.v8
                  code: {{local: {{filename: "FOLDER/{module}"}}}}
{more}"#
    )
}
