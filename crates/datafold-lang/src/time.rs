//! Moments and lengths of time, in microseconds.

use std::fmt;

use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;
use jiff::{Span, Timestamp};

const MICROS: i64 = 1_000_000;
const DAY_SECONDS: i64 = 86_400;
const DAY_MICROS: i64 = DAY_SECONDS * MICROS;
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// Days from 1970-01-01 to a date.
fn days_of(date: Date) -> i64 {
    date.duration_since(EPOCH.date()).as_secs() / DAY_SECONDS
}

/// A moment, in microseconds since 1970-01-01T00:00:00Z, in the years 0000 to 9999 of UTC.
///
/// It has no zone: the offset of a parsed text is applied and not kept. Leap seconds are not
/// counted.
///
/// Source: RFC 3339, section 5.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

impl Time {
    /// 0000-01-01T00:00:00Z.
    pub const MIN: Time = Time(-62_167_219_200 * MICROS);
    /// 9999-12-31T23:59:59.999999Z.
    pub const MAX: Time = Time(253_402_300_800 * MICROS - 1);

    /// The moment that many microseconds after 1970-01-01T00:00:00Z, if it is in the years 0000
    /// to 9999.
    #[must_use]
    pub fn from_micros(micros: i64) -> Option<Self> {
        let time = Self(micros);
        (Self::MIN..=Self::MAX).contains(&time).then_some(time)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Reads an RFC 3339 date and time with `Z` or an offset; `None` if it is none, has a fraction
    /// finer than a microsecond, or a second 60.
    ///
    /// ```
    /// use datafold_lang::Time;
    ///
    /// let time = Time::parse("2013-01-01T05:15:00.25+01:00").unwrap();
    /// assert_eq!(time.to_string(), "2013-01-01T04:15:00.250000Z");
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = Fields(text.as_bytes());
        let days = days_of(fields.date()?);
        fields.one_of(b"Tt ")?;
        let micros = fields.time_of_day()? - fields.offset()? * MICROS;
        if fields.0.is_empty() { Self::from_micros(days * DAY_MICROS + micros) } else { None }
    }

    /// What the clocks of UTC show.
    pub(crate) fn to_utc(self) -> Option<DateTime> {
        if let Ok(timestamp) = Timestamp::from_microsecond(self.0) {
            return Some(Offset::UTC.to_datetime(timestamp));
        }
        // The last hours of the year 9999, in which the zones of jiff have no room.
        let (days, micros) = (self.0.div_euclid(DAY_MICROS), self.0.rem_euclid(DAY_MICROS));
        let midnight = EPOCH.checked_add(Span::new().try_days(days).ok()?).ok()?;
        midnight.checked_add(Span::new().try_microseconds(micros).ok()?).ok()
    }

    /// The moment at which the clocks of UTC show this.
    pub(crate) fn of_utc(clock: DateTime) -> Option<Self> {
        let (date, time) = (clock.date(), clock.time());
        let seconds = i64::from(time.hour()) * 3600
            + i64::from(time.minute()) * 60
            + i64::from(time.second());
        let micros = i64::from(time.subsec_nanosecond()) / 1000;
        Self::from_micros(days_of(date) * DAY_MICROS + seconds * MICROS + micros)
    }
}

/// `2013-01-01T05:15:00Z`, with six digits of a fraction if there is one.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(civil) = self.to_utc() else { return Err(fmt::Error) };
        let micros = self.0.rem_euclid(MICROS);
        let (date, clock) = (civil.date(), civil.time());
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            date.year(),
            date.month(),
            date.day(),
            clock.hour(),
            clock.minute(),
            clock.second()
        )?;
        if micros != 0 {
            write!(f, ".{micros:06}")?;
        }
        f.write_str("Z")
    }
}

