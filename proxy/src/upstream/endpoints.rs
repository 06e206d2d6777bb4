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
    /// By the places of the configuration, of which a name may have any number of addresses.
    known: Rc<RefCell<Vec<Vec<Endpoint>>>>,
    next: Cell<usize>,
    /// How many names were not looked up yet.
    missing: watch::Receiver<usize>,
    refresh: Vec<AbortHandle>,
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.known.borrow().fmt(f)
    }
}

impl Endpoints {
    /// The endpoints of a cluster, whose names are looked up again and again as long as this lives.
    pub(super) fn new(cluster: &Cluster, lookup: Lookup) -> Self {
        if cluster.discovery == Discovery::Static {
            let fixed = cluster.endpoints.iter().filter_map(|endpoint| {
                let address = endpoint.host.parse().ok()?;
                Some(one(endpoint, SocketAddr::new(address, endpoint.port)))
            });
            return Self {
                known: Rc::new(RefCell::new(vec![fixed.collect()])),
                next: Cell::new(0),
                missing: watch::channel(0).1,
                refresh: Vec::new(),
            };
        }
        let names = cluster.endpoints.len();
        let known = Rc::new(RefCell::new(vec![Vec::new(); names]));
        let (done, missing) = watch::channel(names);
        let (done, lookup) = (Rc::new(done), Rc::new(lookup));
        let refresh = (0..names).map(|place| {
            let (known, done) = (known.clone(), done.clone());
            let work = refresh(cluster.clone(), place, lookup.clone(), move |found| {
                if let Some(found) = found {
                    known.borrow_mut()[place] = found;
                }
                done.send_modify(|missing| *missing = missing.saturating_sub(1));
            });
            tokio::task::spawn_local(work).abort_handle()
        });
        Self {
            refresh: refresh.collect(),
            known,
            next: Cell::new(0),
            missing,
        }
    }

    /// All endpoints, from the one whose turn it is; once there is one, or every name was looked up.
    pub(super) async fn turn(&self) -> Vec<Endpoint> {
        let known = || self.known.borrow().concat();
        let settled = |missing: &usize| *missing == 0 || !known().is_empty();
        // An error would say that the looking up has ended, which it does with this.
        let _ = self.missing.clone().wait_for(settled).await;
        let mut all = known();
        let next = self.next.get();
        self.next.set(next.wrapping_add(1));
        if !all.is_empty() {
            let first = next % all.len();
            all.rotate_left(first);
        }
        all
    }
}

/// Looks up one name of a cluster for ever; what it said holds while it cannot be looked up.
async fn refresh(
    cluster: Cluster,
    place: usize,
    lookup: Rc<Lookup>,
    tell: impl Fn(Option<Vec<Endpoint>>),
) {
    let endpoint = &cluster.endpoints[place];
    loop {
        let found = lookup(endpoint.host.clone(), endpoint.port).await;
        tell(found.ok().map(|addresses| {
            let mut addresses = of_family(addresses, cluster.family);
            if cluster.discovery == Discovery::LogicalDns {
                addresses.truncate(1);
            }
            addresses.into_iter().map(|a| one(endpoint, a)).collect()
        }));
        tokio::time::sleep(cluster.dns_refresh).await;
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        for refresh in &self.refresh {
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
