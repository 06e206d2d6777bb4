//! The numbers of the ABI: what a host answers, and what a guest names.

use filters::Level;
use filters::metrics::MetricKind;

/// What a host function answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is done.
    Ok = 0,
    /// There is no such thing.
    NotFound = 1,
    /// An argument means nothing, or nothing here and now.
    BadArgument = 2,
    /// What should be answered cannot be written down.
    SerializationFailure = 3,
    /// What the guest gave cannot be read.
    ParseFailure = 4,
    /// A pointer leads out of the guest's memory, or the guest could not allocate.
    InvalidMemoryAccess = 6,
    /// The queue is empty.
    Empty = 7,
    /// The value was changed since it was read.
    CasMismatch = 8,
    /// The host failed, or the guest may not do this.
    InternalFailure = 10,
    /// This host has no such thing.
    Unimplemented = 12,
}

/// A version of the ABI, as the name of an export says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 0.1.0
    V0_1_0,
    /// 0.2.0
    V0_2_0,
    /// 0.2.1
    V0_2_1,
}

impl Version {
    /// All versions.
    pub const ALL: [Self; 3] = [Self::V0_1_0, Self::V0_2_0, Self::V0_2_1];

    /// The export by which a module says that it speaks this version.
    pub fn marker(self) -> &'static str {
        match self {
            Self::V0_1_0 => "proxy_abi_version_0_1_0",
            Self::V0_2_0 => "proxy_abi_version_0_2_0",
            Self::V0_2_1 => "proxy_abi_version_0_2_1",
        }
    }

    /// The version's number, such as `0.2.1`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_2_1 => "0.2.1",
        }
    }
}

/// Makes an enumeration of numbers from 0 on.
macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($variant:ident)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($variant),* }

        impl $name {
            /// The one of this number.
            pub(crate) fn of(number: i32) -> Option<Self> {
                let all = [$(Self::$variant),*];
                usize::try_from(number).ok().and_then(|number| all.get(number).copied())
            }
        }
    };
}

numbered! {
    /// What a buffer holds.
    BufferKind {
        RequestBody ResponseBody DownstreamData UpstreamData CallBody GrpcMessage VmConfiguration PluginConfiguration
        ForeignArguments
    }
}

numbered! {
    /// What a map holds.
    MapKind {
        RequestHeaders RequestTrailers ResponseHeaders ResponseTrailers GrpcInitial GrpcTrailing CallHeaders CallTrailers
    }
}

numbered! {
    /// A direction that can go on or be closed.
    StreamKind { Request Response Downstream Upstream }
}

/// A metric's kind by its number.
pub(crate) fn metric_kind(number: i32) -> Option<MetricKind> {
    Some(match number {
        0 => MetricKind::Counter,
        1 => MetricKind::Gauge,
        2 => MetricKind::Histogram,
        _ => return None,
    })
}

/// A level of the log by its number.
pub(crate) fn level(number: i32) -> Option<Level> {
    usize::try_from(number)
        .ok()
        .and_then(|number| Level::ALL.get(number).copied())
}

/// Who closed a connection, as a guest is told.
pub(crate) const PEER_LOCAL: u32 = 1;
pub(crate) const PEER_REMOTE: u32 = 2;
