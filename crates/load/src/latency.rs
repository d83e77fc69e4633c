//! Latencies as a histogram with three digits, from a microsecond to two minutes.

use hdrhistogram::Histogram;
use std::time::Duration;

const LONGEST_US: u64 = 120_000_000;

/// Many latencies, in constant memory.
#[derive(Clone)]
pub struct Latency {
    micros: Histogram<u64>,
}

impl Default for Latency {
    fn default() -> Self {
        Latency {
            micros: Histogram::new_with_bounds(1, LONGEST_US, 3)
                .expect("these bounds are valid ones"),
        }
    }
}

impl Latency {
    /// Takes one more.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(LONGEST_US);
        self.micros.saturating_record(micros.max(1));
    }

    /// Takes those of another one.
    pub fn add(&mut self, other: &Latency) {
        // Both have the same bounds.
        let _ = self.micros.add(&other.micros);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.micros.len()
    }

    /// What so many of them, a part of 1, are not above.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        Duration::from_micros(self.micros.value_at_quantile(part))
    }

    /// p50, p99 and p999 in milliseconds, as tables show them.
    #[must_use]
    pub fn shown(&self) -> String {
        if self.count() == 0 {
            return "–".to_owned();
        }
        let shown = |part| {
            let millis = self.quantile(part).as_secs_f64() * 1e3;
            let decimals = if millis < 9.95 { 1 } else { 0 };
            format!("{millis:.decimals$}")
        };
        format!("{} / {} / {}", shown(0.5), shown(0.99), shown(0.999))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_all_that_was_recorded() {
        let (mut one, mut other) = (Latency::default(), Latency::default());
        (1..=500).for_each(|ms| one.record(Duration::from_millis(ms)));
        (501..=1_000).for_each(|ms| other.record(Duration::from_millis(ms)));
        one.add(&other);
        assert_eq!(one.count(), 1_000);
        let near = |part, ms: f64| {
            let got = one.quantile(part).as_secs_f64() * 1e3;
            assert!((got - ms).abs() / ms < 0.002, "{part}: {got}");
        };
        near(0.5, 500.0);
        near(0.99, 990.0);
        assert_eq!(one.shown(), "500 / 990 / 999");
        assert_eq!(Latency::default().shown(), "–");
    }
}
