//! Sizes and spans of time as people write them in recipes and policies.
//!
//! The notation is strict, because a misread unit is a limit that is off by a factor: units of sizes are binary
//! and say so (`KiB`, `MiB`, `GiB`, `TiB`; no unit means bytes), `KB` and `MB` are refused since half of the world
//! reads them one way and half the other. Numbers are whole. Spans are hours, minutes and seconds, largest first.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::text::quote;

/// Implements `Serialize` and `Deserialize` as the text of `Display` and `FromStr`.
macro_rules! as_text {
    ($type:ty, $expected:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}
pub(crate) use as_text;

/// For `serde(serialize_with)`: a time as seconds with a fraction, the form in which every report has it.
///
/// # Errors
/// When the serializer fails.
pub fn as_seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    // Microseconds are finer than anything measured here, and keep the number short.
    serializer.serialize_f64(time.as_micros() as f64 / 1e6)
}

/// Why a text is not a size or a span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a {kind}: {problem}; write it {example}", quote(.text))]
pub struct UnitError {
    text: String,
    kind: &'static str,
    problem: &'static str,
    example: &'static str,
}

/// A number of bytes, written `256MiB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Size(u64);

const SIZE_UNITS: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

impl Size {
    /// That many bytes.
    #[must_use]
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// That many times 2^10 bytes.
    #[must_use]
    pub const fn kib(n: u32) -> Self {
        Self((n as u64) << 10)
    }

    /// That many times 2^20 bytes.
    #[must_use]
    pub const fn mib(n: u32) -> Self {
        Self((n as u64) << 20)
    }

    /// That many times 2^30 bytes.
    #[must_use]
    pub const fn gib(n: u32) -> Self {
        Self((n as u64) << 30)
    }

    /// In bytes.
    #[must_use]
    pub const fn as_bytes(self) -> u64 {
        self.0
    }

    /// For people: three digits and a unit, such as `1.4 MiB`.
    #[must_use]
    pub fn rounded(self) -> String {
        for (unit, factor) in SIZE_UNITS {
            if self.0 >= factor {
                return format!("{:.1} {unit}", self.0 as f64 / factor as f64);
            }
        }
        format!("{} bytes", self.0)
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_size(text).map(Size).map_err(|problem| UnitError {
            text: text.to_owned(),
            kind: "size",
            problem,
            example: "like \"256MiB\" (KiB, MiB, GiB, TiB, or bytes without a unit)",
        })
    }
}

fn parse_size(text: &str) -> Result<u64, &'static str> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number = whole_number(number)?;
    if unit.is_empty() {
        return Ok(number);
    }
    if matches!(
        unit,
        "K" | "M" | "G" | "T" | "KB" | "MB" | "GB" | "TB" | "kB" | "k" | "m" | "g" | "t"
    ) {
        return Err("its unit is ambiguous");
    }
    if unit.starts_with('.') {
        return Err("only whole numbers are accepted");
    }
    let (_, factor) = SIZE_UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or("its unit is unknown")?;
    number.checked_mul(*factor).ok_or("it is too large")
}

fn whole_number(digits: &str) -> Result<u64, &'static str> {
    if digits.is_empty() {
        return Err("it does not begin with a digit");
    }
    if digits.len() > 1 && digits.starts_with('0') {
        return Err("it begins with a needless 0");
    }
    digits.parse().map_err(|_| "it is too large")
}

impl fmt::Display for Size {
    /// With the largest unit that gives a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in SIZE_UNITS {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return f.pad(&format!("{}{unit}", self.0 / factor));
            }
        }
        f.pad(&self.0.to_string())
    }
}

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

as_text!(Size, "a size such as \"256MiB\", in quotation marks");

/// A span of time in whole seconds, written `1h30m`. At most a year.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(u64);

const SPAN_UNITS: [(char, u64); 3] = [('h', 3600), ('m', 60), ('s', 1)];

/// A year, so that adding a span to an instant cannot overflow anywhere.
const SPAN_MAX: u64 = 365 * 24 * 3600;

impl Span {
    /// That many seconds. Constants only; text is parsed.
    #[must_use]
    pub const fn seconds(n: u32) -> Self {
        assert!(n as u64 <= SPAN_MAX, "a span is at most a year");
        Self(n as u64)
    }

    /// That many minutes. Constants only; text is parsed.
    #[must_use]
    pub const fn minutes(n: u16) -> Self {
        Self::seconds(n as u32 * 60)
    }

    /// That many hours. Constants only; text is parsed.
    #[must_use]
    pub const fn hours(n: u8) -> Self {
        Self::seconds(n as u32 * 3600)
    }

    /// As the standard library's type.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.duration()
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_span(text).map(Span).map_err(|problem| UnitError {
            text: text.to_owned(),
            kind: "span of time",
            problem,
            example: "like \"30m\", \"90s\" or \"1h30m\"",
        })
    }
}

