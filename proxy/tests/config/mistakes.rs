//! Mistakes, each with the place that a report must name.

use crate::forms::around;
use crate::refused;

/// Checks that a configuration has exactly these problems: what stands at the place, and what the line says behind it.
fn check(text: &str, expected: &[(&str, &str)]) {
    let lines = refused(text);
    assert_eq!(lines.len(), expected.len(), "{text}\n{lines:#?}");
    for (line, (at, part)) in lines.iter().zip(expected) {
        let rest = &text[offset(text, line)..];
        assert!(
            rest.starts_with(at) && line.contains(part),
            "`{at}`: {part}\n{line}\nin\n{text}"
        );
    }
}

/// The byte that the place at the beginning of a problem names.
fn offset(text: &str, line: &str) -> usize {
    let mut numbers = line.splitn(3, ':').map(|number| number.parse::<usize>());
    let (Some(Ok(line)), Some(Ok(column))) = (numbers.next(), numbers.next()) else {
        panic!("{line} has no place");
    };
    let before = text
        .split_inclusive('\n')
        .take(line - 1)
        .map(str::len)
        .sum::<usize>();
    let rest = text[before..].chars().take(column - 1);
    before + rest.map(char::len_utf8).sum::<usize>()
}

/// The fields of an HTTP connection manager that has no mistakes, but for those that are replaced.
fn manager(fields: &str) -> String {
    let mut text = String::from(
        "static_resources:
  listeners:
  - address: { socket_address: { address: 0.0.0.0, port_value: 0 } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': x/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
",
    );
    for (field, default) in [
        ("stat_prefix", "a"),
        ("http_filters", "[{ name: envoy.filters.http.router }]"),
        (
            "route_config",
            "{ virtual_hosts: [{ name: a, domains: ['*'] }] }",
        ),
    ] {
        if !fields.contains(&format!("{field}:")) {
            text = text.replace(
                "HttpConnectionManager\n",
                &format!("HttpConnectionManager\n          {field}: {default}\n"),
            );
        }
    }
    for line in fields.trim_matches('\n').lines() {
        text.push_str(&format!("          {line}\n"));
    }
    text
}

/// The fields of the only route, which begins at line 14.
fn route(fields: &str) -> String {
    let mut text = String::from(
        "route_config:\n  virtual_hosts:\n  - name: a\n    domains: ['*']\n    routes:\n",
    );
    for (i, line) in fields.trim_matches('\n').lines().enumerate() {
        text.push_str(if i == 0 { "    - " } else { "      " });
        text.push_str(line);
        text.push('\n');
    }
    manager(&text)
}

/// The fields of the only cluster, which begin at line 3.
fn cluster(fields: &str) -> String {
    let lines = fields.trim_matches('\n').lines();
    let lines = lines
        .enumerate()
        .map(|(i, line)| format!("  {} {line}\n", if i == 0 { '-' } else { ' ' }));
    format!(
        "static_resources:\n  clusters:\n{}",
        lines.collect::<String>()
    )
}

#[test]
fn what_is_no_configuration_is_refused() {
    for (text, place, part) in [
        ("", "", "the configuration is empty"),
        ("# nothing\n", "# nothing", "the configuration is empty"),
        ("- a\n", "- a", "is a mapping"),
        ("a: b: c\n", ": c", "this is not YAML"),
        ("a: [1\nb: 2\n", ": 2", "this is not YAML"),
        (
            "static_resources: {}\n---\na: 1\n",
            "---",
            "a second document",
        ),
        ("static_resources: *x\n", "*x", "this is not YAML"),
        (
            "static_resources: &x [*x]\n",
            "*x]",
            "inside of what it names",
        ),
        ("&a node: {}\n", "&a node", "an anchor names a value"),
        ("a: &x b\n*x : c\n", "*x", "a field's name is a text"),
        ("[a]: b\n", "[a]: b", "a field's name is a text"),
        (
            "static_resources: !!set {}\nnode: { id: !foo bar }\n",
            "!foo bar }",
            "the tag",
        ),
    ] {
        check(text, &[(place, part)]);
    }
}

#[test]
fn every_mistake_is_reported_at_once() {
    let lines = refused(
        "
static_resources:
  listeners:
  - name: 7
    adress: {}
    filter_chains: 1
  clusters:
  - name: a
    name: b
    type: EDS
    connect_timeout: 5
    load_assignment: { cluster_name: a }
admin: { address: { socket_address: { address: localhost, port_value: 99999 } } }
dynamic_resources: {}
stats_sinks: []
",
    );
    let expected = [
        ("4:5", "`listeners` needs `address: "),
        (
            "4:11",
            "`name` is a text and this is a number: put it in quotes",
        ),
        (
            "5:5",
            "the proxy knows no `adress` in `listeners`: did you mean `address`?",
        ),
        ("6:20", "`filter_chains` is a mapping"),
        ("9:5", "`name` stands twice: leave one"),
        (
            "10:11",
            "`type` cannot be `EDS` here: use one of `STATIC`, `STRICT_DNS`, `LOGICAL_DNS`",
        ),
        (
            "11:22",
            "`connect_timeout` is a number of seconds, such as `0.25s`, and here stands `5`",
        ),
        ("13:48", "`localhost` is no IP address"),
        (
            "13:71",
            "`port_value` is a whole number from 0 to 65535, and here stands `99999`",
        ),
        (
            "14:1",
            "`dynamic_resources` is not supported: write listeners and clusters in `static_resources`",
        ),
        (
            "15:1",
            "the proxy knows no `stats_sinks` in `the configuration`: remove it",
        ),
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, (place, part)) in lines.iter().zip(expected) {
        assert!(
            line.starts_with(&format!("{place}: {part}")),
            "{place}: {part}\n{line}"
        );
    }
}

#[test]
fn mistakes_of_listeners_are_refused_by_place() {
    check(
        "node: {}\n",
        &[("node: {}", "`the configuration` needs `static_resources: ")],
    );
    check(
        "static_resources: { listeners: [{ address: { socket_address: { address: '::', port_value: 0 } }, filter_chains: [{ filters: [{}] }] }] }",
        &[("{}]", "`filters` needs `name: ")],
    );
    check(
        "
static_resources:
  listeners:
  - address: &a { socket_address: { address: 0.0.0.0, port_value: 80 } }
    filter_chains: [{ filters: [] }]
  - address: *a
    filter_chains:
    - filters: &tcp
      - name: envoy.tcp_proxy
        config: { stat_prefix: a, cluster: none }
    - filters: *tcp
  - address: { pipe: { path: /a } }
    listener_filters: [{ name: envoy.filters.listener.original_dst }]
    filter_chains:
    - filter_chain_match: { server_names: [a], source_ports: [1] }
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config: { '@type': type.googleapis.com/envoy.extensions.filters.network.mongo_proxy.v3.MongoProxy }
",
        &[
            ("&a { socket_address: {", "the listener at 4:5 has `0.0.0.0:80` already"),
            ("[] }]", "`filters` must end with"),
            ("filters: &tcp", "is chosen by the TLS name"),
            ("none }", "there is no cluster `none`: there are none"),
            ("filters: *tcp", "is chosen by the TLS name"),
            ("filters: *tcp", "another chain is for the same names already"),
            ("{ pipe: { path: /a } }", "`address` needs `socket_address: "),
            ("pipe: { path: /a } }", "`pipe` is not supported"),
            ("envoy.filters.listener.origina", "the proxy has no `envoy.filters.listener.original_dst` in `listener_filters`"),
            ("{ server_names: [a]", "a client asks for a name with TLS alone"),
            ("source_ports: [1] }", "the proxy knows no `source_ports`"),
            ("type.googleapis.com/envoy.exte", "the proxy knows no `envoy.extensions.filters.network.mongo_proxy.v3.MongoProxy` here"),
        ],
    );
}

#[test]
fn mistakes_of_the_connection_manager_are_refused_by_place() {
    let router = "- name: envoy.filters.http.router";
    for (fields, place, part) in [
        (
            "codec_type: HTTP3",
            "HTTP3",
            "`codec_type` cannot be `HTTP3` here",
        ),
        ("stat_prefix: ''", "''", "`stat_prefix` is empty"),
        (
            "rds: {}",
            "rds: {}",
            "`rds` is not supported: write the routes here",
        ),
        ("tracing: {}", "tracing: {}", "the proxy knows no `tracing`"),
        (
            "stream_idle_timeout: 5ms",
            "5ms",
            "`stream_idle_timeout` is a number of seconds",
        ),
        ("request_timeout: -1s", "-1s", "here stands `-1s`"),
        (
            "max_request_headers_kb: 0",
            "0",
            "a whole number from 1 to 8192",
        ),
        (
            "http2_protocol_options: { max_concurrent_streams: 1.5 }",
            "1.5 }",
            "a whole number from 1",
        ),
        (
            "common_http_protocol_options: { idle: 1s }",
            "idle: 1s }",
            "the proxy knows no `idle`",
        ),
        (
            "statPrefix: a\nstat_prefix: b",
            "stat_prefix: b",
            "`stat_prefix` is `stat_prefix` again",
        ),
        (
            "http_filters: []",
            "[]",
            "`http_filters` must end with the router",
        ),
        (
            "access_log: [{ name: envoy.access_loggers.grpc }]",
            "envoy.access_loggers.grpc",
            "the proxy has no `envoy.access_loggers.grpc`",
        ),
        (
            "access_log: [{ name: envoy.file_access_log, config: { path: /dev/stdout, format: '%NO%' } }]",
            "'%NO%'",
            "the proxy knows no `%NO%`",
        ),
        (
            "access_log: [{ name: envoy.file_access_log, config: { path: /var/log/a } }]",
            "/var/log/a } }]",
            "access logs go to standard output alone: use `path: /dev/stdout`",
        ),
    ] {
        check(&manager(fields), &[(place, part)]);
    }
    let behind = format!("http_filters:\n{router}\n- {{ name: envoy.lua, config: {{}} }}");
    check(
        &manager(&behind),
        &[(
            "{ name: envoy.lua, config: {}",
            "no filter runs behind the router",
        )],
    );
}

#[test]
fn mistakes_of_filters_are_refused_by_place() {
    for (filter, place, part) in [
        (
            "- name: envoy.filters.http.cors",
            "11:19",
            "the proxy has no `envoy.filters.http.cors` in `http_filters`",
        ),
        (
            "- name: envoy.filters.http.luaa",
            "11:19",
            "did you mean `envoy.filters.http.lua`?",
        ),
        ("- config: {}", "11:13", "`http_filters` needs `name: "),
        (
            "- { name: a, typed_config: {} }",
            "11:38",
            "`typed_config` needs `@type: ",
        ),
        (
            "- { name: a, typed_config: { '@type': udpa.type.v1.TypedStruct } }",
            "11:38",
            "`typed_config` needs `type_url: ",
        ),
        (
            "- { name: envoy.lua, config: { inline_code: 1 } }",
            "11:55",
            "`inline_code` is a text",
        ),
        (
            "- { name: envoy.lua, config: { code: x } }",
            "11:42",
            "the proxy knows no `code` in `envoy.filters.http.lua`",
        ),
        (
            "- { name: envoy.lua, config: { inline_code: a, default_source_code: { filename: b } } }",
            "11:79",
            "`default_source_code` excludes `inline_code`",
        ),
        (
            "- { name: envoy.lua, config: { source_codes: { a: {} } } }",
            "11:61",
            "`a` needs one of `filename`, `inline_string`, `inline_bytes`, `environment_variable`",
        ),
        (
            "- { name: go, typed_config: { '@type': x/envoy.extensions.filters.http.golang.v3alpha.Config, library_id: a } }",
            "11:39",
            "build the filter as proxy-wasm or natively",
        ),
        (
            "- { name: n, typed_config: { '@type': x/extengine.filters.http.native.v1.Native } }",
            "11:38",
            "`extengine.filters.http.native` needs `name: ",
        ),
        (
            "- { name: a, config_discovery: {} , config: {} }",
            "11:24",
            "`config_discovery` is not supported",
        ),
    ] {
        let lines = refused(&around(filter));
        let expected = format!("{place}: ");
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with(&expected) && line.contains(part)),
            "{filter}\n{lines:#?}"
        );
    }
}

