//! The log: one line an event, for people or as JSON, to standard error.

use lavina_core::{
    log::{Level, Log},
    time::UnixMillis,
};
use std::{
    fmt::{self, Write as _},
    io::Write as _,
    sync::atomic::{AtomicU8, Ordering},
};

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Writes log lines. Shared by all threads; level and format may change while it runs.
#[derive(Debug)]
pub struct Logger {
    level: AtomicU8,
    json: AtomicU8,
}

/// The level below [`Level::Error`]: nothing is told.
const SILENT: u8 = 0;

impl Logger {
    /// Tells lines up to `level`; `None`: none.
    pub fn new(level: Option<Level>, format: Format) -> Logger {
        let log = Logger { level: AtomicU8::new(SILENT), json: AtomicU8::new(0) };
        log.set(level, format);
        log
    }

    /// Changes both.
    pub fn set(&self, level: Option<Level>, format: Format) {
        self.level.store(level.map_or(SILENT, rank), Ordering::Relaxed);
        self.json.store(u8::from(format == Format::Json), Ordering::Relaxed);
    }

    /// Whether a line of that level is told.
    pub fn tells(&self, level: Level) -> bool {
        rank(level) <= self.level.load(Ordering::Relaxed)
    }

    /// Writes a line, with the time it has now.
    pub fn write(&self, log: &Log) {
        if !self.tells(log.level) {
            return;
        }
        let format = if self.json.load(Ordering::Relaxed) == 1 { Format::Json } else { Format::Text };
        let mut line = String::with_capacity(128);
        render(&mut line, log, crate::clock::wall(), format);
        // A log that cannot be written is no reason to stop serving.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    /// Writes a line that has no fields.
    pub fn say(&self, level: Level, what: &'static str) {
        self.write(&Log::new(level, what));
    }
}

fn rank(level: Level) -> u8 {
    match level {
        Level::Error => 1,
        Level::Warn => 2,
        Level::Info => 3,
        Level::Debug => 4,
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
    }
}

fn render(line: &mut String, log: &Log, at: UnixMillis, format: Format) {
    // Writing into a string cannot fail.
    let _ = match format {
        Format::Text => text(line, log, at),
        Format::Json => json(line, log, at),
    };
    line.push('\n');
}

fn text(line: &mut String, log: &Log, at: UnixMillis) -> fmt::Result {
    write!(line, "{} {:<5} {}", Utc(at), word(log.level), log.what)?;
    for (name, value) in &log.fields {
        let value: &str = value;
        if !value.is_empty() && value.chars().all(|c| c.is_ascii_graphic() && c != '"') {
            write!(line, " {name}={value}")?;
        } else {
            write!(line, " {name}=")?;
            quoted(line, value)?;
        }
    }
    Ok(())
}

fn json(line: &mut String, log: &Log, at: UnixMillis) -> fmt::Result {
    write!(line, "{{\"time\":\"{}\",\"level\":\"{}\",\"what\":", Utc(at), word(log.level))?;
    quoted(line, log.what)?;
    for (name, value) in &log.fields {
        line.push(',');
        quoted(line, name)?;
        line.push(':');
        quoted(line, value)?;
    }
    line.push('}');
    Ok(())
}

/// A JSON string (RFC 8259 §7), which also keeps what a terminal would obey out of the log.
fn quoted(line: &mut String, value: &str) -> fmt::Result {
    line.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => {
                line.push('\\');
                line.push(c);
            }
            c if c.is_control() => write!(line, "\\u{:04x}", u32::from(c))?,
            c => line.push(c),
        }
    }
    line.push('"');
    Ok(())
}

/// A time as RFC 3339 has it, in UTC with milliseconds.
struct Utc(UnixMillis);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.0 / 1_000, self.0.0 % 1_000);
        let (days, of_day) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let (h, m, s) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{millis:03}Z")
    }
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar counted in
/// eras of 400 years that begin with March.
fn civil(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097;
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / ERA, shifted % ERA);
    let of_year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / (ERA - 1)) / 365;
    let day_of_year = of_era - (365 * of_year + of_year / 4 - of_year / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + of_year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(log: &Log, format: Format) -> String {
        let mut out = String::new();
        render(&mut out, log, UnixMillis(1_772_323_199_042), format);
        out
    }

    #[test]
    fn lines() {
        let log = Log::new(Level::Warn, "login refused").with("why", "no \"such\"\x1b one").with("conn", 7);
        assert_eq!(
            line(&log, Format::Text),
            "2026-02-28T23:59:59.042Z warn  login refused why=\"no \\\"such\\\"\\u001b one\" conn=7\n"
        );
        assert_eq!(
            line(&log, Format::Json),
            "{\"time\":\"2026-02-28T23:59:59.042Z\",\"level\":\"warn\",\"what\":\"login refused\",\
             \"why\":\"no \\\"such\\\"\\u001b one\",\"conn\":\"7\"}\n"
        );
    }

    #[test]
    fn dates() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (11_016, (2000, 2, 29)),
            (20_148, (2025, 3, 1)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(days), date);
        }
    }

    #[test]
    fn levels() {
        let log = Logger::new(None, Format::Text);
        assert!(!log.tells(Level::Error));
        log.set(Some(Level::Info), Format::Json);
        assert!(log.tells(Level::Info) && !log.tells(Level::Debug));
    }
}
