//! Whole configurations, as deployments have them.

use std::time::Duration;

use proxy::config::*;
use serde_json::json;

use crate::{http, read};

fn notices(config: &Config) -> Vec<String> {
    config.notices.iter().map(ToString::to_string).collect()
}

#[test]
fn a_plugin_before_a_direct_response_is_read() {
    let config = read(include_str!("yaml/tick.yaml"));
    assert_eq!(
        notices(&config),
        [
            "3:3: `access_log_path`: has no effect: nothing of it is written",
            "25:21: `runtime`: the plugin runs on the engine that the proxy was started with",
        ]
    );
    let Bootstrap {
        listeners,
        admin,
        clusters,
        services,
        ..
    } = &config.bootstrap;
    assert_eq!(*admin, Some("0.0.0.0:8001".parse().unwrap()));
    assert!(clusters.is_empty() && services.is_empty());
    let [listener] = &listeners[..] else {
        panic!("one listener")
    };
    assert_eq!(
        (listener.name.as_str(), listener.address),
        ("main", "0.0.0.0:18000".parse().unwrap())
    );
    assert_eq!(listener.buffer_limit, 1 << 20);
    let http = http(listener);
    assert_eq!(
        (http.stat_prefix.as_str(), http.codec),
        ("ingress", Codec::Auto)
    );
    let [
        HttpFilter {
            name,
            is_disabled: false,
            kind: HttpFilterKind::Wasm(plugin),
            ..
        },
    ] = &http.filters[..]
    else {
        panic!("one plugin and the router");
    };
    assert_eq!(name, "envoy.filters.http.wasm");
    assert_eq!(
        plugin.vm.code.0.from,
        DataFrom::File("/etc/envoy/plugin/main.wasm".into())
    );
    assert_eq!(
        (plugin.failure_policy, plugin.configuration.len()),
        (FailurePolicy::Closed, 0)
    );
    let (host, route) = http.routes.find("localhost:18000", "/any").unwrap();
    assert_eq!(host.name, "local_service");
    let Action::Direct(DirectResponse {
        status: 200,
        body: Some(body),
    }) = &route.action
    else {
        panic!("a direct response");
    };
    assert_eq!(&*body.bytes().unwrap(), b"example body\n");
}