#[test]
fn mistakes_of_plugins_are_refused_by_place() {
    for (plugin, expected) in [
        ("{}", &[("{} }", "`config` needs `vm_config: ")][..]),
        (
            "{ vm_config: {} }",
            &[("{} } }", "`vm_config` needs `code: ")],
        ),
        (
            "{ vm_config: { code: { remote: { http_uri: {} } } } }",
            &[(
                "remote: { http_uri: {} } } }",
                "`remote` is not supported: fetch the code before the start",
            )],
        ),
        (
            "{ vm_config: { code: { local: { filename: a, inline_string: b } } } }",
            &[("b } } } } }", "`inline_string` excludes `filename`")],
        ),
        (
            "{ vm_config: { code: { local: { inline_bytes: '*' } } } }",
            &[("'*' } } } } }", "is no Base64")],
        ),
        (
            "{ vm_config: { runtime: envoy.wasm.runtime.null, code: { local: { inline_string: a } } } }",
            &[(
                "envoy.wasm.runtime.null",
                "names code that is compiled into Envoy",
            )],
        ),
        (
            "{ fail_open: true, failure_policy: FAIL_OPEN, VM }",
            &[(
                "true, failure_policy:",
                "`fail_open` excludes `failure_policy`",
            )],
        ),
        (
            "{ failure_policy: FAIL, VM }",
            &[(
                "FAIL, vm_config: { code: {",
                "`failure_policy` cannot be `FAIL` here: use one of",
            )],
        ),
        (
            "{ reload_config: { backoff: { base_interval: 2s, max_interval: 1s } }, VM }",
            &[("{ base_interval: 2s", "`max_interval` at least that")],
        ),
        (
            "{ configuration: { '@type': x/google.protobuf.Int32Value, value: 1 }, VM }",
            &[(
                "x/google.protobuf.Int32Value",
                "the proxy knows no `google.protobuf.Int32Value` here",
            )],
        ),
        (
            "{ configuration: { '@type': x/google.protobuf.StringValue, value: 1 }, VM }",
            &[(
                "1 }, vm_config: { code: {",
                "`value` is a text and this is a number: put it in quotes",
            )],
        ),
        (
            "{ configuration: { '@type': x/google.protobuf.Struct, value: [] }, VM }",
            &[("[] }, vm_config: { code: {", "`value` is a mapping")],
        ),
        (
            "{ configuration: [], VM }",
            &[("[], vm_config: { code: {", "`configuration` is a text")],
        ),
        (
            "{ capability_restriction_config: { allowed_capabilities: { proxy_log: { a: 1 } } }, VM }",
            &[(
                "a: 1 } } }, vm_config: {",
                "the proxy knows no `a` in `proxy_log`",
            )],
        ),
        (
            "{ capability_restriction_config: { allowed_capabilities: { proxy_log: {}, proxy_logg: {}, fd_write: {}, eval: {} } }, VM }",
            &[
                (
                    "proxy_logg: {}, fd_write",
                    "there is no capability `proxy_logg`: did you mean `proxy_log`?",
                ),
                (
                    "eval: {} } }, vm_config",
                    "there is no capability `eval`: write the name of a callback",
                ),
            ],
        ),
    ] {
        let plugin = plugin.replace("VM", "vm_config: { code: { local: { filename: a } } }");
        check(
            &around(&format!(
                "- name: envoy.wasm\n  config: {{ config: {plugin} }}"
            ))
            .replace("config: { config:", "config: {config:"),
            expected,
        );
    }
    check(
        "
static_resources: {}
extengine:
  wasm: { memory: 1KiB, deadline: 10, plugins: { other: { fuel: 1 } } }
  lua: { memory: 64MB }
",
        &[
            (
                "1KiB, deadline: 10, plugins:",
                "`memory` is a size from `64KiB` to `4GiB`",
            ),
            (
                "10, plugins: { other: { fuel:",
                "`deadline` is a time from `1ms` to `60s`",
            ),
            ("other: { fuel: 1 } } }", "there is no WASM plugin `other`"),
            ("fuel: 1 } } }", "the proxy knows no `fuel` in `other`"),
            ("64MB }", "here stands `64MB`"),
        ],
    );
}

