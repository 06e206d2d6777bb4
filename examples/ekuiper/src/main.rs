//! Serves the plugins of a folder to eKuiper: `ekuiper [ADDRESS] [FOLDER]`.

use std::env;
use std::error::Error;
use std::path::PathBuf;

use extengine::functions::Manager;
use tonic::transport::server::TcpIncoming;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let address = args.next().unwrap_or("127.0.0.1:50051".to_owned());
    let plugins = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins").to_owned();
    let folder = PathBuf::from(args.next().unwrap_or(plugins));
    let manager = Manager::with_logger(|line| {
        eprintln!("{}/{}: {}", line.plugin, line.function, line.message);
    });
    ekuiper::add_folder(&manager, &folder)?;
    let listener = TcpIncoming::bind(address.parse()?)?;
    println!(
        "listening on {}; press Ctrl-C to stop",
        listener.local_addr()?
    );
    ekuiper::serve(manager, listener, async {
        let _ = tokio::signal::ctrl_c().await;
    })
    .await?;
    Ok(())
}