#[test]
fn every_setting_of_plugins_scripts_and_native_filters_is_read() {
    let config = read(include_str!("yaml/wasm.yaml"));
    let Bootstrap {
        node,
        listeners,
        services,
        settings,
        clusters,
        admin,
    } = &config.bootstrap;
    assert_eq!(
        (node.id.as_str(), node.cluster.as_str()),
        ("node-1", "front")
    );
    assert_eq!(node.metadata, json!({"zone": "a", "weight": 3}));
    assert_eq!(*admin, Some("[::1]:9901".parse().unwrap()));
    let milliseconds = Duration::from_millis;
    let limits = |memory: u64, deadline| PluginLimits {
        memory: memory << 20,
        deadline: milliseconds(deadline),
    };
    assert_eq!(settings.plugin("auth"), limits(128, 10));
    assert_eq!(settings.plugin("bytes"), limits(32, 10));
    assert_eq!(settings.lua, limits(64, 5));
    let [service] = &services[..] else {
        panic!("one service")
    };
    assert!(service.is_singleton);
    assert_eq!(
        &*service.plugin.vm.code.0.bytes().unwrap(),
        b"\0asm\x01\0\0\0"
    );

    let [listener] = &listeners[..] else {
        panic!("one listener")
    };
    assert_eq!(
        (listener.buffer_limit, listener.direction),
        (32_768, TrafficDirection::Inbound)
    );
    let [plugin] = &listener.filter_chains[0].plugins[..] else {
        panic!("one plugin of connections")
    };
    assert_eq!(plugin.name, "bytes");
    let http = http(listener);
    assert_eq!(
        (http.codec, http.idle_timeout),
        (Codec::Http2, Duration::from_secs(60))
    );
    assert_eq!(
        (http.stream_idle_timeout, http.request_timeout),
        (Duration::ZERO, milliseconds(1500))
    );
    assert_eq!(http.http2.max_concurrent_streams, Some(100));
    let [codes, usual] = &http.access_logs[..] else {
        panic!("two logs");
    };
    let code = [
        LogPiece::Value(LogValue::ResponseCode),
        LogPiece::Text("\n".into()),
    ];
    assert_eq!((&codes.0[..], usual), (&code[..], &LogFormat::default()));

    let [auth, scripts, redact] = &http.filters[..] else {
        panic!("three filters")
    };
    let HttpFilterKind::Wasm(auth) = &auth.kind else {
        panic!("a plugin")
    };
    assert_eq!(
        (auth.root_id.as_str(), auth.failure_policy),
        ("auth_root", FailurePolicy::Reload)
    );
    assert_eq!(
        (auth.backoff.base, auth.backoff.max),
        (milliseconds(500), milliseconds(8000))
    );
    assert_eq!(auth.allow_on_headers_stop_iteration, Some(true));
    assert!(
        auth.allowed_capabilities
            .iter()
            .eq(["proxy_log", "proxy_on_context_create"])
    );
    assert_eq!(
        String::from_utf8_lossy(&auth.configuration),
        r#"{"issuer":"example","limit":3,"ratio":0.5,"big":"12345678901","list":[true,null]}"#
    );
    assert_eq!(
        (auth.vm.vm_id.as_str(), &auth.vm.configuration[..]),
        ("shared", &[0, 1][..])
    );
    assert!(auth.vm.environment.host_keys.iter().eq(["HOME"]));
    assert_eq!(auth.vm.environment.values["MODE"], "on");
    let HttpFilterKind::Lua(lua) = &scripts.kind else {
        panic!("a script")
    };
    let code = lua.code.as_ref().unwrap().bytes().unwrap();
    assert!(code.starts_with(b"function envoy_on_request") && code.ends_with(b"end\n"));
    assert_eq!(
        lua.sources["other.lua"].from,
        DataFrom::File("/etc/other.lua".into())
    );
    let HttpFilterKind::Native(native) = &redact.kind else {
        panic!("a native filter")
    };
    assert_eq!(
        (native.name.as_str(), &native.config),
        ("redact_json", &json!({"fields": ["password"]}))
    );

    let (_, login) = http.routes.find("API.example.com", "/login").unwrap();
    let redirect = Redirect {
        status: 302,
        scheme: Some("https".into()),
        host: None,
        path: Some("/in".into()),
        strip_query: false,
    };
    assert_eq!(
        (login.name.as_str(), &login.action),
        ("login", &Action::Redirect(redirect))
    );
    let (_, v1) = http.routes.find("x.api.example.com", "/v1/a").unwrap();
    let Action::Cluster(action) = &v1.action else {
        panic!("a cluster")
    };
    assert_eq!(
        (action.cluster.as_str(), action.timeout),
        ("backend", milliseconds(250))
    );
    assert_eq!(action.prefix_rewrite.as_deref(), Some("/"));
    assert_eq!(action.host, HostRewrite::Literal("backend.internal".into()));
    assert_eq!(v1.metadata["scripts"], json!({"level": 2}));
    let FilterOverride::Lua(route) = &v1.overrides["scripts"] else {
        panic!("of a script")
    };
    assert!(matches!(&route.code, LuaRouteCode::Named(_, name) if name == "other.lua"));
    assert_eq!(route.filter_context, json!({"key": "value"}));
    assert_eq!(
        v1.overrides["redact"],
        FilterOverride::Native(json!({"fields": ["b"]}))
    );
    let (_, other) = http.routes.find("api.example.com", "/v2").unwrap();
    assert!(matches!(
        &other.action,
        Action::Cluster(ClusterAction {
            host: HostRewrite::Endpoint,
            ..
        })
    ));
    let (rest, none) = http.routes.find("other", "/").unwrap();
    assert_eq!(rest.overrides["auth"], FilterOverride::Disabled);
    assert!(matches!(
        &none.action,
        Action::Direct(DirectResponse { status: 404, .. })
    ));

    let [backend] = &clusters[..] else {
        panic!("one cluster")
    };
    assert_eq!(
        (backend.discovery, backend.family),
        (Discovery::StrictDns, DnsFamily::V4)
    );
    assert_eq!(
        backend.protocol,
        UpstreamProtocol::Http2(Http2Options::default())
    );
    let endpoint = |host: &str, hostname: &str| Endpoint {
        host: host.into(),
        port: 443,
        hostname: hostname.into(),
    };
    assert_eq!(
        backend.endpoints,
        [
            endpoint("backend.internal", "backend.internal"),
            endpoint("10.0.0.2", "second.internal")
        ]
    );
    let tls = backend.tls.as_ref().unwrap();
    assert_eq!(
        (tls.sni.as_str(), tls.common.certificates.len()),
        ("backend.internal", 1)
    );
    assert_eq!(
        tls.common.trusted_ca.as_ref().unwrap().from,
        DataFrom::File("ca.pem".into())
    );
    assert_eq!(tls.common.subject_alt_names, ["backend.internal"]);
}

