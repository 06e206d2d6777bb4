//! eKuiper's description of the service, against the `.proto` file and the plugin that it leads to.

use std::collections::BTreeMap;
use std::path::Path;

use extengine::functions::Manager;
use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use serde_json::Value;

const DESCRIPTOR: &[u8] = tonic::include_file_descriptor_set!("flights");

fn description() -> Value {
    serde_json::from_str(include_str!("../service/flights.json")).expect("JSON")
}

/// The one interface of the description.
fn interface(description: &Value) -> &Value {
    let interfaces = description["interfaces"].as_object().expect("interfaces");
    assert_eq!(interfaces.len(), 1);
    interfaces.values().next().expect("one")
}

fn schema(file: &str) -> FileDescriptorProto {
    let set = FileDescriptorSet::decode(DESCRIPTOR).expect("a descriptor");
    let mut files = set.file.into_iter();
    files.find(|found| found.name() == file).expect("the file")
}

#[test]
fn the_description_names_exactly_the_functions_of_the_schema_and_of_the_plugin() {
    let description = description();
    let interface = interface(&description);
    assert_eq!(interface["protocol"], "grpc");
    assert_eq!(interface["schemaType"], "protobuf");
    assert_eq!(interface["address"], "tcp://localhost:50051");
    let schema = schema(interface["schemaFile"].as_str().unwrap());

    let listed = interface["functions"].as_array().unwrap();
    let functions: BTreeMap<_, _> = listed
        .iter()
        .map(|function| (function["name"].as_str(), function["serviceName"].as_str()))
        .collect();
    assert_eq!(functions.len(), listed.len());

    let [service] = schema.service.as_slice() else {
        panic!("eKuiper wants one service in a file")
    };
    let mut methods: Vec<_> = service.method.iter().map(|method| method.name()).collect();
    let mut named: Vec<_> = functions.values().flatten().copied().collect();
    methods.sort_unstable();
    named.sort_unstable();
    assert_eq!(named, methods);

    let manager = Manager::new();
    let plugins = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins");
    ekuiper::add_folder(&manager, Path::new(plugins)).unwrap();
    let mut offered: Vec<_> = manager
        .list()
        .into_iter()
        .flat_map(|plugin| plugin.functions)
        .map(|function| function.name.to_string())
        .collect();
    offered.sort_unstable();
    let named: Vec<_> = functions.keys().flatten().copied().collect();
    assert_eq!(named, offered);
}

#[test]
fn arguments_by_their_place_find_their_fields() {
    let schema = schema("flights.proto");
    let mut messages = schema.message_type.iter();
    assert!(messages.len() > 0);
    assert!(messages.all(|message| {
        let numbers = message.field.iter().map(|field| field.number());
        numbers.eq(1..=message.field.len() as i32)
    }));
}
