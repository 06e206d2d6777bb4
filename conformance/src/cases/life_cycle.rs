//! From a factory to an answer: engines, packages, instances and invocations in their order.

use std::cell::RefCell;
use std::thread;

use engine_core::error::ErrorKind;
use engine_core::factory::factory;
use engine_core::host::{Party, Tracer};
use engine_core::value::Value;
use serde_json::json;

use crate::host::TestHost;
use crate::subject::{Instance, Subject};

/// An engine that is compiled in is found by its name.
pub fn the_factory_is_found_by_name(subject: &Subject) {
    let found = factory(subject.name()).expect("a registered factory");
    assert_eq!(found.kind(), subject.factory().kind());
    assert!(!found.version().is_empty());
    assert_eq!(
        subject.package().engine().name(),
        found.name(),
        "an engine has its factory's name"
    );
}

/// Each of the six kinds of extension runs and does what its kind may do.
pub fn every_kind_of_extension_runs(subject: &Subject) {
    let mut instance = subject.instance();
    let host = TestHost::new().shelf("open", "g", 1).event(
        "Order",
        vec![Value::Text("tea".into()), Value::Int(2)],
        vec![Value::List(vec![Value::Int(9)])],
    );
    let command = json!({"verb": "put", "storage": "open", "group": "g", "n": 1, "v": "v"});
    assert_eq!(instance.call(&host, "Write", command).ok().intents.len(), 1);
    let query = json!({"storage": "open", "group": "g", "n": 0});
    assert_eq!(
        instance.call(&host, "Get", query).ok().row(),
        json!({"v": "0"})
    );
    let function = instance.call(&host, "Counter", json!({})).ok();
    assert_eq!(function.results.len(), 1);
    let validator = instance.call(&host, "Check", json!({})).ok();
    assert!(validator.intents.is_empty() && validator.results.is_empty());
    let projector = instance.call(&host, "Project", json!({})).ok();
    assert_eq!(
        projector.writes(),
        [
            json!(["put", "open", {"group": "tea", "n": 2}, {"v": "Order"}]),
            json!(["put", "open", {"group": "total", "n": 9}, {"v": ""}]),
        ]
    );
    let job = instance.call(&host, "Tick", json!({})).ok();
    assert_eq!(
        job.writes(),
        [json!(["insert", "open", {"group": "tick", "n": 0}, {"v": ""}])]
    );
}

/// One instance serves one invocation after another, and each begins with no intents.
pub fn an_instance_serves_many_invocations(subject: &Subject) {
    let mut instance = subject.instance();
    let host = TestHost::new();
    for n in 0..200 {
        let args = json!({"verb": "put", "storage": "open", "group": "g", "n": n, "v": "v"});
        let answer = instance.call(&host, "Write", args).ok();
        assert_eq!(
            answer.writes(),
            [json!(["put", "open", {"group": "g", "n": n}, {"v": "v"}])]
        );
    }
}

/// A package is shared by threads, each with an instance of its own.
pub fn instances_on_many_threads_work_side_by_side(subject: &Subject) {
    let package = subject.package().load().expect("the package loads");
    thread::scope(|scope| {
        for thread in 0..4 {
            let package = &package;
            scope.spawn(move || {
                let mut instance = Instance::of(package);
                let host = TestHost::new().shelf("open", "g", thread);
                for _ in 0..50 {
                    let args = json!({"storage": "open", "group": "g"});
                    let answer = instance.call(&host, "Count", args).ok();
                    assert_eq!(answer.row(), json!({"rows": thread}));
                }
            });
        }
    });
}

/// Instances of one engine's packages take turns on one thread.
pub fn instances_on_one_thread_take_turns(subject: &Subject) {
    let package = subject.package().load().expect("the package loads");
    let mut instances: Vec<_> = (0..8).map(|_| Instance::of(&package)).collect();
    let host = TestHost::new().shelf("open", "g", 3);
    for _ in 0..3 {
        for instance in &mut instances {
            let args = json!({"storage": "open", "group": "g"});
            let answer = instance.call(&host, "Count", args).ok();
            assert_eq!(answer.row(), json!({"rows": 3}));
        }
    }
}

/// An instance outlives the handles of its engine and its package.
pub fn an_instance_outlives_its_engine(subject: &Subject) {
    let mut instance = {
        let setup = subject.package();
        let engine = setup.engine();
        let package = setup.load_on(&*engine).expect("the package loads");
        drop(engine);
        Instance::of(&package)
    };
    let host = TestHost::new();
    instance.call(&host, "Counter", json!({})).ok();
}

/// A number that no extension has is refused, and the instance works on.
pub fn an_extension_that_is_not_there_is_unknown(subject: &Subject) {
    let mut instance = subject.instance();
    let host = TestHost::new();
    let answer = instance.invoke(&host, 10_000, &[0x90], None);
    answer.fails(ErrorKind::Unknown);
    instance.call(&host, "Counter", json!({})).ok();
}

/// A tracer sees the guest entered, the host state asked, and the intents handed over, in that order.
pub fn crossings_are_traced_in_order(subject: &Subject) {
    #[derive(Default)]
    struct Crossings(RefCell<Vec<(Party, Party)>>);
    impl Tracer for Crossings {
        fn crossing(&self, from: Party, to: Party, _: &str) {
            self.0.borrow_mut().push((from, to));
        }
    }
    use Party::{Guest, HostState, Instance, Partition};
    let crossings = Crossings::default();
    let host = TestHost::new();
    let args: Vec<_> = [
        Value::Bool(true),
        Value::Int(1),
        Value::Float(0.5),
        Value::Text("t".into()),
        Value::Bytes(vec![]),
        Value::Null,
    ]
    .into();
    let mut instance = subject.instance();
    let answer = instance.call_traced(&host, "Find", &args, Some(&crossings));
    assert_eq!(answer.ok().intents.len(), 1);
    let seen = crossings.0.into_inner();
    let expected = [
        (Instance, Guest),
        (Instance, HostState),
        (HostState, Instance),
        (Instance, Partition),
    ];
    let mut rest = seen.iter();
    for crossing in expected {
        assert!(
            rest.any(|seen| *seen == crossing),
            "{crossing:?} is missing, or out of order, in {seen:?}"
        );
    }
}
