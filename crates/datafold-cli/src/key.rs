//! Keys as people write them.

use datafold::model::Value;

/// Reads the parts of a key: a JSON array, a number or text in JSON, or any other text as it is.
pub(crate) fn parse_key(text: &str) -> Vec<Value> {
    match Value::parse_json(text) {
        Ok(Value::Array(parts)) => parts,
        Ok(scalar @ (Value::Int(_) | Value::Float(_) | Value::Text(_))) => vec![scalar],
        _ => vec![Value::Text(text.to_owned())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_json_or_text() {
        assert_eq!(parse_key("N14228"), ["N14228".into()]);
        assert_eq!(parse_key("1545"), [1545.into()]);
        assert_eq!(parse_key("-5"), [Value::Int(-5)]);
        assert_eq!(parse_key("\"06\""), ["06".into()]);
        assert_eq!(parse_key("06"), ["06".into()]);
        assert_eq!(parse_key("true"), ["true".into()]);
        assert_eq!(parse_key("2013-01-01T10:00:00Z"), ["2013-01-01T10:00:00Z".into()]);
        assert_eq!(parse_key("[\"UA\", 1545]"), ["UA".into(), 1545.into()]);
        assert_eq!(parse_key("[]"), []);
        assert_eq!(parse_key("[broken"), ["[broken".into()]);
    }
}
