//! Random sources, most of them well-formed and many well-typed.

use datafold_testkit::Random;

/// What an expression shall give. One in ten gives something else.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Number,
    Text,
    Bool,
    Numbers,
    Object,
    Time,
}

const KINDS: [Kind; 6] =
    [Kind::Number, Kind::Text, Kind::Bool, Kind::Numbers, Kind::Object, Kind::Time];

/// The inputs that sources may read: numbers `n`, `m`, texts `t`, `u`, a bool `b`, numbers `xs`, an
/// object `o`, a time `d`, and anything, `a`.
pub(crate) const NAMES: [&str; 9] = ["n", "m", "t", "u", "b", "xs", "o", "d", "a"];

pub(crate) struct Generator<'r> {
    random: &'r mut Random,
    /// Names that hold a number.
    locals: Vec<String>,
    given: usize,
    /// Whether only what the reference evaluator knows is used.
    is_plain: bool,
}

impl<'r> Generator<'r> {
    pub(crate) fn new(random: &'r mut Random, is_plain: bool) -> Self {
        Self { random, locals: Vec::new(), given: 0, is_plain }
    }

    fn pick(&mut self, choices: &[&str]) -> String {
        self.random.choose(choices).copied().unwrap_or_default().to_owned()
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.random.below(one_in) == 0
    }

    /// A list of statements.
    pub(crate) fn program(&mut self) -> String {
        let mut source = String::new();
        for _ in 0..self.random.below(3) {
            source += &self.statement(2);
        }
        let kind = *self.random.choose(&KINDS).unwrap_or(&Kind::Number);
        source + &self.expr(kind, 4)
    }

    fn statement(&mut self, depth: usize) -> String {
        match self.random.below(4) {
            0 | 1 => {
                let value = self.expr(Kind::Number, 3);
                self.given += 1;
                let name = format!("x{}", self.given);
                let statement = format!("let {name} = {value};\n");
                self.locals.push(name);
                statement
            }
            2 if depth > 0 => {
                let condition = self.expr(Kind::Bool, 3);
                let open = self.locals.len();
                let then = self.statement(depth - 1);
                self.locals.truncate(open);
                let otherwise = self.statement(depth - 1);
                self.locals.truncate(open);
                format!("if {condition} {{ {then} }} else {{ {otherwise} }}\n")
            }
            _ => {
                let condition = self.expr(Kind::Bool, 3);
                let value = self.expr(Kind::Text, 2);
                format!("if {condition} {{ return {value}; }}\n")
            }
        }
    }

    fn lambda(&mut self, body: Kind, depth: usize) -> String {
        self.given += 1;
        let name = format!("y{}", self.given);
        self.locals.push(name.clone());
        let body = self.expr(body, depth);
        self.locals.pop();
        format!("{name} => {body}")
    }

    fn expr(&mut self, kind: Kind, depth: usize) -> String {
        let kind =
            if self.chance(15) { *self.random.choose(&KINDS).unwrap_or(&kind) } else { kind };
        if depth == 0 || self.chance(6) {
            return self.leaf(kind);
        }
        let next = depth - 1;
        if self.chance(10) {
            let condition = self.expr(Kind::Bool, next);
            let (a, b) = (self.expr(kind, next), self.expr(kind, next));
            return format!("({condition} ? {a} : {b})");
        }
        if self.chance(12) {
            return format!("({} ?? {})", self.expr(kind, next), self.expr(kind, next));
        }
        match kind {
            Kind::Number => self.number(next),
            Kind::Text => self.text(next),
            Kind::Bool => self.bool(next),
            Kind::Numbers => self.numbers(next),
            Kind::Object if self.chance(3) => {
                let of = self.expr(Kind::Object, next);
                format!("map_values({of}, {})", self.lambda(Kind::Number, next))
            }
            Kind::Object => {
                let (a, b) = (self.expr(Kind::Number, next), self.expr(Kind::Text, next));
                format!("{{k: {a}, 'l': {b}}}")
            }
            Kind::Time => {
                let d = self.expr(Kind::Time, next);
                if self.is_plain { d } else { format!("({d} + duration('1d'))") }
            }
        }
    }

