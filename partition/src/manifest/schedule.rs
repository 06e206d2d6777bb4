//! When a job is due: every so often, or by a cron line, both in UTC.

/// Microseconds in a second, a minute, a day.
const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 24 * 60 * MINUTE;

/// How many days may lie between two due times: the 29th of February falls on each weekday within 40 years.
const FAR: i64 = 41 * 366;

/// The due times of a job, in microseconds since the Unix epoch, whole seconds all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// The multiples of this many microseconds.
    Every(i64),
    /// The minutes that a cron line names.
    Cron(Cron),
}

impl Schedule {
    /// Reads a period, such as `10s`, `5m`, `2h` or `1d`.
    pub(super) fn every(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "s" => Some(SECOND),
            "m" => Some(MINUTE),
            "h" => Some(60 * MINUTE),
            "d" => Some(DAY),
            _ => None,
        };
        let number: Option<i64> = digits.parse().ok().filter(|number| *number > 0);
        let period = number.zip(unit).and_then(|(n, unit)| n.checked_mul(unit));
        let period = period.filter(|period| *period <= FAR * DAY);
        period.map(Self::Every).ok_or_else(|| {
            "must be a whole number of at least 1 with `s`, `m`, `h` or `d`, such as `10s`"
                .to_owned()
        })
    }

    /// Reads a cron line: minute, hour, day, month and weekday.
    pub(super) fn cron(text: &str) -> Result<Self, String> {
        let cron = Self::Cron(Cron::parse(text)?);
        match cron.next(0) {
            Some(_) => Ok(cron),
            None => Err("names a day that never comes".to_owned()),
        }
    }

    /// The last due time that is not after `time`.
    pub fn latest(&self, time: i64) -> Option<i64> {
        match self {
            Self::Every(period) => Some(time.div_euclid(*period) * period),
            Self::Cron(cron) => {
                let (day, minute) = (time.div_euclid(DAY), time.rem_euclid(DAY) / MINUTE);
                (0..FAR).find_map(|back| {
                    let upto = if back == 0 { minute } else { 24 * 60 - 1 };
                    cron.due_on(day - back, (0..=upto).rev())
                })
            }
        }
    }

    /// The first due time after `time`.
    pub fn next(&self, time: i64) -> Option<i64> {
        match self {
            Self::Every(period) => (time.div_euclid(*period) + 1).checked_mul(*period),
            Self::Cron(cron) => {
                let (day, minute) = (time.div_euclid(DAY), time.rem_euclid(DAY) / MINUTE);
                (0..FAR).find_map(|ahead| {
                    let from = if ahead == 0 { minute + 1 } else { 0 };
                    cron.due_on(day + ahead, from..24 * 60)
                })
            }
        }
    }
}

/// A cron line: for each field, a bit for each number that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// From Sunday, which is 0.
    weekdays: u64,
    /// Whether a day counts that either of the two fields for days names: so where both name some.
    either: bool,
}

/// The fields of a line: name, lowest and highest number, words for numbers from the lowest on.
const FIELDS: [(&str, u32, u32, &[&str]); 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day", 1, 31, &[]),
    (
        "month",
        1,
        12,
        &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
    ),
    // 7 is Sunday too.
    (
        "weekday",
        0,
        7,
        &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    ),
];

impl Cron {
    fn parse(text: &str) -> Result<Self, String> {
        let texts: Vec<_> = text.split_ascii_whitespace().collect();
        let &[minute, hour, day, month, weekday] = &texts[..] else {
            return Err(format!(
                "must have five fields (minute, hour, day, month, weekday) and has {}: such as `*/5 * * * *`",
                texts.len()
            ));
        };
        let weekdays = field(4, weekday)?;
        Ok(Self {
            minutes: field(0, minute)?,
            hours: field(1, hour)?,
            days: field(2, day)?,
            months: field(3, month)?,
            weekdays: weekdays | weekdays >> 7,
            either: !day.starts_with('*') && !weekday.starts_with('*'),
        })
    }

