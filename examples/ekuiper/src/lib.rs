//! Answers eKuiper's external functions, over gRPC, with functions of plugins.

use std::path::Path;
use std::time::Duration;

use api::flights_server::{Flights, FlightsServer};
use api::{DelayScoreRequest, DescribeFlightRequest, Flight};
use extengine::functions::{Manager, PluginConfig, Value};
use extengine::{Error, ErrorKind};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

/// Longer than a plugin should take to load.
const LOADING: Duration = Duration::from_secs(60);

/// The messages, the server and the client of `service/schemas/flights.proto`.
#[allow(
    missing_docs,
    clippy::allow_attributes_without_reason,
    reason = "it is generated"
)]
pub mod api {
    tonic::include_proto!("flights");
}

/// Adds every plugin of a folder, and waits until all are ready.
///
/// # Errors
/// Those of [`PluginConfig::from_folder`], [`Manager::add`] and [`Manager::wait_ready`]; plugins before the one that
/// failed are there.
pub fn add_folder(manager: &Manager, folder: &Path) -> extengine::Result<()> {
    for config in PluginConfig::from_folder(folder)? {
        let config = config?;
        let name = config.name.clone();
        manager.add(config)?;
        manager.wait_ready(&name, LOADING)?;
    }
    Ok(())
}

/// Serves the plugins' functions until `stop` is there, and finishes what has begun.
///
/// # Errors
/// Where the listener fails.
pub async fn serve(
    manager: Manager,
    listener: TcpIncoming,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let service = FlightsServer::new(Service { manager });
    // Answers are small, and a rule waits for each.
    let listener = listener.with_nodelay(Some(true));
    Server::builder()
        .serve_with_incoming_shutdown(service, listener, stop)
        .await
}

/// The service, as plugins answer it.
#[derive(Debug)]
struct Service {
    manager: Manager,
}

impl Service {
    /// Calls a function on a thread that may block: it waits for an instance and then for the answer.
    async fn call<const N: usize>(
        &self,
        function: &'static str,
        args: [Value; N],
    ) -> Result<Value, Status> {
        let manager = self.manager.clone();
        tokio::task::spawn_blocking(move || manager.execute(function, &args))
            .await
            .map_err(|error| Status::internal(error.to_string()))?
            .map_err(|error| status(&error))
    }
}

#[tonic::async_trait]
impl Flights for Service {
    async fn delay_score(
        &self,
        request: Request<DelayScoreRequest>,
    ) -> Result<Response<f64>, Status> {
        let request = request.into_inner();
        let args = [request.dep_delay.into(), request.arr_delay.into()];
        match self.call("delay_score", args).await? {
            Value::F64(score) => Ok(Response::new(score)),
            other => Err(unfit(&other)),
        }
    }

    async fn describe_flight(
        &self,
        request: Request<DescribeFlightRequest>,
    ) -> Result<Response<String>, Status> {
        let request = request.into_inner();
        let args = [
            request.carrier.into(),
            request.number.into(),
            request.dep_delay.into(),
        ];
        match self.call("describe_flight", args).await? {
            Value::Text(text) => Ok(Response::new(text)),
            other => Err(unfit(&other)),
        }
    }

    async fn parse_flight(&self, request: Request<String>) -> Result<Response<Flight>, Status> {
        let args = [request.into_inner().into()];
        let parsed = self.call("parse_flight", args).await?;
        // A record has its fields in the order of its signature.
        if let Value::Map(fields) = &parsed
            && let [(_, Value::Text(carrier)), (_, Value::U16(number))] = fields.as_slice()
        {
            let (carrier, number) = (carrier.clone(), (*number).into());
            return Ok(Response::new(Flight { carrier, number }));
        }
        Err(unfit(&parsed))
    }
}

/// What a caller is told of a failure.
fn status(error: &Error) -> Status {
    let code = match error.kind() {
        ErrorKind::BadArgs => Code::InvalidArgument,
        ErrorKind::Busy => Code::ResourceExhausted,
        ErrorKind::Rejected => Code::FailedPrecondition,
        ErrorKind::Unknown => Code::Unimplemented,
        _ => Code::Internal,
    };
    Status::new(code, error.to_string())
}

/// The failure of a plugin whose signature is not the service's.
fn unfit(value: &Value) -> Status {
    let kind = value.kind();
    Status::internal(format!(
        "the plugin's function gives {kind}, which the service does not"
    ))
}
