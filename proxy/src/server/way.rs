//! Which way a stream goes through its configuration: what its filters can ask of that, and its route.

use std::cell::Cell;
use std::rc::Rc;

use filters::{
    Direction, Filter, Headers, Metadata, MetadataOf, StreamInfo, StreamRef, Surroundings,
    TrafficDirection,
};

use super::connection::Connection;
use super::route::{self, Found};
use crate::config::RoutePlace;

/// A stream in its configuration.
pub(crate) struct Way {
    connection: Rc<Connection>,
    /// The route that was found first; it says which filters run.
    came: Option<RoutePlace>,
    route: Cell<Option<RoutePlace>>,
}

impl Way {
    /// The way of a request with these headers.
    pub(crate) fn new(connection: &Rc<Connection>, headers: &Headers) -> Self {
        let came = connection
            .manager()
            .and_then(|manager| route::find(manager, headers));
        Self {
            connection: Rc::clone(connection),
            came,
            route: Cell::new(came),
        }
    }

    /// The way of a connection of TCP.
    pub(crate) fn tcp(connection: &Rc<Connection>) -> Self {
        Self {
            connection: Rc::clone(connection),
            came: None,
            route: Cell::default(),
        }
    }

    /// The route.
    pub(crate) fn route(&self) -> Found<'_> {
        self.at(self.route.get())
    }

    fn at(&self, place: Option<RoutePlace>) -> Found<'_> {
        Some(self.connection.manager()?.routes.at(place?))
    }

    /// The filters of the stream, from one of them on, as its route has them.
    pub(crate) fn filters(&self, from: usize) -> Vec<Box<dyn Filter>> {
        let Some(manager) = self.connection.manager() else {
            return Vec::new();
        };
        let filters = self
            .connection
            .site
            .filters(manager, self.at(self.came), self.route());
        filters.skip(from).collect()
    }

    /// Says in a stream's information which route it has.
    pub(crate) fn note(&self, info: &mut StreamInfo) {
        route::note(info, self.route());
    }

    /// Chooses the route anew; answers whether it is another one.
    pub(crate) fn choose(&self, stream: &StreamRef) -> bool {
        let found = {
            let headers = stream.headers(Direction::Request);
            let manager = self.connection.manager();
            manager
                .zip(headers)
                .and_then(|(manager, headers)| route::find(manager, &headers))
        };
        if self.route.replace(found) == found {
            return false;
        }
        self.note(&mut stream.info_mut());
        true
    }
}

impl Surroundings for Way {
    fn reroute(&self, stream: &StreamRef, from: usize) -> Vec<Box<dyn Filter>> {
        match self.choose(stream) {
            true => self.filters(from),
            false => Vec::new(),
        }
    }

    fn direction(&self) -> TrafficDirection {
        self.connection.listener().direction
    }

    fn filter_chain(&self) -> &str {
        &self.connection.chain().name
    }

    fn metadata(&self, stream: &StreamRef, of: MetadataOf) -> Option<&Metadata> {
        match of {
            MetadataOf::Listener => Some(&self.connection.listener().metadata),
            MetadataOf::VirtualHost => self.route().map(|(host, _)| &host.metadata),
            MetadataOf::Route => self.route().map(|(_, route)| &route.metadata),
            MetadataOf::Cluster => {
                let info = stream.info();
                let clusters = &self.connection.site.generation.bootstrap.clusters;
                let cluster = clusters.iter().find(|cluster| cluster.name == info.cluster);
                cluster.map(|cluster| &cluster.metadata)
            }
        }
    }
}
