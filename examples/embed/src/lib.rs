//! A tokio service that embeds an application
