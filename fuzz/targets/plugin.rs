//! What filters of the proxy-wasm ABI ask of their host, in any order of callbacks: a pointer leads nowhere but where it
//! points, the host answers known statuses, and nothing is left of a thread that has ended.
#![no_main]

use std::rc::Rc;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use engine_core::foreign::{ForeignFunctions, Purity};
use engine_wasm_abi::engine::WasmEngine;
use filters::callout::{CallFailed, GrpcEvent, HttpAnswer};
use filters::{Chain, Direction, EndReason, Headers, Part, Settings, StreamInfo, Worker};
use fuzz::filters::{Done, World, plugin};
use fuzz::input::Input;
use fuzz::runtime::Scripted;
use fuzz::script::Script;
use libfuzzer_sys::fuzz_target;
use proxy_wasm::{FailurePolicy, Message, Options, ProxyWasm, SharedLimits, Thread};

/// How many streams one input may have.
const STREAMS: usize = 3;

fn words() -> Vec<Vec<u8>> {
    let words: [&[u8]; 20] = [
        b"c",
        b"x-a",
        b":path",
        b":status",
        b"reverse",
        b"fail",
        b"queue",
        b"vm",
        b"counter",
        b"plugin_name",
        b"request\0headers\0x-a",
        b"request\0total_size",
        b"response\0code",
        b"source\0address",
        b"my\0own",
        b"\x01\0\0\0\x03\0\0\0\x01\0\0\0x-a\x001\0",
        b"\x02\0\0\0\x05\0\0\0\x01\0\0\0\x07\0\0\0\x03\0\0\0:path\0/\0:status\x00200\0",
        b"\0\0\0\0",
        // A list of one piece to write, and a line.
        b"\x80\0\0\0\x10\0\0\0",
        b"a line\nand more ",
    ];
    words.map(<[u8]>::to_vec).into()
}

static SCRIPT: LazyLock<Arc<Script>> = LazyLock::new(|| Arc::new(Script::new(words())));
static ENGINE: LazyLock<WasmEngine<Scripted>> = LazyLock::new(|| Scripted::engine(SCRIPT.clone()));

type Mail = Arc<Mutex<Vec<Message>>>;

fn deliver(thread: &Thread, mail: &Mail) {
    // Who gives itself more to do each time is not followed for ever.
    for _ in 0..8 {
        let messages = std::mem::take(&mut *mail.lock().unwrap_or_else(PoisonError::into_inner));
        messages
            .into_iter()
            .for_each(|message| thread.deliver(message));
    }
}

fn headers(input: &mut Input<'_>) -> Headers {
    let all = [
        (":path", "/a?b"),
        (":status", "200"),
        ("x-a", "1"),
        ("X-A", "2"),
        ("grpc-status", "7"),
    ];
    let some = input.byte();
    let some = all.iter().enumerate().filter(|(i, _)| some >> i & 1 == 1);
    some.map(|(_, pair)| *pair).collect()
}

/// Ends a call that is open, as far as somebody waits for it.
fn answer(world: &World, input: &mut Input<'_>) {
    let mut calls = world.calls.borrow_mut();
    if calls.is_empty() {
        return;
    }
    let place = input.below(calls.len().min(256));
    let (done, waits) = calls.remove(place);
    drop(calls);
    if !waits.get() {
        return;
    }
    match done {
        Done::Http(done) => done(match input.flag() {
            true => Err(CallFailed::Timeout),
            false => Ok(HttpAnswer {
                headers: headers(input),
                body: Bytes::copy_from_slice(input.bytes()),
                trailers: headers(input),
            }),
        }),
        Done::Grpc(mut events) => {
            let event = match input.below(4) {
                0 => GrpcEvent::InitialMetadata(headers(input)),
                1 => GrpcEvent::Message(Bytes::copy_from_slice(input.bytes())),
                2 => GrpcEvent::TrailingMetadata(headers(input)),
                _ => GrpcEvent::Closed(input.byte().into(), "words".into()),
            };
            let ends = matches!(event, GrpcEvent::Closed(..));
            events(event);
            if !ends {
                world.calls.borrow_mut().push((Done::Grpc(events), waits));
            }
        }
    }
}

