//! Money: an exact, non-negative amount of GLM.
//!
//! GLM has 18 digits after the point, like every ERC-20 token, and about 10^9 GLM exist. An [`Amount`] counts the
//! smallest unit in an integer, so adding and subtracting are exact or fail. A general decimal type was tried and
//! rejected: with 28 digits in all it silently rounds when a large amount meets a small one. Floats never appear.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::text::quote;

/// Digits after the point.
pub const DECIMALS: usize = 18;

/// The smallest unit in one GLM.
const ONE: u128 = 10u128.pow(DECIMALS as u32);

/// An amount of GLM between 0 and [`Amount::MAX`], exact to 18 digits after the point.
///
/// Written and read as a decimal such as `0.25`; in JSON and TOML always as a string, never as a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(u128);

/// Why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not an amount of GLM: {problem}; write a decimal such as \"0.25\"", quote(.text))]
pub struct AmountError {
    text: String,
    problem: &'static str,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// 10^12 GLM, a thousand times what exists. Anything above is a mistake or an attack.
    pub const MAX: Self = Self(1_000_000_000_000 * ONE);

    /// Whole GLM, for constants of ours.
    #[must_use]
    pub const fn glm(whole: u32) -> Self {
        Self(whole as u128 * ONE)
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, unless it exceeds [`Amount::MAX`].
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).and_then(Self::checked)
    }

    /// The difference, unless it is negative.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The difference, or nothing if it is negative.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The product, unless it exceeds [`Amount::MAX`].
    #[must_use]
    pub fn checked_mul(self, factor: u64) -> Option<Self> {
        self.0.checked_mul(factor.into()).and_then(Self::checked)
    }

    /// What `time` costs when this amount is the price of one second. Rounded up at the 18th digit, so that what
    /// is reserved is never less than what will be owed.
    #[must_use]
    pub fn per_second(self, time: Duration) -> Option<Self> {
        let whole = self.0.checked_mul(time.as_secs().into())?;
        let part = self
            .0
            .checked_mul(time.subsec_nanos().into())?
            .div_ceil(1_000_000_000);
        whole.checked_add(part).and_then(Self::checked)
    }

    /// The sum of many, unless it exceeds [`Amount::MAX`].
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }

    fn checked(units: u128) -> Option<Self> {
        (units <= Self::MAX.0).then_some(Self(units))
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        parse(text).map_err(|problem| AmountError {
            text: text.to_owned(),
            problem,
        })
    }
}

fn parse(text: &str) -> Result<Amount, &'static str> {
    let (whole, part) = match text.split_once('.') {
        None => (text, ""),
        Some((_, "")) => return Err("no digit follows the point"),
        Some(split) => split,
    };
    if whole.is_empty() {
        return Err("no digit comes before the point");
    }
    if text.starts_with(['-', '+']) {
        return Err("signs are not accepted");
    }
    if !whole
        .bytes()
        .chain(part.bytes())
        .all(|b| b.is_ascii_digit())
    {
        return Err("only digits and one point are accepted");
    }
    if whole.len() > 1 && whole.starts_with('0') {
        return Err("it begins with a needless 0");
    }
    if part.len() > DECIMALS {
        return Err("it has more than 18 digits after the point");
    }
    let mut units: u128 = 0;
    for digit in whole
        .bytes()
        .chain(part.bytes())
        .chain(std::iter::repeat_n(b'0', DECIMALS - part.len()))
    {
        units = units
            .checked_mul(10)
            .and_then(|units| units.checked_add(u128::from(digit - b'0')))
            .ok_or("it is more than 10^12 GLM")?;
    }
    Amount::checked(units).ok_or("it is more than 10^12 GLM")
}

impl fmt::Display for Amount {
    /// Without needless zeros: `10`, `0.25`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / ONE, self.0 % ONE);
        if part == 0 {
            return f.pad(&whole.to_string());
        }
        let part = format!("{part:0DECIMALS$}");
        f.pad(&format!("{whole}.{}", part.trim_end_matches('0')))
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} GLM")
    }
}

