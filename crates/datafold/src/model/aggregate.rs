//! Aggregates, as queries and computed fields write them.

use std::fmt;

/// What an aggregate computes of the values of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AggregateKind {
    /// How many records there are, or values that are not null.
    Count,
    /// How many different values there are besides null.
    CountDistinct,
    /// The exact sum, rounded once.
    Sum,
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The average.
    Average,
    /// The value of the record that comes first by an order.
    First,
    /// The value of the record that comes last by an order.
    Last,
}

const KINDS: [(&str, AggregateKind); 8] = [
    ("count", AggregateKind::Count),
    ("count_distinct", AggregateKind::CountDistinct),
    ("sum", AggregateKind::Sum),
    ("min", AggregateKind::Min),
    ("max", AggregateKind::Max),
    ("avg", AggregateKind::Average),
    ("first", AggregateKind::First),
    ("last", AggregateKind::Last),
];

impl AggregateKind {
    /// Its name in a call.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Whether the call has an order behind its expression.
    #[must_use]
    pub fn has_order(self) -> bool {
        matches!(self, AggregateKind::First | AggregateKind::Last)
    }
}

/// `function(expression)`; `count` also without an expression, `first` and `last` with an order
/// behind it, as in `last(price, sold_at)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregateCall {
    /// The function.
    pub kind: AggregateKind,
    /// The expression; only `count` may have none.
    pub source: Option<String>,
    /// The expression by which records are ordered.
    pub order: Option<String>,
}

impl AggregateCall {
    /// Reads a call.
    ///
    /// # Errors
    ///
    /// The rule that it breaks, in words that go behind the name of its place.
    pub fn parse(text: &str) -> Result<Self, String> {
        let known = || KINDS.map(|(name, _)| name).join(", ");
        let (function, behind) =
            text.split_once('(').ok_or_else(|| format!("must be a call of one of {}", known()))?;
        let function = function.trim();
        let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == function) else {
            return Err(format!("`{function}` is none of {}", known()));
        };
        let Some(arguments) = arguments(behind) else {
            return Err("must be one call and nothing else".to_owned());
        };
        let (source, order) = match &arguments[..] {
            [] if *kind == AggregateKind::Count => (None, None),
            [source] if !kind.has_order() => (Some(*source), None),
            [source, order] if kind.has_order() => (Some(*source), Some(*order)),
            _ if kind.has_order() => {
                return Err(format!(
                    "`{function}` needs an expression and an order in its parentheses, as in \
                     `{function}(price, sold_at)`"
                ));
            }
            [] => return Err(format!("`{function}` needs an expression in its parentheses")),
            _ => return Err(format!("`{function}` has one expression in its parentheses")),
        };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Ok(Self { kind: *kind, source: owned(source), order: owned(order) })
    }
}

/// As it is written: `avg(delay)`.
impl fmt::Display for AggregateCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.kind.as_str();
        match (&self.source, &self.order) {
            (None, _) => write!(f, "{name}()"),
            (Some(source), None) => write!(f, "{name}({source})"),
            (Some(source), Some(order)) => write!(f, "{name}({source}, {order})"),
        }
    }
}

/// The arguments in the parentheses whose first one was read, if the last one ends the text.
fn arguments(text: &str) -> Option<Vec<&str>> {
    let (mut depth, mut quote, mut escaped) = (0_u32, None, false);
    let (mut found, mut start) = (Vec::new(), 0);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(end), c) if c == end => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ',') if depth == 0 => {
                found.push(text.get(start..at)?.trim());
                start = at + 1;
            }
            (None, ')') if depth == 0 => {
                let last = text.get(start..at)?.trim();
                if !found.is_empty() || !last.is_empty() {
                    found.push(last);
                }
                let is_end = text.get(at..)?.trim_end() == ")";
                return (is_end && found.iter().all(|of| !of.is_empty())).then_some(found);
            }
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aggregates_are_one_call() {
        let count = AggregateCall::parse("count( )").unwrap();
        assert_eq!((count.source.as_deref(), count.to_string()), (None, "count()".into()));
        let average = AggregateCall::parse("avg(to_number(')' + x, 2) ?? f(1))").unwrap();
        assert_eq!(average.kind, AggregateKind::Average);
        assert_eq!(average.source.as_deref(), Some("to_number(')' + x, 2) ?? f(1)"));
        let last = AggregateCall::parse("last( [a, b], at ?? now )").unwrap();
        assert_eq!(last.to_string(), "last([a, b], at ?? now)");
        assert_eq!(AggregateCall::parse(&last.to_string()).unwrap(), last);
        for (text, rule) in [
            ("total(x)", "none of"),
            ("sum()", "needs an expression"),
            ("sum(a, b)", "one expression"),
            ("first(a)", "an order"),
            ("first(a, )", "one call"),
            ("sum(a) + sum(b)", "one call"),
            ("sum(a", "one call"),
            ("count", "call of"),
        ] {
            let found = AggregateCall::parse(text).unwrap_err();
            assert!(found.contains(rule), "{text}: {found}");
        }
    }
}