    fn leaf(&mut self, kind: Kind) -> String {
        if self.chance(12) {
            return "null".to_owned();
        }
        if self.chance(8) {
            return "a".to_owned();
        }
        match kind {
            Kind::Number => {
                if !self.locals.is_empty() && self.chance(2) {
                    return self.random.choose(&self.locals).cloned().unwrap_or_default();
                }
                let numbers = [
                    "n",
                    "m",
                    "n",
                    "m",
                    "0",
                    "1",
                    "2",
                    "-3",
                    "0.5",
                    "10",
                    "1e300",
                    "-1.5",
                    "9223372036854775807",
                    "(-9223372036854775808)",
                    "9007199254740993",
                    "4.0",
                ];
                self.pick(&numbers)
            }
            Kind::Text => self.pick(&["t", "u", "''", "'a'", "\"Zü\\n\"", "'x,y'", "'12'"]),
            Kind::Bool => self.pick(&["b", "true", "false"]),
            Kind::Numbers => self.pick(&["xs", "[]", "[1, 2.5, null]", "[3]"]),
            Kind::Object => self.pick(&["o", "{}", "{k: 1}", "{k: null, z: 'q'}"]),
            Kind::Time => self.pick(&["d"]),
        }
    }

    fn number(&mut self, next: usize) -> String {
        let choices = if self.is_plain { 12 } else { 18 };
        match self.random.below(choices) {
            0..=4 => {
                let op = self.pick(&["+", "-", "*", "/", "%", "^"]);
                let (a, b) = (self.expr(Kind::Number, next), self.expr(Kind::Number, next));
                format!("({a} {op} {b})")
            }
            5 => format!("-({})", self.expr(Kind::Number, next)),
            6 => format!("{}[{}]", self.expr(Kind::Numbers, next), self.expr(Kind::Number, next)),
            7 => format!("{}.k", self.expr(Kind::Object, next)),
            8 => format!("length({})", self.expr(Kind::Text, next)),
            9 => {
                let name = self.pick(&["sum", "count", "min", "max"]);
                format!("{name}({})", self.expr(Kind::Numbers, next))
            }
            10 => {
                let name = self.pick(&["sum", "min", "max"]);
                let (of, body) = (self.expr(Kind::Numbers, next), self.lambda(Kind::Number, next));
                format!("{name}({of}, {body})")
            }
            11 => format!("abs({})", self.expr(Kind::Number, next)),
            12 => {
                let name = self.pick(&["floor", "round", "sqrt", "exp", "ln", "sign", "trunc"]);
                format!("{name}({})", self.expr(Kind::Number, next))
            }
            13 => format!("round({}, {})", self.leaf(Kind::Number), self.leaf(Kind::Number)),
            14 => format!("avg({})", self.expr(Kind::Numbers, next)),
            15 => {
                let name = self.pick(&["year", "month", "hour", "week", "unix_seconds"]);
                format!("{name}({})", self.expr(Kind::Time, next))
            }
            16 => format!("to_number({})", self.expr(Kind::Text, next)),
            _ => {
                format!("index_of({}, {})", self.expr(Kind::Text, next), self.leaf(Kind::Text))
            }
        }
    }