fn parse_span(text: &str) -> Result<u64, &'static str> {
    let mut units = SPAN_UNITS.iter();
    let mut rest = text;
    let mut seconds: u64 = 0;
    while !rest.is_empty() || seconds == 0 && rest.len() == text.len() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let number = whole_number(number)?;
        let unit = tail.chars().next().ok_or("it has no unit")?;
        let (_, factor) = units
            .find(|(name, _)| *name == unit)
            .ok_or("its units are not h, m and s in this order, each at most once")?;
        seconds = number
            .checked_mul(*factor)
            .and_then(|part| seconds.checked_add(part))
            .ok_or("it is too long")?;
        rest = &tail[unit.len_utf8()..];
    }
    if seconds > SPAN_MAX {
        return Err("it is longer than a year");
    }
    Ok(seconds)
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.pad("0s");
        }
        let mut text = String::new();
        let mut rest = self.0;
        for (unit, factor) in SPAN_UNITS {
            if rest >= factor {
                text.push_str(&format!("{}{unit}", rest / factor));
                rest %= factor;
            }
        }
        f.pad(&text)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

as_text!(Span, "a span of time such as \"30m\", in quotation marks");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes, shown) in [
            ("0", 0, "0"),
            ("1000", 1000, "1000"),
            ("1024", 1024, "1KiB"),
            ("64KiB", 65536, "64KiB"),
            ("256MiB", 256 << 20, "256MiB"),
            ("1024MiB", 1 << 30, "1GiB"),
            ("16TiB", 16 << 40, "16TiB"),
            ("18446744073709551615", u64::MAX, "18446744073709551615"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.as_bytes(), size.to_string().as_str()), (bytes, shown));
        }
    }

    #[test]
    fn units_confusion_overflow_and_fractions_are_refused() {
        for text in [
            "",
            "MiB",
            "1KB",
            "1K",
            "1MB",
            "1gib",
            "1 MiB",
            "1.5GiB",
            "-1",
            "+1",
            "1e9",
            "0x10",
            "08",
            " 1",
            "1 ",
            "18446744073709551616",
            "16777216TiB",
            "1GiBs",
            "1B",
            "１MiB",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text:?} was accepted");
        }
        assert_eq!(
            "10MB".parse::<Size>().unwrap_err().to_string(),
            "\"10MB\" is not a size: its unit is ambiguous; write it like \"256MiB\" (KiB, MiB, GiB, TiB, or bytes without a unit)"
        );
    }

    #[test]
    fn spans_are_read_and_shown() {
        for (text, seconds, shown) in [
            ("0s", 0, "0s"),
            ("90s", 90, "1m30s"),
            ("15m", 900, "15m"),
            ("1h30m", 5400, "1h30m"),
            ("2h", 7200, "2h"),
            ("1h0m5s", 3605, "1h5s"),
            ("8760h", 31_536_000, "8760h"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(
                (span.duration(), span.to_string().as_str()),
                (Duration::from_secs(seconds), shown)
            );
        }
    }

    #[test]
    fn spans_without_unit_out_of_order_or_too_long_are_refused() {
        for text in [
            "",
            "30",
            "m",
            "30M",
            "30min",
            "1m1h",
            "1h1h",
            "1.5h",
            "-1m",
            "+1m",
            "1 m",
            "1h 30m",
            " 1m",
            "8761h",
            "99999999999999999999s",
            "9999999999999999999h",
            "1d",
            "100ms",
            "1h30",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn numbers_without_quotation_marks_are_refused() {
        assert!(serde_json::from_str::<Size>("1024").is_err());
        assert!(serde_json::from_str::<Span>("60").is_err());
        assert_eq!(
            serde_json::from_str::<Size>("\"1KiB\"").unwrap(),
            Size::kib(1)
        );
        assert_eq!(
            serde_json::from_str::<Span>("\"60s\"").unwrap(),
            Span::minutes(1)
        );
    }

    #[test]
    fn rounded_sizes_are_for_people() {
        assert_eq!(Size::bytes(999).rounded(), "999 bytes");
        assert_eq!(Size::bytes(1_468_006).rounded(), "1.4 MiB");
    }

    #[test]
    fn every_size_and_span_reads_back_as_it_is_shown() {
        let mut numbers =
            (0..64).flat_map(|bit| [1_u64 << bit, (1 << bit) - 1, (1 << bit) + 1, 3 << bit]);
        assert!(numbers.all(|bytes| Size(bytes).to_string().parse() == Ok(Size(bytes))));
        for seconds in (0..=SPAN_MAX)
            .step_by(997)
            .chain([0, 1, 59, 60, 61, 3599, 3600, 3601, SPAN_MAX])
        {
            assert_eq!(Span(seconds).to_string().parse(), Ok(Span(seconds)));
        }
    }
}
