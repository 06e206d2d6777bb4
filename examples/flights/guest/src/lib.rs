//! The extensions of the flights example, for WebAssembly and for the engine `builtin`.
//!
//! `flights.lua` beside this crate has the same extensions in Lua, function by function.
//!
//! | storage | key | value |
//! |---|---|---|
//! | `airline` | carrier | name |
//! | `flight` | carrier, flight, time_hour | date, tailnum?, origin, dest, dep_delay?, arr_delay?, distance |
//! | `carrier_stats` | carrier | flights, cancelled, dep_delay_total, dep_delay_max?, miles |
//! | `day` | date | flights, cancelled |
//! | `route` | origin, dest | flights, arr_delay_total, arr_delay_count |

use extengine_guest::{Error, KeyBuilder, Row, State, extension, key, row};

extengine_guest::package!("flights");

/// Delays in minutes and distances in miles beyond this are mistakes; within it no total can overflow.
const MOST: i64 = 1_000_000;

/// Arguments: carrier, name.
#[extension(command)]
fn add_airline(state: &mut State, args: &Row) -> Result<(), Error> {
    let airline = key("airline").text(args.text(0)?);
    state.new_value(&airline, &row().text(args.text(1)?));
    Ok(())
}

/// The arguments of the command `RecordFlight`.
struct Flight<'a> {
    carrier: &'a str,
    flight: i64,
    time_hour: &'a str,
    date: &'a str,
    tailnum: Option<&'a str>,
    origin: &'a str,
    dest: &'a str,
    dep_delay: Option<i64>,
    arr_delay: Option<i64>,
    distance: i64,
}

impl<'a> Flight<'a> {
    fn from_args(args: &'a Row) -> Result<Self, Error> {
        let mut args = args.fields();
        Ok(Self {
            carrier: args.text()?,
            flight: args.int()?,
            time_hour: args.text()?,
            date: args.text()?,
            tailnum: args.opt_text()?,
            origin: args.text()?,
            dest: args.text()?,
            dep_delay: args.opt_int()?,
            arr_delay: args.opt_int()?,
            distance: args.int()?,
        })
    }

    /// 1 for a flight that never left, else 0.
    fn cancelled(&self) -> i64 {
        self.dep_delay.is_none().into()
    }
}

/// Arguments: those of [`Flight`].
#[extension(command)]
fn record_flight(state: &mut State, args: &Row) -> Result<(), Error> {
    let flight = Flight::from_args(args)?;
    in_range("dep_delay", flight.dep_delay)?;
    in_range("arr_delay", flight.arr_delay)?;
    in_range("distance", Some(flight.distance))?;

    state.new_value(
        &key("flight")
            .text(flight.carrier)
            .int(flight.flight)
            .text(flight.time_hour),
        &row()
            .text(flight.date)
            .opt_text(flight.tailnum)
            .text(flight.origin)
            .text(flight.dest)
            .opt_int(flight.dep_delay)
            .opt_int(flight.arr_delay)
            .int(flight.distance),
    );

    let of_carrier = key("carrier_stats").text(flight.carrier);
    let stats = CarrierStats::get(state, &of_carrier)?;
    state.put_value(
        &of_carrier,
        &row()
            .int(stats.flights + 1)
            .int(stats.cancelled + flight.cancelled())
            .int(stats.dep_delay_total + flight.dep_delay.unwrap_or(0))
            .opt_int(stats.dep_delay_max.max(flight.dep_delay))
            .int(stats.miles + flight.distance),
    );
    Ok(())
}

fn in_range(name: &str, value: Option<i64>) -> Result<(), Error> {
    match value {
        Some(value) if !(-MOST..=MOST).contains(&value) => {
            Err(Error::rejected(format!("{name} is out of range")))
        }
        _ => Ok(()),
    }
}

/// A row of `carrier_stats`; a carrier without flights has none.
#[derive(Default)]
struct CarrierStats {
    flights: i64,
    cancelled: i64,
    dep_delay_total: i64,
    dep_delay_max: Option<i64>,
    miles: i64,
}

impl CarrierStats {
    fn get(state: &State, of_carrier: &KeyBuilder<'_>) -> Result<Self, Error> {
        let Some(stats) = state.get(of_carrier)? else {
            return Ok(Self::default());
        };
        let mut stats = stats.fields();
        Ok(Self {
            flights: stats.int()?,
            cancelled: stats.int()?,
            dep_delay_total: stats.int()?,
            dep_delay_max: stats.opt_int()?,
            miles: stats.int()?,
        })
    }
}

