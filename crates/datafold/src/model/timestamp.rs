//! Moments in time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const MICROS: i64 = 1_000_000;
const DAY_SECONDS: i64 = 86_400;

/// Why a text is not an RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not an RFC 3339 time: {rule}", cut(text))]
pub struct TimestampError {
    /// The text as given.
    pub text: String,
    /// The rule that it breaks.
    pub rule: TimestampRule,
}

impl TimestampError {
    /// A name of the broken rule that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.rule {
            TimestampRule::Form => "time_form",
            TimestampRule::NoOffset => "time_no_offset",
            TimestampRule::NoSuchDate => "time_no_such_date",
            TimestampRule::NoSuchTime => "time_no_such_time",
            TimestampRule::LeapSecond => "time_leap_second",
            TimestampRule::TooFine => "time_too_fine",
            TimestampRule::OutOfRange => "time_out_of_range",
        }
    }
}

/// A rule of RFC 3339, or of [`Timestamp`], that a text breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampRule {
    /// It is not a date, `T` and a time.
    #[error("expected the form 2013-01-01T05:15:00Z")]
    Form,
    /// It does not say which zone its clock is in.
    #[error("it needs `Z` or an offset such as +01:00 at the end")]
    NoOffset,
    /// The calendar does not have the day.
    #[error("the calendar has no such day")]
    NoSuchDate,
    /// The day does not have the time, or the offset is a day or more.
    #[error("hours go to 23, minutes and seconds to 59")]
    NoSuchTime,
    /// Second 60, which this count of microseconds does not have.
    #[error("leap seconds cannot be kept")]
    LeapSecond,
    /// It would have to be rounded.
    #[error("it is finer than a microsecond")]
    TooFine,
    /// In UTC it is not in the years 0000 to 9999.
    #[error("in UTC it is outside the years 0000 to 9999")]
    OutOfRange,
}

fn cut(text: &str) -> String {
    let cut: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().nth(40).is_some() { cut + "…" } else { cut }
}

/// A moment, in microseconds since 1970-01-01T00:00:00Z.
///
/// It has no zone: the offset of a parsed text is applied and not kept. Leap seconds are not
/// counted. Every `i64` is a moment; [`Timestamp::MIN`] to [`Timestamp::MAX`] is what RFC 3339 can
/// write, and only these are parsed.
///
/// ```
/// use datafold::model::Timestamp;
///
/// let time = Timestamp::parse("2013-01-01T05:15:00.25+01:00")?;
/// assert_eq!(time.as_micros(), 1_357_013_700_250_000);
/// assert_eq!(time.to_string(), "2013-01-01T04:15:00.250000Z");
/// # Ok::<(), datafold::model::TimestampError>(())
/// ```
///
/// Source: RFC 3339, section 5.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 0000-01-01T00:00:00Z, the first moment that RFC 3339 can write.
    pub const MIN: Timestamp = Timestamp(-62_167_219_200 * MICROS);
    /// 9999-12-31T23:59:59.999999Z, the last moment that RFC 3339 can write.
    pub const MAX: Timestamp = Timestamp(253_402_300_800 * MICROS - 1);

    /// The moment that many microseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// As [`Timestamp::from_micros`], if RFC 3339 can write the moment.
    #[must_use]
    pub fn from_micros_checked(micros: i64) -> Option<Self> {
        let time = Self(micros);
        (Self::MIN..=Self::MAX).contains(&time).then_some(time)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Reads an RFC 3339 date and time with `Z` or an offset.
    ///
    /// `T` and `Z` may be small, and a blank may stand for `T`. More than six fractional digits
    /// are read if the rest are zeros.
    ///
    /// # Errors
    ///
    /// A [`TimestampError`] that names the rule. Nothing is rounded: a fraction finer than a
    /// microsecond and a leap second are refused.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        parse(text.as_bytes()).map_err(|rule| TimestampError { text: text.to_owned(), rule })
    }
}

