//! The table of results.

/// Rows of results.
pub(crate) struct Table {
    rows: Vec<[String; 5]>,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new() }
    }

    /// Adds what was measured, both sides, their ratio and the goal for it.
    pub(crate) fn add(&mut self, what: &str, ours: String, other: String, ratio: f64, goal: &str) {
        eprintln!("{what}: {ours} / {other} = {ratio:.2} ({goal})");
        self.rows.push([what.into(), ours, other, format!("{ratio:.2}"), goal.into()]);
    }

    pub(crate) fn print(&self) {
        println!("| what | DataFold | beside | ratio | goal |");
        println!("| --- | --- | --- | --- | --- |");
        for row in &self.rows {
            println!("| {} |", row.join(" | "));
        }
    }
}

/// The middle of some figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The figure below which `share` of them lie.
pub(crate) fn percentile(figures: &mut [u64], share: f64) -> u64 {
    figures.sort_unstable();
    figures[((figures.len() - 1) as f64 * share) as usize]
}