/// What a clock shows: a date and time without zone and offset, or a date, which is its midnight.
pub(crate) fn parse_clock(text: &str) -> Option<DateTime> {
    let mut fields = Fields(text.as_bytes());
    let midnight = fields.date()?.to_datetime(jiff::civil::Time::midnight());
    if fields.0.is_empty() {
        return Some(midnight);
    }
    fields.one_of(b"Tt ")?;
    let micros = fields.time_of_day()?;
    let span = Span::new().try_microseconds(micros).ok()?;
    if fields.0.is_empty() { midnight.checked_add(span).ok() } else { None }
}

/// A length of time, in microseconds; it may be negative. A day is 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(i64);

impl Duration {
    /// So many microseconds.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Its microseconds.
    #[must_use]
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Reads numbers with the units `w d h m s ms us`, largest first, such as `1h30m` or `-90s`, or
    /// an ISO 8601 duration of weeks, days, hours, minutes and seconds, such as `P1DT12H`. Only a
    /// number of seconds may have a fraction.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (is_negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let size = match text.strip_prefix('P') {
            Some(rest) => parse_iso(rest)?,
            None => parse_units(text, &UNITS)?,
        };
        let micros = if is_negative {
            0_i64.checked_sub_unsigned(size)
        } else {
            0_i64.checked_add_unsigned(size)
        };
        micros.map(Self)
    }
}

/// Microseconds of a second, for sizes that have no sign.
const SECOND: u64 = 1_000_000;
const UNITS: [(&str, u64); 7] = [
    ("w", 7 * 86_400 * SECOND),
    ("d", 86_400 * SECOND),
    ("h", 3600 * SECOND),
    ("m", 60 * SECOND),
    ("s", SECOND),
    ("ms", 1000),
    ("us", 1),
];
const ISO_DATE: [(&str, u64); 2] = [("W", 7 * 86_400 * SECOND), ("D", 86_400 * SECOND)];
const ISO_TIME: [(&str, u64); 3] = [("H", 3600 * SECOND), ("M", 60 * SECOND), ("S", SECOND)];

fn parse_iso(text: &str) -> Option<u64> {
    let Some((date, time)) = text.split_once('T') else { return parse_units(text, &ISO_DATE) };
    let date = if date.is_empty() { 0 } else { parse_units(date, &ISO_DATE)? };
    date.checked_add(parse_units(time, &ISO_TIME)?)
}

/// Numbers with units, each unit at most once, in their order; at least one.
fn parse_units(mut text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let mut total = 0_u64;
    let mut units = units.iter();
    if text.is_empty() {
        return None;
    }
    while !text.is_empty() {
        let (digits, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
        let (fraction, rest) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?),
            None => ("", rest),
        };
        let is_point = rest.len() + digits.len() + fraction.len() < text.len();
        let (unit, rest) =
            rest.split_at(rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len()));
        let (_, micros) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(digits.parse::<u64>().ok()?.checked_mul(*micros)?)?;
        if is_point {
            if *micros != SECOND || fraction.is_empty() || fraction.len() > 6 {
                return None;
            }
            total = total.checked_add(format!("{fraction:0<6}").parse().ok()?)?;
        }
        text = rest;
    }
    Some(total)
}

/// ISO 8601 in hours, minutes and seconds: `PT36H`, `-PT0.500000S`, `PT0S`.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.unsigned_abs();
        let (seconds, micros) = (size / 1_000_000, size % 1_000_000);
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        f.write_str(if self.0 < 0 { "-PT" } else { "PT" })?;
        if hours > 0 {
            write!(f, "{hours}H")?;
        }
        if minutes > 0 {
            write!(f, "{minutes}M")?;
        }
        match micros {
            0 if seconds > 0 || size == 0 => write!(f, "{seconds}S"),
            0 => Ok(()),
            _ => write!(f, "{seconds}.{micros:06}S"),
        }
    }
}

