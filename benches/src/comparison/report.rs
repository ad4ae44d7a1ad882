//! The table as Markdown.

use std::path::Path;

use super::process::Answers;
use super::subject::Kind;
use crate::table::median;

const BEGIN: &str = "<!-- table: begin -->\n";
const END: &str = "<!-- table: end -->\n";

/// Which of two figures is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Better {
    Higher,
    Lower,
}

pub(super) struct Report {
    /// Cells of each row, the first says what it is.
    rows: Vec<Vec<String>>,
}

/// The figure at `at` that a subject answered in each round, if it did.
fn of_subject(rounds: &[Answers], subject: usize, at: usize) -> Option<Vec<f64>> {
    rounds.iter().map(|answers| answers[subject].as_ref()?.get(at).copied()).collect()
}

impl Report {
    pub(super) fn new() -> Self {
        Self { rows: Vec::new() }
    }

    /// Adds the figures at `at` of each subject, each with how many times as good as SQLite's.
    pub(super) fn add(&mut self, what: &str, better: Better, at: usize, rounds: &[Answers]) {
        let sqlite = Kind::ALL.iter().position(|kind| *kind == Kind::Sqlite).unwrap();
        let theirs = of_subject(rounds, sqlite, at);
        let cell = |subject: usize| {
            let Some(ours) = of_subject(rounds, subject, at) else { return "-".to_owned() };
            let figure = figure(median(ours.clone()));
            match &theirs {
                Some(theirs) if subject != sqlite => {
                    let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| match better {
                        Better::Higher => ours / theirs,
                        Better::Lower => theirs / ours,
                    });
                    format!("{figure} (×{})", ratio(median(ratios.collect())))
                }
                _ => figure,
            }
        };
        self.push(what, cell);
    }

    /// Adds how many times the first of two figures is the second one.
    pub(super) fn add_factor(&mut self, what: &str, rounds: &[Answers]) {
        self.push(what, |subject| {
            let (Some(first), Some(second)) =
                (of_subject(rounds, subject, 0), of_subject(rounds, subject, 1))
            else {
                return "-".to_owned();
            };
            let factors = first.iter().zip(second).map(|(first, second)| first / second);
            format!("{} times", ratio(median(factors.collect())))
        });
    }

    fn push(&mut self, what: &str, cell: impl Fn(usize) -> String) {
        let mut row = vec![what.to_owned()];
        row.extend((0..Kind::ALL.len()).map(cell));
        eprintln!("{}", row.join(" | "));
        self.rows.push(row);
    }

    /// The table, with what was measured on.
    pub(super) fn markdown(&self, machine: &str) -> String {
        let titles: Vec<&str> = Kind::ALL.into_iter().map(Kind::title).collect();
        let mut text = format!("{machine}\n\n| | {} |\n", titles.join(" | "));
        text.push_str(&format!("| --- |{}\n", " ---: |".repeat(titles.len())));
        for row in &self.rows {
            text.push_str(&format!("| {} |\n", row.join(" | ")));
        }
        text
    }
}

/// A figure with as many digits as it deserves, thousands apart.
fn figure(figure: f64) -> String {
    if figure < 100.0 {
        return ratio(figure);
    }
    let digits = format!("{figure:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Two or three digits.
fn ratio(ratio: f64) -> String {
    match ratio {
        ratio if ratio >= 99.95 => format!("{ratio:.0}"),
        ratio if ratio >= 9.995 => format!("{ratio:.1}"),
        ratio => format!("{ratio:.2}"),
    }
}

#[expect(clippy::print_stdout, reason = "the result")]
pub(super) fn print(text: &str) {
    print!("{text}");
}

/// Puts the table between its marks in `docs/performance.md`.
pub(super) fn write(text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
    let page = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, between_marks(&page, text)).unwrap();
}

fn between_marks(page: &str, text: &str) -> String {
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    format!("{before}{BEGIN}{text}{END}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_two_or_three_digits_and_thousands_apart() {
        for (value, text) in [
            (0.0, "0.00"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (99.97, "100"),
            (123.4, "123"),
            (1234.0, "1,234"),
            (1_234_567.8, "1,234,568"),
        ] {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn ratios_are_medians_of_the_rounds_and_above_one_is_better() {
        let sqlite = Kind::ALL.iter().position(|kind| *kind == Kind::Sqlite).unwrap();
        let round = |ours: f64, theirs: f64| {
            let mut answers: Answers = vec![None; Kind::ALL.len()];
            answers[0] = Some(vec![ours]);
            answers[sqlite] = Some(vec![theirs]);
            answers
        };
        let rounds = [round(10.0, 5.0), round(30.0, 10.0), round(8.0, 8.0)];
        let mut report = Report::new();
        report.add("rate", Better::Higher, 0, &rounds);
        report.add("time", Better::Lower, 0, &rounds);
        assert_eq!(report.rows[0][1], "10.0 (×2.00)");
        assert_eq!(report.rows[1][1], "10.0 (×0.50)");
        assert_eq!(report.rows[0][2], "-");
        assert_eq!(report.rows[0][1 + sqlite], "8.00");
    }

    #[test]
    fn the_table_takes_the_place_of_the_one_before() {
        let page = format!("a\n{BEGIN}old\n{END}b\n");
        assert_eq!(between_marks(&page, "new\n"), format!("a\n{BEGIN}new\n{END}b\n"));
    }
}
