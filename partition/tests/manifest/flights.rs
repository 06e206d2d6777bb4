//! The flights example's manifest.

use std::path::Path;

use engine_core::limits::Limit;
use engine_core::manifest::ExtensionKind;
use partition::manifest::AppSpec;

use crate::folder;

/// Loads the manifest beside stand-ins for the files that it names.
fn flights() -> AppSpec {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/flights/app.toml");
    let folder = folder(&["commands.jsonl", "flights.wasm", "flights.lua"]);
    let text = std::fs::read_to_string(manifest).unwrap();
    AppSpec::parse(&text, folder.path()).unwrap()
}

#[test]
fn flights_declares_its_storages_and_extensions() {
    let app = flights();
    let schemas = app.catalog.storages().filter(|(id, _)| !id.is_system());
    let schemas: Vec<_> = schemas
        .map(|(_, s)| format!("{} ({}) {}", s.name, s.key, s.value))
        .collect();
    assert_eq!(
        schemas,
        [
            "airline (carrier: text) name: text",
            "flight (carrier: text, flight: int, time_hour: text) date: text, tailnum: text?, origin: text, dest: text, dep_delay: int?, arr_delay: int?, distance: int",
            "carrier_stats (carrier: text) flights: int, cancelled: int, dep_delay_total: int, dep_delay_max: int?, miles: int",
            "day (date: text) flights: int, cancelled: int",
            "route (origin: text, dest: text) flights: int, arr_delay_total: int, arr_delay_count: int",
        ]
    );
    let of_kind = |kind| {
        let found = app.of_kind(kind).map(|(_, e)| e.decl.name.to_string());
        found.collect::<Vec<_>>()
    };
    assert_eq!(
        of_kind(ExtensionKind::Command),
        ["AddAirline", "RecordFlight"]
    );
    assert_eq!(
        of_kind(ExtensionKind::Query),
        ["CarrierReport", "WorstRoutes"]
    );
    assert_eq!(of_kind(ExtensionKind::Validator), ["ValidFlight"]);
    assert_eq!(
        of_kind(ExtensionKind::Projector),
        ["DailyTotals", "RouteDelays"]
    );
    let waived = [Limit::Memory, Limit::Stack, Limit::Deadline];
    assert_eq!(app.packages[0].waive["builtin"], waived);
}

#[test]
fn flights_may_have_more_partitions() {
    flights().set_partitions(3).unwrap();
}
