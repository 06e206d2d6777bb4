//! The server, called by the client that is generated from the same `.proto` file.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use ekuiper::api::flights_client::FlightsClient;
use ekuiper::api::{DelayScoreRequest, DescribeFlightRequest, Flight};
use extengine::functions::{Manager, PluginConfig};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};

/// The example's plugins.
fn plugins() -> Manager {
    let manager = Manager::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins");
    ekuiper::add_folder(&manager, Path::new(folder)).expect("the plugins");
    manager
}

/// A plugin with one instance, whose `delay_score` is this Lua code.
fn plugin(manager: &Manager, timeout_ms: u32, code: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("code.lua"), code).expect("a file");
    let toml = format!(
        "name = 'other'\nengine = 'lua'\npath = 'code.lua'\ntimeout_ms = {timeout_ms}\n\
        functions = ['delay_score(dep_delay: f64?, arr_delay: f64?) -> f64']\n\
        [limits]\ndeadline_ms = 600000"
    );
    let config = PluginConfig::from_toml(&toml, folder.path()).expect("a configuration");
    manager.add(config).expect("the plugin");
    let ready = manager.wait_ready("other", Duration::from_secs(300));
    ready.expect("it loads");
}

/// Serves on a port of the system's choice until the sender is used or gone; answers a client of it.
async fn serve(
    manager: &Manager,
) -> (
    FlightsClient<Channel>,
    oneshot::Sender<()>,
    JoinHandle<Result<(), tonic::transport::Error>>,
) {
    let listener = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(ekuiper::serve(manager.clone(), listener, async {
        let _ = stopped.await;
    }));
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let channel = endpoint.connect().await.expect("a connection");
    (FlightsClient::new(channel), stop, served)
}

fn delays(dep_delay: Option<f64>, arr_delay: Option<f64>) -> DelayScoreRequest {
    DelayScoreRequest {
        dep_delay,
        arr_delay,
    }
}

fn flight(number: i64, dep_delay: Option<f64>) -> DescribeFlightRequest {
    DescribeFlightRequest {
        carrier: "UA".to_owned(),
        number,
        dep_delay,
    }
}

#[tokio::test]
async fn every_function_answers_and_the_server_stops_when_told() {
    let (mut client, stop, served) = serve(&plugins()).await;
    for (request, score) in [
        (delays(Some(0.0), Some(-9.0)), 0.0),
        (delays(Some(-3.0), Some(60.0)), 50.0),
        (delays(Some(180.0), Some(0.0)), 75.0),
        (delays(None, None), 100.0),
    ] {
        let answer = client.delay_score(request).await.unwrap();
        assert_eq!(answer.into_inner(), score);
    }
    for (request, text) in [
        (flight(1545, Some(2.0)), "UA 1545 left 2 min late"),
        (flight(7, Some(-1.5)), "UA 7 left 1.5 min early"),
        (flight(7, Some(0.0)), "UA 7 left on time"),
        (flight(7, None), "UA 7 was cancelled"),
    ] {
        let answer = client.describe_flight(request).await.unwrap();
        assert_eq!(answer.into_inner(), text);
    }
    for (text, carrier, number) in [("UA1545", "UA", 1545), ("b6 9", "B6", 9)] {
        let answer = client.parse_flight(text.to_owned()).await.unwrap();
        let carrier = carrier.to_owned();
        assert_eq!(answer.into_inner(), Flight { carrier, number });
    }
    stop.send(()).unwrap();
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_refusal_has_its_own_words() {
    let (mut client, _stop, _) = serve(&plugins()).await;
    let refused = client.parse_flight("a flight".to_owned()).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("`a flight` is not a flight"));
    let refused = client.delay_score(delays(Some(0.0), Some(f64::NAN))).await;
    assert_eq!(refused.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_invalid() {
    let (mut client, _stop, _) = serve(&plugins()).await;
    let refused = client.describe_flight(flight(65_536, None)).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("`number`"), "{refused}");
}

#[tokio::test]
async fn a_function_that_no_plugin_offers_any_more_is_unimplemented() {
    let manager = plugins();
    let (mut client, _stop, _) = serve(&manager).await;
    client.parse_flight("UA1".to_owned()).await.unwrap();
    manager.delete("flights").unwrap();
    let refused = client.parse_flight("UA1".to_owned()).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_call_that_no_instance_takes_in_time_is_told_so() {
    // The logger holds the only instance in the middle of a call until the test lets go.
    let (begin, begun) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let gate = Mutex::new((begin, released));
    let manager = Manager::with_logger(move |_| {
        let (begin, released): &(mpsc::Sender<()>, mpsc::Receiver<()>) = &gate.lock().unwrap();
        begin.send(()).unwrap();
        released.recv().unwrap();
    });
    plugin(
        &manager,
        20,
        "function delay_score() host.log('info', 'begun') return 7 end",
    );
    let (mut client, _stop, _) = serve(&manager).await;
    let mut other = client.clone();
    let held = tokio::spawn(async move {
        // On a loaded machine even a free instance may be late.
        loop {
            match other.delay_score(delays(None, None)).await {
                Err(busy) if busy.code() == Code::ResourceExhausted => (),
                answer => return answer,
            }
        }
    });
    tokio::task::spawn_blocking(move || begun.recv().unwrap())
        .await
        .unwrap();
    let refused = client.delay_score(delays(None, None)).await;
    assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);
    release.send(()).unwrap();
    assert_eq!(held.await.unwrap().unwrap().into_inner(), 7.0);
}

#[tokio::test]
async fn a_crash_is_internal_and_the_next_call_finds_the_plugin_well() {
    let manager = Manager::new();
    plugin(
        &manager,
        60_000,
        "function delay_score(args)
            if args.dep_delay == nil then error('a bad day') end
            return 1
        end",
    );
    let (mut client, _stop, _) = serve(&manager).await;
    let failed = client.delay_score(delays(None, None)).await;
    assert_eq!(failed.unwrap_err().code(), Code::Internal);
    let answer = client.delay_score(delays(Some(1.0), None)).await.unwrap();
    assert_eq!(answer.into_inner(), 1.0);
}
