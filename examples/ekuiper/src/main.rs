//! Serves the plugins of a folder to eKuiper: `ekuiper [ADDRESS] [FOLDER]`.

use std::env;
use std::error::Error;
use std::path::PathBuf;

use extengine::functions::Manager;
use tonic::transport::server::TcpIncoming;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args_os().skip(1);
    let address = match args.next() {
        Some(address) => address.to_string_lossy().parse()?,
        None => ([127, 0, 0, 1], 50051).into(),
    };
    let folder = args.next().map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/plugins").into(),
        PathBuf::from,
    );
    let manager = Manager::with_logger(|line| {
        eprintln!("{}/{}: {}", line.plugin, line.function, line.message);
    });
    ekuiper::add_folder(&manager, &folder)?;
    let listener = TcpIncoming::bind(address)?;
    println!(
        "listening on {}; press Ctrl-C to stop",
        listener.local_addr()?
    );
    ekuiper::serve(manager, listener, async {
        // Without a handler for Ctrl-C the process ends at once, which is as good.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    })
    .await?;
    Ok(())
}
