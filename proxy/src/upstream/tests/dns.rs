//! Names of endpoints: which addresses of them count, and until when.

use std::cell::RefCell;
use std::io;

use crate::upstream::endpoints::Endpoints;

use super::*;

type Answers = Rc<RefCell<Vec<(&'static str, io::Result<Vec<&'static str>>)>>>;

/// Endpoints of these names, each of which has its answers in this order and then none.
fn named(discovery: Discovery, names: &[&str], answers: &Answers) -> Endpoints {
    let mut cluster = cluster(&[], HTTP2);
    cluster.discovery = discovery;
    cluster.endpoints = names
        .iter()
        .map(|&name| Endpoint {
            host: name.into(),
            port: 80,
            hostname: name.into(),
        })
        .collect();
    let answers = answers.clone();
    let lookup = move |host: String, port| {
        assert_eq!(port, 80);
        let mut answers = answers.borrow_mut();
        let next = answers.iter().position(|(name, _)| *name == host);
        let (_, answer) = answers.remove(next.expect("an answer is left"));
        let addresses = |all: Vec<&str>| all.iter().map(|text| address(text)).collect();
        let answer = answer.map(addresses);
        Box::pin(std::future::ready(answer)) as std::pin::Pin<Box<dyn Future<Output = _>>>
    };
    Endpoints::new(&cluster, Box::new(lookup))
}

fn address(text: &str) -> SocketAddr {
    SocketAddr::new(text.parse().expect("it is an address"), 80)
}

/// The addresses that there are, whosever turn it is.
async fn all(endpoints: &Endpoints) -> Vec<String> {
    let turn = endpoints.turn().await;
    let mut all: Vec<_> = turn
        .iter()
        .map(|e| format!("{} {}", e.hostname, e.address.ip()))
        .collect();
    all.sort();
    all
}

fn gone() -> io::Error {
    io::Error::other("no such name")
}

#[test]
fn every_address_of_every_name_counts_until_the_name_says_otherwise() {
    run(async {
        tokio::time::pause();
        let answers = Answers::default();
        answers.borrow_mut().extend([
            ("a", Ok(vec!["10.0.0.1", "10.0.0.2"])),
            ("b", Err(gone())),
            ("a", Err(gone())),
            ("b", Ok(vec!["10.0.1.1"])),
            ("a", Ok(vec![])),
            ("b", Err(gone())),
        ]);
        let endpoints = named(Discovery::StrictDns, &["a", "b"], &answers);
        assert_eq!(all(&endpoints).await, ["a 10.0.0.1", "a 10.0.0.2"]);
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(
            all(&endpoints).await,
            ["a 10.0.0.1", "a 10.0.0.2", "b 10.0.1.1"]
        );
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(all(&endpoints).await, ["b 10.0.1.1"]);
        answers.borrow_mut().push(("a", Err(gone())));
        drop(endpoints);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(answers.borrow().len(), 1, "nobody looks any more");
    });
}

#[test]
fn a_logical_name_has_its_first_address() {
    run(async {
        let answers = Answers::default();
        let first = ("a", Ok(vec!["10.0.0.1", "10.0.0.2"]));
        answers.borrow_mut().push(first);
        let endpoints = named(Discovery::LogicalDns, &["a"], &answers);
        assert_eq!(all(&endpoints).await, ["a 10.0.0.1"]);
    });
}

#[test]
fn families_choose_among_addresses() {
    let (v4, v6) = (address("10.0.0.1"), address("::1"));
    let choose =
        |family, addresses: &[_]| crate::upstream::endpoints::of_family(addresses.to_vec(), family);
    for (family, of_both) in [
        (DnsFamily::Auto, vec![v6]),
        (DnsFamily::V4, vec![v4]),
        (DnsFamily::V6, vec![v6]),
        (DnsFamily::V4Preferred, vec![v4]),
        (DnsFamily::All, vec![v4, v6]),
    ] {
        assert_eq!(choose(family, &[v4, v6]), of_both);
    }
    assert_eq!(choose(DnsFamily::Auto, &[v4]), [v4]);
    assert_eq!(choose(DnsFamily::V4Preferred, &[v6]), [v6]);
    assert!(choose(DnsFamily::V6, &[v4]).is_empty());
}

#[test]
fn the_system_knows_this_machine() {
    run(async {
        let server = serve(UpstreamProtocol::Http1, None, |_| async {
            Response::new(full("ok"))
        })
        .await;
        let mut named = cluster(&[server.address], UpstreamProtocol::Http1);
        named.discovery = Discovery::StrictDns;
        named.family = DnsFamily::V4;
        named.endpoints[0].host = "localhost".to_owned();
        let (_all, backend) = backend(named);
        let (response, _) = backend.request(post("/", full(""))).await.unwrap();
        assert_eq!(text(response).await, "ok");
    });
}