#[extension(validator)]
fn valid_flight(state: &State, _args: &Row) -> Result<(), Error> {
    let event = state.event()?;
    if event.command()? != "RecordFlight" {
        return Ok(());
    }
    let args = event.args()?;
    let flight = Flight::from_args(&args)?;
    airline_name(state, flight.carrier)?;
    if flight.origin == flight.dest {
        return Err(Error::rejected(format!(
            "origin and destination are both `{}`",
            flight.origin
        )));
    }
    if flight.distance <= 0 {
        return Err(Error::rejected("distance is not above zero"));
    }
    Ok(())
}

fn airline_name(state: &State, carrier: &str) -> Result<String, Error> {
    match state.get(&key("airline").text(carrier))? {
        Some(airline) => Ok(airline.text(0)?.to_owned()),
        None => Err(Error::rejected(format!("unknown carrier `{carrier}`"))),
    }
}

#[extension(projector)]
fn daily_totals(state: &mut State, _args: &Row) -> Result<(), Error> {
    let event = state.event()?;
    if event.command()? != "RecordFlight" {
        return Ok(());
    }
    let args = event.args()?;
    let flight = Flight::from_args(&args)?;
    let day = key("day").text(flight.date);
    let (flights, cancelled) = match state.get(&day)? {
        Some(totals) => (totals.int(0)?, totals.int(1)?),
        None => (0, 0),
    };
    let totals = row().int(flights + 1).int(cancelled + flight.cancelled());
    state.put_value(&day, &totals);
    Ok(())
}

#[extension(projector)]
fn route_delays(state: &mut State, _args: &Row) -> Result<(), Error> {
    let event = state.event()?;
    if event.command()? != "RecordFlight" {
        return Ok(());
    }
    let args = event.args()?;
    let flight = Flight::from_args(&args)?;
    let route = key("route").text(flight.origin).text(flight.dest);
    let (flights, total, count) = match state.get(&route)? {
        Some(delays) => (delays.int(0)?, delays.int(1)?, delays.int(2)?),
        None => (0, 0, 0),
    };
    let delays = row()
        .int(flights + 1)
        .int(total + flight.arr_delay.unwrap_or(0))
        .int(count + i64::from(flight.arr_delay.is_some()));
    state.put_value(&route, &delays);
    Ok(())
}

/// Arguments: carrier. Answers the carrier's name and totals, and the mean delay of its flights that left.
#[extension(query)]
fn carrier_report(state: &mut State, args: &Row) -> Result<(), Error> {
    let carrier = args.text(0)?;
    let name = airline_name(state, carrier)?;
    let stats = CarrierStats::get(state, &key("carrier_stats").text(carrier))?;
    let left = stats.flights - stats.cancelled;
    let mean = (left > 0).then(|| stats.dep_delay_total as f64 / left as f64);
    state.result(
        &row()
            .text(carrier)
            .text(&name)
            .int(stats.flights)
            .int(stats.cancelled)
            .int(stats.dep_delay_total)
            .opt_int(stats.dep_delay_max)
            .int(stats.miles)
            .opt_float(mean),
    );
    Ok(())
}

/// Arguments: min_flights, limit. Answers the routes with the highest mean arrival delay.
#[extension(query)]
fn worst_routes(state: &mut State, args: &Row) -> Result<(), Error> {
    let (min_flights, limit) = (args.int(0)?, args.int(1)?);
    if min_flights < 0 || limit < 0 {
        return Err(Error::rejected(
            "min_flights and limit must not be below zero",
        ));
    }
    let mut routes = Vec::new();
    state.read(&key("route"), |_, route, delays| {
        let (flights, total, count) = (delays.int(0)?, delays.int(1)?, delays.int(2)?);
        if flights >= min_flights && count > 0 {
            let mean = total as f64 / count as f64;
            let [origin, dest] = [route.text(0)?, route.text(1)?].map(String::from);
            routes.push((origin, dest, flights, mean));
        }
        Ok(())
    })?;
    // The sort is stable and the rows came in the order of their keys: equal means stay by origin and dest.
    routes.sort_by(|a, b| b.3.total_cmp(&a.3));
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    for (origin, dest, flights, mean) in routes.iter().take(limit) {
        state.result(&row().text(origin).text(dest).int(*flights).float(*mean));
    }
    Ok(())
}
