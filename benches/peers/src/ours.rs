//! Extengine: in process by the bench `partition`, and as `extengine run` with its input from a pipe.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::measure::{Contender, Measured, Outcome};
use crate::pipeline::{Client, Protocol};
use crate::server::with_processor;
use crate::work::{NUMBERS, Order, Orders};

/// Extengine, through the library and through its command line.
pub fn contenders(
    data: &Path,
    extengine: &Path,
    partition: &Path,
    app: &Path,
) -> Outcome<Vec<Box<dyn Contender>>> {
    let settings: Rc<str> = settings(partition)?.into();
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    for load in ["alone", "pipelined", "saturated"] {
        for engine in ["builtin", "wasmtime", "wasmer", "lua"] {
            contenders.push(Box::new(InProcess {
                program: partition.to_owned(),
                data: data.to_owned(),
                engine,
                load,
                settings: settings.clone(),
            }));
        }
    }
    for depth in [Some(1), Some(64), None] {
        contenders.push(Box::new(Pipe {
            program: extengine.to_owned(),
            app: app.to_owned(),
            data: data.to_owned(),
            depth,
            settings: settings.clone(),
        }));
    }
    Ok(contenders)
}

/// The revision, and what benches/orders/app.toml says, with the defaults of what it does not say.
fn settings(partition: &Path) -> Outcome<String> {
    let revision = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .output();
    let revision = revision.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
    let revision = revision.ok().filter(|revision| !revision.is_empty());
    let said = Command::new(partition).arg("--settings").output()?;
    if !said.status.success() {
        return Err("the bench `partition` does not tell its settings".into());
    }
    let settings: Json = serde_json::from_slice(&said.stdout)?;
    Ok(format!(
        "Extengine at {}, benches/orders/app.toml: {settings}",
        revision.as_deref().unwrap_or("an unknown revision")
    ))
}

/// The library in a process of its own.
struct InProcess {
    program: PathBuf,
    data: PathBuf,
    engine: &'static str,
    load: &'static str,
    settings: Rc<str>,
}

impl Contender for InProcess {
    fn name(&self) -> String {
        let load = if self.load == "pipelined" {
            "64"
        } else {
            self.load
        };
        format!("{}/in-process/{load}", self.engine)
    }

    fn settings(&self) -> String {
        format!("{}\none partition, in process", self.settings)
    }

    fn measure(&mut self, time: Duration) -> Outcome<Measured> {
        let output = Command::new(&self.program)
            .args(["--rounds", "1", "--partitions", "1"])
            .args(["--engines", self.engine, "--loads", self.load])
            .args(["--seconds", &time.as_secs_f64().to_string()])
            .arg("--data")
            .arg(&self.data)
            .stderr(Stdio::inherit())
            .output()?;
        let line: Json = serde_json::from_slice(&output.stdout)?;
        let number = |name: &str| {
            line[name]
                .as_f64()
                .ok_or("the bench measured something else")
        };
        Ok(Measured {
            commands: (number("rate")? * time.as_secs_f64()) as u64,
            seconds: time.as_secs_f64(),
            quantiles: Some((number("p50_us")?, number("p99_us")?)),
            processor: None,
        })
    }
}

/// `extengine run` on wasmtime, with so many lines in flight, or as many as it takes.
struct Pipe {
    program: PathBuf,
    app: PathBuf,
    data: PathBuf,
    depth: Option<usize>,
    settings: Rc<str>,
}

impl Contender for Pipe {
    fn name(&self) -> String {
        match self.depth {
            Some(depth) => format!("wasmtime/pipe/1x{depth}"),
            None => "wasmtime/pipe/saturated".to_owned(),
        }
    }

    fn settings(&self) -> String {
        format!(
            "{}\none partition: `extengine run benches/orders`, JSON lines through pipes",
            self.settings
        )
    }

    fn measure(&mut self, time: Duration) -> Outcome<Measured> {
        let folder = tempfile::tempdir_in(&self.data)?;
        let mut child = Command::new(&self.program)
            .arg("run")
            .arg(&self.app)
            .args(["--commands", "-", "--data"])
            .arg(folder.path().join("data"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let measured = self.drive(&mut child, time);
        let status = child.wait()?;
        match status.success() {
            true => measured,
            false => Err(format!("`extengine run` ended with {status}").into()),
        }
    }
}

impl Pipe {
    fn drive(&self, child: &mut Child, time: Duration) -> Outcome<Measured> {
        let (input, output) = child
            .stdin
            .take()
            .zip(child.stdout.take())
            .ok_or("no pipes")?;
        let mut client = Client::new(&Lines, output, input);
        let stock: String = (0..NUMBERS)
            .step_by(1_000)
            .map(|first| {
                format!(
                    "{{\"command\":\"Stock\",\"args\":{{\"shop\":0,\"first\":{first},\"count\":1000}}}}\n"
                )
            })
            .collect();
        client.send(stock.as_bytes())?;
        client.receive(10)?;
        with_processor(child.id(), || match self.depth {
            Some(depth) => client.order(Orders::new(), depth, time),
            None => saturate(client, time),
        })
    }
}

/// Sends as fast as the pipe takes lines, on a thread of its own, and counts answers until the last has come.
fn saturate<R: Read, W: Write + Send>(
    client: Client<'_, Lines, R, W>,
    time: Duration,
) -> Outcome<Measured> {
    let (mut reader, mut writer) = client.into_streams();
    let started = Instant::now();
    thread::scope(|scope| {
        let feeder = scope.spawn(move || -> Outcome<u64> {
            let (mut orders, mut lines, mut sent) = (Orders::new(), Vec::new(), 0);
            while started.elapsed() < time {
                lines.clear();
                for _ in 0..256 {
                    Lines.request(orders.next(), &mut lines);
                }
                writer.write_all(&lines)?;
                sent += 256;
            }
            Ok(sent)
        });
        let mut buffer = vec![0; 256 << 10];
        let (mut commands, mut seconds) = (0, 0.0);
        loop {
            let read = reader.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            commands += buffer[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
            seconds = started.elapsed().as_secs_f64();
        }
        let sent = feeder.join().map_err(|_| "the feeder panicked")??;
        if commands != sent {
            return Err(format!("{commands} answers for {sent} orders").into());
        }
        Ok(Measured {
            commands,
            seconds,
            ..Measured::default()
        })
    })
}

/// JSON lines.
struct Lines;

impl Protocol for Lines {
    fn request(&self, order: Order, out: &mut Vec<u8>) {
        let Order {
            order,
            customer,
            item,
        } = order;
        out.extend(
            format!(
                "{{\"command\":\"Order\",\"args\":{{\"shop\":0,\"order\":{order},\"customer\":{customer},\
                 \"item\":{item},\"quantity\":1}}}}\n"
            )
            .bytes(),
        );
    }

    fn reply(&self, bytes: &[u8]) -> Outcome<Option<usize>> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        match bytes.starts_with(b"{\"ok\"") {
            true => Ok(Some(end + 1)),
            false => Err(String::from_utf8_lossy(&bytes[..end]).into()),
        }
    }
}