/// One thing that happens to a stream.
fn arrive(chain: &mut Chain, input: &mut Input<'_>) {
    let direction = *input.one_of(&Direction::BOTH);
    let end = input.flag();
    match input.below(5) {
        0 => chain.headers(direction, headers(input), end),
        1 => chain.data(direction, Bytes::copy_from_slice(input.bytes()), end),
        2 => chain.trailers(direction, headers(input)),
        3 => chain.closed(direction, end),
        _ => chain.connection(),
    }
    for direction in Direction::BOTH {
        while let Some(part) = chain.take(direction) {
            if let Part::Headers { .. } = part {
                assert!(chain.stream().headers(direction).is_some() || chain.stream().is_tcp());
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let form = input.byte();
    // What the world does first, and then what the guest does.
    let mut input = {
        let world = input.bytes();
        SCRIPT.play(input.rest());
        Input::new(world)
    };
    let mut foreign = ForeignFunctions::new();
    foreign
        .register("reverse", Purity::Pure, |bytes| {
            Ok(bytes.iter().rev().copied().collect())
        })
        .register("fail", Purity::Pure, |_| Err("on purpose".to_owned()));
    let shared = SharedLimits {
        bytes: 256,
        entries: 6,
        queues: 2,
    };
    let process = ProxyWasm::new(Options { foreign, shared });
    let mut config = plugin(form & 1 == 1);
    config.body_before_headers = form & 2 == 2;
    if form & 4 == 4 {
        config.policy = FailurePolicy::Open;
    }
    let plugin = process.load_on(&ENGINE, config).expect("a plugin");
    let world = Rc::new(World::default());
    world.now.set(1_000_000_000_000);
    let worker = || Rc::clone(&world) as Rc<dyn Worker>;
    let mail = Mail::default();
    let mailbox = Arc::clone(&mail);
    let mailbox = move |message| {
        mailbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(message)
    };
    let thread = Thread::new(&process, worker(), Arc::new(mailbox));
    // A guest that fails to start serves nobody.
    let started = thread.start(&plugin);
    if let Ok(instance) = &started {
        let mut chains: Vec<Chain> = Vec::new();
        while !input.is_empty() {
            match input.below(8) {
                0 if chains.len() < STREAMS => {
                    let filters = vec![instance.filter()];
                    let settings = Settings { limit: 1 << 10 };
                    chains.push(match form & 8 == 8 {
                        true => Chain::tcp(filters, StreamInfo::default(), settings, worker()),
                        false => Chain::new(filters, StreamInfo::default(), settings, worker()),
                    });
                }
                1 => {
                    world
                        .now
                        .set(world.now.get() + 1_000_000 * u64::from(input.byte()).pow(2));
                    thread.tick();
                }
                2 => deliver(&thread, &mail),
                3 => answer(&world, &mut input),
                4 => {
                    // A machine that rests takes no call.
                    let _ = instance.foreign(1, Bytes::copy_from_slice(input.bytes()));
                }
                5 if !chains.is_empty() => {
                    let at = input.below(chains.len());
                    chains.swap_remove(at).finish(EndReason::Done);
                }
                _ if !chains.is_empty() => {
                    let at = input.below(chains.len());
                    arrive(&mut chains[at], &mut input);
                }
                _ => {}
            }
            chains.iter_mut().for_each(Chain::pump);
        }
        for chain in &mut chains {
            chain.finish(EndReason::Reset);
        }
    }
    drop(started);
    drop(thread);
    let waiting = world
        .calls
        .borrow()
        .iter()
        .filter(|(_, waits)| waits.get())
        .count();
    assert_eq!(waiting, 0, "calls outlive the thread that made them");
    let memory = world.metrics().get("wasm.vm.vm.memory_bytes");
    assert_eq!(
        memory.map_or(0, |memory| memory.get()),
        0,
        "memory outlives its machine"
    );
});
