//! Random queries, as a request and as SQL.

use datafold::QueryRequest;
use datafold::engine::KeyCondition;
use datafold::model::Value;
use datafold_testkit::Random;
use rusqlite::types::Value as Sql;

use super::data::{Column, Kind, Table};
use super::expression::{Expression, Parameters, bind};
use super::generate::{Generator, Scope};
use crate::harness::name;

/// Something wrong on purpose, which the comparison must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nulls stand at the other end.
    Nulls,
    /// `>` is `>=`.
    Equal,
    /// Ties are in the other order.
    Ties,
    /// Groups are counted without their nulls.
    Counts,
}

#[derive(Debug, Clone)]
struct Sort {
    of: Expression,
    descending: bool,
    nulls_first: Option<bool>,
}

#[derive(Debug, Clone)]
struct Aggregate {
    function: &'static str,
    of: Option<Expression>,
    result: Kind,
}

/// A query as a tree.
#[derive(Debug)]
pub(super) struct Query<'a> {
    table: &'a Table,
    filter: Option<Expression>,
    key: KeyCondition,
    /// The columns that are answered; of groups, what stands beside their names.
    select: Vec<(String, Expression)>,
    group_by: Vec<(String, Expression)>,
    aggregates: Vec<(String, Aggregate)>,
    having: Option<Expression>,
    distinct: bool,
    sort: Vec<Sort>,
}

/// A query in SQL.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) bound: Vec<Sql>,
}

impl<'a> Query<'a> {
    pub(super) fn random(random: &mut Random, tables: &'a [Table]) -> Option<Self> {
        // The later ones are larger and have more to look up.
        let table = &tables[random.below(tables.len()).max(random.below(tables.len()))];
        let lookups = table.lookups.iter().filter_map(|(name, key)| {
            Some((tables.iter().find(|table| table.name == *name)?, &key[..]))
        });
        let scope = Scope { columns: &table.columns, lookups: lookups.collect() };
        let mut make = Generator { random, scope };
        let filter = match make.random.below(4) {
            0 => None,
            _ => {
                let depth = make.random.below(3);
                Some(make.condition(depth)?)
            }
        };
        let mut query = Self {
            table,
            filter,
            key: KeyCondition::All,
            select: Vec::new(),
            group_by: Vec::new(),
            aggregates: Vec::new(),
            having: None,
            distinct: false,
            sort: Vec::new(),
        };
        if make.random.one_in(5) {
            query.key = key_condition(make.random, table);
        }
        match make.random.below(6) {
            0 | 1 => query.make_groups(&mut make)?,
            2 if !table.indexes.is_empty() => query.sort_by_index(&mut make)?,
            kind => {
                query.distinct = kind == 3;
                query.make_records(&mut make)?;
            }
        }
        Some(query)
    }

    fn make_records(&mut self, make: &mut Generator<'_>) -> Option<()> {
        let mut columns = Vec::new();
        for at in 0..1 + make.random.below(4) {
            let (of, kind) = if make.random.one_in(3) { make.any()? } else { make.field()? };
            let name = match &of {
                Expression::Column(name) => name.clone(),
                _ => format!("c{at}"),
            };
            if self.select.iter().all(|(known, _)| *known != name) {
                columns.push(Column { name: name.clone(), kind, samples: Vec::new() });
                self.select.push((name, of));
            }
        }
        if self.distinct {
            // What is sorted by must be answered.
            let scope = Scope { columns: &columns, lookups: Vec::new() };
            let mut of_columns = Generator { random: make.random, scope };
            self.make_sort(&mut of_columns)
        } else {
            self.make_sort(make)
        }
    }

    /// In the order of an index, behind values of its first columns.
    fn sort_by_index(&mut self, make: &mut Generator<'_>) -> Option<()> {
        let index = make.random.choose(&self.table.indexes)?;
        let fixed = make.random.below(index.len());
        let (before, behind) = index.split_at(fixed);
        let same = before.iter().map(|name| make.same(name)).collect::<Option<Vec<_>>>()?;
        self.filter = (!same.is_empty()).then_some(Expression::And(same));
        self.key = KeyCondition::All;
        self.make_records(make)?;
        let descending = make.random.one_in(2);
        let sort =
            |name: &&str| Sort { of: Expression::column(name), descending, nulls_first: None };
        self.sort = behind.iter().map(sort).collect();
        Some(())
    }

