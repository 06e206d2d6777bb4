//! Where a stream is served: what is configured there, and who chooses its route.

use std::collections::BTreeMap;

pub use serde_json::Value as Json;

use crate::filter::Filter;
use crate::stream::StreamRef;

/// Values for filters, by the filters' names.
pub type Metadata = BTreeMap<String, Json>;

/// What values for filters belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataOf {
    /// The listener.
    Listener,
    /// The virtual host of the route.
    VirtualHost,
    /// The route.
    Route,
    /// The cluster that the stream goes to.
    Cluster,
}

/// Which way a listener's traffic goes; the numbers are those that filters read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrafficDirection {
    /// Not said.
    #[default]
    Unspecified = 0,
    /// To the service beside the proxy.
    Inbound = 1,
    /// From the service beside the proxy.
    Outbound = 2,
}

/// Who a proxy is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeId {
    /// The proxy.
    pub id: String,
    /// The service that it belongs to.
    pub cluster: String,
    /// What else is said of it.
    pub metadata: Json,
}

/// Where a stream is served.
pub trait Surroundings {
    /// Chooses the stream's route anew by its request's headers, and says in its information which one that is.
    ///
    /// Answers the filters from a place of the chain on, in their order, as that route has them; none where they stay.
    fn reroute(&self, stream: &StreamRef, from: usize) -> Vec<Box<dyn Filter>>;

    /// Which way the traffic goes.
    fn direction(&self) -> TrafficDirection;

    /// The name of the listener's filter chain.
    fn filter_chain(&self) -> &str;

    /// The values for filters that something has; none where the stream has no such thing.
    fn metadata(&self, stream: &StreamRef, of: MetadataOf) -> Option<&Metadata>;
}
