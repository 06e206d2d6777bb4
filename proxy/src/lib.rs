//! A proxy whose filters are extensions, configured by the part of Envoy's static bootstrap that such deployments use.
//!
//! [`config`] reads a configuration and says everything that is wrong with it; [`Proxy`] serves one, or only
//! prepares it.
//!
//! ```
//! use proxy::config::Config;
//!
//! let bootstrap = "
//! static_resources:
//!   clusters:
//!   - name: backend
//!     conect_timeout: 1s
//! ";
//! let error = Config::parse(bootstrap, "envoy.yaml").unwrap_err();
//! println!("{}", error.message());
//! assert!(error.message().contains("envoy.yaml:5:5: the proxy knows no `conect_timeout`"));
//! ```

pub mod config;
mod headers;
mod server;
mod tls;
mod upstream;

pub use server::{Generation, Lines, Listening, LogSink, Options, Proxy, stop_signal};
