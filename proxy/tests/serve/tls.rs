//! TLS with clients: the chain is chosen by the name that they ask for.

use std::net::TcpStream;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::{Client, Running};

/// A listener with a filter chain for each name, which answers with the name.
fn config(names: &[&str]) -> String {
    let mut text = String::from(
        "
static_resources:
  listeners:
  - name: main
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
",
    );
    for name in names {
        text.push_str(&format!(
            r#"
    - filter_chain_match: {{server_names: ["{name}"]}}
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: ["h2,http/1.1"]
            tls_certificates:
            - certificate_chain: {{filename: FOLDER/{name}.pem}}
              private_key: {{filename: FOLDER/{name}.key}}
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: tls
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: "/"}}
                direct_response: {{status: 200, body: {{inline_string: "for {name}"}}}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
"#
        ));
    }
    text
}

/// A certificate of X.509's first version.
const OLD: &str = "-----BEGIN CERTIFICATE-----
MIIBGTCBvwIUGzsfFpuqzxR2/HkgKyewADAa8RQwCgYIKoZIzj0EAwIwDjEMMAoG
A1UEAwwDb2xkMCAXDTI2MTEyMjE2MDYwOFoYDzIxMjYxMDI5MTYwNjA4WjAOMQww
CgYDVQQDDANvbGQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASBe9dW9taeLZup
Q6FzfM6CFsiUS26GCOYf1YOGFdH2E/UC2dpI2Cr8TZW3jirSSxSHY6FyQsuipkre
cAZTbUzzMAoGCCqGSM49BAMCA0kAMEYCIQDxbLStv62TWWgtGYMuvrLk68GjcWU4
XhYmzy5F/cNnLQIhANVeOqfK/8K4qK+cjnYz2rgjWvX/doONQNaplKYXha4J
-----END CERTIFICATE-----
";

#[test]
fn a_certificate_of_the_first_version_is_refused_with_what_helps() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(["old".to_owned()]).expect("a key");
    let key = pem("PRIVATE KEY", &made.signing_key.serialize_der());
    std::fs::write(folder.path().join("old.pem"), OLD).expect("written");
    std::fs::write(folder.path().join("old.key"), key).expect("written");
    let text = config(&["old"]).replace("FOLDER", folder.path().to_str().expect("text"));
    let error = Running::try_on("wasmtime", &text, &[], 1)
        .err()
        .expect("refused");
    let error = error.to_string();
    assert!(error.contains("proxy.yaml:16:"), "{error}");
    for part in ["old.pem", "version 1", "openssl x509"] {
        assert!(error.contains(part), "no {part} in {error}");
    }
}

fn pem(kind: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
}

#[test]
fn a_client_is_served_by_the_chain_of_the_name_that_it_asks_for() {
    let names = ["one.example.com", "other.example.com"];
    let mut roots = RootCertStore::empty();
    let folder = tempfile::tempdir().expect("a folder");
    for name in names {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        roots.add(made.cert.der().clone()).expect("a root");
        let path = |end: &str| folder.path().join(format!("{name}.{end}"));
        std::fs::write(path("pem"), pem("CERTIFICATE", made.cert.der())).expect("written");
        std::fs::write(
            path("key"),
            pem("PRIVATE KEY", &made.signing_key.serialize_der()),
        )
        .expect("written");
    }
    let text = config(&names).replace("FOLDER", folder.path().to_str().expect("text"));
    let running = Running::new(&text, &[], 1);
    let mut client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    let client = Arc::new(client);
    for name in names {
        let server = ServerName::try_from(name).expect("a name");
        let connection = ClientConnection::new(Arc::clone(&client), server).expect("a client");
        let socket = TcpStream::connect(running.address("main")).expect("a connection");
        let response = Client::over(StreamOwned::new(connection, socket)).get("/", &[]);
        assert_eq!(
            (response.status, response.body),
            (200, format!("for {name}"))
        );
    }
    // Nobody serves another name, and without TLS there is no answer either.
    let server = ServerName::try_from("third.example.com").expect("a name");
    let connection = ClientConnection::new(client, server).expect("a client");
    let socket = TcpStream::connect(running.address("main")).expect("a connection");
    let mut stream = StreamOwned::new(connection, socket);
    assert!(std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\n\r\n").is_err());
    running.wait_for("warn proxy: no TLS with", 1);
    assert_eq!(running.metric("listener.main.tls_failures_total"), 1);
}
