//! Requests of filters, which are answered whole.

use std::rc::Rc;

use filters::callout::{CallFailed, CallRefused, HttpAnswer, HttpCall, HttpDone, Pending};
use http::Request;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};

use crate::headers;
use crate::upstream::{BoxBody, Upstream, UpstreamError, Upstreams, within};

use super::{MAX_ANSWER, Task};

impl Pending for Task {}

/// Begins a request to a cluster, as [`filters::Worker::http`]; within a `LocalSet`.
///
/// # Errors
/// Where the cluster is not known or the request is no request; `done` is not called then.
pub(crate) fn http(
    upstreams: &Rc<Upstreams>,
    call: HttpCall,
    done: HttpDone,
) -> Result<Box<dyn Pending>, CallRefused> {
    let upstream = upstreams
        .get(&call.cluster)
        .ok_or(CallRefused::UnknownCluster)?;
    let trailers = headers::to_map(&call.trailers).map_err(CallRefused::BadRequest)?;
    let body = Full::new(call.body).map_err(|never| match never {});
    let body: BoxBody = if trailers.is_empty() {
        Box::pin(body)
    } else {
        Box::pin(body.with_trailers(std::future::ready(Some(Ok(trailers)))))
    };
    let request = headers::request(&call.headers, body).map_err(CallRefused::BadRequest)?;
    Ok(Box::new(Task::spawn(async move {
        let answer = within(call.timeout, ask(&upstream, request)).await;
        done(match answer {
            Ok(answer) => answer.ok_or(CallFailed::TooLarge),
            Err(UpstreamError::Timeout) => Err(CallFailed::Timeout),
            Err(_) => Err(CallFailed::Reset),
        });
    })))
}

/// Asks; answers nothing where the answer is too large.
async fn ask(
    upstream: &Upstream,
    request: Request<BoxBody>,
) -> Result<Option<HttpAnswer>, UpstreamError> {
    let (response, _) = upstream.request(request).await?;
    let (parts, body) = response.into_parts();
    match Limited::new(body, MAX_ANSWER).collect().await {
        Ok(body) => Ok(Some(HttpAnswer {
            headers: headers::from_response(&parts),
            trailers: body.trailers().map(headers::trailers).unwrap_or_default(),
            body: body.to_bytes(),
        })),
        Err(error) if error.is::<LengthLimitError>() => Ok(None),
        Err(error) => Err(UpstreamError::Reset(error.to_string())),
    }
}
