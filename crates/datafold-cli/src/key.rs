//! Keys as people write them.

use std::fmt::Display;

use datafold::model::Value;

use crate::failure::{Exit, Failure};

/// Reads the parts of a key: a JSON array, a number or text in JSON, or any other text as it is.
///
/// What begins like an array or object and is none is an error of the command line: nobody means
/// it as a text.
pub(crate) fn parse_key(text: &str) -> Result<Vec<Value>, Failure> {
    match Value::parse_json(text) {
        Ok(Value::Array(parts)) => Ok(parts),
        Ok(scalar @ (Value::Int(_) | Value::Float(_) | Value::Text(_))) => Ok(vec![scalar]),
        Err(error) if text.trim_start().starts_with(['[', '{']) => {
            Err(no_key(text, format_args!("is no JSON: {error}")))
        }
        Ok(Value::Object(_)) => Err(no_key(text, "is an object, not a scalar or array")),
        _ => Ok(vec![Value::Text(text.to_owned())]),
    }
}

fn no_key(text: &str, why: impl Display) -> Failure {
    let failure = Failure::new(Exit::Usage, format!("the KEY `{text}` {why}"));
    failure.hint(r#"write a text that begins so in JSON, such as '"[a"'"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_json_or_text() {
        let parse_key = |text: &str| super::parse_key(text).unwrap();
        assert_eq!(parse_key("N14228"), ["N14228".into()]);
        assert_eq!(parse_key("1545"), [1545.into()]);
        assert_eq!(parse_key("-5"), [Value::Int(-5)]);
        assert_eq!(parse_key("\"06\""), ["06".into()]);
        assert_eq!(parse_key("06"), ["06".into()]);
        assert_eq!(parse_key("true"), ["true".into()]);
        assert_eq!(parse_key("2013-01-01T10:00:00Z"), ["2013-01-01T10:00:00Z".into()]);
        assert_eq!(parse_key("[\"UA\", 1545]"), ["UA".into(), 1545.into()]);
        assert_eq!(parse_key("[]"), []);
        assert_eq!(super::parse_key("[broken").unwrap_err().exit(), Exit::Usage);
    }
}
