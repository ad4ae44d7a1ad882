//! Functions of times and durations. Without a zone, times are those of UTC.

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};
use jiff::{Span, Timestamp};

use super::{Function, Returns, int, invalid, one, text};
use crate::diagnostic::{Checked, ErrorKind, Fault, quoted};
use crate::meter::Meter;
use crate::number::{self, Number, finite, overflow};
use crate::suggest::closest;
use crate::time::{Duration, Time, parse_clock};
use crate::types::Kinds;
use crate::value::Value;

const TEXT: Kinds = Kinds::TEXT;
const TIME: Kinds = Kinds::TIME;
const INT: Kinds = Kinds::INT;
const DURATION: Kinds = Kinds::DURATION;
const PART: &[(&str, Kinds)] = &[("time", TIME), ("zone", TEXT)];
const SHIFT: &[(&str, Kinds)] = &[("time", TIME), ("count", INT), ("zone", TEXT)];
const TO_INT: Returns = one(INT);
const TO_TIME: Returns = one(TIME);
const TO_NUMBER: Returns = one(Kinds::NUMBER);
/// Steps of a conversion into a zone and back.
const ZONE_STEPS: u64 = 20;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    Function::new("time", &[("text", TEXT), ("zone", TEXT)], 1, TO_TIME, time,
        "the time of an RFC 3339 text; with a zone, of a date or time without one"),
    Function::new("duration", &[("text", TEXT)], 1, one(DURATION), duration,
        "a length of time, such as `1h30m`, `2d` or `PT90S`"),
    Function::new("year", PART, 1, TO_INT, year, "the year"),
    Function::new("quarter", PART, 1, TO_INT, quarter, "the quarter, 1 to 4"),
    Function::new("month", PART, 1, TO_INT, month, "the month, 1 to 12"),
    Function::new("week", PART, 1, TO_INT, week, "the week of ISO 8601, 1 to 53"),
    Function::new("day", PART, 1, TO_INT, day, "the day of the month, 1 to 31"),
    Function::new("day_of_year", PART, 1, TO_INT, day_of_year, "the day of the year, 1 to 366"),
    Function::new("weekday", PART, 1, TO_INT, weekday, "the day of the week, 1 (Monday) to 7"),
    Function::new("hour", PART, 1, TO_INT, hour, "the hour, 0 to 23"),
    Function::new("minute", PART, 1, TO_INT, minute, "the minute, 0 to 59"),
    Function::new("second", PART, 1, TO_INT, second, "the second without its fraction, 0 to 59"),
    Function::new("truncate", &[("time", TIME), ("unit", TEXT), ("zone", TEXT)], 2, TO_TIME,
        truncate, "the start of its year, quarter, month, week, day, hour, minute or second"),
    Function::new("add_months", SHIFT, 2, TO_TIME, add_months,
        "so many months later; the last day of the month if there is no such day"),
    Function::new("add_days", SHIFT, 2, TO_TIME, add_days,
        "so many days later by the calendar, at the same time of day"),
    Function::new("format_time", &[("time", TIME), ("format", TEXT), ("zone", TEXT)], 2,
        one(TEXT), format_time, "as text, by the directives of `strftime`"),
    Function::new("unix_seconds", &[("time", TIME)], 1, TO_NUMBER, unix_seconds,
        "the seconds since 1970-01-01T00:00:00Z"),
    Function::new("from_unix", &[("seconds", Kinds::NUMBER)], 1, TO_TIME, from_unix,
        "the time so many seconds after 1970-01-01T00:00:00Z"),
    Function::new("seconds", &[("duration", DURATION)], 1, TO_NUMBER, seconds,
        "a duration in seconds"),
    Function::new("minutes", &[("duration", DURATION)], 1, TO_NUMBER, minutes, "in minutes"),
    Function::new("hours", &[("duration", DURATION)], 1, TO_NUMBER, hours, "in hours"),
    Function::new("days", &[("duration", DURATION)], 1, TO_NUMBER, days, "in days of 24 hours"),
];