    fn text(&mut self, next: usize) -> String {
        let choices = if self.is_plain { 6 } else { 14 };
        match self.random.below(choices) {
            0..=2 => format!("({} + {})", self.expr(Kind::Text, next), self.expr(Kind::Text, next)),
            3 => format!("upper({})", self.expr(Kind::Text, next)),
            4 => format!("to_string({})", self.expr(Kind::Number, next)),
            5 => format!("concat({}, {})", self.expr(Kind::Text, next), self.leaf(Kind::Text)),
            6 => format!("repeat({}, {})", self.expr(Kind::Text, next), self.leaf(Kind::Number)),
            7 => format!(
                "substring({}, {}, {})",
                self.expr(Kind::Text, next),
                self.leaf(Kind::Number),
                self.leaf(Kind::Number)
            ),
            8 => format!(
                "replace({}, {}, {})",
                self.expr(Kind::Text, next),
                self.leaf(Kind::Text),
                self.expr(Kind::Text, next)
            ),
            9 => {
                let pattern =
                    self.pick(&["[a-z]+", "(a|b)*c", "^.{1,9}$", "\\\\d+", "\\\\w", "x*"]);
                let of = self.expr(Kind::Text, next);
                let name = self.pick(&["find", "find_all", "groups", "split_by"]);
                format!("to_json({name}({of}, '{pattern}'))")
            }
            10 => format!("format_time({}, '%Y-%m %H')", self.expr(Kind::Time, next)),
            11 => format!("to_json({})", self.expr(Kind::Object, next)),
            12 => format!(
                "pad_start({}, {}, {})",
                self.leaf(Kind::Text),
                self.leaf(Kind::Number),
                self.leaf(Kind::Text)
            ),
            _ => {
                let split = self.leaf(Kind::Text);
                format!("join(split({}, ','), {split})", self.expr(Kind::Text, next))
            }
        }
    }

    fn bool(&mut self, next: usize) -> String {
        match self.random.below(9) {
            0 | 1 => {
                let op = self.pick(&["==", "!=", "<", "<=", ">", ">="]);
                let (a, b) = (self.expr(Kind::Number, next), self.expr(Kind::Number, next));
                format!("({a} {op} {b})")
            }
            2 => {
                let op = self.pick(&["==", "<", ">="]);
                let (a, b) = (self.expr(Kind::Text, next), self.expr(Kind::Text, next));
                format!("({a} {op} {b})")
            }
            3 => {
                let op = self.pick(&["&&", "||"]);
                let (a, b) = (self.expr(Kind::Bool, next), self.expr(Kind::Bool, next));
                format!("({a} {op} {b} {op} {a})")
            }
            4 => format!("!{}", self.expr(Kind::Bool, next)),
            5 => {
                let (a, b) = (self.expr(Kind::Number, next), self.expr(Kind::Numbers, next));
                format!("({a} in {b})")
            }
            6 => {
                let name = self.pick(&["any", "all"]);
                let (of, body) = (self.expr(Kind::Numbers, next), self.lambda(Kind::Bool, next));
                format!("{name}({of}, {body})")
            }
            7 => {
                let (a, b) = (self.expr(Kind::Numbers, next), self.expr(Kind::Numbers, next));
                format!("({a} == {b})")
            }
            _ => {
                let (a, b) = (self.expr(Kind::Text, next), self.expr(Kind::Object, next));
                format!("({a} in {b})")
            }
        }
    }

    fn numbers(&mut self, next: usize) -> String {
        match self.random.below(if self.is_plain { 5 } else { 8 }) {
            0 => format!("[{}, {}]", self.expr(Kind::Number, next), self.expr(Kind::Number, next)),
            1 | 2 => {
                let (of, body) = (self.expr(Kind::Numbers, next), self.lambda(Kind::Number, next));
                format!("map({of}, {body})")
            }
            3 => {
                let (of, body) = (self.expr(Kind::Numbers, next), self.lambda(Kind::Bool, next));
                format!("filter({of}, {body})")
            }
            4 => format!("sort({})", self.expr(Kind::Numbers, next)),
            5 => format!("range({}, {})", self.leaf(Kind::Number), self.leaf(Kind::Number)),
            6 => format!("distinct({})", self.expr(Kind::Numbers, next)),
            _ => format!("slice({}, {})", self.expr(Kind::Numbers, next), self.leaf(Kind::Number)),
        }
    }
}