#[test]
fn connections_are_told_apart_by_the_name_that_a_client_asks_for() {
    let config = read(include_str!("yaml/tcp_tls.yaml"));
    assert_eq!(
        notices(&config),
        [
            "23:13: the TLS inspector has no effect: a client's server name is always seen",
            "50:7: `lb_policy`: the endpoints are taken in turn, as by `ROUND_ROBIN`",
            "59:11: the certificates of this cluster are not verified, as in Envoy: add `validation_context` with `trusted_ca`",
        ]
    );
    let Bootstrap {
        listeners,
        clusters,
        ..
    } = &config.bootstrap;
    let [named, rest] = &listeners[0].filter_chains[..] else {
        panic!("two chains")
    };
    assert_eq!(named.server_names, ["a.example.com", "*.b.example.com"]);
    assert!(rest.server_names.is_empty());
    assert_eq!(named.tls, rest.tls);
    let tls = named.tls.as_ref().unwrap();
    assert!(tls.require_client_certificate);
    assert_eq!(tls.common.alpn, ["h2", "http/1.1"]);
    assert_eq!(
        (tls.common.minimum, tls.common.maximum),
        (TlsVersion::V1_3, TlsVersion::V1_3)
    );
    let ChainEnd::Tcp(tcp) = &named.end else {
        panic!("a TCP proxy")
    };
    assert_eq!(
        (tcp.cluster.as_str(), tcp.idle_timeout),
        ("one", Duration::from_secs(30))
    );
    let found: Vec<_> = clusters
        .iter()
        .map(|cluster| (cluster.discovery, cluster.protocol))
        .collect();
    assert_eq!(
        found,
        [
            (Discovery::Static, UpstreamProtocol::Http1),
            (Discovery::LogicalDns, UpstreamProtocol::Http1)
        ]
    );
}

#[test]
fn configurations_of_version_2_are_read() {
    let config = read(include_str!("yaml/legacy.yaml"));
    let Bootstrap {
        listeners,
        clusters,
        ..
    } = &config.bootstrap;
    assert_eq!(
        listeners[0].filter_chains[0]
            .tls
            .as_ref()
            .unwrap()
            .common
            .certificates
            .len(),
        1
    );
    let http = http(&listeners[0]);
    assert_eq!(
        http.access_logs[0].0[0],
        LogPiece::Value(LogValue::Protocol)
    );
    let [wasm, lua] = &http.filters[..] else {
        panic!("two filters")
    };
    let HttpFilterKind::Wasm(wasm) = &wasm.kind else {
        panic!("a plugin")
    };
    assert_eq!(
        (wasm.failure_policy, &wasm.configuration[..]),
        (FailurePolicy::Open, &b"{}"[..])
    );
    assert!(matches!(&lua.kind, HttpFilterKind::Lua(lua) if lua.code.is_some()));
    let (_, route) = http.routes.find("any", "/").unwrap();
    assert!(
        matches!(&route.action, Action::Cluster(action) if action.host == HostRewrite::Literal("web".into()))
    );
    assert_eq!(
        clusters[0].protocol,
        UpstreamProtocol::Http2(Http2Options::default())
    );
    assert_eq!(clusters[0].endpoints[0].host, "web_service");
}

