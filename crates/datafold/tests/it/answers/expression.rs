//! Expressions as trees, printed for DataFold and for SQLite.

use std::collections::BTreeMap;

use datafold::model::Value;
use rusqlite::types::Value as Sql;

/// An expression; conditions are never null in either language.
#[derive(Debug, Clone)]
pub(super) enum Expression {
    Column(String),
    /// A field of another schema's record: the schema, its key and the field.
    Lookup {
        schema: String,
        key: Vec<(String, Expression)>,
        field: String,
    },
    Constant {
        value: Value,
        is_parameter: bool,
    },
    Arithmetic(&'static str, Box<Expression>, Box<Expression>),
    /// A quotient by a constant that is not 0.
    Quotient(Box<Expression>, Value),
    Join(Box<Expression>, Box<Expression>),
    Coalesce(Box<Expression>, Box<Expression>),
    Choice(Box<Expression>, Box<Expression>, Box<Expression>),
    Call(Function, Box<Expression>),
    /// What is true or false.
    Flag(Box<Expression>),
    Compare(&'static str, Box<Expression>, Box<Expression>),
    OneOf {
        of: Box<Expression>,
        values: Vec<Value>,
        is_parameter: bool,
    },
    StartsWith(Box<Expression>, String),
    Contains(Box<Expression>, String),
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Not(Box<Expression>),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Function {
    Length,
    FirstTwo,
    Abs,
    Hour,
    Day,
}

/// The parameters that an expression was printed with.
pub(super) type Parameters = BTreeMap<String, Value>;

fn join(parts: impl Iterator<Item = String>, between: &str) -> String {
    parts.collect::<Vec<_>>().join(between)
}

impl Expression {
    pub(super) fn column(name: &str) -> Self {
        Expression::Column(name.to_owned())
    }

    /// In the language of DataFold.
    pub(super) fn source(&self, parameters: &mut Parameters) -> String {
        use Expression as E;
        match self {
            E::Column(name) => name.clone(),
            E::Lookup { schema, key, field } => {
                let key = join(key.iter().map(|(_, part)| part.source(parameters)), ", ");
                format!("{schema}[{key}].{field}")
            }
            E::Constant { value, is_parameter } => constant(value, *is_parameter, parameters),
            E::Arithmetic(op, a, b) | E::Compare(op, a, b) => {
                let a = a.source(parameters);
                format!("({a} {op} {})", b.source(parameters))
            }
            E::Quotient(a, by) => format!("({} / {})", a.source(parameters), literal(by)),
            E::Join(a, b) => format!("({} + {})", a.source(parameters), b.source(parameters)),
            E::Coalesce(a, b) => format!("({} ?? {})", a.source(parameters), b.source(parameters)),
            E::Choice(condition, a, b) => {
                let (condition, a) = (condition.source(parameters), a.source(parameters));
                format!("({condition} ? {a} : {})", b.source(parameters))
            }
            E::Call(function, of) => {
                let of = of.source(parameters);
                match function {
                    Function::Length => format!("length({of})"),
                    Function::FirstTwo => format!("substring({of}, 0, 2)"),
                    Function::Abs => format!("abs({of})"),
                    Function::Hour => format!("hour({of})"),
                    Function::Day => format!("truncate({of}, \"day\")"),
                }
            }
            E::Flag(of) => of.source(parameters),
            E::OneOf { of, values, is_parameter: true } => {
                let list = constant(&Value::Array(values.clone()), true, parameters);
                format!("({} in {list})", of.source(parameters))
            }
            E::OneOf { of, values, .. } => {
                let values = join(values.iter().map(literal), ", ");
                format!("({} in [{values}])", of.source(parameters))
            }
            E::StartsWith(of, text) => {
                let of = of.source(parameters);
                format!("starts_with({of}, {})", literal(&text.as_str().into()))
            }
            E::Contains(of, text) => {
                let of = of.source(parameters);
                format!("contains({of}, {})", literal(&text.as_str().into()))
            }
            E::And(parts) => {
                format!("({})", join(parts.iter().map(|part| part.source(parameters)), " && "))
            }
            E::Or(parts) => {
                format!("({})", join(parts.iter().map(|part| part.source(parameters)), " || "))
            }
            E::Not(of) => format!("!({})", of.source(parameters)),
        }
    }

    /// As a value: a bool that is null stays null, where it counts as false in a condition.
    pub(super) fn value_sql(&self, bound: &mut Vec<Sql>) -> String {
        match self {
            Expression::Flag(of) => of.sql(bound),
            Expression::StartsWith(of, _) | Expression::Contains(of, _) => {
                let (of, condition) = (of.sql(bound), self.sql(bound));
                format!("(CASE WHEN {of} IS NOT NULL THEN {condition} END)")
            }
            other => other.sql(bound),
        }
    }

    /// In SQL, with the columns of the table `t`; `bound` are the values of `?1` and so on.
    pub(super) fn sql(&self, bound: &mut Vec<Sql>) -> String {
        use Expression as E;
        match self {
            E::Column(name) => format!("t.\"{name}\""),
            E::Lookup { schema, key, field } => {
                let key =
                    key.iter().map(|(name, part)| format!("l.\"{name}\" = {}", part.sql(bound)));
                let key = join(key, " AND ");
                format!("(SELECT l.\"{field}\" FROM \"{schema}\" AS l WHERE {key})")
            }
            E::Constant { value, .. } => bind(value, bound),
            E::Arithmetic(op, a, b) => {
                let a = a.sql(bound);
                format!("({a} {op} {})", b.sql(bound))
            }
            E::Quotient(a, by) => {
                let a = a.sql(bound);
                format!("(CAST({a} AS REAL) / {})", bind(by, bound))
            }
            E::Join(a, b) => format!("({} || {})", a.sql(bound), b.sql(bound)),
            E::Coalesce(a, b) => format!("COALESCE({}, {})", a.sql(bound), b.sql(bound)),
            E::Choice(condition, a, b) => {
                let (condition, a) = (condition.sql(bound), a.sql(bound));
                format!("(CASE WHEN {condition} THEN {a} ELSE {} END)", b.sql(bound))
            }
            E::Call(function, of) => {
                let of = of.sql(bound);
                match function {
                    Function::Length => format!("length({of})"),
                    Function::FirstTwo => format!("substr({of}, 1, 2)"),
                    Function::Abs => format!("abs({of})"),
                    Function::Hour => format!("(({of} / 3600000000) % 24)"),
                    Function::Day => format!("({of} - {of} % 86400000000)"),
                }
            }
            E::Flag(of) => format!("COALESCE({}, 0)", of.sql(bound)),
            E::Compare("==", a, b) => format!("({} IS {})", a.sql(bound), b.sql(bound)),
            E::Compare("!=", a, b) => format!("({} IS NOT {})", a.sql(bound), b.sql(bound)),
            E::Compare(op, a, b) => {
                let a = a.sql(bound);
                format!("COALESCE({a} {op} {}, 0)", b.sql(bound))
            }
            E::OneOf { of, values, .. } => {
                let of = of.sql(bound);
                let each = values.iter().map(|value| format!("{of} IS {}", bind(value, bound)));
                let each = join(each, " OR ");
                if values.is_empty() { "0".to_owned() } else { format!("({each})") }
            }
            // A BLOB of no bytes is none for SQLite's functions.
            E::StartsWith(of, text) | E::Contains(of, text) if text.is_empty() => {
                format!("({} IS NOT NULL)", of.sql(bound))
            }
            E::StartsWith(of, text) => {
                let of = of.sql(bound);
                bound.push(Sql::Blob(text.as_bytes().to_vec()));
                let (count, at) = (text.len(), bound.len());
                format!("COALESCE(substr(CAST({of} AS BLOB), 1, {count}) = ?{at}, 0)")
            }
            E::Contains(of, text) => {
                let of = of.sql(bound);
                bound.push(Sql::Blob(text.as_bytes().to_vec()));
                format!("COALESCE(instr(CAST({of} AS BLOB), ?{}) > 0, 0)", bound.len())
            }
            E::And(parts) => {
                format!("({})", join(parts.iter().map(|part| part.sql(bound)), " AND "))
            }
            E::Or(parts) => format!("({})", join(parts.iter().map(|part| part.sql(bound)), " OR ")),
            E::Not(of) => format!("(NOT {})", of.sql(bound)),
        }
    }
}

fn constant(value: &Value, is_parameter: bool, parameters: &mut Parameters) -> String {
    if !is_parameter {
        return literal(value);
    }
    let name = format!("p{}", parameters.len());
    let printed = format!("${name}");
    parameters.insert(name, value.clone());
    printed
}

fn literal(value: &Value) -> String {
    match value {
        Value::Time(_) => format!("time({})", value.to_json()),
        Value::Int(int) if *int < 0 => format!("({int})"),
        other => other.to_json(),
    }
}

/// The place of a value that is bound.
pub(super) fn bind(value: &Value, bound: &mut Vec<Sql>) -> String {
    bound.push(sql_value(value));
    format!("?{}", bound.len())
}

/// The value that stands for another one in SQLite: truth as 0 and 1, times in microseconds.
pub(super) fn sql_value(value: &Value) -> Sql {
    match value {
        Value::Bool(value) => Sql::Integer(i64::from(*value)),
        Value::Int(value) => Sql::Integer(*value),
        Value::Float(value) => Sql::Real(*value),
        Value::Time(time) => Sql::Integer(time.as_micros()),
        Value::Text(text) => Sql::Text(text.clone()),
        Value::Null | Value::Array(_) | Value::Object(_) => Sql::Null,
    }
}
