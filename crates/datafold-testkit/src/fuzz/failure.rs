//! Panics of bodies, caught without being printed.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use super::Verdict;

/// A panic of a body.
#[derive(Debug, Clone)]
pub(super) struct Caught {
    pub(super) message: String,
    pub(super) place: String,
}

thread_local! {
    /// Whether this thread runs a body: its panics are noted and not printed.
    static IN_BODY: Cell<bool> = const { Cell::new(false) };
    static NOTED: RefCell<Option<Caught>> = const { RefCell::new(None) };
}

/// Runs a body; a panic of it is an error.
pub(super) fn run_body(body: &dyn Fn(&[u8]) -> Verdict, input: &[u8]) -> Result<Verdict, Caught> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IN_BODY.get() {
                return before(info);
            }
            let message = info.payload_as_str().unwrap_or("a panic without a text").to_owned();
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            NOTED.set(Some(Caught { message, place }));
        }));
    });
    IN_BODY.set(true);
    // A body keeps nothing from one input to the next.
    let verdict = catch_unwind(AssertUnwindSafe(|| body(input)));
    IN_BODY.set(false);
    verdict.map_err(|_| {
        let unknown = Caught { message: "a panic".into(), place: String::new() };
        NOTED.take().unwrap_or(unknown)
    })
}
