//! Random expressions over the columns of a table, or of groups.

use datafold::model::Value;
use datafold_testkit::Random;

use super::data::{Column, Kind, Table};
use super::expression::{Expression, Function};

/// What an expression may read.
pub(super) struct Scope<'a> {
    pub(super) columns: &'a [Column],
    /// Other tables, and the columns with their key.
    pub(super) lookups: Vec<(&'a Table, &'a [&'static str])>,
}

pub(super) struct Generator<'a> {
    pub(super) random: &'a mut Random,
    pub(super) scope: Scope<'a>,
}

type Made = Option<Expression>;

impl Generator<'_> {
    /// A column of one of these kinds, and its place.
    fn column(&mut self, kinds: &[Kind]) -> Option<(Expression, Column)> {
        let fitting: Vec<&Column> =
            self.scope.columns.iter().filter(|column| kinds.contains(&column.kind)).collect();
        let column = (*self.random.choose(&fitting)?).clone();
        Some((Expression::column(&column.name), column))
    }

    /// A field of a record of another table.
    fn lookup(&mut self, kinds: &[Kind]) -> Option<(Expression, Column)> {
        let (table, key) = self.random.choose(&self.scope.lookups)?;
        let fitting: Vec<&Column> =
            table.columns.iter().filter(|column| kinds.contains(&column.kind)).collect();
        let column = (*self.random.choose(&fitting)?).clone();
        let names = table.columns.iter().map(|column| column.name.clone());
        let parts = key.iter().map(|name| Expression::column(name));
        let expression = Expression::Lookup {
            schema: table.name.to_owned(),
            key: names.zip(parts).collect(),
            field: column.name.clone(),
        };
        Some((expression, column))
    }

    /// Something that is in the records.
    fn given(&mut self, kinds: &[Kind]) -> Option<(Expression, Column)> {
        if self.random.one_in(6)
            && let Some(found) = self.lookup(kinds)
        {
            return Some(found);
        }
        self.column(kinds)
    }

    /// A constant near the values of a column.
    fn constant(&mut self, column: &Column) -> Expression {
        let is_parameter = self.random.one_in(3);
        Expression::Constant { value: self.sample(column), is_parameter }
    }

    fn sample(&mut self, column: &Column) -> Value {
        let value = self.random.choose(&column.samples).cloned().unwrap_or_default();
        match value {
            Value::Int(int) if column.kind != Kind::Big && self.random.one_in(4) => {
                let by = i64::try_from(self.random.below(5)).unwrap() - 2;
                Value::Int(int + by)
            }
            Value::Int(int) if column.kind == Kind::Number && self.random.one_in(4) => {
                Value::number(f64::from(i32::try_from(int).unwrap()) + 0.5).unwrap()
            }
            Value::Text(text) if self.random.one_in(4) => Value::Text(self.part(&text)),
            Value::Text(text) if self.random.one_in(6) => {
                let behind = self.random.choose(&["a", "\0", "l", "\u{10FFFF}"]).unwrap();
                Value::Text(text + behind)
            }
            other => other,
        }
    }

    /// The beginning of a text.
    fn part(&mut self, text: &str) -> String {
        let count = match self.random.below(3) {
            0 => self.random.below(4),
            1 => self.random.below(text.chars().count() + 1),
            _ => text.chars().count().saturating_sub(self.random.below(4)),
        };
        text.chars().take(count).collect()
    }

    /// A number that is small enough to compute with; an integer if it is asked for.
    pub(super) fn number(&mut self, depth: usize, integers: bool) -> Made {
        let kinds: &[Kind] = if integers { &[Kind::Int] } else { &[Kind::Int, Kind::Number] };
        if depth == 0 {
            return Some(match self.random.below(4) {
                0 => {
                    let value = Value::Int(i64::try_from(self.random.below(40)).unwrap() - 20);
                    Expression::Constant { value, is_parameter: self.random.one_in(2) }
                }
                _ => self.given(kinds)?.0,
            });
        }
        let boxed = Box::new;
        let some = self.number(depth - 1, integers)?;
        Some(match self.random.below(9) {
            0..=2 => {
                let op = *self.random.choose(&["+", "-", "*"]).unwrap();
                let other = self.number(depth - 1, integers)?;
                Expression::Arithmetic(op, boxed(some), boxed(other))
            }
            3 if integers => {
                let value = Value::Int(*self.random.choose(&[2, 3, 7, -5, 60]).unwrap());
                let by = Expression::Constant { value, is_parameter: false };
                Expression::Arithmetic("%", boxed(some), boxed(by))
            }
            3 => {
                let by = self.random.choose(&[Value::Int(2), Value::Int(-3), Value::Float(0.5)]);
                Expression::Quotient(boxed(some), by.unwrap().clone())
            }
            4 => Expression::Call(Function::Abs, boxed(some)),
            5 => {
                let (text, _) = self.column(&[Kind::Text])?;
                Expression::Call(Function::Length, boxed(text))
            }
            6 => {
                let (time, _) = self.column(&[Kind::Time])?;
                Expression::Call(Function::Hour, boxed(time))
            }
            7 => Expression::Coalesce(boxed(some), boxed(self.number(depth - 1, integers)?)),
            _ => {
                let condition = self.condition(depth - 1)?;
                let other = self.number(depth - 1, integers)?;
                Expression::Choice(boxed(condition), boxed(some), boxed(other))
            }
        })
    }

    pub(super) fn text(&mut self, depth: usize) -> Made {
        let (some, column) = self.given(&[Kind::Text, Kind::AnyText])?;
        if depth == 0 {
            return Some(some);
        }
        Some(match self.random.below(4) {
            0 if column.kind == Kind::Text => Expression::Call(Function::FirstTwo, Box::new(some)),
            1 => Expression::Join(Box::new(some), Box::new(self.text(depth - 1)?)),
            2 => Expression::Coalesce(Box::new(some), Box::new(self.constant(&column))),
            _ => some,
        })
    }

    /// An expression of any kind.
    pub(super) fn any(&mut self) -> Option<(Expression, Kind)> {
        let depth = self.random.below(3);
        Some(match self.random.below(8) {
            0..=2 => (self.number(depth, true)?, Kind::Int),
            3 => (self.number(depth, false)?, Kind::Number),
            4 => (self.text(depth)?, Kind::AnyText),
            5 => (self.condition(depth)?, Kind::Bool),
            6 => {
                let time = self.column(&[Kind::Time])?.0;
                (Expression::Call(Function::Day, Box::new(time)), Kind::Time)
            }
            _ => self.field()?,
        })
    }

    /// Any column.
    pub(super) fn field(&mut self) -> Option<(Expression, Kind)> {
        let column = self.random.choose(self.scope.columns)?;
        Some((Expression::column(&column.name), column.kind))
    }

    pub(super) fn condition(&mut self, depth: usize) -> Made {
        let more = if depth > 0 { 14 } else { 9 };
        let boxed = Box::new;
        Some(match self.random.below(more) {
            0..=2 => self.comparison()?,
            3 => self.one_of()?,
            4 => {
                let (of, column) = self.given(&[Kind::Text, Kind::AnyText])?;
                let text = match self.sample(&column) {
                    Value::Text(text) => self.part(&text),
                    _ => "l".to_owned(),
                };
                if self.random.one_in(3) && !text.is_empty() {
                    Expression::Contains(boxed(of), text)
                } else {
                    Expression::StartsWith(boxed(of), text)
                }
            }
            5 => {
                let op = if self.random.one_in(2) { "==" } else { "!=" };
                let null = Expression::Constant {
                    value: Value::Null,
                    is_parameter: self.random.one_in(4),
                };
                Expression::Compare(op, boxed(self.field()?.0), boxed(null))
            }
            6 => {
                let op = *self.random.choose(&["==", "!=", "<", "<=", ">", ">="]).unwrap();
                let (a, b) = (self.number(depth.min(1), false)?, self.number(0, false)?);
                Expression::Compare(op, boxed(a), boxed(b))
            }
            7 => match self.column(&[Kind::Bool]) {
                Some((flag, _)) => Expression::Flag(boxed(flag)),
                None => self.comparison()?,
            },
            8 => self.same_column()?,
            9 => Expression::Not(boxed(self.condition(depth - 1)?)),
            10 => {
                let (a, b) = (self.text(1)?, self.text(0)?);
                let op = *self.random.choose(&["==", "!=", "<", ">="]).unwrap();
                Expression::Compare(op, boxed(a), boxed(b))
            }
            11 => {
                let count = 2 + self.random.below(2);
                Expression::Or(
                    (0..count).map(|_| self.condition(depth - 1)).collect::<Option<_>>()?,
                )
            }
            _ => {
                let count = 2 + self.random.below(2);
                Expression::And(
                    (0..count).map(|_| self.condition(depth - 1)).collect::<Option<_>>()?,
                )
            }
        })
    }

    /// A column with a value that it has, or nearly.
    pub(super) fn same(&mut self, name: &str) -> Made {
        let column = self.scope.columns.iter().find(|column| column.name == name)?.clone();
        let constant = self.constant(&column);
        let (of, constant) = (Box::new(Expression::column(name)), Box::new(constant));
        Some(Expression::Compare("==", of, constant))
    }

    /// A column beside a constant, as a key or an index serves it.
    fn comparison(&mut self) -> Made {
        let all = [
            Kind::Bool,
            Kind::Int,
            Kind::Number,
            Kind::Big,
            Kind::Text,
            Kind::AnyText,
            Kind::Time,
            Kind::Mixed,
        ];
        let (of, column) = self.given(&all)?;
        let constant = self.constant(&column);
        let has_order = !matches!(column.kind, Kind::Bool | Kind::Mixed);
        let ops: &[_] =
            if has_order { &["==", "==", "!=", "<", "<=", ">", ">="] } else { &["==", "==", "!="] };
        let op = *self.random.choose(ops).unwrap();
        let op = if is_null(&constant) { "==" } else { op };
        let (of, constant) = (Box::new(of), Box::new(constant));
        Some(if self.random.one_in(5) {
            Expression::Compare(op, constant, of)
        } else {
            Expression::Compare(op, of, constant)
        })
    }

    fn one_of(&mut self) -> Made {
        let (of, column) = self.column(&[
            Kind::Int,
            Kind::Number,
            Kind::Big,
            Kind::Text,
            Kind::AnyText,
            Kind::Time,
            Kind::Mixed,
        ])?;
        let count = self.random.below(5);
        let values = (0..count).map(|_| self.sample(&column)).collect();
        // Times stand in a parameter.
        let is_parameter = self.random.one_in(3);
        Some(Expression::OneOf { of: Box::new(of), values, is_parameter })
    }

    /// Two conditions on one column: a range, or alternatives.
    fn same_column(&mut self) -> Made {
        let kinds = [Kind::Int, Kind::Number, Kind::Big, Kind::Text, Kind::AnyText, Kind::Time];
        let (of, column) = self.column(&kinds)?;
        let mut compare = |op| {
            let constant = self.constant(&column);
            Expression::Compare(op, Box::new(of.clone()), Box::new(constant))
        };
        Some(match column.samples.len() % 3 {
            0 => Expression::Or(vec![compare("=="), compare("==")]),
            1 => Expression::And(vec![compare(">="), compare("<")]),
            _ => Expression::And(vec![compare("<="), compare(">")]),
        })
    }
}

fn is_null(expression: &Expression) -> bool {
    matches!(expression, Expression::Constant { value: Value::Null, .. })
}
