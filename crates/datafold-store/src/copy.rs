//! Copying a store, to any engine.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::{Keyspace, Loader, OpenOptions, Page, Scan, Snapshot, Store, StoreError};

/// What a copy is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyPhase {
    /// Rows are read of the source and written.
    Copying,
    /// The rows of both stores are compared.
    Comparing,
}

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyProgress {
    /// What it is doing.
    pub phase: CopyPhase,
    /// Rows of this phase.
    pub rows: u64,
    /// Bytes of keys and values of this phase.
    pub bytes: u64,
}

/// After so many rows the progress is told.
const TOLD_ROWS: u64 = 4_096;

/// Makes a store at `url` that has every row of `source` and its identity; answers it open, and
/// what was copied.
///
/// The source is read in one snapshot and not changed. Each row is read back and compared before
/// there is a store at the place; an interrupted copy leaves what [`Loader`] leaves. Who goes on
/// writing to both has two stores with one identity; see [`Loader::begin`].
///
/// # Errors
///
/// As [`Loader::begin`]; what reading the source answers; [`StoreError::Corrupted`] if a row that
/// is read back is not the one that was written.
///
/// # Cost
///
/// Three reads of the rows and one write, in bounded memory. Batches that are applied to the source
/// meanwhile are not copied.
pub fn copy_to(
    source: &dyn Store,
    url: &str,
    options: &OpenOptions,
    progress: &mut dyn FnMut(CopyProgress),
) -> Result<(Arc<dyn Store>, CopyProgress), StoreError> {
    let snapshot = source.snapshot()?;
    let mut loader = Loader::begin(url, source.info().id, options)?;
    let mut copied = Counted::new(CopyPhase::Copying, progress);
    for keyspace in Keyspace::ALL {
        let mut failure = None;
        snapshot.for_each(&Scan::all(keyspace), &mut |key, value| {
            copied.add(key, value);
            match loader.put(keyspace, key, value) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        failure.map_or(Ok(()), Err)?;
    }
    let total = copied.progress;
    let store = loader.finish(|copy| {
        let mut compared = Counted::new(CopyPhase::Comparing, progress);
        for keyspace in Keyspace::ALL {
            compare(keyspace, &*snapshot, copy, &mut compared)?;
        }
        Ok(())
    })?;
    Ok((store, total))
}

struct Counted<'a> {
    progress: CopyProgress,
    tell: &'a mut dyn FnMut(CopyProgress),
}

impl<'a> Counted<'a> {
    fn new(phase: CopyPhase, tell: &'a mut dyn FnMut(CopyProgress)) -> Self {
        Self { progress: CopyProgress { phase, rows: 0, bytes: 0 }, tell }
    }

    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.progress.rows += 1;
        self.progress.bytes += (key.len() + value.len()) as u64;
        if self.progress.rows.is_multiple_of(TOLD_ROWS) {
            (self.tell)(self.progress);
        }
    }
}

/// Reads a keyspace of both, and compares row by row.
fn compare(
    keyspace: Keyspace,
    source: &dyn Snapshot,
    copy: &dyn Snapshot,
    counted: &mut Counted<'_>,
) -> Result<(), StoreError> {
    let differs = |row: u64| StoreError::Corrupted {
        what: format!("row {row} of the keyspace {keyspace} differs between source and copy"),
        source: None,
    };
    let (mut theirs, mut ours) = (Rows::new(source, keyspace), Rows::new(copy, keyspace));
    let mut number = 0;
    loop {
        number += 1;
        theirs.fill()?;
        ours.fill()?;
        match (theirs.row(), ours.row()) {
            (None, None) => return Ok(()),
            (Some(their), Some(our)) if their == our => counted.add(our.0, our.1),
            _ => return Err(differs(number)),
        }
        theirs.at += 1;
        ours.at += 1;
    }
}

/// The rows of a keyspace, a page at a time.
struct Rows<'a> {
    snapshot: &'a dyn Snapshot,
    /// What comes behind the page; `None` if nothing does.
    next: Option<Scan>,
    page: Page,
    at: usize,
}

impl<'a> Rows<'a> {
    fn new(snapshot: &'a dyn Snapshot, keyspace: Keyspace) -> Self {
        Self { snapshot, next: Some(Scan::all(keyspace)), page: Page::new(), at: 0 }
    }

    /// Reads the next page if this one is used up.
    fn fill(&mut self) -> Result<(), StoreError> {
        if self.at < self.page.len() {
            return Ok(());
        }
        let Some(scan) = self.next.take() else { return Ok(()) };
        self.page = self.snapshot.scan(&scan)?;
        self.at = 0;
        self.next = match self.page.last_key() {
            Some(last) if self.page.more() => Some(scan.after(last)),
            _ => None,
        };
        Ok(())
    }

    fn row(&self) -> Option<(&[u8], &[u8])> {
        self.page.row(self.at)
    }
}
