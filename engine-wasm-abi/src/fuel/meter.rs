//! The host's side of fuel: a limit, granted in slices.

/// The fuel limit of a call is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call used up its fuel of {limit}")]
pub struct OutOfFuel {
    /// The units that the call was allowed.
    pub limit: u64,
}

/// Grants a call its fuel, slice by slice, and says what it used.
///
/// It knows no runtime: the host moves its answers to and from the module's
/// [`FUEL_GLOBAL`](super::FUEL_GLOBAL). A slice is how long the module runs before the host is
/// asked again, which is where a deadline can be checked; it changes nothing of what is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FuelMeter {
    slice: u64,
    limit: Option<u64>,
    granted: u64,
}

impl FuelMeter {
    /// Makes a meter that grants `slice` units at a time: `u64::MAX` for all that is allowed.
    pub fn new(slice: u64) -> Self {
        Self {
            slice,
            limit: None,
            granted: 0,
        }
    }

    /// Begins a call of at most `limit` units, or of any number, and answers the value
    /// that the global begins with.
    pub fn begin(&mut self, limit: Option<u64>) -> i64 {
        self.limit = limit;
        self.granted = 0;
        self.grant(0)
    }

    /// Grants the next slice to a module whose global has become negative,
    /// and answers the global's new value, which is not negative.
    ///
    /// A block that costs more than a slice is granted whole, so that a slice
    /// may be as small as one likes.
    ///
    /// # Errors
    /// [`OutOfFuel`] if the limit does not pay for the block that the module is about to run.
    pub fn refill(&mut self, global_now: i64) -> Result<i64, OutOfFuel> {
        let before = *self;
        let global = self.grant(global_now);
        if global < 0 {
            *self = before;
            let limit = self.limit.unwrap_or(u64::MAX);
            return Err(OutOfFuel { limit });
        }
        Ok(global)
    }

    /// Answers the units used since [`begin`](Self::begin), where the global is `global_now`.
    ///
    /// The block that did not fit into the limit did not run and is not counted beyond it.
    pub fn used(&self, global_now: i64) -> u64 {
        let used = match u64::try_from(global_now) {
            Ok(left) => self.granted.saturating_sub(left),
            Err(_) => self.granted.saturating_add(global_now.unsigned_abs()),
        };
        used.min(self.limit.unwrap_or(u64::MAX))
    }

    /// Grants a slice beyond what is owed, as far as the limit and the global's type allow.
    fn grant(&mut self, global: i64) -> i64 {
        let owed = global.min(0).unsigned_abs();
        let allowed = self.limit.unwrap_or(u64::MAX).saturating_sub(self.granted);
        let grant = owed
            .saturating_add(self.slice)
            .min(allowed)
            .min(i64::MAX.abs_diff(global));
        self.granted = self.granted.saturating_add(grant);
        global.saturating_add_unsigned(grant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Charges like a module that is refilled as it goes.
    fn run(meter: &mut FuelMeter, global: &mut i64, charge: i64) -> Result<(), OutOfFuel> {
        *global -= charge;
        if *global < 0 {
            *global = meter.refill(*global)?;
        }
        Ok(())
    }

    #[test]
    fn a_limit_pays_for_exactly_that_much_whatever_the_slice() {
        for slice in [0, 1, 2, 7, 99, 100, 101, u64::MAX] {
            let mut meter = FuelMeter::new(slice);
            let mut global = meter.begin(Some(100));
            for round in 1..=10 {
                run(&mut meter, &mut global, 10).unwrap();
                assert_eq!(meter.used(global), round * 10, "slice {slice}");
            }
            let out = run(&mut meter, &mut global, 1);
            assert_eq!(out, Err(OutOfFuel { limit: 100 }), "slice {slice}");
            assert_eq!(meter.used(global), 100, "slice {slice}");
        }
    }

    #[test]
    fn a_refused_block_is_refused_again() {
        let mut meter = FuelMeter::new(10);
        let mut global = meter.begin(Some(15));
        let huge = 1 << 48;
        assert!(run(&mut meter, &mut global, huge).is_err());
        assert!(meter.refill(global).is_err());
        assert_eq!(meter.used(global), 15);
    }

    #[test]
    fn without_a_limit_only_slices_are_granted() {
        let mut meter = FuelMeter::new(10);
        let mut global = meter.begin(None);
        assert_eq!(global, 10);
        for _ in 0..1000 {
            run(&mut meter, &mut global, 7).unwrap();
            assert!((0..=10).contains(&global));
        }
        assert_eq!(meter.used(global), 7000);
    }

    #[test]
    fn a_call_begins_with_nothing_used() {
        let mut meter = FuelMeter::new(10);
        let mut global = meter.begin(Some(20));
        run(&mut meter, &mut global, 20).unwrap();
        let global = meter.begin(Some(5));
        assert_eq!((global, meter.used(global)), (5, 0));
    }

    #[test]
    fn extreme_numbers_do_not_overflow() {
        for slice in [0, 1, u64::MAX] {
            for limit in [None, Some(0), Some(u64::MAX)] {
                let mut meter = FuelMeter::new(slice);
                assert!(meter.begin(limit) >= 0);
                for global in [i64::MIN, -1, 0, i64::MAX, i64::MIN] {
                    if let Ok(refilled) = meter.refill(global) {
                        assert!(refilled >= 0);
                    }
                    let _ = meter.used(global);
                }
            }
        }
    }
}
