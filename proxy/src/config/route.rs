//! Where requests go: virtual hosts, their routes, and what a route does.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use filters::Metadata;

use super::http::{FilterOverrides, PlacedOverrides, overrides};
use super::reader::Reader;
use super::report::{Kind, Place};
use super::values::{DataSource, metadata};

/// How long a cluster may take for its whole answer where the route does not say it.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Where requests go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteConfig {
    /// The name.
    pub name: String,
    /// The virtual hosts, of which a request's host chooses one.
    pub virtual_hosts: Vec<VirtualHost>,
}

/// Where a route stands among those of a manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RoutePlace {
    host: usize,
    route: usize,
}

/// The routes of some domains.
#[derive(Clone, Debug, PartialEq)]
pub struct VirtualHost {
    /// The name.
    pub name: String,
    /// The domains.
    pub domains: Vec<Domain>,
    /// The routes, of which the first that matches is taken.
    pub routes: Vec<Route>,
    /// What it makes of filters.
    pub overrides: FilterOverrides,
    /// Values for filters, by the filters' names.
    pub metadata: Metadata,
}

/// Which hosts a virtual host is for; in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Domain {
    /// This one.
    Exact(String),
    /// Those that end so, from `*.example.com`, and have something before it.
    Suffix(String),
    /// Those that begin so, from `example.*`, and have something behind it.
    Prefix(String),
    /// All, from `*`.
    Any,
}

/// One route.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Where it stands.
    pub place: Place,
    /// The name, which may be empty.
    pub name: String,
    /// Which paths it is for.
    pub path: PathMatch,
    /// What it does.
    pub action: Action,
    /// What it makes of filters, before the virtual host's.
    pub overrides: FilterOverrides,
    /// Values for filters, by the filters' names.
    pub metadata: Metadata,
}

/// Which paths a route is for; a query is no part of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// Those that begin so.
    Prefix(String),
    /// This one.
    Path(String),
}

/// What a route does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Sends the request to a cluster.
    Cluster(ClusterAction),
    /// Answers without one.
    Direct(DirectResponse),
    /// Sends the client elsewhere.
    Redirect(Redirect),
}

/// Sends a request to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterAction {
    /// The cluster's name.
    pub cluster: String,
    /// How long the answer may take, from the end of the request; for ever where it is zero. 15 seconds.
    pub timeout: Duration,
    /// What stands in the place of the path that matched.
    pub prefix_rewrite: Option<String>,
    /// The host that the cluster is asked for.
    pub host: HostRewrite,
}

/// The host that a cluster is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRewrite {
    /// The client's.
    Keep,
    /// This one.
    Literal(String),
    /// The name of the endpoint, where it has one.
    Endpoint,
}

/// An answer that the proxy gives itself, and that passes the filters of responses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectResponse {
    /// The status, from 200 to 599.
    pub status: u16,
    /// The body; empty where it is absent.
    pub body: Option<DataSource>,
}

/// Sends the client elsewhere; what is absent stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The status.
    pub status: u16,
    /// The scheme.
    pub scheme: Option<String>,
    /// The host.
    pub host: Option<String>,
    /// The path; with a query, that takes the place of the request's.
    pub path: Option<String>,
    /// Whether the request's query is left out.
    pub strip_query: bool,
}

impl RouteConfig {
    /// The virtual host for a host, such as `example.com:8080`, and the route in it for a path without its query.
    ///
    /// An exact domain comes before the longest suffix, that before the longest prefix, and that before `*`.
    pub fn find(&self, host: &str, path: &str) -> Option<(&VirtualHost, &Route)> {
        Some(self.at(self.place(host, path)?))
    }

    /// Where the route stands that [`RouteConfig::find`] answers.
    pub(crate) fn place(&self, host: &str, path: &str) -> Option<RoutePlace> {
        let lower = match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(host.to_ascii_lowercase()),
            false => Cow::Borrowed(host),
        };
        let domains = self.virtual_hosts.iter().enumerate();
        let domains = domains.flat_map(|(number, virtual_host)| {
            let domains = virtual_host.domains.iter();
            let ranks = domains.filter_map(|domain| domain.rank(&lower));
            ranks.max().map(|rank| (rank, number))
        });
        let (_, host) = domains.max_by_key(|(rank, _)| *rank)?;
        let mut routes = self.virtual_hosts[host].routes.iter();
        let route = routes.position(|route| route.path.matches(path))?;
        Some(RoutePlace { host, route })
    }

    /// What stands at a place of these routes.
    pub(crate) fn at(&self, place: RoutePlace) -> (&VirtualHost, &Route) {
        let host = &self.virtual_hosts[place.host];
        (host, &host.routes[place.route])
    }

    pub(super) fn read(reader: &Reader<'_>, all: &mut PlacedOverrides) -> Self {
        reader.refuse("vhds", "write the virtual hosts here, as `virtual_hosts`");
        let domains = &mut BTreeSet::new();
        let names = &mut BTreeSet::new();
        let mut virtual_hosts = Vec::new();
        for (place, virtual_host) in reader.messages("virtual_hosts", |r| {
            (r.place_of("name"), VirtualHost::read(r, domains, all))
        }) {
            if !names.insert(virtual_host.name.clone()) {
                let message = format!(
                    "there is a virtual host `{}` already: choose another name",
                    virtual_host.name
                );
                reader.report().problem(place, message);
            }
            virtual_hosts.push(virtual_host);
        }
        Self {
            name: reader.text("name"),
            virtual_hosts,
        }
    }
}