    fn make_sort(&mut self, make: &mut Generator<'_>) -> Option<()> {
        let one_way = make.random.one_in(2);
        let descending = make.random.one_in(2);
        for _ in 0..make.random.below(4) {
            let of = if make.random.one_in(4) { make.any()?.0 } else { make.field()?.0 };
            let nulls_first = match make.random.below(6) {
                0 => Some(true),
                1 => Some(false),
                _ => None,
            };
            let descending = if one_way { descending } else { make.random.one_in(2) };
            self.sort.push(Sort { of, descending, nulls_first });
        }
        Some(())
    }

    fn make_groups(&mut self, make: &mut Generator<'_>) -> Option<()> {
        let mut columns = Vec::new();
        for at in 0..make.random.below(3) {
            let (of, kind) = if make.random.one_in(2) { make.any()? } else { make.field()? };
            let samples = match &of {
                Expression::Column(name) => {
                    let found = self.table.columns.iter().find(|column| column.name == *name);
                    found.map(|column| column.samples.clone()).unwrap_or_default()
                }
                _ => Vec::new(),
            };
            // A text that was made may have any character.
            let kind = if kind == Kind::Text { Kind::AnyText } else { kind };
            let name = format!("g{at}");
            columns.push(Column { name: name.clone(), kind, samples });
            self.group_by.push((name, of));
        }
        let least = usize::from(self.group_by.is_empty());
        for at in 0..least + make.random.below(4) {
            let aggregate = Aggregate::random(make)?;
            let name = format!("a{at}");
            // Sums of floats are rounded by SQLite: nothing is made of them.
            let kind = aggregate.result;
            let samples = match kind {
                Kind::Text | Kind::AnyText => vec![Value::from("N"), Value::from("")],
                Kind::Int | Kind::Number => vec![Value::Int(1), Value::Int(2), Value::Int(100)],
                _ => Vec::new(),
            };
            columns.push(Column { name: name.clone(), kind, samples });
            self.aggregates.push((name, aggregate));
        }
        let usable: Vec<Column> =
            columns.iter().filter(|column| column.kind != Kind::Big).cloned().collect();
        let scope = Scope { columns: &usable, lookups: Vec::new() };
        let mut of_groups = Generator { random: make.random, scope };
        if of_groups.random.one_in(3) {
            self.having = Some(of_groups.condition(1)?);
        }
        self.make_sort(&mut of_groups)?;
        if of_groups.random.one_in(3) {
            for at in 0..1 + of_groups.random.below(3) {
                self.select.push((format!("c{at}"), of_groups.any()?.0));
            }
        } else {
            let each = columns.iter().map(|column| &column.name);
            self.select = each.map(|name| (name.clone(), Expression::column(name))).collect();
        }
        Some(())
    }

    fn is_grouped(&self) -> bool {
        !self.group_by.is_empty() || !self.aggregates.is_empty()
    }

