//! Redis: the order command as a function, every command synced to the append-only file.

use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use crate::measure::{Contender, Outcome};
use crate::pipeline::{Client, Protocol};
use crate::server::{OverLoopback, Server};
use crate::work::{NUMBERS, Order};

const CONFIG: &str = include_str!("../servers/redis.conf");
const FUNCTIONS: &str = include_str!("../servers/redis.lua");

/// Redis, in every shape of use whose name is wanted.
///
/// # Errors
/// Where no server can be started.
pub fn contenders(data: &Path, wanted: &dyn Fn(&str) -> bool) -> Outcome<Vec<Box<dyn Contender>>> {
    if !wanted("redis/loopback/1x1 redis/loopback/1x64 redis/loopback/16x64") {
        return Ok(Vec::new());
    }
    let version = Command::new("redis-server")
        .arg("--version")
        .output()?
        .stdout;
    let version = String::from_utf8_lossy(&version);
    let settings: Rc<str> = format!(
        "{}\n{CONFIG}one FCALL an order; connections x requests in flight",
        version.trim()
    )
    .into();
    let config = data.join("redis.conf");
    std::fs::write(&config, CONFIG)?;
    let config = config.canonicalize()?;
    let server = Rc::new(Server::start(data, |port| {
        let mut command = Command::new("redis-server");
        command.arg(config).args(["--port", &port.to_string()]);
        command
    })?);

    let stream = server.connect()?;
    let mut client = Client::new(&Resp, &stream, &stream);
    let mut request = Vec::new();
    put(&mut request, &["FUNCTION", "LOAD", FUNCTIONS]);
    let count = NUMBERS.to_string();
    put(&mut request, &["FCALL", "stock", "0", "0", &count]);
    client.send(&request)?;
    client.receive(2)?;

    let shapes = [(1, 1), (1, 64), (16, 64)];
    let contenders = shapes.map(|(connections, depth)| {
        Box::new(OverLoopback {
            system: "redis",
            settings: settings.clone(),
            protocol: Resp,
            greeting: 0,
            server: server.clone(),
            connections,
            depth,
        }) as Box<dyn Contender>
    });
    Ok(contenders.into())
}

/// Redis' protocol, as far as it is needed.
struct Resp;

fn put(out: &mut Vec<u8>, words: &[&str]) {
    out.extend(format!("*{}\r\n", words.len()).bytes());
    for word in words {
        out.extend(format!("${}\r\n", word.len()).bytes());
        out.extend(word.bytes());
        out.extend(b"\r\n");
    }
}

impl Protocol for Resp {
    fn request(&self, order: Order, out: &mut Vec<u8>) {
        let Order {
            order,
            customer,
            item,
        } = order;
        put(
            out,
            &[
                "FCALL",
                "order",
                "3",
                &format!("item:{item}"),
                &format!("customer:{customer}"),
                &format!("order:{order}"),
                &customer.to_string(),
                &item.to_string(),
                "1",
            ],
        );
    }

    fn reply(&self, bytes: &[u8]) -> Outcome<Option<usize>> {
        let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else {
            return Ok(None);
        };
        match bytes[0] {
            b'+' => Ok(Some(end + 2)),
            // The name of a library that was loaded: a second line.
            b'$' => {
                let second = bytes[end + 2..].windows(2).position(|two| two == b"\r\n");
                Ok(second.map(|second| end + 2 + second + 2))
            }
            _ => Err(String::from_utf8_lossy(&bytes[..end]).into()),
        }
    }
}
