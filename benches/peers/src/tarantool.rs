//! Tarantool: the order command as a procedure, every transaction synced to the write-ahead log.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use crate::measure::{Contender, Measured, Outcome};
use crate::pipeline::Protocol;
use crate::server::{OverLoopback, Server};
use crate::work::Order;

const SCRIPT: &str = include_str!("../servers/tarantool.lua");

/// Bytes that a server says to a new connection.
const GREETING: usize = 128;

/// Tarantool, over loopback and in process, in every shape of use whose name is wanted.
///
/// # Errors
/// Where no server can be started.
pub fn contenders(data: &Path, wanted: &dyn Fn(&str) -> bool) -> Outcome<Vec<Box<dyn Contender>>> {
    let script = data.join("tarantool.lua");
    std::fs::write(&script, SCRIPT)?;
    let script = script.canonicalize()?;
    let version = Command::new("tarantool").arg("--version").output()?.stdout;
    let version = String::from_utf8_lossy(&version)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    let config = SCRIPT
        .split_once("box.cfg({")
        .and_then(|(_, rest)| rest.split_once("})"));
    let config = config.map_or("", |(config, _)| config);
    let config: Vec<&str> = config
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let settings: Rc<str> = format!("{version}\n{}\none call an order", config.join(" ")).into();

    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    for (fibers, load) in [(1, "alone"), (64, "64"), (1024, "saturated")] {
        contenders.push(Box::new(InProcess {
            settings: settings.clone(),
            script: script.clone(),
            below: data.to_owned(),
            fibers,
            load,
        }));
    }
    if wanted("tarantool/loopback/1x1 tarantool/loopback/1x64 tarantool/loopback/16x64") {
        let server = Rc::new(Server::start(data, |port| {
            let mut command = Command::new("tarantool");
            command.arg(script).args(["serve", &port.to_string()]);
            command
        })?);
        for (connections, depth) in [(1, 1), (1, 64), (16, 64)] {
            contenders.push(Box::new(OverLoopback {
                system: "tarantool",
                settings: settings.clone(),
                protocol: Iproto,
                greeting: GREETING,
                server: server.clone(),
                connections,
                depth,
            }));
        }
    }
    Ok(contenders)
}

/// Fibers of one Tarantool that call the procedure where it lies.
struct InProcess {
    settings: Rc<str>,
    script: PathBuf,
    below: PathBuf,
    fibers: u32,
    load: &'static str,
}

impl Contender for InProcess {
    fn name(&self) -> String {
        format!("tarantool/in-process/{}", self.load)
    }

    fn settings(&self) -> String {
        self.settings.to_string()
    }

    fn measure(&mut self, time: Duration) -> Outcome<Measured> {
        let folder = tempfile::tempdir_in(&self.below)?;
        let output = Command::new("tarantool")
            .arg(&self.script)
            .args([
                "run",
                &self.fibers.to_string(),
                &time.as_secs_f64().to_string(),
            ])
            .current_dir(folder.path())
            .stderr(Stdio::inherit())
            .output()?;
        let printed = String::from_utf8(output.stdout)?;
        let numbers: Result<Vec<f64>, _> = printed.split_whitespace().map(str::parse).collect();
        match numbers?[..] {
            [commands, seconds, p50, p99] => Ok(Measured {
                commands: commands as u64,
                seconds,
                quantiles: Some((p50, p99)),
                processor: None,
            }),
            _ => Err("it printed no measurement".into()),
        }
    }
}

/// Tarantool's protocol, as far as it is needed: requests and replies are MessagePack behind their length.
struct Iproto;

impl Protocol for Iproto {
    fn request(&self, order: Order, out: &mut Vec<u8>) {
        let start = out.len();
        // The length, then {request type: call, sync: 0} and {function name: "order", tuple: [four numbers]}.
        out.extend(b"\xce\0\0\0\0\x82\x00\x0a\x01\x00\x82\x22\xa5order\x21\x94");
        for number in [order.order, order.customer, order.item] {
            out.push(0xcf);
            out.extend(number.to_be_bytes());
        }
        out.push(1);
        let length = (out.len() - start - 5) as u32;
        out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
    }

    fn reply(&self, bytes: &[u8]) -> Outcome<Option<usize>> {
        let Some((head, rest)) = bytes.split_first_chunk::<5>() else {
            return Ok(None);
        };
        let &[0xce, a, b, c, d] = head else {
            return Err("a reply without its length".into());
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some(reply) = rest.get(..length) else {
            return Ok(None);
        };
        // The header is always written alike: three fields, the first of them the status, 0 for success.
        match reply.starts_with(b"\x83\x00\xce\0\0\0\0") {
            true => Ok(Some(5 + length)),
            false => Err(String::from_utf8_lossy(reply).into()),
        }
    }
}
