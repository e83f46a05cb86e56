//! Prints the date of the machine it runs on, the way `date -u` does in the C locale.
//!
//! The entry point is called `/bin/date`, so that a pod's script runs the same program in this package and in a
//! virtual machine image. Hand-written, because a time library makes the program five times as large.

use std::time::{SystemTime, UNIX_EPOCH};

const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [(&str, u64); 12] = [
    ("Jan", 31),
    ("Feb", 28),
    ("Mar", 31),
    ("Apr", 30),
    ("May", 31),
    ("Jun", 30),
    ("Jul", 31),
    ("Aug", 31),
    ("Sep", 30),
    ("Oct", 31),
    ("Nov", 30),
    ("Dec", 31),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!(
        "{}",
        date(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
    );
    Ok(())
}

/// Seconds since 1970 as `Sat Nov 21 07:15:29 UTC 2026`.
fn date(seconds: u64) -> String {
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let weekday = WEEKDAYS[(days % 7) as usize];
    let (year, month, day) = civil(days);
    format!(
        "{weekday} {month} {day:2} {:02}:{:02}:{:02} UTC {year}",
        time / 3600,
        time / 60 % 60,
        time % 60
    )
}

/// Year, month and day of the month, from days since 1970.
fn civil(mut days: u64) -> (u64, &'static str, u64) {
    let mut year = 1970;
    while days >= 365 + leap(year) {
        days -= 365 + leap(year);
        year += 1;
    }
    for (name, length) in MONTHS {
        let length = length + if name == "Feb" { leap(year) } else { 0 };
        if days < length {
            return (year, name, days + 1);
        }
        days -= length;
    }
    unreachable!("the months of a year have as many days as the year")
}

/// Days that a year has more than 365.
fn leap(year: u64) -> u64 {
    u64::from(year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)))
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn prints_what_date_prints() {
        assert_eq!(date(0), "Thu Jan  1 00:00:00 UTC 1970");
        assert_eq!(date(951_782_400), "Tue Feb 29 00:00:00 UTC 2000");
        assert_eq!(date(1_795_245_329), "Sat Nov 21 07:15:29 UTC 2026");
        assert_eq!(date(4_107_542_399), "Sun Feb 28 23:59:59 UTC 2100");
        assert_eq!(date(4_107_542_400), "Mon Mar  1 00:00:00 UTC 2100");
    }
}
