//! An open store, and what its errors mean to the user of the command line.

use datafold::FoldDb;
use datafold::FoldDbError;
use datafold::data_layer::{DEFAULT_SPACE, DataLayerError, PoolOptions};
use datafold::engine::QueryError;
use datafold::lang::Diagnostic;

use crate::Done;
use crate::failure::{Exit, Failure};
use crate::hint::hint;
use crate::invocation::Invocation;

/// Bytes of pages that the engine keeps in memory. A command hardly reads a page twice, and the
/// system keeps the file's pages besides.
const CACHE_BYTES: usize = 64 << 20;
/// Bytes of records that are kept besides. A sort reads each of them once by its key.
const RECORD_CACHE_BYTES: usize = 16 << 20;

/// How a store is opened by a command that mostly reads.
pub(crate) fn reading() -> PoolOptions {
    let mut options =
        PoolOptions { record_cache_bytes: RECORD_CACHE_BYTES, ..PoolOptions::default() };
    options.store.cache_bytes = CACHE_BYTES;
    options
}

/// An open store.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    /// The space of the store.
    pub(crate) db: FoldDb,
    /// How the program was called.
    pub(crate) invocation: &'a Invocation,
}

impl<'a> Session<'a> {
    /// Opens the store that the program was called for.
    pub(crate) fn open(invocation: &'a Invocation) -> Result<Self, Failure> {
        Self::open_with(invocation, reading())
    }

    /// Opens the store as the options say; the space is the one that was named.
    pub(crate) fn open_with(
        invocation: &'a Invocation,
        options: PoolOptions,
    ) -> Result<Self, Failure> {
        Self::try_open(invocation, options).map_err(|error| explain(&error, invocation, None))
    }

    /// As [`Session::open_with`], with the library's error.
    pub(crate) fn try_open(
        invocation: &'a Invocation,
        options: PoolOptions,
    ) -> Result<Self, FoldDbError> {
        if let Some(open) = &invocation.open {
            return Ok(Self { db: open.db.clone(), invocation });
        }
        let space = invocation.space.as_deref().unwrap_or(DEFAULT_SPACE).to_owned();
        let db = FoldDb::open_with(&invocation.store, &PoolOptions { space, ..options })?;
        Ok(Self { db, invocation })
    }

    /// The failure that an error of the library means.
    pub(crate) fn fail(&self, error: &FoldDbError) -> Failure {
        explain(error, self.invocation, Some(&self.db))
    }

    /// Fails if Ctrl-C was pressed in the shell.
    pub(crate) fn look(&self) -> Done {
        match &self.invocation.open {
            Some(open) if open.interrupt.is_wanted() => {
                Err(self.fail(&QueryError::Interrupted.into()))
            }
            _ => Ok(()),
        }
    }

    /// Closes the store, unless more commands follow.
    pub(crate) fn close(self) -> Done {
        if self.invocation.open.is_some() {
            return Ok(());
        }
        self.db.pool().close().map_err(|error| self.fail(&error.into()))
    }
}

/// The failure that an error means, with a hint where there is something to do.
pub(crate) fn explain(
    error: &FoldDbError,
    invocation: &Invocation,
    db: Option<&FoldDb>,
) -> Failure {
    let failure = match error {
        FoldDbError::Query(QueryError::Expression { place, error: wrong }) => {
            match &wrong.diagnostics[..] {
                [first, more @ ..] => {
                    let mut excerpt = first.excerpt();
                    excerpt.extend(more.iter().map(Diagnostic::render));
                    let message = format!("{place}: {}", first.message);
                    Failure::new(error.class().into(), message).excerpt(excerpt)
                }
                [] => Failure::from(error),
            }
        }
        FoldDbError::Query(QueryError::Evaluation { error: wrong, .. }) => {
            Failure::from(error).excerpt(wrong.diagnostic.excerpt())
        }
        FoldDbError::Query(QueryError::Interrupted) => {
            Failure::from(error).with_exit(Exit::Interrupted)
        }
        FoldDbError::DataLayer(DataLayerError::Transforms { problems, .. }) => {
            let diagnostics = problems.iter().flat_map(|problem| &problem.diagnostics);
            let excerpt: String = diagnostics.map(Diagnostic::render).collect();
            let failure = Failure::from(error);
            if excerpt.is_empty() { failure } else { failure.excerpt(excerpt) }
        }
        _ => Failure::from(error),
    };
    match hint(error, invocation, db) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
