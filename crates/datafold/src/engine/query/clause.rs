//! The small notations of a request: columns, sort keys and aggregates.

use super::super::error::QueryError;
use crate::model::{AggregateCall, FieldName};

/// `field`, or `name = expression`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: FieldName,
    /// The expression; a field is the expression of its name.
    pub(super) source: String,
}

impl Column {
    pub(super) fn parse(place: &str, text: &str) -> Result<Self, QueryError> {
        let (name, source) = split_name(text).unwrap_or((text.trim(), text.trim()));
        let name = FieldName::parse(name).map_err(|error| QueryError::InvalidClause {
            place: place.to_owned(),
            rule: format!("{error}; write a field, or `name = expression`"),
        })?;
        Ok(Self { name, source: source.to_owned() })
    }
}

/// Splits `name = expression`; `=` alone is no operator of the language.
fn split_name(text: &str) -> Option<(&str, &str)> {
    let (name, source) = text.split_once('=')?;
    if source.starts_with('=') {
        return None;
    }
    FieldName::parse(name.trim()).ok().map(|_| (name.trim(), source.trim()))
}

/// `expression`, behind it `asc` or `desc` and `nulls first` or `nulls last`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SortKey {
    pub(super) source: String,
    pub(super) descending: bool,
    /// Whether nulls come first, if it is said; else they do where it ascends.
    pub(super) nulls_first: Option<bool>,
}

impl SortKey {
    pub(super) fn parse(text: &str) -> Self {
        let mut rest = text.trim();
        let mut nulls_first = None;
        for (words, first) in [("first", true), ("last", false)] {
            if let Some(before) = without_word(rest, words)
                && let Some(before) = without_word(before, "nulls")
            {
                (rest, nulls_first) = (before, Some(first));
                break;
            }
        }
        let mut descending = false;
        if let Some(before) = without_word(rest, "desc") {
            (rest, descending) = (before, true);
        } else if let Some(before) = without_word(rest, "asc") {
            rest = before;
        }
        Self { source: rest.to_owned(), descending, nulls_first }
    }

    /// Whether nulls come first.
    pub(super) fn has_nulls_first(&self) -> bool {
        self.nulls_first.unwrap_or(!self.descending)
    }
}

/// What stands before the word at the end of a text, if both are there.
fn without_word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let at = text.len().checked_sub(word.len())?;
    let (before, found) = text.split_at_checked(at)?;
    let is_word = found.eq_ignore_ascii_case(word) && before.ends_with(char::is_whitespace);
    let before = before.trim_end();
    (is_word && !before.is_empty()).then_some(before)
}

/// `name = function(expression)`; `count` also without an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Aggregate {
    pub(super) name: FieldName,
    pub(super) call: AggregateCall,
}

impl Aggregate {
    pub(super) fn parse(place: &str, text: &str) -> Result<Self, QueryError> {
        let wrong = |rule: String| QueryError::InvalidClause { place: place.to_owned(), rule };
        let (name, call) = split_name(text).ok_or_else(|| {
            wrong("must have a name, as in `n = count()` or `longest = max(distance)`".into())
        })?;
        let call = AggregateCall::parse(call).map_err(|rule| {
            let hint = "; `select` computes with the results, as in `share = late / n`";
            wrong(if rule.contains("nothing else") { rule + hint } else { rule })
        })?;
        if call.kind.has_order() {
            let name = call.kind.as_str();
            return Err(wrong(format!(
                "`{name}` is for computed fields; in a query sort and limit the records"
            )));
        }
        let name = FieldName::parse(name).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { name, call })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_fields_or_have_a_name() {
        let column = |text| Column::parse("select[0]", text);
        assert_eq!(column(" carrier ").unwrap().source, "carrier");
        let speed = column("speed = distance / air_time * 60").unwrap();
        assert_eq!((speed.name.as_str(), &*speed.source), ("speed", "distance / air_time * 60"));
        assert_eq!(column("is_far=distance >= 1000").unwrap().source, "distance >= 1000");
        for text in ["a == b", "", "distance / 2", "1 = a", "let = 1"] {
            assert!(column(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sort_keys_have_words_behind_them() {
        for (text, source, descending, nulls_first) in [
            ("a", "a", false, None),
            ("a desc", "a", true, None),
            ("a  ASC nulls last", "a", false, Some(false)),
            ("upper(a) desc nulls first", "upper(a)", true, Some(true)),
            ("a nulls last", "a", false, Some(false)),
            ("desc", "desc", false, None),
            ("nulls last", "nulls last", false, None),
            ("described", "described", false, None),
        ] {
            let expected = SortKey { source: source.into(), descending, nulls_first };
            assert_eq!(SortKey::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn aggregates_are_one_call() {
        let aggregate = |text| Aggregate::parse("aggregates[0]", text);
        assert_eq!(aggregate("n = count( )").unwrap().call.to_string(), "count()");
        for (text, rule) in [
            ("count()", "name"),
            ("n = total(x)", "none of"),
            ("n = sum()", "needs an expression"),
            ("n = sum(a) + sum(b)", "one call"),
            ("n = first(a, b)", "computed fields"),
        ] {
            assert!(aggregate(text).unwrap_err().to_string().contains(rule), "{text}");
        }
    }
}