    /// For DataFold.
    pub(super) fn request(&self) -> QueryRequest {
        let mut parameters = Parameters::new();
        let mut request = QueryRequest::new(name(self.table.name));
        let mut named = |(name, of): &(String, Expression)| match of {
            Expression::Column(column) if column == name => name.clone(),
            of => format!("{name} = {}", of.source(&mut parameters)),
        };
        let is_all_of_groups = self.is_grouped()
            && self
                .select
                .iter()
                .all(|(name, of)| matches!(of, Expression::Column(c) if c == name));
        if !is_all_of_groups {
            request.select = Some(self.select.iter().map(&mut named).collect());
        }
        request.group_by = self.group_by.iter().map(&mut named).collect();
        request.filter = self.filter.as_ref().map(|filter| filter.source(&mut parameters));
        request.having = self.having.as_ref().map(|having| having.source(&mut parameters));
        for (name, aggregate) in &self.aggregates {
            let of = aggregate.of.as_ref().map(|of| of.source(&mut parameters));
            let (function, of) = (aggregate.function, of.unwrap_or_default());
            request.aggregates.push(format!("{name} = {function}({of})"));
        }
        for sort in &self.sort {
            let mut text = sort.of.source(&mut parameters);
            text.push_str(if sort.descending { " desc" } else { "" });
            text.push_str(match sort.nulls_first {
                None => "",
                Some(true) => " nulls first",
                Some(false) => " nulls last",
            });
            request.sort.push(text);
        }
        request.distinct = self.distinct;
        request.key = self.key.clone();
        request.parameters = parameters;
        request
    }

    /// For SQLite.
    pub(super) fn sql(&self, fault: Option<Fault>) -> Statement {
        let mut bound = Vec::new();
        let list = |columns: &[(String, Expression)], bound: &mut Vec<Sql>| {
            let each =
                columns.iter().map(|(name, of)| format!("{} AS \"{name}\"", of.value_sql(bound)));
            each.collect::<Vec<_>>()
        };
        let mut text = if self.is_grouped() {
            let mut columns = list(&self.group_by, &mut bound);
            for (name, aggregate) in &self.aggregates {
                columns.push(format!("{} AS \"{name}\"", aggregate.sql(&mut bound, fault)));
            }
            let rows = self.rows(&columns, &mut bound);
            let keys = (1..=self.group_by.len()).map(|at| at.to_string()).collect::<Vec<_>>();
            let by = if keys.is_empty() { "" } else { " GROUP BY " };
            let inner = format!("{rows}{by}{}", keys.join(", "));
            // Bound values have numbers, so that their order in the text does not matter.
            let columns = list(&self.select, &mut bound).join(", ");
            let having = self.having.as_ref().map(|having| having.sql(&mut bound));
            let having = having.map(|having| format!(" WHERE {having}")).unwrap_or_default();
            format!("SELECT {columns} FROM ({inner}) AS t{having}")
        } else if self.distinct {
            let columns = list(&self.select, &mut bound);
            let rows = self.rows(&columns, &mut bound);
            format!("SELECT * FROM ({}) AS t", rows.replacen("SELECT", "SELECT DISTINCT", 1))
        } else {
            let columns = list(&self.select, &mut bound);
            self.rows(&columns, &mut bound)
        };
        let order = self.order(&mut bound, fault);
        if !order.is_empty() {
            text.push_str(" ORDER BY ");
            text.push_str(&order.join(", "));
        }
        if fault == Some(Fault::Equal) {
            text = text.replacen(" > ?", " >= ?", 1);
        }
        Statement { text, bound }
    }

    fn rows(&self, columns: &[String], bound: &mut Vec<Sql>) -> String {
        let mut conditions: Vec<String> =
            self.filter.iter().map(|filter| filter.sql(bound)).collect();
        key_sql(&self.key, self.table, bound, &mut conditions);
        let condition = conditions.join(" AND ");
        let clause = if conditions.is_empty() { "" } else { " WHERE " };
        format!(
            "SELECT {} FROM \"{}\" AS t{clause}{condition}",
            columns.join(", "),
            self.table.name
        )
    }

    fn order(&self, bound: &mut Vec<Sql>, fault: Option<Fault>) -> Vec<String> {
        let mut order = Vec::new();
        for sort in &self.sort {
            let of = sort.of.value_sql(bound);
            let first =
                sort.nulls_first.unwrap_or(!sort.descending) != (fault == Some(Fault::Nulls));
            let direction = if sort.descending { "DESC" } else { "ASC" };
            let nulls = if first { "FIRST" } else { "LAST" };
            // A number alone would be the number of a column.
            order.push(format!("coalesce({of}, NULL) {direction} NULLS {nulls}"));
        }
        let descending = self.sort.last().is_some_and(|sort| sort.descending);
        let direction = if descending != (fault == Some(Fault::Ties)) { "DESC" } else { "ASC" };
        let keys: Vec<&str> = if self.is_grouped() {
            self.group_by.iter().map(|(name, _)| name.as_str()).collect()
        } else if self.distinct {
            self.select.iter().map(|(name, _)| name.as_str()).collect()
        } else {
            self.table.columns.iter().take(self.table.key).map(|c| c.name.as_str()).collect()
        };
        order.extend(keys.iter().map(|key| format!("t.\"{key}\" {direction}")));
        order
    }
}