#[test]
fn mistakes_of_routes_are_refused_by_place() {
    for (fields, expected) in [
        (
            "match: {}\nroute: { cluster: a }",
            &[
                ("{}", "`match` needs one of `prefix`, `path`"),
                ("a }", "there is no cluster `a`"),
            ][..],
        ),
        (
            "match: { prefix: / }",
            &[(
                "match: { prefix: / }",
                "`routes` needs one of `route`, `direct_response`, `redirect`",
            )],
        ),
        (
            "match: { safe_regex: {} , prefix: / }\ndirect_response: { status: 99 }",
            &[
                ("safe_regex: {} , prefix: /", "match by `prefix` or `path`"),
                ("99 }", "a whole number from 200 to 599"),
            ],
        ),
        (
            "match: { prefix: / }\nroute: { weighted_clusters: {} }",
            &[
                ("{ weighted_clusters: {}", "`route` needs `cluster: "),
                (
                    "weighted_clusters: {}",
                    "`weighted_clusters` is not supported",
                ),
            ],
        ),
        (
            "match: { prefix: / }\nredirect: { response_code: GONE }\ndirect_response: { status: 200 }",
            &[
                (
                    "{ response_code: GONE",
                    "`redirect` excludes `direct_response`",
                ),
                ("GONE", "`response_code` cannot be `GONE`"),
            ],
        ),
        (
            "match: { path: /a, prefix: /b }\ndirect_response: { status: 200, body: { filename: '' } }",
            &[
                ("/a, prefix: /b }", "`path` excludes `prefix`"),
                ("'' } }", "`filename` is empty"),
            ],
        ),
        (
            "match: { prefix: / }\ndirect_response: { status: 200 }\nrequest_headers_to_add: []",
            &[(
                "request_headers_to_add:",
                "the proxy knows no `request_headers_to_add`",
            )],
        ),
    ] {
        check(&route(fields), expected);
    }
    check(
        &manager(
            "
route_config:
  virtual_hosts:
  - { name: a, domains: [a, A, 'b*c', '*'] }
  - { name: a, domains: ['*'] }
  - { name: b }
",
        ),
        &[
            (
                "A, 'b*c', '*'] }",
                "`A` is the domain of a virtual host already",
            ),
            ("'b*c', '*'] }", "`b*c` is no domain"),
            ("a, domains: ['*'] }", "there is a virtual host `a` already"),
            ("'*'] }", "`*` is the domain of a virtual host already"),
            ("{ name: b }", "`virtual_hosts` needs `domains: "),
        ],
    );
}

