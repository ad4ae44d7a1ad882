//! The future of a start-up that needs no runtime.

use std::future::Future;
use std::panic;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use datafold_store::StoreError;

use super::{SchemaLoadingReport, SchemaService};
use crate::data_layer::DataLayerError;
use crate::engine::FoldDbError;
use crate::sync::{JoinHandle, Mutex};
use crate::threads;

type Report = Result<SchemaLoadingReport, FoldDbError>;

/// Looks for schemas and loads what is new, on a thread of the library; see
/// [`SchemaService::initialize`].
#[must_use = "nothing is done before it is polled"]
#[derive(Debug)]
pub struct Initialize {
    state: State,
}

#[derive(Debug)]
enum State {
    Idle(SchemaService),
    Running { thread: JoinHandle<Report>, signal: Arc<Mutex<Signal>> },
    Done,
}

/// What the thread and the future share.
#[derive(Debug, Default)]
struct Signal {
    is_done: bool,
    waker: Option<Waker>,
}

/// Tells the future that the thread is done, also if it panicked.
struct Finish(Arc<Mutex<Signal>>);

impl Drop for Finish {
    fn drop(&mut self) {
        let waker = {
            let mut signal = self.0.lock();
            signal.is_done = true;
            signal.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Initialize {
    pub(super) fn new(service: SchemaService) -> Self {
        Self { state: State::Idle(service) }
    }
}

fn begin(service: SchemaService) -> Result<State, FoldDbError> {
    let signal = Arc::new(Mutex::new(Signal::default()));
    let finish = Finish(Arc::clone(&signal));
    let work = move || {
        let _finish = finish;
        service.initialize_blocking()
    };
    let thread = threads::spawn("datafold-initialize", work).map_err(|source| {
        let action = "begin the thread that looks for schemas".into();
        FoldDbError::from(DataLayerError::from(StoreError::Io { action, source }))
    })?;
    Ok(State::Running { thread, signal })
}

impl Future for Initialize {
    type Output = Report;

    /// # Panics
    ///
    /// If it is polled after it was ready, and with the panic of the thread if that panicked.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Report> {
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::Idle(service) => match begin(service) {
                    Ok(running) => self.state = running,
                    Err(error) => return Poll::Ready(Err(error)),
                },
                State::Running { thread, signal } => {
                    let mut shared = signal.lock();
                    if !shared.is_done {
                        shared.waker = Some(context.waker().clone());
                        drop(shared);
                        self.state = State::Running { thread, signal };
                        return Poll::Pending;
                    }
                    drop(shared);
                    // The thread has nothing left to do but to end.
                    let report = thread.join();
                    return Poll::Ready(report.unwrap_or_else(|panic| panic::resume_unwind(panic)));
                }
                State::Done => panic!("`Initialize` was polled after it was ready"),
            }
        }
    }
}
