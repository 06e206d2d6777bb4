//! Which endpoints a cluster has: addresses of the configuration, or what names say from time to time.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::config::{self, Cluster, Discovery, DnsFamily};

/// How names are looked up.
pub(super) type Lookup =
    Box<dyn Fn(String, u16) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>>>>>;

/// Looks names up as the system does.
pub(super) fn system() -> Lookup {
    Box::new(|host, port| {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    })
}

/// One endpoint that can be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Its address.
    pub(super) address: SocketAddr,
    /// Its name, or nothing.
    pub(super) hostname: Rc<str>,
}

/// The endpoints of a cluster, in turn.
pub(super) struct Endpoints {
    known: Rc<RefCell<Vec<Endpoint>>>,
    next: Cell<usize>,
    /// Whether the names were looked up once.
    ready: watch::Receiver<bool>,
    refresh: Option<AbortHandle>,
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.known.borrow().iter()).finish()
    }
}

impl Endpoints {
    /// The endpoints of a cluster, whose names are looked up again and again as long as this lives.
    pub(super) fn new(cluster: &Cluster, lookup: Lookup) -> Self {
        let (done, ready) = watch::channel(cluster.discovery == Discovery::Static);
        let mut all = Self {
            known: Rc::default(),
            next: Cell::new(0),
            ready,
            refresh: None,
        };
        if cluster.discovery == Discovery::Static {
            let fixed = cluster.endpoints.iter().filter_map(|endpoint| {
                let address = endpoint.host.parse().ok()?;
                Some(one(endpoint, SocketAddr::new(address, endpoint.port)))
            });
            all.known.borrow_mut().extend(fixed);
            return all;
        }
        let (known, cluster) = (all.known.clone(), cluster.clone());
        let task = tokio::task::spawn_local(async move {
            // What every name said last, which holds while it cannot be looked up.
            let mut found = vec![Vec::new(); cluster.endpoints.len()];
            loop {
                for (endpoint, found) in cluster.endpoints.iter().zip(&mut found) {
                    if let Ok(addresses) = lookup(endpoint.host.clone(), endpoint.port).await {
                        let mut addresses = of_family(addresses, cluster.family);
                        if cluster.discovery == Discovery::LogicalDns {
                            addresses.truncate(1);
                        }
                        *found = addresses.into_iter().map(|a| one(endpoint, a)).collect();
                    }
                }
                *known.borrow_mut() = found.concat();
                done.send_replace(true);
                tokio::time::sleep(cluster.dns_refresh).await;
            }
        });
        all.refresh = Some(task.abort_handle());
        all
    }

    /// All endpoints, from the one whose turn it is; once the names were looked up for the first time.
    pub(super) async fn turn(&self) -> Vec<Endpoint> {
        // An error would say that the looking up has ended, which it does with this.
        let _ = self.ready.clone().wait_for(|ready| *ready).await;
        let mut all = self.known.borrow().clone();
        let next = self.next.get();
        self.next.set(next.wrapping_add(1));
        if !all.is_empty() {
            let first = next % all.len();
            all.rotate_left(first);
        }
        all
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        if let Some(refresh) = &self.refresh {
            refresh.abort();
        }
    }
}

fn one(endpoint: &config::Endpoint, address: SocketAddr) -> Endpoint {
    Endpoint {
        address,
        hostname: endpoint.hostname.as_str().into(),
    }
}

/// The addresses that count.
pub(super) fn of_family(addresses: Vec<SocketAddr>, family: DnsFamily) -> Vec<SocketAddr> {
    let (v4, v6): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(SocketAddr::is_ipv4);
    match family {
        DnsFamily::V4 => v4,
        DnsFamily::V6 => v6,
        DnsFamily::Auto => {
            if v6.is_empty() {
                v4
            } else {
                v6
            }
        }
        DnsFamily::V4Preferred => {
            if v4.is_empty() {
                v6
            } else {
                v4
            }
        }
        DnsFamily::All => addresses,
    }
}
