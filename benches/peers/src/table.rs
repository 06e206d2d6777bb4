//! The medians of a run as a table, best first within each question.

use std::collections::BTreeMap;
use std::fmt;

/// Orders a second, by question and system, of every round.
#[derive(Debug, Default)]
pub struct Table(BTreeMap<String, BTreeMap<String, Vec<f64>>>);

impl Table {
    /// Adds a measurement.
    pub fn add(&mut self, question: &str, engine: &str, rate: f64) {
        let engines = self.0.entry(question.to_owned()).or_default();
        engines.entry(engine.to_owned()).or_default().push(rate);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n| shape | system | orders a second (median) | from | to |"
        )?;
        writeln!(f, "|---|---|---|---|---|")?;
        for (question, engines) in &self.0 {
            let mut rows: Vec<(f64, f64, f64, &str)> = engines
                .iter()
                .map(|(engine, rates)| {
                    let mut rates = rates.clone();
                    rates.sort_by(f64::total_cmp);
                    (
                        rates[rates.len() / 2],
                        rates[0],
                        rates[rates.len() - 1],
                        &**engine,
                    )
                })
                .collect();
            rows.sort_by(|a, b| b.0.total_cmp(&a.0));
            for (median, least, most, engine) in rows {
                writeln!(
                    f,
                    "| {question} | {engine} | {median:.0} | {least:.0} | {most:.0} |"
                )?;
            }
        }
        Ok(())
    }
}