#[test]
fn what_stands_alone_is_a_list_of_one() {
    let list = read(
        "static_resources:
  listeners:
  - address: { socket_address: { address: 0.0.0.0, port_value: 1 } }
    filter_chains:
    - filters:
      - name: envoy.tcp_proxy
        config: { stat_prefix: a, cluster: b }
  clusters:
  - name: b
    load_assignment: { cluster_name: b, endpoints: [{ lb_endpoints: [] }] }
",
    );
    let alone = read(
        "static_resources:
  listeners:
    address: { socket_address: { address: 0.0.0.0, port_value: 1 } }
    filter_chains:
      filters:
        name: envoy.tcp_proxy
        config: { stat_prefix: a, cluster: b }
  clusters:
    name: b
    load_assignment: { cluster_name: b, endpoints: { lb_endpoints: [] } }
",
    );
    let [one, other] = [&list, &alone].map(|config| &config.bootstrap);
    assert_eq!(one.listeners.len(), 1);
    assert_eq!(one.listeners[0].address, other.listeners[0].address);
    assert_eq!(
        one.listeners[0].filter_chains[0].end,
        other.listeners[0].filter_chains[0].end
    );
    assert_eq!(one.clusters[0].name, other.clusters[0].name);
}

#[test]
fn a_service_needs_no_listeners() {
    let config = read(
        "bootstrap_extensions:
- name: envoy.bootstrap.wasm
  typed_config:
    '@type': type.googleapis.com/envoy.extensions.wasm.v3.WasmService
    singleton: true
    config: { name: a, vm_config: { code: { local: { filename: a.wasm } } } }
",
    );
    assert!(config.bootstrap.listeners.is_empty());
    assert_eq!(config.bootstrap.services.len(), 1);
}

#[test]
fn json_with_the_names_of_json_is_the_same_configuration() {
    let yaml = "
static_resources:
  clusters:
  - { name: a, connect_timeout: 1s, dns_lookup_family: V4_ONLY, load_assignment: { cluster_name: a } }
";
    let json = r#"
{"staticResources": {
  "clusters": [
    {"name":"a","connectTimeout":"1s","dnsLookupFamily":"V4_ONLY","loadAssignment":{"clusterName":"a"}}]}}"#;
    let (mut yaml, mut json) = (read(yaml), read(json));
    yaml.bootstrap.clusters[0].place = Place::default();
    json.bootstrap.clusters[0].place = Place::default();
    assert_eq!(yaml, json);
}

#[test]
fn the_best_domain_is_taken() {
    let text = r#"
static_resources:
  listeners:
  - address: { socket_address: { address: 0.0.0.0, port_value: 0 } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        config:
          stat_prefix: a
          http_filters: [{ name: envoy.filters.http.router }]
          route_config:
            virtual_hosts:
            - { name: any, domains: ["*"], routes: &routes [{ match: { prefix: / }, direct_response: { status: 200 } }] }
            - { name: start, domains: ["www.*"], routes: *routes }
            - { name: end, domains: ["*.example.com"], routes: *routes }
            - { name: longer, domains: ["*.b.example.com"], routes: *routes }
            - { name: exact, domains: [www.b.example.com], routes: *routes }
            - { name: empty, domains: [empty] }
"#;
    let config = read(text);
    let routes = &http(&config.bootstrap.listeners[0]).routes;
    for (host, expected) in [
        ("WWW.b.example.com", Some("exact")),
        ("x.b.example.com", Some("longer")),
        ("www.example.com", Some("end")),
        (".example.com", Some("any")),
        ("www.example.org", Some("start")),
        ("example.org", Some("any")),
        ("empty", None),
    ] {
        let found = routes.find(host, "/").map(|(host, _)| host.name.as_str());
        assert_eq!(found, expected, "{host}");
    }
}

#[test]
fn a_file_is_read_and_named_in_problems() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("envoy.yaml");
    std::fs::write(&path, include_str!("yaml/tick.yaml")).unwrap();
    assert_eq!(
        Config::load(&path).unwrap(),
        read(include_str!("yaml/tick.yaml"))
    );
    std::fs::write(&path, "a: 1\nb: \"\n").unwrap();
    let error = Config::load(&path).unwrap_err();
    assert!(
        error.message().starts_with(&format!("{}:", path.display())),
        "{error}"
    );
    std::fs::write(&path, b"a: 1\nb: \xff").unwrap();
    let error = Config::load(&path).unwrap_err();
    assert!(
        error.message().contains("envoy.yaml:2:1: this is no UTF-8"),
        "{error}"
    );
    let error = Config::load(&folder.path().join("none")).unwrap_err();
    assert_eq!(error.kind(), engine_core::error::ErrorKind::Io);
}