    /// The first of these minutes that is due on a day, in microseconds.
    fn due_on(&self, day: i64, mut minutes: impl Iterator<Item = i64>) -> Option<i64> {
        if !self.has_day(day) {
            return None;
        }
        let due = minutes.find(|m| has(self.hours, m / 60) && has(self.minutes, m % 60));
        Some(day.checked_mul(DAY)? + due? * MINUTE)
    }

    /// Whether a day since the Unix epoch is named.
    fn has_day(&self, days: i64) -> bool {
        let (_, month, day) = civil(days);
        // The epoch was a Thursday.
        let weekday = has(self.weekdays, (days + 4).rem_euclid(7));
        let day = has(self.days, day);
        has(self.months, month)
            && match self.either {
                true => day || weekday,
                false => day && weekday,
            }
    }
}

fn has(bits: u64, number: i64) -> bool {
    bits >> number & 1 == 1
}

/// A time in microseconds since the Unix epoch as people write it, to the second.
pub(crate) fn utc(time: i64) -> String {
    let (year, month, day) = civil(time.div_euclid(DAY));
    let second = time.rem_euclid(DAY) / SECOND;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of the Gregorian calendar, by Howard Hinnant's `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let (era, day_of_era) = (
        (days + 719_468).div_euclid(146_097),
        (days + 719_468).rem_euclid(146_097),
    );
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = (shifted + 2) % 12 + 1;
    // Years of this calendar begin in March.
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// Reads one field: parts with commas, each `*`, a number or a range, the first and the last with a step perhaps.
fn field(number: usize, text: &str) -> Result<u64, String> {
    let (name, low, high, words) = FIELDS[number];
    let wrong = |part: &str| {
        format!(
            "field `{name}` cannot be `{part}`: use `*`, numbers from {low} to {high}, ranges such as `{low}-{high}`, steps such as \
             `*/2`, with commas between them"
        )
    };
    let one = |text: &str| -> Option<u32> {
        let word = words
            .iter()
            .position(|word| text.eq_ignore_ascii_case(word));
        let number = match word {
            Some(word) => low + word as u32,
            None if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok()?,
            None => return None,
        };
        (low..=high).contains(&number).then_some(number)
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0)),
            None => (part, Some(1)),
        };
        let ends = match range.split_once('-') {
            _ if range == "*" => Some((low, high)),
            Some((first, last)) => one(first).zip(one(last)),
            // A step needs somewhere to go.
            None => one(range).filter(|_| range == part).map(|n| (n, n)),
        };
        let ends = ends.filter(|(first, last)| first <= last);
        let (Some((first, last)), Some(step)) = (ends, step) else {
            return Err(wrong(part));
        };
        (first..=last).step_by(step).for_each(|n| bits |= 1 << n);
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::{DAY, MINUTE, SECOND, Schedule, civil};

    /// Microseconds of a time of the Gregorian calendar, found by walking from the epoch.
    fn at(year: i64, month: i64, day: i64, hour: i64, minute: i64) -> i64 {
        let mut date = (1970, 1, 1);
        let mut days = 0;
        while date != (year, month, day) {
            days += 1;
            let (_, month, day) = civil(days);
            date = (date.0 + i64::from((month, day) == (1, 1)), month, day);
        }
        days * DAY + (hour * 60 + minute) * MINUTE
    }

    fn cron(text: &str) -> Schedule {
        Schedule::cron(text).unwrap()
    }

    #[test]
    fn a_period_is_due_at_its_multiples() {
        let every = Schedule::every("10s").unwrap();
        assert_eq!(every.latest(25 * SECOND), Some(20 * SECOND));
        assert_eq!(every.latest(20 * SECOND), Some(20 * SECOND));
        assert_eq!(every.next(20 * SECOND), Some(30 * SECOND));
        assert_eq!(every.next(-1), Some(0));
        assert_eq!(every.latest(-1), Some(-10 * SECOND));
        for (text, period) in [
            ("1s", SECOND),
            ("3m", 3 * MINUTE),
            ("2h", 120 * MINUTE),
            ("1d", DAY),
        ] {
            assert_eq!(Schedule::every(text), Ok(Schedule::Every(period)));
        }
        for text in [
            "",
            "s",
            "0s",
            "-1s",
            "1",
            "1 s",
            "1w",
            "1.5h",
            "99999999999999d",
            "1ss",
        ] {
            assert!(Schedule::every(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_calendar_is_the_gregorian_one() {
        // Known from `date -u -d @…`.
        for (seconds, date) in [
            (0, (1970, 1, 1)),
            (951_782_400, (2000, 2, 29)),
            (1_709_164_800, (2024, 2, 29)),
            (1_735_603_200, (2024, 12, 31)),
            (4_107_542_400, (2100, 3, 1)),
            (-86_400, (1969, 12, 31)),
        ] {
            assert_eq!(civil(seconds / 86_400), date, "{seconds}");
        }
        assert_eq!(at(2026, 11, 21, 22, 47), 1_795_301_220 * SECOND);
    }

    #[test]
    fn a_line_is_due_at_the_minutes_that_it_names() {
        let now = at(2026, 11, 21, 22, 47) + 13 * SECOND;
        // A Saturday.
        for (line, before, after) in [
            ("* * * * *", (21, 22, 47), (21, 22, 48)),
            ("*/5 * * * *", (21, 22, 45), (21, 22, 50)),
            ("0 3 * * *", (21, 3, 0), (22, 3, 0)),
            ("7,10-20/5 22,23 * nov *", (21, 22, 20), (21, 23, 7)),
            ("30 12 * * mon-fri", (20, 12, 30), (23, 12, 30)),
            ("30 12 * * 7", (15, 12, 30), (22, 12, 30)),
            ("0 0 1,24 * SAT", (21, 0, 0), (24, 0, 0)),
        ] {
            let time = |(day, hour, minute)| Some(at(2026, 11, day, hour, minute));
            assert_eq!(cron(line).latest(now), time(before), "{line}");
            assert_eq!(cron(line).next(now), time(after), "{line}");
        }
        // Both fields count where one of them begins with a star: an odd day that is a Tuesday.
        let odd = cron("0 0 */2 * 2");
        assert_eq!(odd.latest(now), Some(at(2026, 11, 17, 0, 0)));
        assert_eq!(odd.next(now), Some(at(2026, 12, 1, 0, 0)));
        let leap = cron("0 0 29 2 *");
        assert_eq!(leap.next(at(2096, 3, 1, 0, 0)), Some(at(2104, 2, 29, 0, 0)));
        assert_eq!(
            leap.latest(at(2104, 2, 28, 0, 0)),
            Some(at(2096, 2, 29, 0, 0))
        );
    }

    #[test]
    fn a_due_time_is_its_own_latest_and_not_its_next() {
        for line in ["*/7 * * * *", "0 0 29 2 0-6", "59 23 31 12 *"] {
            let schedule = cron(line);
            let mut time = at(2026, 1, 1, 0, 0);
            for _ in 0..20 {
                let due = schedule.next(time).unwrap();
                assert_eq!(schedule.latest(due), Some(due), "{line}");
                assert_ne!(schedule.latest(due - 1), Some(due), "{line}");
                assert_eq!(schedule.next(due - 1), Some(due), "{line}");
                time = due;
            }
        }
    }

    #[test]
    fn a_wrong_line_names_its_field() {
        for (line, word) in [
            ("* * * *", "has 4"),
            ("60 * * * *", "`minute` cannot be `60`"),
            ("* 24 * * *", "hour"),
            ("* * 0 * *", "day"),
            ("* * * 13 *", "month"),
            ("* * * foo *", "foo"),
            ("* * * * 8", "weekday"),
            ("5/10 * * * *", "minute"),
            ("9-3 * * * *", "minute"),
            ("*/0 * * * *", "minute"),
            ("1,,2 * * * *", "minute"),
            ("+1 * * * *", "minute"),
            ("- * * * *", "minute"),
            ("0 0 30 2 *", "never comes"),
        ] {
            let error = Schedule::cron(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