fn moment(arguments: &[Value<'_>], at: usize) -> Time {
    match arguments.get(at) {
        Some(Value::Time(time)) => *time,
        _ => Time::MIN,
    }
}

fn out_of_range() -> Box<Fault> {
    Fault::new(ErrorKind::Overflow, "the time is not in the years 0000 to 9999")
}

/// The zone of this name: one of the time zone database that is part of the program, `UTC`, or an
/// offset such as `+01:00`.
fn zone(name: &str) -> Checked<TimeZone> {
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    if name.starts_with(['+', '-']) {
        return fixed(name).ok_or_else(|| no_zone(name));
    }
    TimeZoneDatabase::bundled().get(name).map_err(|_| no_zone(name))
}

fn no_zone(name: &str) -> Box<Fault> {
    let fault = invalid(format!("there is no time zone `{}`", quoted(name)));
    fault.hint("zones are called as in `America/New_York`, `UTC` or `+01:00`")
}

fn fixed(name: &str) -> Option<TimeZone> {
    let (hours, minutes) = name.get(1..)?.split_once(':')?;
    let part = |digits: &str| digits.parse().ok().filter(|_| digits.len() == 2);
    let (hours, minutes): (i32, i32) = (part(hours)?, part(minutes)?);
    let seconds = hours * 3600 + minutes * 60;
    let is_offset = (0..24).contains(&hours) && (0..60).contains(&minutes);
    let signed = if name.starts_with('-') { -seconds } else { seconds };
    let offset = is_offset.then(|| Offset::from_seconds(signed).ok())??;
    Some(TimeZone::fixed(offset))
}

/// A moment by the clocks of a zone.
struct Local {
    clock: DateTime,
    zone: TimeZone,
}

/// The time in the zone that the argument names.
fn local(meter: &mut Meter, arguments: &[Value<'_>], zone_at: usize) -> Checked<Local> {
    meter.steps(ZONE_STEPS)?;
    let zone = match arguments.get(zone_at) {
        Some(_) => zone(text(arguments, zone_at))?,
        None => TimeZone::UTC,
    };
    let time = moment(arguments, 0);
    // UTC by itself, since other zones end two days before the year 9999 does.
    let clock = match zone == TimeZone::UTC {
        true => time.to_utc(),
        false => Some(zone.to_datetime(timestamp(time)?)),
    };
    Ok(Local { clock: clock.ok_or_else(out_of_range)?, zone })
}

fn timestamp(time: Time) -> Checked<Timestamp> {
    Timestamp::from_microsecond(time.as_micros()).map_err(|_| out_of_range())
}

/// The moment at which the clocks of a zone show this; where they do so twice, the first one, and
/// where they never do, the one that would be if they had not been put forward.
fn at_clock<'a>(clock: DateTime, zone: &TimeZone) -> Checked<Value<'a>> {
    let time = match *zone == TimeZone::UTC {
        true => Time::of_utc(clock),
        false => {
            let zoned = zone.to_zoned_datetime(clock).map_err(|_| out_of_range())?;
            Time::from_micros(zoned.timestamp().as_microsecond())
        }
    };
    time.map(Value::Time).ok_or_else(out_of_range)
}

fn time<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let whole = text(arguments, 0);
    meter.read(whole.len() as u64)?;
    if arguments.len() < 2 {
        return Time::parse(whole).map(Value::Time).ok_or_else(|| not_time(whole));
    }
    meter.steps(ZONE_STEPS)?;
    let clock = parse_clock(whole).ok_or_else(|| {
        invalid(format!("`{}` is not a date or time without a zone", quoted(whole)))
            .hint("write it as 2013-01-01T05:15:00 or 2013-01-01")
    })?;
    at_clock(clock, &zone(text(arguments, 1))?)
}

pub(crate) fn not_time(text: &str) -> Box<Fault> {
    let fault = invalid(format!("`{}` is not an RFC 3339 time", quoted(text)));
    fault.hint("write it as 2013-01-01T05:15:00Z")
}

pub(crate) fn not_duration(text: &str) -> Box<Fault> {
    invalid(format!("`{}` is not a duration", quoted(text))).hint("write it as `1h30m` or `PT90S`")
}

fn duration<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let text = text(arguments, 0);
    meter.read(text.len() as u64)?;
    Duration::parse(text).map(Value::Duration).ok_or_else(|| not_duration(text))
}

macro_rules! parts {
    ($($name:ident $part:expr;)*) => {
        $(fn $name<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
            let part: fn(DateTime) -> i64 = $part;
            Ok(Value::Int(part(local(meter, arguments, 1)?.clock)))
        })*
    };
}

parts! {
    year |time| time.year().into();
    quarter |time| (i64::from(time.month()) + 2) / 3;
    month |time| time.month().into();
    week |time| time.iso_week_date().week().into();
    day |time| time.day().into();
    day_of_year |time| time.day_of_year().into();
    weekday |time| time.weekday().to_monday_one_offset().into();
    hour |time| time.hour().into();
    minute |time| time.minute().into();
    second |time| time.second().into();
}

