//! Power cuts at every operation of a workload.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{CutKind, DiskImages, Random, SimDisk, Trace, replay};

/// What is cut: which kinds of disk at every operation of a trace, and how many further cuts
/// strike while each of them is being opened.
///
/// ```
/// use datafold_store::Disk;
/// use datafold_testkit::{PowerCuts, SimDisk};
///
/// let disk = SimDisk::new(1);
/// disk.start_trace();
/// for n in 1..=3_u8 {
///     disk.attempt(n.into());
///     disk.write(0, &[n]).unwrap();
///     disk.sync().unwrap();
///     disk.acknowledge(n.into());
/// }
/// let report = PowerCuts::new(1).run(&disk.take_trace(), |disk, acknowledged, attempted| {
///     let found = u64::from(disk.bytes().first().copied().unwrap_or(0));
///     let is_known = (acknowledged..=attempted).contains(&found);
///     if is_known { Ok(()) } else { Err(format!("{found} is not in the range")) }
/// });
/// report.assert_clean();
/// ```
#[derive(Debug, Clone)]
pub struct PowerCuts {
    /// Decides every random choice.
    pub seed: u64,
    /// The kinds of image built at every operation.
    pub kinds: Vec<CutKind>,
    /// Only every `stride`th operation is a cut point; at least 1.
    pub stride: usize,
    /// Cuts during the opening of each image, at operations that the seed chooses.
    pub nested: usize,
}

impl PowerCuts {
    /// All kinds at every operation, and no nested cuts.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, kinds: CutKind::ALL.to_vec(), stride: 1, nested: 0 }
    }

    /// Cuts also while an image is being opened, `nested` times for each image.
    #[must_use]
    pub fn nested(mut self, nested: usize) -> Self {
        self.nested = nested;
        self
    }

    /// Cuts only at every `stride`th operation.
    #[must_use]
    pub fn stride(mut self, stride: usize) -> Self {
        self.stride = stride.max(1);
        self
    }

    /// Builds the disk of every cut point and hands its first file to `check`, with the largest
    /// answer that the workload had got and the largest that it had asked for.
    ///
    /// `check` opens the image and compares: what was acknowledged is there, what is there was
    /// attempted, and each answer is there whole or not at all. A panic of `check` is a failure.
    /// If it writes, it marks that with [`SimDisk::attempt`] and [`SimDisk::acknowledge`], so
    /// that a nested cut knows it.
    ///
    /// # Cost
    ///
    /// One call of `check` a point; the disk itself shares its pages with the one before.
    pub fn run(
        &self,
        trace: &Trace,
        check: impl Fn(SimDisk, u64, u64) -> Result<(), String>,
    ) -> PowerCutReport {
        let mut report = PowerCutReport { seed: self.seed, ..PowerCutReport::default() };
        let mut cursor = trace.cursor();
        loop {
            let is_cut = cursor.position().is_multiple_of(self.stride) && !cursor.is_before_mark();
            for kind in self.kinds.iter().filter(|_| is_cut) {
                // Without un-synced changes all kinds give the same images, and with those of one
                // file that file is kept or not.
                let is_other = match kind {
                    CutKind::LoseAll => true,
                    CutKind::OneFile => cursor.unsynced_files() > 1,
                    _ => cursor.unsynced() > 0,
                };
                if !is_other {
                    continue;
                }
                let place = Place { op: cursor.position(), kind: *kind, nested: None };
                let mut random = self.random_of(&place);
                let point = Point {
                    images: cursor.images(*kind, &mut random),
                    acknowledged: cursor.acknowledged(),
                    attempted: cursor.attempted(),
                    place,
                };
                self.cut(point, &check, &mut random, &mut report);
            }
            if !cursor.step() {
                return report;
            }
        }
    }

    /// Checks one point, then points inside of its own opening.
    fn cut(
        &self,
        point: Point,
        check: &impl Fn(SimDisk, u64, u64) -> Result<(), String>,
        random: &mut Random,
        report: &mut PowerCutReport,
    ) {
        let trace = point.check(self.nested > 0, check, random, report);
        if trace.is_empty() {
            return;
        }
        for _ in 0..self.nested {
            let mut cursor = trace.cursor();
            let target = random.below(trace.len() + 1);
            while cursor.position() < target && cursor.step() {}
            let kind = random.choose(&self.kinds).copied().unwrap_or(CutKind::LoseAll);
            let nested = Point {
                images: cursor.images(kind, random),
                acknowledged: point.acknowledged.max(cursor.acknowledged()),
                attempted: point.attempted.max(cursor.attempted()),
                place: Place { nested: Some((target, kind)), ..point.place },
            };
            nested.check(false, check, random, report);
            report.nested_points += 1;
        }
    }

    fn random_of(&self, place: &Place) -> Random {
        Random::part(self.seed, (place.op as u64) << 3 | place.kind as u64)
    }
}

