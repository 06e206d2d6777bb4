//! A server of ours on loopback, with a data folder of its own, and clients that order from it.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::measure::{Contender, Measured, Outcome};
use crate::pipeline::{Client, Protocol};
use crate::work::Orders;

/// A server process; it ends and its data go when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    orders: Arc<AtomicU64>,
    _folder: TempDir,
}

impl Server {
    /// Starts what `command` makes of a free port and an empty folder.
    ///
    /// # Errors
    /// Where the program cannot be started, or does not listen within ten seconds.
    pub fn start(below: &Path, command: impl FnOnce(u16) -> Command) -> Outcome<Self> {
        let folder = tempfile::tempdir_in(below)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let mut command = command(port);
        let output = File::create(folder.path().join("output"))?;
        let child = command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|error| format!("cannot start {command:?}: {error}"))?;
        let mut server = Self {
            child,
            port,
            orders: Arc::default(),
            _folder: folder,
        };
        let started = Instant::now();
        while server.connect().is_err() {
            if server.child.try_wait()?.is_some() || started.elapsed() > Duration::from_secs(10) {
                let output = std::fs::read_to_string(server._folder.path().join("output"))?;
                return Err(format!("{command:?} does not listen: {output}").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// A connection, without delays for small packets.
    ///
    /// # Errors
    /// Those of the network.
    pub fn connect(&self) -> Outcome<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its data go with it, so there is nothing that it should do before.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Processor seconds of a process, counted in hundredths.
pub fn processor(process: u32) -> Outcome<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let behind_name = stat.rsplit_once(')').ok_or("an odd /proc/PID/stat")?.1;
    let fields: Vec<&str> = behind_name.split_whitespace().collect();
    let [user, system] = [fields[11], fields[12]].map(str::parse::<f64>);
    Ok((user? + system?) / 100.0)
}

/// Runs `measure` and adds the processor seconds of this process and of another.
///
/// # Errors
/// Those of `measure`.
pub fn with_processor(
    server: u32,
    measure: impl FnOnce() -> Outcome<Measured>,
) -> Outcome<Measured> {
    let own = std::process::id();
    let before = (processor(own)?, processor(server)?);
    let measured = measure()?;
    let after = (processor(own)?, processor(server)?);
    Ok(Measured {
        processor: Some((after.0 - before.0, after.1 - before.1)),
        ..measured
    })
}

/// A server that is asked over loopback, by so many connections with so many requests in flight each.
pub struct OverLoopback<P> {
    /// The system's name.
    pub system: &'static str,
    /// Its version and settings.
    pub settings: Rc<str>,
    /// How it is spoken to.
    pub protocol: P,
    /// What a new connection says first, before any request.
    pub greeting: usize,
    /// The server, which other shapes of use share.
    pub server: Rc<Server>,
    /// Connections, with a thread each.
    pub connections: usize,
    /// Requests in flight on each.
    pub depth: usize,
}

impl<P: Protocol> Contender for OverLoopback<P> {
    fn name(&self) -> String {
        format!(
            "{}/loopback/{}x{}",
            self.system, self.connections, self.depth
        )
    }

    fn settings(&self) -> String {
        self.settings.to_string()
    }

    fn measure(&mut self, time: Duration) -> Outcome<Measured> {
        with_processor(self.server.child.id(), || {
            let connections = (0..self.connections).map(|_| {
                let mut stream = self.server.connect()?;
                std::io::Read::read_exact(&mut stream, &mut vec![0; self.greeting])?;
                Ok((stream, Orders::sharing(&self.server.orders)))
            });
            let connections: Vec<_> = connections.collect::<Outcome<_>>()?;
            let (protocol, depth) = (&self.protocol, self.depth);
            let seen: Vec<Measured> = thread::scope(|scope| {
                let clients = connections.into_iter().map(|(stream, orders)| {
                    scope.spawn(move || {
                        Client::new(protocol, &stream, &stream).order(orders, depth, time)
                    })
                });
                let clients: Vec<_> = clients.collect();
                let seen = clients
                    .into_iter()
                    .map(|client| client.join().map_err(|_| "a client panicked")?);
                seen.collect::<Outcome<_>>()
            })?;
            // Connections are alike, so the middle one's quantiles are those of all.
            let middle = seen[seen.len() / 2].quantiles;
            let longest = seen.iter().map(|seen| seen.seconds).fold(0.0, f64::max);
            Ok(Measured {
                commands: seen.iter().map(|seen| seen.commands).sum(),
                seconds: longest,
                quantiles: middle,
                processor: None,
            })
        })
    }
}
