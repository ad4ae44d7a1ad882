//! An open store, and what its errors mean to the user of the command line.

use datafold::FoldDb;
use datafold::FoldDbError;
use datafold::data_layer::{DEFAULT_SPACE, PoolOptions};

use crate::Done;
use crate::failure::Failure;
use crate::hint::hint;
use crate::invocation::Invocation;

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
        Self::open_with(invocation, PoolOptions::default())
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
        let space = invocation.space.as_deref().unwrap_or(DEFAULT_SPACE).to_owned();
        let db = FoldDb::open_with(&invocation.store, &PoolOptions { space, ..options })?;
        Ok(Self { db, invocation })
    }

    /// The failure that an error of the library means.
    pub(crate) fn fail(&self, error: &FoldDbError) -> Failure {
        explain(error, self.invocation, Some(&self.db))
    }

    /// Closes the store.
    pub(crate) fn close(self) -> Done {
        self.db.pool().close().map_err(|error| self.fail(&error.into()))
    }
}

/// The failure that an error means, with a hint where there is something to do.
pub(crate) fn explain(
    error: &FoldDbError,
    invocation: &Invocation,
    db: Option<&FoldDb>,
) -> Failure {
    let failure = Failure::from(error);
    match hint(error, invocation, db) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
