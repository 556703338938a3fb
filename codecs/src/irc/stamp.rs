//! Timestamps of IRCv3 server-time: `YYYY-MM-DDThh:mm:ss.sssZ`, always UTC, leap seconds ignored.

/// Milliseconds of a day.
const DAY: u64 = 86_400_000;

/// The latest time with a four-digit year, in milliseconds since 1970.
pub const LATEST: u64 = 253_402_300_799_999;

/// Writes a time, given in milliseconds since 1970; later than [`LATEST`] is written as that.
#[must_use]
pub fn write(millis: u64) -> String {
    let millis = millis.min(LATEST);
    let (year, month, day) = date(millis / DAY);
    let (h, m, s, ms) = clock(millis);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
}

/// Reads a time; digits after the third of a fraction are dropped, a fraction may be missing.
#[must_use]
pub fn read(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let millis = fraction.bytes().chain(*b"00").take(3).fold(0, |n, d| n * 10 + u64::from(d - b'0'));
    let days = days(year, month, day)?;
    // 60 is a leap second; it counts as the one before.
    (hour < 24 && minute < 60 && second <= 60)
        .then(|| days * DAY + ((hour * 60 + minute) * 60 + second.min(59)) * 1000 + millis)
}

/// The time of day as `hh:mm`, for text that a person reads.
#[must_use]
pub fn hh_mm(millis: u64) -> String {
    let (h, m, ..) = clock(millis);
    format!("{h:02}:{m:02}")
}

/// Date and time in words, as TIME and the welcome say it.
#[must_use]
pub fn words(millis: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let millis = millis.min(LATEST);
    let (year, month, day) = date(millis / DAY);
    let (h, m, s, _) = clock(millis);
    let weekday = DAYS.get((millis / DAY % 7) as usize).copied().unwrap_or_default();
    let month = MONTHS.get((month - 1) as usize).copied().unwrap_or_default();
    format!("{weekday}, {day:02} {month} {year} {h:02}:{m:02}:{s:02} UTC")
}

fn clock(millis: u64) -> (u64, u64, u64, u64) {
    let s = millis / 1000;
    (s / 3600 % 24, s / 60 % 60, s % 60, millis % 1000)
}

/// Year, month and day of a number of days since 1970, counted in years that begin in March.
fn date(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Days since 1970 of a date; `None` if there is no such day or it lies before.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u64::from(leap),
        _ => 31,
    };
    if year < 1970 || !(1..=12).contains(&month) || !(1..=last).contains(&day) {
        return None;
    }
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let of_year = (153 * m + 2) / 5 + day - 1;
    Some(y * 365 + y / 4 - y / 100 + y / 400 + of_year - 719_468)
}

/// Three numbers of exactly so many digits.
fn numbers(text: &str, separator: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut out = [0; 3];
    let mut parts = text.split(separator);
    for (slot, len) in out.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != len || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *slot = part.parse().ok()?;
    }
    parts.next().is_none().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_times() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_546_612_406_123, "2019-01-04T14:33:26.123Z"),
            (LATEST, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(write(millis), text);
            assert_eq!(read(text), Some(millis));
        }
        assert_eq!(words(1_546_612_406_123), "Fri, 04 Jan 2019 14:33:26 UTC");
        assert_eq!(hh_mm(1_546_612_406_123), "14:33");
    }

    #[test]
    fn odd_forms() {
        assert_eq!(read("1970-01-01T00:00:01Z"), Some(1000));
        assert_eq!(read("1970-01-01T00:00:01.5Z"), Some(1500));
        assert_eq!(read("1970-01-01T00:00:01.123456Z"), Some(1123));
        for bad in [
            "",
            "1970-01-01",
            "1970-01-01T00:00:00.000",
            "1970-13-01T00:00:00.000Z",
            "1970-02-29T00:00:00.000Z",
            "1970-01-01T24:00:00.000Z",
            "1970-01-01T00:00:00.Z",
            "1969-12-31T23:59:59.999Z",
            "1970-1-1T00:00:00.000Z",
            "+970-01-01T00:00:00.000Z",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(millis in 0..=LATEST) {
            prop_assert_eq!(read(&write(millis)), Some(millis));
        }
    }
}
