//! Dates and times (XEP-0082), from and to milliseconds since 1970 in UTC. Pure: no clock is read.

const DAY: i64 = 86_400_000;

/// The latest time that is written with a year of four digits: the last millisecond of 9999.
pub const MAX_MILLIS: i64 = 253_402_300_799_999;

/// The time as `2026-11-25T04:29:20.123Z`; times outside of the years 0–9999 become the nearest one inside.
pub fn format(millis: i64) -> String {
    let millis = millis.clamp(-62_167_219_200_000, MAX_MILLIS);
    let (year, month, day) = date(millis.div_euclid(DAY));
    let (hour, minute, second, fraction) = clock(millis.rem_euclid(DAY));
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z")
}

/// The time in the form of XEP-0091 (`20261125T04:29:20`), which old clients still read.
pub fn format_legacy(millis: i64) -> String {
    let text = format(millis);
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    format!("{}T{}", date.replace('-', ""), time.split('.').next().unwrap_or(""))
}

/// The milliseconds of a profile `CCYY-MM-DDThh:mm:ss[.sss]TZD`; none if it is no such date.
///
/// `TZD` is `Z` or an offset. Digits past the milliseconds are dropped; a leap second is the second after it.
pub fn parse(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', 't'])?;
    let &[year, month, day] = numbers(date, '-', &[4, 2, 2])?.as_slice() else { return None };
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    let (time, offset) = zone(time)?;
    let (time, fraction) = time.split_once('.').map_or((time, None), |(t, f)| (t, Some(f)));
    let &[hour, minute, second] = numbers(time, ':', &[2, 2, 2])?.as_slice() else { return None };
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    Some(seconds * 1000 + fraction.map_or(Some(0), milliseconds)?)
}

/// The offset in seconds at the end of a time, and what comes before it.
fn zone(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let at = time.rfind(['+', '-'])?;
    let (time, zone) = (time.get(..at)?, time.get(at..)?);
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let &[hours, minutes] = numbers(zone.get(1..)?, ':', &[2, 2])?.as_slice() else { return None };
    (hours <= 23 && minutes <= 59).then_some((time, sign * (hours * 3600 + minutes * 60)))
}

/// Numbers of fixed widths with a separator between them.
fn numbers(text: &str, separator: char, widths: &[usize]) -> Option<arrayvec::ArrayVec<i64, 3>> {
    let mut parts = text.split(separator);
    let mut out = arrayvec::ArrayVec::new();
    for width in widths {
        let part = parts.next().filter(|p| p.len() == *width && p.bytes().all(|b| b.is_ascii_digit()))?;
        out.try_push(part.parse().ok()?).ok()?;
    }
    parts.next().is_none().then_some(out)
}

fn milliseconds(fraction: &str) -> Option<i64> {
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(fraction.bytes().chain(*b"000").take(3).fold(0, |n, b| n * 10 + i64::from(b - b'0')))
}

/// Days since 1970 of a date of the Gregorian calendar, counted in eras of 400 years that begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date that many days after 1970 began.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

fn clock(of_day: i64) -> (i64, i64, i64, i64) {
    (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60, of_day % 1000)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments() {
        for (text, millis) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("1969-07-21T02:56:15.000Z", -14_159_025_000),
            ("2000-02-29T23:59:59.999Z", 951_868_799_999),
            ("2026-11-25T04:29:20.123Z", 1_795_580_960_123),
            ("9999-12-31T23:59:59.999Z", MAX_MILLIS),
            ("0000-01-01T00:00:00.000Z", -62_167_219_200_000),
        ] {
            assert_eq!(format(millis), text);
            assert_eq!(parse(text), Some(millis), "{text}");
        }
        assert_eq!(format(i64::MAX), format(MAX_MILLIS));
        assert_eq!(format_legacy(1_795_580_960_123), "20261125T04:29:20");
    }

    #[test]
    fn offsets_fractions_and_leap_seconds() {
        assert_eq!(parse("1969-07-20T21:56:15-05:00"), Some(-14_159_025_000));
        assert_eq!(parse("2002-09-10T23:41:07.5Z"), parse("2002-09-11T01:11:07.50001+01:30"));
        assert_eq!(parse("2016-12-31T23:59:60Z"), parse("2017-01-01T00:00:00Z"));
    }

    #[test]
    fn what_is_no_date() {
        for bad in [
            "",
            "T",
            "2026-11-25",
            "2026-11-25T04:29:20",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-1-1T0:0:0Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.xZ",
            "2026-01-01T00:00:00+24:00",
            "+026-01-01T00:00:00Z",
            "2026-01-01T00:00Z",
            "2026-01-01T00:00:00:00Z",
            "20260101T00:00:00",
            "2026-01-01T00:00:00é",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn writing_reads_back(millis in -62_167_219_200_000..=MAX_MILLIS) {
            prop_assert_eq!(parse(&format(millis)), Some(millis));
        }
    }
}
