//! Amounts and times as people read them; exact ones stand in `--json` and in the audit log.

use std::time::Duration;

use sovr_capability::Amount;

/// Digits after the point of an amount: what a fraction of a second on a provider costs still shows.
const DIGITS: usize = 6;

/// `0.034112 GLM`: cut at 6 digits after the point, never shown as nothing when it is something.
pub(crate) fn money(amount: Amount) -> String {
    format!("{} GLM", number(amount))
}

/// The same without the token's name, for columns that name it in their heading.
pub(crate) fn number(amount: Amount) -> String {
    let exact = amount.to_string();
    let Some((whole, part)) = exact
        .split_once('.')
        .filter(|(_, part)| part.len() > DIGITS)
    else {
        return exact;
    };
    let kept = part[..DIGITS].trim_end_matches('0');
    match (whole, kept) {
        ("0", "") => format!("<0.{:0>DIGITS$}", 1),
        (_, "") => whole.to_owned(),
        _ => format!("{whole}.{kept}"),
    }
}

/// `34 ms`, `3.1 s`, `2 min 05 s`, `1 h 02 min`.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.subsec_millis()),
        1..60 => format!("{:.1} s", duration.as_secs_f64().min(59.9)),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// `1 task`, `2 tasks`.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short_but_never_nothing() {
        for (exact, shown) in [
            ("0", "0 GLM"),
            ("10", "10 GLM"),
            ("0.034112987", "0.034112 GLM"),
            ("0.25", "0.25 GLM"),
            ("3.000000001", "3 GLM"),
            ("0.000000000000000001", "<0.000001 GLM"),
        ] {
            assert_eq!(money(exact.parse().unwrap()), shown);
        }
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        for (milliseconds, shown) in [
            (0, "0 ms"),
            (34, "34 ms"),
            (999, "999 ms"),
            (3_140, "3.1 s"),
            (59_990, "59.9 s"),
            (125_000, "2 min 05 s"),
            (3_720_000, "1 h 02 min"),
            (90_000_000, "25 h 00 min"),
        ] {
            assert_eq!(time(Duration::from_millis(milliseconds)), shown);
        }
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(count(1, "task", "tasks"), "1 task");
        assert_eq!(count(0, "task", "tasks"), "0 tasks");
    }
}