impl Domain {
    /// How well a host fits.
    fn rank(&self, host: &str) -> Option<(u8, usize)> {
        match self {
            Self::Exact(domain) => (domain == host).then_some((3, 0)),
            Self::Suffix(end) => {
                (host.len() > end.len() && host.ends_with(end)).then_some((2, end.len()))
            }
            Self::Prefix(start) => {
                (host.len() > start.len() && host.starts_with(start)).then_some((1, start.len()))
            }
            Self::Any => Some((0, 0)),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let domain = match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (Some(""), _) => Self::Any,
            (Some(end), _) => Self::Suffix(end.to_owned()),
            (_, Some(start)) => Self::Prefix(start.to_owned()),
            _ => Self::Exact(text.clone()),
        };
        let is_good = match &domain {
            Self::Any => true,
            Self::Exact(part) | Self::Suffix(part) | Self::Prefix(part) => {
                !part.is_empty() && !part.contains('*')
            }
        };
        is_good.then_some(domain)
    }
}

impl VirtualHost {
    fn read(reader: &Reader<'_>, taken: &mut BTreeSet<Domain>, all: &mut PlacedOverrides) -> Self {
        reader.require("domains", "[\"*\"]");
        let mut domains = Vec::new();
        for (place, text) in reader.texts("domains") {
            let Some(domain) = Domain::parse(&text) else {
                let message = format!(
                    "`{text}` is no domain: a `*` stands alone, at the beginning or at the end"
                );
                reader.report().problem(place, message);
                continue;
            };
            if !taken.insert(domain.clone()) {
                let message =
                    format!("`{text}` is the domain of a virtual host already: leave one");
                reader.report().problem(place, message);
            }
            domains.push(domain);
        }
        Self {
            name: reader.need_text("name", "local_service"),
            domains,
            routes: reader
                .messages("routes", |r| Route::read(r, all))
                .into_iter()
                .flatten()
                .collect(),
            overrides: overrides(reader, all),
            metadata: metadata(reader),
        }
    }
}

impl Route {
    fn read(reader: &Reader<'_>, all: &mut PlacedOverrides) -> Option<Self> {
        reader.require("match", "{ prefix: / }");
        let path = reader.message("match", PathMatch::read);
        reader.one_of(&["route", "direct_response", "redirect"]);
        let cluster = reader.message("route", ClusterAction::read);
        let direct = reader.message("direct_response", DirectResponse::read);
        let redirect = reader.message("redirect", Redirect::read);
        let action = match (cluster, direct) {
            (Some(cluster), _) => Some(Action::Cluster(cluster)),
            (None, Some(direct)) => Some(Action::Direct(direct)),
            (None, None) => redirect.map(Action::Redirect),
        };
        let name = reader.text("name");
        let overrides = overrides(reader, all);
        let metadata = metadata(reader);
        Some(Self {
            place: reader.place(),
            name,
            path: path?,
            action: action?,
            overrides,
            metadata,
        })
    }
}

impl PathMatch {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Self::Path(whole) => path == whole,
        }
    }

    fn read(reader: &Reader<'_>) -> Self {
        for field in [
            "safe_regex",
            "path_separated_prefix",
            "headers",
            "query_parameters",
        ] {
            reader.refuse(field, "match by `prefix` or `path`");
        }
        match reader.one_of(&["prefix", "path"]) {
            Some("path") => Self::Path(reader.text("path")),
            _ => Self::Prefix(reader.text("prefix")),
        }
    }
}

impl ClusterAction {
    fn read(reader: &Reader<'_>) -> Self {
        for field in ["weighted_clusters", "cluster_header"] {
            reader.refuse(field, "name one `cluster`");
        }
        reader.require("cluster", "my_cluster");
        let cluster = reader.text("cluster");
        if reader.has("cluster") {
            reader
                .report()
                .refer(Kind::Cluster, reader.place_of("cluster"), &cluster);
        }
        let rewrites = ["host_rewrite_literal", "host_rewrite", "auto_host_rewrite"];
        let host = match reader.at_most_one(&rewrites) {
            Some("auto_host_rewrite") if reader.flag("auto_host_rewrite") == Some(true) => {
                HostRewrite::Endpoint
            }
            None | Some("auto_host_rewrite") => HostRewrite::Keep,
            Some(field) => HostRewrite::Literal(reader.text(field)),
        };
        Self {
            cluster,
            timeout: reader.duration("timeout").unwrap_or(TIMEOUT),
            prefix_rewrite: Some(reader.text("prefix_rewrite")).filter(|text| !text.is_empty()),
            host,
        }
    }
}

impl DirectResponse {
    fn read(reader: &Reader<'_>) -> Self {
        reader.require("status", "200");
        let status = reader.number("status", 200..=599).unwrap_or(200);
        Self {
            status: u16::try_from(status).unwrap_or(200),
            body: reader.message("body", DataSource::read),
        }
    }
}

impl Redirect {
    fn read(reader: &Reader<'_>) -> Self {
        let codes = [
            ("MOVED_PERMANENTLY", 301),
            ("FOUND", 302),
            ("SEE_OTHER", 303),
            ("TEMPORARY_REDIRECT", 307),
            ("PERMANENT_REDIRECT", 308),
        ];
        let text = |field| reader.has(field).then(|| reader.text(field));
        reader.at_most_one(&["https_redirect", "scheme_redirect"]);
        let is_https = reader.flag("https_redirect") == Some(true);
        Self {
            status: reader.choice("response_code", &codes).unwrap_or(301),
            scheme: match is_https {
                true => Some("https".to_owned()),
                false => text("scheme_redirect").map(|scheme| scheme.to_ascii_lowercase()),
            },
            host: text("host_redirect"),
            path: text("path_redirect"),
            strip_query: reader.flag("strip_query").unwrap_or(false),
        }
    }
}
