//! Moments as people write them.

use crate::data_layer::{CommitNumber, Moment};
use crate::model::Timestamp;

/// The text is not a moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a moment: use a commit number, an RFC 3339 time such as \
     2013-01-01T05:15:00Z, or a time ago such as -2h (units w, d, h, m, s, ms)"
)]
pub struct MomentError {
    /// The text as given.
    pub text: String,
}

/// Reads a commit number, an RFC 3339 time, or a time before `now` such as `-1h30m`.
///
/// # Errors
///
/// [`MomentError`] for anything else.
pub fn parse_moment(text: &str, now: Timestamp) -> Result<Moment, MomentError> {
    let error = || MomentError { text: text.to_owned() };
    if let Some(ago) = text.strip_prefix('-') {
        let micros = ago_micros(ago).ok_or_else(error)?;
        let then = now.as_micros().checked_sub(micros).ok_or_else(error)?;
        return Ok(Moment::Time(Timestamp::from_micros(then)));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = text.parse().map_err(|_| error())?;
        return Ok(Moment::Commit(CommitNumber(number)));
    }
    Timestamp::parse(text).map(Moment::Time).map_err(|_| error())
}

/// The microseconds of `1w2d3h4m5s6ms`, each unit at most once and in this order.
fn ago_micros(mut text: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 6] = [
        ("w", 7 * 24 * 3600 * 1_000_000),
        ("d", 24 * 3600 * 1_000_000),
        ("h", 3600 * 1_000_000),
        ("m", 60 * 1_000_000),
        ("s", 1_000_000),
        ("ms", 1_000),
    ];
    let mut total: i64 = 0;
    let mut units = UNITS.iter();
    while !text.is_empty() {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = text.split_at(digits);
        let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, rest) = rest.split_at(letters);
        let (_, micros) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(*micros)?)?;
        text = rest;
    }
    (total > 0).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        let now = Timestamp::parse("2013-01-02T00:00:00Z").unwrap();
        let read = |text| parse_moment(text, now);
        assert_eq!(read("42"), Ok(Moment::Commit(CommitNumber(42))));
        let time = |text| Ok(Moment::Time(Timestamp::parse(text).unwrap()));
        assert_eq!(read("2013-01-01T05:15:00Z"), time("2013-01-01T05:15:00Z"));
        assert_eq!(read("2013-01-01T05:15:00+01:00"), time("2013-01-01T04:15:00Z"));
        assert_eq!(read("-2h"), time("2013-01-01T22:00:00Z"));
        assert_eq!(read("-1d12h"), time("2012-12-31T12:00:00Z"));
        assert_eq!(read("-90m"), time("2013-01-01T22:30:00Z"));
        for wrong in ["", "-", "-2", "-h", "-2h3d", "-2x", "yesterday", "4.2", "-99999999999w"] {
            assert_eq!(read(wrong), Err(MomentError { text: wrong.into() }), "{wrong}");
        }
    }
}