/// A reader of fixed-width fields.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn digits(&mut self, count: usize) -> Result<i64, TimestampRule> {
        let (digits, rest) = self.0.split_at_checked(count).ok_or(TimestampRule::Form)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(TimestampRule::Form);
        }
        self.0 = rest;
        Ok(digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    fn one_of(&mut self, allowed: &[u8]) -> Result<u8, TimestampRule> {
        match self.0.split_first() {
            Some((first, rest)) if allowed.contains(first) => {
                self.0 = rest;
                Ok(*first)
            }
            _ => Err(TimestampRule::Form),
        }
    }

    /// The microseconds of a fraction, if there is one.
    fn fraction(&mut self) -> Result<i64, TimestampRule> {
        if self.one_of(b".").is_err() {
            return Ok(0);
        }
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at_checked(count).ok_or(TimestampRule::Form)?;
        self.0 = rest;
        if digits.is_empty() {
            return Err(TimestampRule::Form);
        }
        if digits.iter().skip(6).any(|digit| *digit != b'0') {
            return Err(TimestampRule::TooFine);
        }
        let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(6);
        Ok(padded.fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0')))
    }

    /// The seconds by which the clock of the text is ahead of UTC.
    fn offset(&mut self) -> Result<i64, TimestampRule> {
        if self.0.is_empty() {
            return Err(TimestampRule::NoOffset);
        }
        let sign = match self.one_of(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Ok(0),
        };
        let hours = self.digits(2)?;
        self.one_of(b":")?;
        let minutes = self.digits(2)?;
        if hours > 23 || minutes > 59 {
            return Err(TimestampRule::NoSuchTime);
        }
        Ok(sign * (hours * 3600 + minutes * 60))
    }
}

fn parse(text: &[u8]) -> Result<Timestamp, TimestampRule> {
    let mut fields = Fields(text);
    let year = fields.digits(4)?;
    fields.one_of(b"-")?;
    let month = fields.digits(2)?;
    fields.one_of(b"-")?;
    let day = fields.digits(2)?;
    fields.one_of(b"Tt ")?;
    let hour = fields.digits(2)?;
    fields.one_of(b":")?;
    let minute = fields.digits(2)?;
    fields.one_of(b":")?;
    let second = fields.digits(2)?;
    let micros = fields.fraction()?;
    let offset = fields.offset()?;
    if !fields.0.is_empty() {
        return Err(TimestampRule::Form);
    }
    if !(1..=12).contains(&month) || !(1..=month_days(year, month)).contains(&day) {
        return Err(TimestampRule::NoSuchDate);
    }
    if hour > 23 || minute > 59 || second > 60 {
        return Err(TimestampRule::NoSuchTime);
    }
    if second == 60 {
        return Err(TimestampRule::LeapSecond);
    }
    let seconds = days_of_date(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second;
    Timestamp::from_micros_checked((seconds - offset) * MICROS + micros)
        .ok_or(TimestampRule::OutOfRange)
}

fn month_days(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar. A year is counted from
/// March, so that the leap day is its last.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
fn days_of_date(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_of_date`]: year, month and day.
fn date_of_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// `2013-01-01T05:15:00Z`, with six fractional digits if they are not zero. Outside the years 0000
/// to 9999 the year has a sign and as many digits as it needs.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_euclid(MICROS);
        let micros = self.0.rem_euclid(MICROS);
        let (year, month, day) = date_of_days(seconds.div_euclid(DAY_SECONDS));
        let second = seconds.rem_euclid(DAY_SECONDS);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        if (0..=9999).contains(&year) {
            write!(f, "{year:04}")?;
        } else {
            write!(f, "{year:+05}")?;
        }
        write!(f, "-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if micros != 0 {
            write!(f, ".{micros:06}")?;
        }
        f.write_str("Z")
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        Self::parse(text)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(text: &str) -> TimestampRule {
        Timestamp::parse(text).unwrap_err().rule
    }

    #[test]
    fn the_accepted_forms() {
        for (text, printed) in [
            ("2013-01-01T05:15:00Z", "2013-01-01T05:15:00Z"),
            ("2013-01-01t05:15:00z", "2013-01-01T05:15:00Z"),
            ("2013-01-01 05:15:00-05:30", "2013-01-01T10:45:00Z"),
            ("2013-01-01T05:15:00.1234560000Z", "2013-01-01T05:15:00.123456Z"),
            ("1969-12-31T23:59:59.999999-00:00", "1969-12-31T23:59:59.999999Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
            ("2000-02-29T00:00:00+23:59", "2000-02-28T00:01:00Z"),
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), printed, "{text}");
        }
    }

    #[test]
    fn each_rule_is_named() {
        assert_eq!(rule("2013-01-01T05:15:00"), TimestampRule::NoOffset);
        assert_eq!(rule("2013-01-01T05:15:00.5"), TimestampRule::NoOffset);
        assert_eq!(rule("2013-02-29T05:15:00Z"), TimestampRule::NoSuchDate);
        assert_eq!(rule("1900-02-29T05:15:00Z"), TimestampRule::NoSuchDate);
        assert_eq!(rule("2013-13-01T05:15:00Z"), TimestampRule::NoSuchDate);
        assert_eq!(rule("2013-01-01T24:00:00Z"), TimestampRule::NoSuchTime);
        assert_eq!(rule("2013-01-01T05:15:00+24:00"), TimestampRule::NoSuchTime);
        assert_eq!(rule("2016-12-31T23:59:60Z"), TimestampRule::LeapSecond);
        assert_eq!(rule("2013-01-01T05:15:00.1234567Z"), TimestampRule::TooFine);
        assert_eq!(rule("0000-01-01T00:00:00+00:01"), TimestampRule::OutOfRange);
        assert_eq!(rule("9999-12-31T23:59:59-00:01"), TimestampRule::OutOfRange);
        for text in ["", "x", "2013-01-01", "2013-1-1T05:15:00Z", "2013-01-01T05:15Z"] {
            assert_eq!(rule(text), TimestampRule::Form, "{text}");
        }
        for text in ["2013-01-01T05:15:00.Z", "2013-01-01T05:15:00Z ", "２013-01-01T05:15:00Z"] {
            assert_eq!(rule(text), TimestampRule::Form, "{text}");
        }
        let error = Timestamp::parse("no\ntime").unwrap_err().to_string();
        assert!(error.starts_with("`no\\ntime` is not an RFC 3339 time: expected"), "{error}");
    }

    #[test]
    fn every_moment_can_be_printed() {
        assert_eq!(Timestamp::from_micros(i64::MIN).to_string(), "-290308-12-21T19:59:05.224192Z");
        assert_eq!(Timestamp::from_micros(i64::MAX).to_string(), "+294247-01-10T04:00:54.775807Z");
        assert_eq!(Timestamp::from_micros_checked(Timestamp::MAX.0 + 1), None);
    }

    proptest! {
        #[test]
        fn moments_are_read_back(micros in Timestamp::MIN.0..=Timestamp::MAX.0) {
            let time = Timestamp::from_micros(micros);
            prop_assert_eq!(Timestamp::parse(&time.to_string()), Ok(time));
        }

        /// jiff's calendar agrees wherever its own range allows.
        #[test]
        fn the_calendar_is_right(
            micros in jiff::Timestamp::MIN.as_microsecond()..=jiff::Timestamp::MAX.as_microsecond()
        ) {
            let theirs = jiff::Timestamp::from_microsecond(micros).unwrap();
            let ours = Timestamp::from_micros(micros);
            let civil = jiff::tz::TimeZone::UTC.to_datetime(theirs);
            let date = (civil.year().into(), civil.month().into(), civil.day().into());
            prop_assert_eq!(date_of_days(micros.div_euclid(MICROS * DAY_SECONDS)), date);
            if civil.year() >= 0 {
                prop_assert_eq!(ours.to_string().parse::<jiff::Timestamp>().unwrap(), theirs);
                prop_assert_eq!(Timestamp::parse(&theirs.to_string()), Ok(ours));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-0-9TZ:.+ é]{0,30}") {
            let _ = Timestamp::parse(&text);
        }
    }
}