struct Point {
    images: DiskImages,
    acknowledged: u64,
    attempted: u64,
    place: Place,
}

impl Point {
    fn check(
        &self,
        traced: bool,
        check: &impl Fn(SimDisk, u64, u64) -> Result<(), String>,
        random: &mut Random,
        report: &mut PowerCutReport,
    ) -> Trace {
        report.points += 1;
        let disk = SimDisk::from_images(self.images.clone(), random.next_u64());
        if traced {
            disk.start_trace();
        }
        let handle = disk.clone();
        let answer =
            catch_unwind(AssertUnwindSafe(|| check(handle, self.acknowledged, self.attempted)));
        let message = match answer {
            Ok(Ok(())) => return disk.take_trace(),
            Ok(Err(message)) => message,
            Err(panic) => format!("the check panicked: {}", panic_text(panic.as_ref())),
        };
        report.failure_count += 1;
        if report.failures.len() < PowerCutReport::FAILURES_KEPT {
            report.failures.push(PowerCutFailure {
                op: self.place.op,
                kind: self.place.kind,
                nested: self.place.nested,
                acknowledged: self.acknowledged,
                attempted: self.attempted,
                message,
            });
        }
        disk.take_trace()
    }
}

#[derive(Clone, Copy)]
struct Place {
    op: usize,
    kind: CutKind,
    nested: Option<(usize, CutKind)>,
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

/// A point at which the check found a fault.
#[derive(Debug, Clone)]
pub struct PowerCutFailure {
    /// The number of trace entries before the cut.
    pub op: usize,
    /// What became of the un-synced changes.
    pub kind: CutKind,
    /// The entry of the opening, and the kind, of a second cut.
    pub nested: Option<(usize, CutKind)>,
    /// The largest answer that the workload had got.
    pub acknowledged: u64,
    /// The largest answer that the workload had asked for.
    pub attempted: u64,
    /// What the check found.
    pub message: String,
}

impl fmt::Display for PowerCutFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cut at operation {} ({})", self.op, self.kind)?;
        if let Some((op, kind)) = self.nested {
            write!(f, ", cut again at operation {op} of the opening ({kind})")?;
        }
        let (acknowledged, attempted) = (self.acknowledged, self.attempted);
        write!(f, ", {acknowledged} acknowledged, {attempted} attempted: {}", self.message)
    }
}

/// What the cuts of a trace found.
#[derive(Debug, Clone, Default)]
pub struct PowerCutReport {
    /// What decided every random choice.
    pub seed: u64,
    /// Images that were checked.
    pub points: usize,
    /// Those of them that were cut during the opening of another.
    pub nested_points: usize,
    /// Images at which the check found a fault.
    pub failure_count: usize,
    /// The first of the failures, up to [`PowerCutReport::FAILURES_KEPT`].
    pub failures: Vec<PowerCutFailure>,
}

impl PowerCutReport {
    /// Failures that a report keeps with their places; the others are only counted.
    pub const FAILURES_KEPT: usize = 20;

    /// # Panics
    ///
    /// If a check found a fault; the text names the places and the seed.
    pub fn assert_clean(&self) {
        assert!(self.failure_count == 0, "{self}");
    }
}

impl fmt::Display for PowerCutReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (points, nested) = (self.points, self.nested_points);
        write!(f, "{points} power cuts, {nested} of them nested: {} failures", self.failure_count)?;
        for failure in &self.failures {
            write!(f, "\n  {failure}")?;
        }
        if self.failure_count > 0 {
            write!(f, "\n  {}", replay(self.seed))?;
        }
        Ok(())
    }
}
