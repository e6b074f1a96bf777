//! An error of known type behind a manager's associated one.

use std::any::Any;

use super::guarded::GuardedError;

/// What a manager's error turned out to be.
pub(super) enum Known<T, E> {
    /// The driver's own error.
    Driver(T),
    /// A guard's time was up.
    TimedOut,
    /// Neither: a wrapper of the app's has a type of its own.
    Other(E),
}

/// Looks for the driver's error `T`, also behind a [`GuardedManager`](super::GuardedManager).
///
/// By type and not by trait, so that any manager of the right connections is accepted.
pub(super) fn known<T: 'static, E: 'static>(error: E) -> Known<T, E> {
    let mut slot = Some(error);
    let any: &mut dyn Any = &mut slot;
    if let Some(found) = any.downcast_mut::<Option<T>>().and_then(Option::take) {
        return Known::Driver(found);
    }
    if let Some(guarded) = any.downcast_mut::<Option<GuardedError<T>>>() {
        return match guarded.take() {
            Some(GuardedError::Manager(found)) => Known::Driver(found),
            Some(GuardedError::TimedOut) | None => Known::TimedOut,
        };
    }
    match slot {
        Some(error) => Known::Other(error),
        // Taken above, where it was returned.
        None => Known::TimedOut,
    }
}
