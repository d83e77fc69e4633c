//! Times as people type and read them: spans like `30s`, `5m`, `1h`, `7d`, `4w`, and points in local time.

use crate::platform;

/// Parses a span with a unit into seconds.
///
/// # Errors
/// Says what is expected.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let expected =
        || format!("expected a number and a unit, like 30s, 5m, 1h, 7d or 4w; got {text:?}");
    let unit = text.chars().last().ok_or_else(expected)?;
    let in_unit: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(expected()),
    };
    let digits = text.strip_suffix(unit).ok_or_else(expected)?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(expected());
    }
    let number: u64 = digits.parse().map_err(|_| expected())?;
    number.checked_mul(in_unit).ok_or_else(expected)
}

/// Parses a plain number.
///
/// # Errors
/// Says what is expected.
pub(crate) fn number(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("expected a number, got {text:?}"))
}

/// A timer in seconds: nothing is off, 0 burns on read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timer(pub(crate) Option<u64>);

/// Parses `off`, `read` or a span.
///
/// # Errors
/// Says what is expected.
pub(crate) fn timer(text: &str) -> Result<Timer, String> {
    if text == "off" {
        Ok(Timer(None))
    } else {
        burn(text).map(|s| Timer(Some(s)))
    }
}

/// Parses `read` (0) or a span of at least a second.
///
/// # Errors
/// Says what is expected.
pub(crate) fn burn(text: &str) -> Result<u64, String> {
    match text {
        "read" => Ok(0),
        text => match seconds(text)? {
            0 => Err("a timer of nothing is called `read`".to_owned()),
            seconds => Ok(seconds),
        },
    }
}

/// Parses `off` or a span of at least a second, after which something ends that nobody uses.
///
/// # Errors
/// Says what is expected.
pub(crate) fn idle(text: &str) -> Result<Timer, String> {
    match text {
        "off" => Ok(Timer(None)),
        text => match seconds(text).map_err(|e| format!("{e}; `off` means never"))? {
            0 => Err("no time at all; `off` means never".to_owned()),
            seconds => Ok(Timer(Some(seconds))),
        },
    }
}

/// A dead-man time in days: nothing is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Days(pub(crate) Option<u32>);

/// Parses `off` or a span of whole days.
///
/// # Errors
/// Says what is expected.
pub(crate) fn days(text: &str) -> Result<Days, String> {
    match text {
        "off" => Ok(Days(None)),
        text => whole_days(text).map(|days| Days(Some(days))),
    }
}

/// Parses a span of whole days, one at least.
///
/// # Errors
/// Says what is expected.
pub(crate) fn whole_days(text: &str) -> Result<u32, String> {
    let seconds = seconds(text)?;
    match u32::try_from(seconds / 86_400) {
        Ok(days @ 1..) if seconds.is_multiple_of(86_400) => Ok(days),
        _ => Err(format!("expected whole days, like 14d; got {text:?}")),
    }
}

/// The shortest exact text of a span: `90s`, `1h`.
pub(crate) fn text(seconds: u64) -> String {
    for (unit, in_unit) in [("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60)] {
        if seconds >= in_unit && seconds.is_multiple_of(in_unit) {
            return format!("{}{unit}", seconds / in_unit);
        }
    }
    format!("{seconds}s")
}

/// What is left, in at most two figures: `3d 4h`, `1:05`, `9s`.
pub(crate) fn left(seconds: u64) -> String {
    match seconds {
        0..=59 => format!("{seconds}s"),
        60..=3_599 => format!("{}:{:02}", seconds / 60, seconds % 60),
        3_600..=86_399 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A wall time (unix milliseconds) as `2026-11-28 20:25` in this system's time zone.
pub(crate) fn local(unix_ms: u64) -> String {
    let unix_s = i64::try_from(unix_ms / 1_000).unwrap_or(0);
    let local_s = unix_s.saturating_add(platform::utc_offset_s(unix_s));
    wall(u64::try_from(local_s).unwrap_or(0).saturating_mul(1_000))
}

/// A wall time as `2026-11-28 20:25` in UTC.
fn wall(unix_ms: u64) -> String {
    let seconds = unix_ms / 1_000;
    let (year, month, day) = civil(seconds / 86_400);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}",
        seconds % 86_400 / 3_600,
        seconds % 3_600 / 60
    )
}

/// Days since 1970 as year, month, day (Howard Hinnant's algorithm, for days that are not negative).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written() {
        for (given, expected) in [
            ("30s", 30),
            ("5m", 300),
            ("1h", 3_600),
            ("7d", 604_800),
            ("4w", 2_419_200),
        ] {
            assert_eq!(seconds(given), Ok(expected));
        }
        for bad in [
            "",
            "s",
            "30",
            "1.5h",
            "-1s",
            "+1s",
            "1 h",
            "1y",
            "99999999999999999999w",
            "9999999999999999999w",
            "1é",
        ] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        assert_eq!(
            (text(90), text(3_600), text(604_800)),
            ("90s".into(), "1h".into(), "1w".into())
        );
        assert_eq!(
            (left(9), left(65), left(3_700), left(90_000)),
            ("9s".into(), "1:05".into(), "1h 1m".into(), "1d 1h".into())
        );
        assert_eq!(timer("off"), Ok(Timer(None)));
        assert_eq!(
            (days("off"), days("2w")),
            (Ok(Days(None)), Ok(Days(Some(14))))
        );
        assert!(days("0d").is_err() && days("36h").is_err() && whole_days("off").is_err());
    }

    #[test]
    fn wall_times_are_written() {
        assert_eq!(wall(0), "1970-01-01 00:00");
        assert_eq!(wall(951_782_400_000), "2000-02-29 00:00");
        assert_eq!(wall(1_795_897_500_000), "2026-11-28 20:25");
    }
}