#[test]
fn overrides_fit_the_filters_of_the_chain() {
    check(
        &manager(
            "
http_filters:
- { name: scripts, typed_config: { '@type': x/envoy.extensions.filters.http.lua.v3.Lua, source_codes: { a: { filename: a } } } }
- name: envoy.filters.http.router
route_config:
  virtual_hosts:
  - name: a
    domains: ['*']
    typed_per_filter_config:
      script: { '@type': x/envoy.config.route.v3.FilterConfig, disabled: true }
      scripts: { '@type': x/envoy.extensions.filters.http.lua.v3.LuaPerRoute, name: b }
    routes:
    - match: { prefix: / }
      direct_response: { status: 200 }
      typed_per_filter_config:
        scripts: { '@type': x/extengine.filters.http.native.v1.Native, config: {} }
    - match: { prefix: / }
      direct_response: { status: 200 }
      typed_per_filter_config:
        scripts: { '@type': x/envoy.extensions.filters.http.lua.v3.LuaPerRoute }
",
        ),
        &[
            ("script: { '@type':", "`script` is the name of no filter in `http_filters`: did you mean `scripts`?"),
            ("b }", "`b` is none of the filter's `source_codes`"),
            ("scripts: { '@type':", "is a filter of another kind"),
            ("{ '@type':", "needs one of `disabled`, `name`, `source_code`"),
        ],
    );
}

