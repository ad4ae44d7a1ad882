//! Why a store could not be opened, read or changed.

use std::io;
use std::path::PathBuf;

use crate::FORMAT_VERSION;

/// What went wrong underneath an engine, kept as the cause.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a store could not be opened, read or changed.
///
/// Each variant has a stable [`StoreError::code`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no store at the place, and creating one was not asked for.
    #[error("there is no store at {url}; create one first")]
    NotFound {
        /// Where it was looked for.
        url: String,
    },
    /// The folder holds something that is not a store.
    #[error("{path} is not a DataFold store: {reason}")]
    NotAStore {
        /// The folder or file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Another process, or another handle of this one, has the store open.
    #[error("the store at {path} is already open{}", match pid {
        Some(pid) => format!(" in process {pid}"),
        None => String::new(),
    })]
    AlreadyOpen {
        /// The folder.
        path: PathBuf,
        /// The process that holds it, where it could be read.
        pid: Option<u32>,
    },
    /// The store was written by a version with another format.
    #[error("the store has format version {found}, this program reads up to {FORMAT_VERSION}")]
    UnknownFormat {
        /// The version found.
        found: u32,
    },
    /// A store that was in use has no rows any more.
    #[error("the store at {url} is unexpectedly empty: {reason}; restore it from a backup")]
    UnexpectedlyEmpty {
        /// Where it is.
        url: String,
        /// What is missing.
        reason: String,
    },
    /// Loading rows into the folder was begun and not finished; what is there is no store.
    #[error("the store at {path} is unfinished: loading it was interrupted; load it again")]
    Unfinished {
        /// The folder.
        path: PathBuf,
    },
    /// There is a store where a new one was to be made.
    #[error("there is a store at {url} already")]
    Exists {
        /// Where it is.
        url: String,
    },
    /// The URL names no engine or misses its path.
    #[error("`{url}` is not a store URL: {reason}")]
    InvalidUrl {
        /// The URL as given.
        url: String,
        /// The rule that it breaks.
        reason: String,
    },
    /// Reading or writing the files failed.
    #[error("could not {action}")]
    Io {
        /// What was tried.
        action: String,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// The files hold something that no version of the program writes.
    #[error("the store is damaged: {what}")]
    Corrupted {
        /// What was found.
        what: String,
        /// The engine's answer.
        #[source]
        source: Option<Cause>,
    },
    /// A sync failed earlier, so nothing is known of what the disk holds.
    #[error("the store refuses writes since a sync failed; open it again")]
    Poisoned,
    /// The snapshot is older than the rows that the engine keeps for open ones; read again.
    #[error(
        "the moment that is read has gone, because later commits changed more than is kept for \
         reads in progress; read again"
    )]
    SnapshotExpired,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The engine refused for a reason of its own.
    #[error("the engine could not {action}")]
    Engine {
        /// What was tried.
        action: &'static str,
        /// The engine's answer.
        #[source]
        source: Cause,
    },
}

impl StoreError {
    /// A name of the variant that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            StoreError::NotFound { .. } => "store_not_found",
            StoreError::NotAStore { .. } => "not_a_store",
            StoreError::AlreadyOpen { .. } => "store_already_open",
            StoreError::UnknownFormat { .. } => "unknown_format",
            StoreError::UnexpectedlyEmpty { .. } => "store_unexpectedly_empty",
            StoreError::Unfinished { .. } => "store_unfinished",
            StoreError::Exists { .. } => "store_exists",
            StoreError::InvalidUrl { .. } => "invalid_store_url",
            StoreError::Io { .. } => "store_io",
            StoreError::Corrupted { .. } => "store_corrupted",
            StoreError::Poisoned => "store_poisoned",
            StoreError::SnapshotExpired => "snapshot_expired",
            StoreError::Closed => "store_closed",
            StoreError::Engine { .. } => "store_engine",
        }
    }

    pub(crate) fn io(action: impl Into<String>, source: io::Error) -> Self {
        StoreError::Io { action: action.into(), source }
    }
}
