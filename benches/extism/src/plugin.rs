//! Extism's side: a plugin with the host functions `get` and `put`.

use std::collections::HashMap;

use extism::{CompiledPlugin, Manifest, PTR, Plugin, PluginBuilder, UserData, Wasm, host_fn};

use crate::{NUMBERS, Orders, Outcome, PLENTY, Side, price};

const PLUGIN: &[u8] = include_bytes!("../order.wasm");

/// What the plugin reads, and what it asked to write.
#[derive(Debug, Default)]
struct Host {
    rows: HashMap<Vec<u8>, Vec<u8>>,
    writes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Host {
    fn stocked() -> Self {
        let mut host = Self::default();
        for number in 0..NUMBERS {
            let item = [PLENTY.to_le_bytes(), price(number).to_le_bytes()].concat();
            host.rows.insert(key(b'i', number), item);
            host.rows
                .insert(key(b'c', number), PLENTY.to_le_bytes().into());
        }
        host
    }
}

fn key(storage: u8, number: i64) -> Vec<u8> {
    [&[storage], &number.to_le_bytes()[..]].concat()
}

host_fn!(get(host: Host; key: Vec<u8>) -> Vec<u8> {
    let host = host.get()?;
    let host = host.lock().map_err(|_| extism::Error::msg("a host function panicked"))?;
    Ok(host.rows.get(&key).cloned().unwrap_or_default())
});

host_fn!(put(host: Host; key: Vec<u8>, value: Vec<u8>) {
    let host = host.get()?;
    let mut host = host.lock().map_err(|_| extism::Error::msg("a host function panicked"))?;
    host.writes.push((key, value));
    Ok(())
});

fn builder(host: &UserData<Host>) -> PluginBuilder<'static> {
    PluginBuilder::new(Manifest::new([Wasm::data(PLUGIN)]))
        .with_function("get", [PTR], [PTR], host.clone(), get)
        .with_function("put", [PTR, PTR], [], host.clone(), put)
}

/// Calls a plugin, and forgets what it asked to write.
fn call(
    plugin: &mut Plugin,
    function: &str,
    writes: usize,
    host: &UserData<Host>,
    orders: &mut Orders,
) -> Outcome {
    let mut input = [0; 32];
    for (eight, number) in input.chunks_exact_mut(8).zip(orders.next()) {
        eight.copy_from_slice(&number.to_le_bytes());
    }
    plugin.call::<&[u8], ()>(function, &input)?;
    let host = host.get()?;
    let mut host = host.lock().map_err(|_| "a host function panicked")?;
    let written = host.writes.len();
    host.writes.clear();
    if written == writes {
        return Ok(());
    }
    Err(format!("`{function}` wrote {written} rows").into())
}

/// One plugin for all calls.
pub struct Kept {
    plugin: Plugin,
    function: &'static str,
    writes: usize,
    host: UserData<Host>,
}

impl Kept {
    /// Loads the plugin.
    ///
    /// # Errors
    /// Where Extism does not take it.
    pub fn new(function: &'static str, writes: usize) -> Outcome<Self> {
        let host = UserData::new(Host::stocked());
        Ok(Self {
            plugin: builder(&host).build()?,
            function,
            writes,
            host,
        })
    }
}

impl Side for Kept {
    fn call(&mut self, orders: &mut Orders) -> Outcome {
        call(
            &mut self.plugin,
            self.function,
            self.writes,
            &self.host,
            orders,
        )
    }
}

/// A plugin for each call, compiled once.
pub struct Fresh {
    compiled: CompiledPlugin,
    host: UserData<Host>,
}

impl Fresh {
    /// Compiles the plugin.
    ///
    /// # Errors
    /// Where Extism does not take it.
    pub fn new() -> Outcome<Self> {
        let host = UserData::new(Host::stocked());
        Ok(Self {
            compiled: builder(&host).compile()?,
            host,
        })
    }
}

impl Side for Fresh {
    fn call(&mut self, orders: &mut Orders) -> Outcome {
        let mut plugin = Plugin::new_from_compiled(&self.compiled)?;
        call(&mut plugin, "order", 3, &self.host, orders)
    }
}
