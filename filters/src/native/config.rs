//! Native filters by name: how they are registered, found and configured.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde_json::Value;
use tokio::runtime;

use super::StreamFilter;
use super::adapter::Adapter;
use super::stream::Own;
use crate::filter::Filter;
use crate::panics::{self, Panic};

/// What a filter says against its configuration; any error, or text through `into`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A native filter that can be configured by name, once [`native_filter!`](crate::native_filter!) has registered it.
pub trait NativeFilter: StreamFilter {
    /// What a configuration becomes, shared by all streams and threads.
    type Config: Send + Sync + 'static;

    /// Reads a configuration, whole or a route's own.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    fn parse(config: &Value) -> Result<Self::Config, BoxError>;

    /// The configuration of a route: the listener's (or whatever stands above) together with the route's own, which
    /// otherwise takes its place.
    ///
    /// # Errors
    /// Why the two do not go together.
    fn merge(
        _parent: &Arc<Self::Config>,
        child: &Arc<Self::Config>,
    ) -> Result<Arc<Self::Config>, BoxError> {
        Ok(Arc::clone(child))
    }

    /// The filter of a new stream.
    fn new(config: &Arc<Self::Config>) -> Self;
}

/// Registers a [`NativeFilter`] under a name, for the whole program that links this.
///
/// ```
/// # use filters::native::{BoxError, NativeFilter, StreamFilter};
/// # struct Nothing;
/// # impl StreamFilter for Nothing {}
/// # impl NativeFilter for Nothing {
/// #     type Config = ();
/// #     fn parse(_: &serde_json::Value) -> Result<(), BoxError> { Ok(()) }
/// #     fn new(_: &std::sync::Arc<()>) -> Self { Self }
/// # }
/// filters::native_filter!("example.nothing", Nothing);
/// # fn main() { assert!(filters::native::names().contains(&"example.nothing")); }
/// ```
#[macro_export]
macro_rules! native_filter {
    ($name:literal, $filter:ty) => {
        $crate::native::__private::inventory::submit! {
            $crate::native::Registration::new::<$filter>($name)
        }
    };
}

/// What [`native_filter!`](crate::native_filter!) registers.
pub struct Registration {
    name: &'static str,
    factory: &'static dyn Factory,
}

impl Registration {
    /// A filter under a name.
    pub const fn new<F: NativeFilter>(name: &'static str) -> Self {
        Self {
            name,
            factory: &Of::<F>(PhantomData),
        }
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registration").field(&self.name).finish()
    }
}

inventory::collect!(Registration);

/// The names of all native filters that are linked in, in order.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = inventory::iter::<Registration>()
        .map(|known| known.name)
        .collect();
    names.sort_unstable();
    names
}

/// What a filter made of its configuration.
pub(super) type Config = Arc<dyn Any + Send + Sync>;

/// A [`NativeFilter`], whatever its configuration is.
trait Factory: Sync {
    fn parse(&self, config: &Value) -> Result<Config, BoxError>;
    fn merge(&self, parent: &Config, child: &Config) -> Result<Config, BoxError>;
    fn filter(&self, own: Own, config: &Config) -> Box<dyn Filter>;
}

struct Of<F>(PhantomData<fn() -> F>);

impl<F: NativeFilter> Of<F> {
    fn own(config: &Config) -> Arc<F::Config> {
        let config = Arc::clone(config).downcast();
        config.expect("a configuration goes with the filter that parsed it")
    }
}

impl<F: NativeFilter> Factory for Of<F> {
    fn parse(&self, config: &Value) -> Result<Config, BoxError> {
        Ok(Arc::new(F::parse(config)?))
    }

    fn merge(&self, parent: &Config, child: &Config) -> Result<Config, BoxError> {
        Ok(F::merge(&Self::own(parent), &Self::own(child))?)
    }

    fn filter(&self, own: Own, config: &Config) -> Box<dyn Filter> {
        let make = |config: &Config| F::new(&Self::own(config));
        Box::new(Adapter::new(own, Arc::clone(config), make))
    }
}

/// A native filter with its configuration: of a listener, of a route, or merged.
///
/// It is cheap to clone and shared by all threads. Merging may take long, so it is done once per route and not per stream.
#[derive(Clone)]
pub struct NativeConfig {
    name: &'static str,
    factory: &'static dyn Factory,
    config: Config,
}

impl fmt::Debug for NativeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeConfig")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl NativeConfig {
    /// Reads the configuration of the filter of a name.
    ///
    /// # Errors
    /// No filter or more than one has this name, or the filter refuses the configuration or panics over it.
    pub fn parse(name: &str, config: &Value) -> Result<Self, NativeError> {
        let mut found = inventory::iter::<Registration>().filter(|known| known.name == name);
        let known = found
            .next()
            .ok_or_else(|| NativeError::Unknown(name.to_owned()))?;
        if found.next().is_some() {
            return Err(NativeError::Twice(known.name));
        }
        let config = tried(known.name, || known.factory.parse(config))?;
        Ok(Self {
            name: known.name,
            factory: known.factory,
            config,
        })
    }

    /// The filter's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// This configuration together with one that stands below it.
    ///
    /// # Errors
    /// The other is another filter's, or the filter refuses the two or panics over them.
    pub fn merge(&self, child: &Self) -> Result<Self, NativeError> {
        if self.name != child.name {
            return Err(NativeError::Other(self.name, child.name));
        }
        let config = tried(self.name, || {
            self.factory.merge(&self.config, &child.config)
        })?;
        Ok(Self {
            config,
            ..self.clone()
        })
    }

    /// The filter of a new stream, to be put into its chain. Its tasks run on `runtime`, which should have threads beside
    /// those of streams, so that a task that blocks stalls no stream.
    pub fn filter(&self, runtime: &runtime::Handle) -> Box<dyn Filter> {
        let own = Own::new(self.name, runtime.clone());
        self.factory.filter(own, &self.config)
    }
}

fn tried<T>(
    name: &'static str,
    run: impl FnOnce() -> Result<T, BoxError>,
) -> Result<T, NativeError> {
    let result = panics::catch(run).unwrap_or_else(|Panic(seen)| Err(seen.into()));
    result.map_err(|why| NativeError::Refused(name, why))
}

/// Why there is no configuration for a native filter.
#[derive(Debug)]
#[non_exhaustive]
pub enum NativeError {
    /// No native filter of this name is linked in.
    Unknown(String),
    /// More than one native filter has this name.
    Twice(&'static str),
    /// A listener's configuration is one filter's, and the route's another's.
    Other(&'static str, &'static str),
    /// The filter of this name refuses its configuration, or panicked over it.
    Refused(&'static str, BoxError),
}

impl fmt::Display for NativeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                write!(f, "no native filter {name:?} is linked in; there is ")?;
                match &names()[..] {
                    [] => f.write_str("none"),
                    names => f.write_str(&names.join(", ")),
                }
            }
            Self::Twice(name) => write!(f, "more than one native filter is registered as {name:?}"),
            Self::Other(parent, child) => {
                write!(
                    f,
                    "a configuration of {child:?} stands below one of {parent:?}"
                )
            }
            Self::Refused(name, why) => {
                write!(
                    f,
                    "the native filter {name:?} refuses its configuration: {why}"
                )
            }
        }
    }
}

impl std::error::Error for NativeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(_, why) => Some(&**why),
            _ => None,
        }
    }
}
