//! Numbers as people read them, rounded as they are.

use super::snapshot::{BYTES_STEP, COUNT_STEP, Snapshot};

/// `1 234 567`, with narrow spaces that do not break.
pub(crate) fn count(number: u64) -> String {
    if number < COUNT_STEP {
        return format!("under {COUNT_STEP}");
    }
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `3.4 GiB`.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["MiB", "GiB", "TiB", "PiB"];
    if number < BYTES_STEP {
        return "under 1 MiB".to_owned();
    }
    let mut tenths = u128::from(number) * 10 / u128::from(BYTES_STEP);
    for unit in UNITS {
        if tenths < 10_240 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
        tenths /= 1024;
    }
    format!("{} EiB", tenths / 10)
}

/// `3 days 4 hours`: the two largest units.
pub(crate) fn duration(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "day"),
        (seconds / 3_600 % 24, "hour"),
        (seconds / 60 % 60, "minute"),
        (seconds % 60, "second"),
    ];
    let first = parts
        .iter()
        .position(|(number, _)| *number > 0)
        .unwrap_or(3);
    let words = parts
        .iter()
        .skip(first)
        .take(2)
        .filter(|(number, _)| *number > 0);
    let words: Vec<String> = words
        .map(|(number, unit)| format!("{number} {unit}{}", if *number == 1 { "" } else { "s" }))
        .collect();
    if words.is_empty() {
        return "less than a second".to_owned();
    }
    words.join(" ")
}

/// `14:05:09 UTC`, of a unix time.
pub(crate) fn time_of_day(unix_s: u64) -> String {
    let (hours, minutes) = (unix_s / 3_600 % 24, unix_s / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02} UTC", unix_s % 60)
}

/// `2 ms`, `0.5 ms`.
pub(crate) fn milliseconds(seconds: f64) -> String {
    format!("{} ms", (seconds * 10_000.0).round() / 10.0)
}

/// How far the relay gave up what it does not need.
pub(crate) fn sandbox(all: &Snapshot) -> &'static str {
    match all.sandbox.as_str() {
        "full" => "confined in what it writes and calls",
        "files" => "confined in what it writes",
        "calls" => "confined in what it calls",
        _ => "not confined",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(0), "under 16");
        assert_eq!(count(16), "16");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(bytes(0), "under 1 MiB");
        assert_eq!(bytes(3 << 19), "1.5 MiB");
        assert_eq!(bytes(5 << 30), "5.0 GiB");
        assert_eq!(bytes(u64::MAX), "15 EiB");
        assert_eq!(duration(0), "less than a second");
        assert_eq!(duration(61), "1 minute 1 second");
        assert_eq!(duration(2 * 86_400 + 5), "2 days");
        assert_eq!(
            time_of_day(86_400 + 14 * 3_600 + 5 * 60 + 9),
            "14:05:09 UTC"
        );
        assert_eq!(milliseconds(0.0005), "0.5 ms");
        assert_eq!(milliseconds(0.2), "200 ms");
    }
}
