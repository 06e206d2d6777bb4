//! A filter on bare wasmtime.

use std::fmt;

use filters::Headers;
use wasmtime::{
    Caller, Linker, Memory, Module, Result, Store, StoreLimits, StoreLimitsBuilder, TypedFunc,
};

use super::{Filtering, Work};
use crate::application::limits;
use crate::raw::{DEADLINE, WasmtimeTemplate, Watch, range};

/// A filter's instance, with its callbacks looked up.
pub struct RawWasmtimeFilter {
    store: Store<Data>,
    create: TypedFunc<(u32, u32), ()>,
    headers: TypedFunc<(u32, u32, u32), u32>,
    done: TypedFunc<u32, u32>,
    delete: TypedFunc<u32, ()>,
    /// The last stream's context.
    context: u32,
}

struct Data {
    limits: StoreLimits,
    memory: Option<Memory>,
    malloc: Option<TypedFunc<u32, u32>>,
    headers: Headers,
}

impl fmt::Debug for RawWasmtimeFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawWasmtimeFilter").finish_non_exhaustive()
    }
}

impl RawWasmtimeFilter {
    /// Makes the instance.
    ///
    /// # Panics
    /// Where wasmtime does not start.
    pub fn new(work: Work) -> Self {
        Self::start(work).expect("the filter starts")
    }

    fn start(work: Work) -> Result<Self> {
        let engine = WasmtimeTemplate::engine(Watch::Epoch);
        let module = Module::new(&engine, work.module())?;
        let memory = StoreLimitsBuilder::new().memory_size(limits().memory as usize);
        let data = Data {
            limits: memory.build(),
            memory: None,
            malloc: None,
            headers: Headers::default(),
        };
        let mut store = Store::new(&engine, data);
        store.limiter(|data| &mut data.limits);
        store.set_epoch_deadline(DEADLINE);
        let mut linker = Linker::new(&engine);
        linker.func_wrap("env", "proxy_get_header_map_value", get)?;
        linker.func_wrap("env", "proxy_add_header_map_value", add)?;
        let instance = linker.instantiate(&mut store, &module)?;
        let memory = instance.get_memory(&mut store, "memory");
        let malloc = instance.get_typed_func(&mut store, "malloc")?;
        (store.data_mut().memory, store.data_mut().malloc) = (memory, Some(malloc));
        let mut raw = Self {
            create: instance.get_typed_func(&mut store, "proxy_on_context_create")?,
            headers: instance.get_typed_func(&mut store, "proxy_on_request_headers")?,
            done: instance.get_typed_func(&mut store, "proxy_on_done")?,
            delete: instance.get_typed_func(&mut store, "proxy_on_delete")?,
            context: 1,
            store,
        };
        raw.create.call(&mut raw.store, (1, 0))?;
        Ok(raw)
    }

    fn call(&mut self, headers: Headers) -> Result<Headers> {
        let count = headers.len() as u32;
        let before = std::mem::replace(&mut self.store.data_mut().headers, headers);
        self.store.set_epoch_deadline(DEADLINE);
        let args = (self.context, count, 1);
        assert_eq!(self.headers.call(&mut self.store, args)?, 0);
        Ok(std::mem::replace(
            &mut self.store.data_mut().headers,
            before,
        ))
    }

    fn whole(&mut self, headers: Headers) -> Result<Headers> {
        self.context += 1;
        self.store.set_epoch_deadline(DEADLINE);
        self.create.call(&mut self.store, (self.context, 1))?;
        let headers = self.call(headers)?;
        self.store.set_epoch_deadline(DEADLINE);
        assert_eq!(self.done.call(&mut self.store, self.context)?, 1);
        self.store.set_epoch_deadline(DEADLINE);
        self.delete.call(&mut self.store, self.context)?;
        Ok(headers)
    }
}

impl Filtering for RawWasmtimeFilter {
    fn callback(&mut self, headers: Headers) -> Headers {
        self.call(headers).expect("the call returns")
    }

    fn stream(&mut self, headers: Headers) -> Headers {
        self.whole(headers).expect("the calls return")
    }
}

fn get(
    mut caller: Caller<'_, Data>,
    _map: u32,
    key: u32,
    key_len: u32,
    at: u32,
    len: u32,
) -> Result<u32> {
    let (Some(memory), Some(malloc)) = (caller.data().memory, caller.data().malloc.clone()) else {
        return Ok(1);
    };
    let (bytes, data) = memory.data_and_store_mut(&mut caller);
    let value = data.headers.get(&bytes[range(key, key_len)]);
    let Some(value) = value.map(<[u8]>::to_vec) else {
        return Ok(1);
    };
    let size = value.len() as u32;
    let block = malloc.call(&mut caller, size)?;
    let bytes = memory.data_mut(&mut caller);
    bytes[range(block, size)].copy_from_slice(&value);
    bytes[range(at, 4)].copy_from_slice(&block.to_le_bytes());
    bytes[range(len, 4)].copy_from_slice(&size.to_le_bytes());
    Ok(0)
}

fn add(mut caller: Caller<'_, Data>, _map: u32, key: u32, key_len: u32, at: u32, len: u32) -> u32 {
    let Some(memory) = caller.data().memory else {
        return 1;
    };
    let (bytes, data) = memory.data_and_store_mut(&mut caller);
    let (key, value) = (&bytes[range(key, key_len)], &bytes[range(at, len)]);
    data.headers.add(key, value);
    0
}