/// A reader of fixed-width fields.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.0 = rest;
        Some(digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    fn one_of(&mut self, allowed: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        allowed.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    /// A date of the calendar, such as `2013-01-01`.
    fn date(&mut self) -> Option<Date> {
        let year = self.digits(4)?;
        self.one_of(b"-")?;
        let month = self.digits(2)?;
        self.one_of(b"-")?;
        let day = self.digits(2)?;
        let short = |number| i8::try_from(number).ok();
        Date::new(i16::try_from(year).ok()?, short(month)?, short(day)?).ok()
    }

    /// The microseconds since midnight of a time such as `05:15:00.25`.
    fn time_of_day(&mut self) -> Option<i64> {
        let hour = self.digits(2)?;
        self.one_of(b":")?;
        let minute = self.digits(2)?;
        self.one_of(b":")?;
        let second = self.digits(2)?;
        let micros = self.fraction()?;
        let fits = hour <= 23 && minute <= 59 && second <= 59;
        fits.then_some((hour * 3600 + minute * 60 + second) * MICROS + micros)
    }

    /// The microseconds of a fraction, if there is one.
    fn fraction(&mut self) -> Option<i64> {
        if self.one_of(b".").is_none() {
            return Some(0);
        }
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        if digits.is_empty() || digits.iter().skip(6).any(|digit| *digit != b'0') {
            return None;
        }
        let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(6);
        Some(padded.fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0')))
    }

    /// The seconds by which the clock of the text is ahead of UTC.
    fn offset(&mut self) -> Option<i64> {
        let sign = match self.one_of(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Some(0),
        };
        let hours = self.digits(2)?;
        self.one_of(b":")?;
        let minutes = self.digits(2)?;
        (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back_as_they_were_printed() {
        for micros in [Time::MIN.0, Time::MAX.0, 0, -1, 1_357_013_700_250_000, 951_827_696_000_000]
        {
            let time = Time(micros);
            assert_eq!(Time::parse(&time.to_string()), Some(time), "{time}");
        }
        assert_eq!(Time::from_micros(Time::MAX.0 + 1), None);
        for wrong in [
            "2013-01-01",
            "2013-01-01T00:00:00",
            "2013-02-29T00:00:00Z",
            "2013-01-01T24:00:00Z",
            "2013-01-01T00:00:60Z",
            "2013-01-01T00:00:00.0000001Z",
            "2013-01-01T00:00:00Zx",
            "0000-01-01T00:00:00+01:00",
            "2013-01-01T00:00:00.Z",
            "",
        ] {
            assert_eq!(Time::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn clocks_have_no_zone() {
        let shown = |text| parse_clock(text).map(|clock| clock.to_string());
        assert_eq!(shown("2013-02-28").as_deref(), Some("2013-02-28T00:00:00"));
        assert_eq!(shown("2013-01-01t05:15:00.25").as_deref(), Some("2013-01-01T05:15:00.25"));
        for wrong in [
            "2013-01-01T05:15:00Z",
            "2013-01-01T05:15:00+01:00",
            "2013-01-01[Europe/Berlin]",
            "2013-01-01T05:15",
            "2013-01-01T05:15:60",
            "20130101",
            "2013-02-29",
            "2013-01-01T",
        ] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_read_back_as_they_were_printed() {
        for micros in [0, 1, -1, 5_400_000_000, i64::MAX, i64::MIN, 60_000_000, 86_400_000_000] {
            let duration = Duration(micros);
            assert_eq!(Duration::parse(&duration.to_string()), Some(duration), "{duration}");
        }
        let minutes = |text| Duration::parse(text).map(|found| found.0 / 60_000_000);
        for (text, expected) in
            [("1h30m", 90), ("P1DT1H", 1500), ("2w", 20160), ("-90m", -90), ("PT60.0S", 1)]
        {
            assert_eq!(minutes(text), Some(expected), "{text}");
        }
        assert_eq!(Duration::parse("1.5s").map(|found| found.0), Some(1_500_000));
        for wrong in
            ["", "1", "h", "1m1h", "1h1h", "1.5h", "P", "PT", "P1Y", "1x", "99999999w", "1.s", "é"]
                .into_iter()
                .chain(["--1s", "PT9223372036854.775808S", "-PT9223372036854.775809S"])
        {
            assert_eq!(Duration::parse(wrong), None, "{wrong}");
        }
    }
}
