//! Figures as Markdown.

use crate::machine;
use std::fmt::Write;
use std::time::Duration;

/// One figure: what it is, its value, and what was aimed at.
pub struct Row {
    /// What was measured.
    pub what: String,
    /// The figure with its unit.
    pub value: String,
    /// What was aimed at; empty if nothing.
    pub aim: String,
}

/// One part of the report.
pub struct Section {
    /// Its heading.
    pub title: &'static str,
    /// What was measured against what, and how.
    pub how: String,
    /// Its figures, in order.
    pub rows: Vec<Row>,
    /// What has more columns, and remarks, after them.
    pub rest: Vec<String>,
}

impl Section {
    /// One without figures yet.
    #[must_use]
    pub fn new(title: &'static str, how: impl Into<String>) -> Section {
        Section {
            title,
            how: how.into(),
            rows: Vec::new(),
            rest: Vec::new(),
        }
    }

    /// Adds a figure, and tells it.
    pub fn row(&mut self, what: impl Into<String>, value: impl Into<String>) {
        self.aimed(what, value, "");
    }

    /// Adds a figure with what was aimed at, and tells it.
    pub fn aimed(&mut self, what: impl Into<String>, value: impl Into<String>, aim: &str) {
        let row = Row {
            what: what.into(),
            value: value.into(),
            aim: aim.to_owned(),
        };
        eprintln!("  {}: {}", row.what, row.value);
        self.rows.push(row);
    }

    /// As it stands in the document.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!("\n## {}\n\n{}\n", self.title, self.how);
        if !self.rows.is_empty() {
            text += "\n| | | aim |\n|---|---|---|\n";
        }
        for row in &self.rows {
            // Writing to a string does not fail.
            let _ = writeln!(text, "| {} | {} | {} |", row.what, row.value, row.aim);
        }
        for more in &self.rest {
            text += &format!("\n{more}\n");
        }
        text
    }

    /// Adds a table.
    pub fn table(&mut self, table: Table) {
        self.rest.push(table.lines.join("\n"));
    }

    /// Adds a remark.
    pub fn note(&mut self, remark: impl Into<String>) {
        self.rest.push(remark.into());
    }
}

/// A table with columns of its own.
pub struct Table {
    lines: Vec<String>,
}

impl Table {
    /// With these headings.
    #[must_use]
    pub fn new(headings: &[&str]) -> Table {
        let rule = "|---".repeat(headings.len());
        Table {
            lines: vec![format!("| {} |", headings.join(" | ")), format!("{rule}|")],
        }
    }

    /// Adds a row, and tells it.
    pub fn row(&mut self, cells: Vec<String>) {
        let line = format!("| {} |", cells.join(" | "));
        eprintln!("  {line}");
        self.lines.push(line);
    }
}

/// The top of the document.
pub fn head() -> String {
    let mut lines = vec![
        "# Benchmarks".to_owned(),
        String::new(),
        "Written by `cargo xtask bench`; run it to have these figures of your machine.".to_owned(),
        "Costs are CPU time (user and system), so a busy machine changes them little; latencies are wall time, and on a".to_owned(),
        "machine with load they say more about the load. Ratios compare two measurements of the same run.".to_owned(),
        String::new(),
    ];
    lines.extend(machine::describe());
    lines.push(format!("- Profile: {}", profile()));
    lines.push(String::new());
    lines.join("\n")
}

/// The top of the part that `cargo xtask bench store` writes.
#[must_use]
pub fn store_head() -> String {
    let mut lines = vec![
        "# The segment store".to_owned(),
        String::new(),
        "Written by `cargo xtask bench store`: the relay's own store, in the real program and in this one.".to_owned(),
        "Times are wall time, and worth as much as the machine was idle; CPU time (user and system) is told apart.".to_owned(),
        String::new(),
    ];
    lines.extend(machine::describe());
    lines.push(format!("- Profile: {}", profile()));
    lines.push(String::new());
    lines.join("\n")
}

/// The top of the part that `cargo xtask bench relay` writes.
#[must_use]
pub fn load_head() -> Vec<String> {
    let mut lines = vec![
        "# A relay under load".to_owned(),
        String::new(),
        "Written by `cargo xtask bench relay`: the real programs, each in a process of its own, on the same machine as the generator.".to_owned(),
        "Costs are the server's CPU time (user and system), resident memory and what it wrote to the disk; the generator's CPU".to_owned(),
        "time is told apart. Latencies are wall time, and worth as much as the machine was idle.".to_owned(),
        String::new(),
    ];
    lines.extend(machine::describe());
    lines.push(format!("- Profile: {}", profile()));
    lines
}

/// How this program, and so what it measures in its own process, was built.
fn profile() -> &'static str {
    if cfg!(debug_assertions) {
        "dev (opt-level 2, with overflow checks and assertions), the programs as well"
    } else {
        "release"
    }
}

/// A duration with three digits that matter.
pub fn time(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    if micros < 1_000.0 {
        format!("{} µs", digits(micros))
    } else if micros < 1e6 {
        format!("{} ms", digits(micros / 1e3))
    } else {
        format!("{} s", digits(micros / 1e6))
    }
}

/// `a` divided by `b`, as `2.31 times`.
pub fn ratio(a: Duration, b: Duration) -> String {
    if b.is_zero() {
        return "no ratio".to_owned();
    }
    format!("{} times", digits(a.as_secs_f64() / b.as_secs_f64()))
}

fn digits(value: f64) -> String {
    let decimals = if value < 10.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    format!("{value:.decimals$}")
}

/// One of `count` equal shares.
pub fn share(whole: Duration, count: u32) -> Duration {
    whole.checked_div(count).unwrap_or_default()
}

/// The value below which `percent` of the sorted samples lie.
pub fn percentile(samples: &mut [Duration], percent: usize) -> Duration {
    samples.sort_unstable();
    let rank = (samples.len() * percent).div_ceil(100).saturating_sub(1);
    samples.get(rank).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let mut samples: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut samples, 50), Duration::from_millis(50));
        assert_eq!(percentile(&mut samples, 99), Duration::from_millis(99));
        assert_eq!(percentile(&mut [], 99), Duration::ZERO);
    }

    #[test]
    fn times_have_units_and_ratios_do_not_divide_by_zero() {
        assert_eq!(time(Duration::from_nanos(1_500)), "1.50 µs");
        assert_eq!(time(Duration::from_micros(12_340)), "12.3 ms");
        assert_eq!(
            ratio(Duration::from_secs(3), Duration::from_secs(2)),
            "1.50 times"
        );
        assert_eq!(ratio(Duration::from_secs(3), Duration::ZERO), "no ratio");
    }
}
