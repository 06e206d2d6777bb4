//! Functions of numbers, as plain exports: no SDK, no memory shared with the host.

/// How bad a flight was: minutes late at the gate count once, minutes lost on the way twice, and early is as good as on time.
#[unsafe(no_mangle)]
pub extern "C" fn score(departure: f64, arrival: f64) -> f64 {
    let lost = (arrival - departure).max(0.0);
    departure.max(0.0) + 2.0 * lost
}

/// Kilometres of so many miles.
#[unsafe(no_mangle)]
pub extern "C" fn kilometres(miles: f64) -> f64 {
    miles * 1.609_344
}