impl Aggregate {
    fn random(make: &mut Generator<'_>) -> Option<Self> {
        let depth = make.random.below(2);
        let is_int = make.random.one_in(2);
        Some(match make.random.below(8) {
            0 | 1 => Self { function: "count", of: None, result: Kind::Int },
            2 => Self { function: "count", of: Some(make.field()?.0), result: Kind::Int },
            3 => Self { function: "count_distinct", of: Some(make.any()?.0), result: Kind::Int },
            4 => {
                let of = Some(make.number(depth, is_int)?);
                let result = if is_int { Kind::Int } else { Kind::Big };
                Self { function: "sum", of, result }
            }
            5 => Self { function: "avg", of: Some(make.number(depth, is_int)?), result: Kind::Big },
            kind => {
                let (of, result) = make.field()?;
                let result = if result == Kind::Text { Kind::AnyText } else { result };
                let function = if kind == 6 { "min" } else { "max" };
                Self { function, of: Some(of), result }
            }
        })
    }

    fn sql(&self, bound: &mut Vec<Sql>, fault: Option<Fault>) -> String {
        let of = self.of.as_ref().map(|of| of.value_sql(bound));
        match (self.function, of) {
            ("count", Some(_)) if fault == Some(Fault::Counts) => "COUNT(*)".into(),
            (_, None) => "COUNT(*)".into(),
            ("count_distinct", Some(of)) => format!("COUNT(DISTINCT {of})"),
            ("sum", Some(of)) => format!("COALESCE(SUM({of}), 0)"),
            (function, Some(of)) => format!("{}({of})", function.to_uppercase()),
        }
    }
}

fn key_condition(random: &mut Random, table: &Table) -> KeyCondition {
    let mut parts = |count: usize| -> Vec<Value> {
        let key = table.columns.iter().take(count);
        key.map(|column| random.choose(&column.samples).unwrap().clone()).collect()
    };
    let (one, other) = (parts(table.key), parts(table.key));
    let cut = |parts: Vec<Value>, count: usize| parts.into_iter().take(count).collect();
    match random.below(4) {
        0 => KeyCondition::Exact(one),
        1 => KeyCondition::Prefix(cut(one, random.below(table.key + 1))),
        _ => {
            let mut end = |parts: Vec<Value>| {
                let count = random.below(table.key + 1);
                (!random.one_in(4)).then(|| cut(parts, count))
            };
            KeyCondition::Range { from: end(one), to: end(other) }
        }
    }
}

fn key_sql(key: &KeyCondition, table: &Table, bound: &mut Vec<Sql>, out: &mut Vec<String>) {
    let mut side = |parts: &[Value], op: &str| {
        let names =
            table.columns.iter().zip(parts).map(|(column, _)| format!("t.\"{}\"", column.name));
        let names: Vec<_> = names.collect();
        let values: Vec<_> = parts.iter().map(|value| bind(value, bound)).collect();
        match parts {
            // The key without parts is before all others.
            [] => out.push(if op == "<" { "0".into() } else { "1".into() }),
            _ => out.push(format!("({}) {op} ({})", names.join(", "), values.join(", "))),
        }
    };
    match key {
        KeyCondition::All => {}
        KeyCondition::Exact(parts) | KeyCondition::Prefix(parts) => side(parts, "="),
        KeyCondition::Range { from, to } => {
            if let Some(from) = from {
                side(from, ">=");
            }
            if let Some(to) = to {
                side(to, "<");
            }
        }
    }
}
