//! Metrics of a script's own.

use std::rc::Rc;
use std::sync::Arc;

use filters::metrics::{Metric, MetricKind};
use mlua::{LuaString, UserData, UserDataMethods};

use crate::run::{Run, error};

/// The units of a histogram that scripts name. They change nothing here.
const UNITS: [&str; 5] = ["ms", "milliseconds", "microseconds", "bytes", "unspecified"];

/// `handle:stats()`.
pub(crate) struct Stats(pub(crate) Rc<Run>);

struct Counter(Arc<Metric>);
struct Gauge(Arc<Metric>);
struct Histogram(Arc<Metric>);

impl Stats {
    fn define(&self, kind: MetricKind, name: &LuaString) -> mlua::Result<Arc<Metric>> {
        let name = &*name.to_str()?;
        let stream = self.0.stream()?;
        let machines = self.0.machines()?;
        let (owner, name) = (machines.metric(""), machines.metric(name));
        let metric = stream.worker().metrics().define_for(&owner, kind, &name);
        metric.ok_or_else(|| {
            let name = &name[..name.floor_char_boundary(100)];
            let text = format!(
                "the metric `{name}` is of another kind, its name is too long, or there are too many"
            );
            error(text)
        })
    }
}

impl UserData for Stats {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("counter", |_, this, name: LuaString| {
            Ok(Counter(this.define(MetricKind::Counter, &name)?))
        });
        methods.add_method("gauge", |_, this, name: LuaString| {
            Ok(Gauge(this.define(MetricKind::Gauge, &name)?))
        });
        methods.add_method(
            "histogram",
            |_, this, (name, unit): (LuaString, Option<LuaString>)| {
                if let Some(unit) = unit
                    && !UNITS.contains(&&*unit.to_str()?)
                {
                    let text = format!("the unit of a histogram is one of {}", UNITS.join(", "));
                    return Err(error(text));
                }
                Ok(Histogram(this.define(MetricKind::Histogram, &name)?))
            },
        );
    }
}

/// A whole number that is not negative.
fn amount(value: f64) -> mlua::Result<i64> {
    let fits = value >= 0.0 && value < (1u64 << 53) as f64;
    let refuse = || error("the values of metrics are numbers from 0 to 2^53");
    fits.then_some(value as i64).ok_or_else(refuse)
}

impl UserData for Counter {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("inc", |_, this, ()| {
            this.0.add(1);
            Ok(())
        });
        methods.add_method("add", |_, this, by: f64| {
            this.0.add(amount(by)?);
            Ok(())
        });
        methods.add_method("value", |_, this, ()| Ok(this.0.get()));
    }
}

impl UserData for Gauge {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        for (name, by) in [("inc", 1), ("dec", -1)] {
            methods.add_method(name, move |_, this, ()| {
                this.0.add(by);
                Ok(())
            });
        }
        for (name, sign) in [("add", 1), ("sub", -1)] {
            methods.add_method(name, move |_, this, by: f64| {
                this.0.add(sign * amount(by)?);
                Ok(())
            });
        }
        methods.add_method("set", |_, this, value: f64| {
            this.0.record(amount(value)?.cast_unsigned());
            Ok(())
        });
        methods.add_method("value", |_, this, ()| Ok(this.0.get().cast_signed()));
    }
}

impl UserData for Histogram {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("recordValue", |_, this, value: f64| {
            this.0.record(amount(value)?.cast_unsigned());
            Ok(())
        });
    }
}
