//! TLS: whom either side trusts, what it shows, and what is wrong with its files.

use engine_core::error::ErrorKind;

use crate::config::{
    Certificate, DataFrom, DataSource, DownstreamTls, TlsContext, TlsVersion, UpstreamTls,
};

use super::certificates::{Authority, inline};
use super::*;

fn context(trusted_ca: Option<&Authority>, certificates: &[&Certificate]) -> TlsContext {
    TlsContext {
        place: Place { line: 1, column: 2 },
        certificates: certificates.iter().copied().cloned().collect(),
        trusted_ca: trusted_ca.map(|authority| authority.certificate.clone()),
        subject_alt_names: Vec::new(),
        alpn: Vec::new(),
        minimum: TlsVersion::V1_2,
        maximum: TlsVersion::V1_3,
    }
}

pub(super) fn upstream_tls(
    trusted_ca: Option<&Authority>,
    certificates: &[&Certificate],
) -> UpstreamTls {
    UpstreamTls {
        common: context(trusted_ca, certificates),
        sni: "backend.test".to_owned(),
    }
}

fn downstream_tls(trusted_ca: Option<&Authority>, certificate: &Certificate) -> DownstreamTls {
    DownstreamTls {
        common: context(trusted_ca, &[certificate]),
        require_client_certificate: trusted_ca.is_some(),
    }
}

/// What a server with one side's TLS answers to a cluster with the other's.
async fn ask(
    server: &DownstreamTls,
    client: UpstreamTls,
    protocol: UpstreamProtocol,
) -> Result<String, UpstreamError> {
    let config = crate::tls::server(server).expect("the server's TLS has no mistakes");
    let server = serve(protocol, Some(config), |request| async move {
        Response::new(full(format!("{:?}", request.version())))
    })
    .await;
    let mut cluster = cluster(&[server.address], protocol);
    cluster.tls = Some(client);
    let (_all, backend) = backend(cluster);
    let (response, _) = backend.request(post("/", full(""))).await?;
    Ok(text(response).await)
}

/// Whether the other side was not believed.
fn is_refused(result: &Result<String, UpstreamError>) -> bool {
    matches!(result, Err(UpstreamError::Connect(why) | UpstreamError::Reset(why)) if why.contains("ertificate"))
}

#[test]
fn a_server_is_believed_by_its_authority_and_its_names() {
    run(async {
        let (ours, other) = (Authority::new(), Authority::new());
        let server = downstream_tls(None, &ours.sign("backend.test"));
        for (authority, names, is_believed) in [
            (None, &[][..], true),
            (Some(&ours), &[][..], true),
            (Some(&ours), &["other.test", "backend.test"][..], true),
            (Some(&ours), &["other.test"][..], false),
            (Some(&other), &[][..], false),
        ] {
            let mut client = upstream_tls(authority, &[]);
            client.common.subject_alt_names = names.iter().map(|&name| name.into()).collect();
            let result = ask(&server, client, UpstreamProtocol::Http1).await;
            match is_believed {
                true => assert_eq!(result.unwrap(), "HTTP/1.1"),
                false => assert!(is_refused(&result), "{result:?}"),
            }
        }
    });
}

#[test]
fn a_client_is_believed_by_its_authority_and_its_names() {
    run(async {
        let (ours, other) = (Authority::new(), Authority::new());
        let mut server = downstream_tls(Some(&ours), &ours.sign("backend.test"));
        let client = |certificates: &[&Certificate]| upstream_tls(Some(&ours), certificates);
        for (names, shown, is_believed) in [
            (&[][..], Some(ours.sign("client.test")), true),
            (&["client.test"], Some(ours.sign("client.test")), true),
            (&["other.test"], Some(ours.sign("client.test")), false),
            (&[], Some(other.sign("client.test")), false),
            (&[], None, false),
        ] {
            server.common.subject_alt_names = names.iter().map(|&name| name.into()).collect();
            let shown: Vec<_> = shown.iter().collect();
            let result = ask(&server, client(&shown), UpstreamProtocol::Http1).await;
            assert_eq!(result.is_ok(), is_believed, "{result:?}");
        }
    });
}

#[test]
fn both_sides_agree_on_a_protocol() {
    run(async {
        let ours = Authority::new();
        let mut server = downstream_tls(None, &ours.sign("backend.test"));
        let alpn = UpstreamProtocol::Alpn(Http2Options::default());
        for (offered, protocol, version) in [
            (&["h2", "http/1.1"][..], alpn, "HTTP/2.0"),
            (&["http/1.1"], alpn, "HTTP/1.1"),
            (&[], alpn, "HTTP/1.1"),
            (&["h2", "http/1.1"], UpstreamProtocol::Http1, "HTTP/1.1"),
            (&["h2"], HTTP2, "HTTP/2.0"),
        ] {
            server.common.alpn = offered.iter().map(|&name| name.into()).collect();
            let result = ask(&server, upstream_tls(Some(&ours), &[]), protocol).await;
            assert_eq!(result.unwrap(), version);
        }
    });
}

#[test]
fn a_version_that_only_one_side_speaks_is_not_spoken() {
    run(async {
        let mut server = downstream_tls(None, &Authority::new().sign("backend.test"));
        server.common.maximum = TlsVersion::V1_2;
        let mut client = upstream_tls(None, &[]);
        let result = ask(&server, client.clone(), UpstreamProtocol::Http1).await;
        assert_eq!(result.unwrap(), "HTTP/1.1");
        client.common.minimum = TlsVersion::V1_3;
        let result = ask(&server, client, UpstreamProtocol::Http1).await;
        assert!(
            matches!(result, Err(UpstreamError::Connect(_))),
            "{result:?}"
        );
    });
}

#[test]
fn what_is_wrong_with_files_is_said_with_their_place() {
    let good = Authority::new();
    let certificate = good.sign("backend.test");
    let missing = DataSource {
        place: Place { line: 3, column: 4 },
        from: DataFrom::File("no/such/file.pem".into()),
    };
    let garbage = inline("-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n");
    let (empty, another) = (inline("no PEM"), good.sign("other.test").key);
    for (chain, key, ca, kind) in [
        (&missing, &certificate.key, None, ErrorKind::Io),
        (&garbage, &certificate.key, None, ErrorKind::Manifest),
        (&empty, &certificate.key, None, ErrorKind::Manifest),
        (&certificate.chain, &empty, None, ErrorKind::Manifest),
        (&certificate.chain, &another, None, ErrorKind::Manifest),
        (
            &certificate.chain,
            &certificate.key,
            Some(&missing),
            ErrorKind::Io,
        ),
        (
            &certificate.chain,
            &certificate.key,
            Some(&empty),
            ErrorKind::Manifest,
        ),
        (
            &certificate.chain,
            &certificate.key,
            Some(&garbage),
            ErrorKind::Manifest,
        ),
    ] {
        let shown = Certificate {
            chain: chain.clone(),
            key: key.clone(),
        };
        let mut server = downstream_tls(None, &shown);
        server.common.trusted_ca = ca.cloned();
        let mut upstream = cluster(&[], HTTP2);
        let common = server.common.clone();
        upstream.tls = Some(UpstreamTls {
            common,
            sni: String::new(),
        });
        for error in [
            crate::tls::server(&server).map(drop).unwrap_err(),
            prepare(&[upstream]).map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains("3:4"), "{error}");
        }
    }
}