const UNITS: [&str; 8] = ["year", "quarter", "month", "week", "day", "hour", "minute", "second"];

fn truncate<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let Local { clock, zone } = local(meter, arguments, 2)?;
    let date = clock.date();
    let start = match text(arguments, 1) {
        "year" => Date::new(date.year(), 1, 1),
        "quarter" => Date::new(date.year(), (date.month() - 1) / 3 * 3 + 1, 1),
        "month" => Ok(date.first_of_month()),
        "week" => monday(date),
        "day" => Ok(date),
        // Below a day, what has passed since is taken away: hours may be there twice in a day.
        unit @ ("hour" | "minute" | "second") => {
            let mut passed = i64::from(clock.subsec_nanosecond()) / 1000;
            if unit != "second" {
                passed += i64::from(clock.second()) * 1_000_000;
            }
            if unit == "hour" {
                passed += i64::from(clock.minute()) * 60_000_000;
            }
            let micros = moment(arguments, 0).as_micros() - passed;
            return Time::from_micros(micros).map(Value::Time).ok_or_else(out_of_range);
        }
        other => {
            let fault = invalid(format!("there is no unit `{}`", quoted(other)));
            let units = UNITS.join(", ");
            return Err(match closest(other, UNITS.into_iter()) {
                Some(unit) => fault.meant(Some(unit)),
                None => fault.hint(format!("units are {units}")),
            });
        }
    };
    at_clock(start.map_err(|_| out_of_range())?.to_datetime(jiff::civil::Time::midnight()), &zone)
}

fn monday(date: Date) -> Result<Date, jiff::Error> {
    let days = i64::from(date.weekday().since(Weekday::Monday));
    date.checked_sub(Span::new().try_days(days)?)
}

fn shifted<'a>(
    meter: &mut Meter,
    arguments: &[Value<'a>],
    span: fn(i64) -> Result<Span, jiff::Error>,
) -> Checked<Value<'a>> {
    let Local { clock, zone } = local(meter, arguments, 2)?;
    let span = span(int(arguments, 1).unwrap_or(0)).map_err(|_| out_of_range())?;
    at_clock(clock.checked_add(span).map_err(|_| out_of_range())?, &zone)
}

fn add_months<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    shifted(meter, arguments, |count| Span::new().try_months(count))
}

fn add_days<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    shifted(meter, arguments, |count| Span::new().try_days(count))
}

/// A directive with a width makes at most so many bytes of each of its own.
const DIRECTIVE_BYTES: u64 = 128;
/// The longest format.
const FORMAT_BYTES_MAX: usize = 256;

fn format_time<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let format = text(arguments, 1);
    if format.len() > FORMAT_BYTES_MAX {
        return Err(invalid(format!("a format has at most {FORMAT_BYTES_MAX} bytes")));
    }
    let Local { zone, .. } = local(meter, arguments, 2)?;
    let zoned = timestamp(moment(arguments, 0))?.to_zoned_datetime(zone);
    meter.bytes(format.len() as u64 * DIRECTIVE_BYTES)?;
    let text = jiff::fmt::strtime::format(format, &zoned);
    text.map(Value::from).map_err(|error| invalid(format!("the format is not one: {error}")))
}

fn unix_seconds<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let micros = Number::Int(moment(arguments, 0).as_micros());
    number::divide(micros, Number::Int(1_000_000))
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn from_unix<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    let micros = match arguments.first().and_then(Number::of) {
        Some(Number::Int(seconds)) => seconds.checked_mul(1_000_000),
        Some(Number::Float(seconds)) => {
            let micros = (seconds * 1e6).round();
            (micros.abs() < 9e18).then_some(micros as i64)
        }
        None => None,
    };
    micros.and_then(Time::from_micros).map(Value::Time).ok_or_else(out_of_range)
}

fn in_units<'a>(arguments: &[Value<'a>], unit: i64) -> Checked<Value<'a>> {
    let Some(Value::Duration(duration)) = arguments.first() else { return Err(overflow()) };
    match duration.as_micros() {
        micros if micros % unit == 0 => Ok(Value::Int(micros / unit)),
        micros => finite(micros as f64 / unit as f64),
    }
}

fn seconds<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    in_units(arguments, 1_000_000)
}

fn minutes<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    in_units(arguments, 60_000_000)
}

fn hours<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    in_units(arguments, 3_600_000_000)
}

fn days<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Checked<Value<'a>> {
    in_units(arguments, 86_400_000_000)
}