crate::units::as_text!(Amount, "an amount of GLM such as \"0.25\"");

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        text.parse().unwrap()
    }

    #[test]
    fn decimals_are_exact_and_shown_without_needless_zeros() {
        for (text, shown) in [
            ("0", "0"),
            ("0.0", "0"),
            ("10.0", "10"),
            ("0.250", "0.25"),
            ("0.000000000000000001", "0.000000000000000001"),
            (
                "999999999.999999999999999999",
                "999999999.999999999999999999",
            ),
            ("1000000000000", "1000000000000"),
        ] {
            assert_eq!(amount(text).to_string(), shown);
        }
    }

    #[test]
    fn a_large_and_a_tiny_amount_add_without_rounding() {
        let sum = amount("999999999999")
            .checked_add(amount("0.000000000000000001"))
            .unwrap();
        assert_eq!(sum.to_string(), "999999999999.000000000000000001");
    }

    #[test]
    fn nan_price_signs_exponents_and_overflow_are_refused() {
        for text in [
            "NaN",
            "nan",
            "inf",
            "-1",
            "+1",
            "-0",
            "1e3",
            "1E3",
            "0x10",
            "",
            " 1",
            "1 ",
            "1_000",
            "1,5",
            ".5",
            "5.",
            ".",
            "1.2.3",
            "١",
            "1.0000000000000000001",
            "1000000000000.1",
            "007",
            "00",
            "340282366920938463463374607431768211456",
            "99999999999999999999999999999999999999999999999999",
        ] {
            assert!(text.parse::<Amount>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn the_error_names_the_text_escaped() {
        let error = "\u{1b}[2J1".parse::<Amount>().unwrap_err().to_string();
        assert_eq!(
            error,
            "\"\\u{1b}[2J1\" is not an amount of GLM: only digits and one point are accepted; write a decimal such as \"0.25\""
        );
    }

    #[test]
    fn nothing_wraps_below_zero_or_above_the_maximum() {
        assert_eq!(amount("1").checked_sub(amount("1.1")), None);
        assert_eq!(amount("1").saturating_sub(amount("1.1")), Amount::ZERO);
        assert_eq!(
            Amount::MAX.checked_add(amount("0.000000000000000001")),
            None
        );
        assert_eq!(Amount::MAX.checked_mul(u64::MAX), None);
        assert_eq!(Amount::MAX.per_second(Duration::MAX), None);
        assert_eq!(Amount::checked_sum([Amount::MAX, Amount::MAX]), None);
    }

    #[test]
    fn time_is_rounded_up_at_the_last_digit() {
        assert_eq!(
            amount("0.000000000000000001").per_second(Duration::from_nanos(1)),
            Some(amount("0.000000000000000001"))
        );
        assert_eq!(
            amount("0.5").per_second(Duration::from_millis(1500)),
            Some(amount("0.75"))
        );
        assert_eq!(amount("0.5").per_second(Duration::ZERO), Some(Amount::ZERO));
    }

    #[test]
    fn in_json_it_is_a_string_and_a_number_is_refused() {
        assert_eq!(serde_json::to_string(&amount("0.10")).unwrap(), "\"0.1\"");
        assert_eq!(
            serde_json::from_str::<Amount>("\"0.1\"").unwrap(),
            amount("0.1")
        );
        let error = serde_json::from_str::<Amount>("0.1")
            .unwrap_err()
            .to_string();
        assert!(error.contains("expected an amount of GLM"), "{error}");
    }

    /// Numbers that look random and are the same in every run, of all magnitudes.
    fn many() -> impl Iterator<Item = Amount> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let numbers = std::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        });
        let units = numbers
            .take(2000)
            .map(|n| (u128::from(n) * u128::from(n)) >> (n % 128));
        units
            .map(|units| Amount(units % (Amount::MAX.0 + 1)))
            .chain([Amount::ZERO, Amount(1), Amount::MAX])
    }

    #[test]
    fn every_amount_reads_back_as_it_is_shown() {
        for amount in many() {
            assert_eq!(amount.to_string().parse(), Ok(amount));
            assert_eq!(
                serde_json::from_str::<Amount>(&serde_json::to_string(&amount).unwrap()).unwrap(),
                amount
            );
        }
    }

    #[test]
    fn adding_and_subtracting_are_exact_inverses_and_keep_order() {
        let all: Vec<Amount> = many().collect();
        for (one, other) in all.iter().zip(all.iter().rev()) {
            match one.checked_add(*other) {
                Some(sum) => {
                    assert_eq!(sum.checked_sub(*other), Some(*one));
                    assert!(sum >= *one && other.checked_add(*one) == Some(sum));
                }
                None => assert!(
                    Amount::MAX
                        .checked_sub(*one)
                        .is_none_or(|left| left < *other)
                ),
            }
            assert_eq!(one.checked_sub(*other).is_some(), one >= other);
        }
    }

    #[test]
    fn a_price_never_falls_short_of_its_parts() {
        let spans = [
            Duration::from_nanos(1),
            Duration::from_millis(333),
            Duration::from_secs(7),
        ];
        for price in many().filter(|price| price.0 < ONE * 1000) {
            let parts =
                Amount::checked_sum(spans.iter().filter_map(|span| price.per_second(*span)))
                    .unwrap();
            let whole = price.per_second(spans.iter().sum()).unwrap();
            assert!(
                whole <= parts && parts.0 - whole.0 <= spans.len() as u128,
                "{price:?}"
            );
        }
    }
}
