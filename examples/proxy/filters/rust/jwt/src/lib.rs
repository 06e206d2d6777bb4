//! Lets requests with a token pass that an authorisation service accepts.
//!
//! A bearer token must have the form of a JSON Web Token and not be expired (`exp`, seconds since 1970); the service, which
//! knows the keys, is asked about everything else while the request waits. Its 200 lets the request go on, with the token's
//! subject in `x-subject`; its 403 is passed on; any other answer denies with 401, and no answer with 503.
//!
//! The configuration is JSON: `{"cluster": "authz", "path": "/check", "authority": "authz", "timeout_ms": 500}`.

use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use log::{error, warn};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use serde::Deserialize;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

/// The service.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    cluster: String,
    path: String,
    authority: String,
    timeout_ms: u64,
}

/// What this filter reads of a token's header.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "alg")]
    _algorithm: String,
}

/// What it reads of a token's claims.
#[derive(Deserialize)]
struct Claims {
    exp: u64,
    #[serde(default)]
    sub: String,
}

/// The claims of a token that has the form of one.
fn claims(token: &str) -> Option<Claims> {
    let mut parts = token
        .split('.')
        .map(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let (header, claims, signature) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || signature.is_empty() {
        return None;
    }
    serde_json::from_slice::<Header>(&header).ok()?;
    serde_json::from_slice(&claims).ok()
}

#[derive(Default)]
struct Root {
    service: Rc<Service>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let configuration = self.get_plugin_configuration().unwrap_or_default();
        match serde_json::from_slice(&configuration) {
            Ok(service) => {
                self.service = Rc::new(service);
                true
            }
            Err(why) => {
                error!("the configuration: {why}");
                false
            }
        }
    }

    fn create_http_context(&self, _context: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            service: Rc::clone(&self.service),
            subject: String::new(),
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    service: Rc<Service>,
    subject: String,
}

impl Stream {
    fn deny(&self, status: u32, why: &str) -> Action {
        let mut headers = vec![("content-type", "text/plain")];
        if status == 401 {
            headers.push(("www-authenticate", "Bearer"));
        }
        self.send_http_response(status, headers, Some(why.as_bytes()));
        Action::Pause
    }

    fn ask(&self, authorization: &str) -> Action {
        let service = &self.service;
        let path = self.get_http_request_header(":path").unwrap_or_default();
        let headers = vec![
            (":method", "GET"),
            (":path", &service.path),
            (":authority", &service.authority),
            ("authorization", authorization),
            ("x-original-path", &path),
        ];
        let timeout = Duration::from_millis(service.timeout_ms);
        match self.dispatch_http_call(&service.cluster, headers, None, vec![], timeout) {
            Ok(_) => Action::Pause,
            Err(status) => {
                error!("the authorisation service cannot be asked: {status:?}");
                self.deny(503, "authorisation is not to be had")
            }
        }
    }
}

impl Context for Stream {
    fn on_http_call_response(
        &mut self,
        _call: u32,
        headers: usize,
        _body: usize,
        _trailers: usize,
    ) {
        let status = self.get_http_call_response_header(":status");
        match status.as_deref() {
            Some("200") => {
                self.add_http_request_header("x-subject", &self.subject);
                self.resume_http_request();
            }
            Some("403") => {
                self.deny(403, "forbidden");
            }
            _ if headers == 0 => {
                warn!("the authorisation service does not answer");
                self.deny(503, "authorisation is not to be had");
            }
            _ => {
                self.deny(401, "the token is not accepted");
            }
        }
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        // Only this filter says who somebody is.
        self.set_http_request_header("x-subject", None);
        let Some(authorization) = self.get_http_request_header("authorization") else {
            return self.deny(401, "a token is needed");
        };
        let Some(claims) = authorization.strip_prefix("Bearer ").and_then(claims) else {
            return self.deny(401, "the token is malformed");
        };
        let now = self.get_current_time().duration_since(UNIX_EPOCH);
        if now.is_ok_and(|now| now.as_secs() >= claims.exp) {
            return self.deny(401, "the token is expired");
        }
        self.subject = claims.sub;
        self.ask(&authorization)
    }
}