#[test]
fn mistakes_of_clusters_and_tls_are_refused_by_place() {
    let endpoint = "load_assignment: { endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: a, port_value: 1 } } } }] }] }";
    for (fields, expected) in [
        (
            "name: a",
            &[(
                "name: a",
                "`clusters` needs one of `load_assignment`, `hosts`",
            )][..],
        ),
        (
            "name: a\nhosts: []\nlb_policy: MAGLEV",
            &[("MAGLEV", "`lb_policy` cannot be `MAGLEV` here")],
        ),
        (
            "name: a\nhosts: []\ncircuit_breakers: {}",
            &[(
                "circuit_breakers: {}",
                "the proxy knows no `circuit_breakers`",
            )],
        ),
        (
            "name: a\nhosts: []\neds_cluster_config: {}",
            &[(
                "eds_cluster_config: {}",
                "list the endpoints in `load_assignment`",
            )],
        ),
        (
            &format!("name: a\n{endpoint}"),
            &[(
                "a, port_value: 1 } } } }] }]",
                "`a` is no IP address: write one, or give the cluster `type: STRICT_DNS`",
            )],
        ),
        (
            "name: a\nhosts: []\ntransport_socket: { name: tls, typed_config: { '@type': x/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext } }",
            &[(
                "x/envoy.extensions.transport_s",
                "did you mean `envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext`?",
            )],
        ),
        (
            "name: a\nhosts: []\ntls_context: { common_tls_context: { tls_certificates: [{ private_key: { filename: a } }] } }",
            &[(
                "{ private_key: { filename: a",
                "`tls_certificates` needs `certificate_chain: ",
            )],
        ),
        (
            "name: a\nhosts: []\ntls_context: { common_tls_context: { validation_context: { match_subject_alt_names: [{ prefix: a, exact: b }] } } }",
            &[
                ("{ match_subject_alt_names: [{", "add `trusted_ca`"),
                ("prefix: a, exact: b }] } }", "`prefix` is not supported"),
            ],
        ),
        (
            "name: a\nhosts: []\ntls_context: { common_tls_context: { tls_params: { tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_2 } } }",
            &[("{ tls_minimum_protocol_version", "swap them")],
        ),
        (
            "name: a\nhosts: []\ntyped_extension_protocol_options: { other: {} }",
            &[("other: {} }", "the proxy knows no `other` here")],
        ),
    ] {
        check(&cluster(fields), expected);
    }
    check(
        &format!(
            "{}{}",
            cluster("name: a\nhosts: []"),
            "  - { name: a, hosts: [] }\n"
        ),
        &[("a, hosts: [] }", "there is a cluster `a` already")],
    );
    check(
        "
static_resources:
  listeners:
  - address: { socket_address: { address: 0.0.0.0, port_value: 1 } }
    filter_chains:
    - filters: []
      tls_context:
        require_client_certificate: true
",
        &[
            ("[]", "`filters` must end with"),
            ("require_client_certificate:", "TLS needs a certificate"),
            ("true", "client certificates need somebody to come from"),
        ],
    );
}
