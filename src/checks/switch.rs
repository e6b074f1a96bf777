//! A status that the app sets.

use std::{
    borrow::Cow,
    future::{Future, ready},
    sync::Arc,
};

use arc_swap::ArcSwapOption;

use crate::{
    check::{Check, CheckResult, InProcessCheck, Outcome, sealed},
    report::{Failure, Reason, one_line},
};

/// A check that the app sets by itself: up until it says that it is broken.
///
/// For states that only code can know and only a restart repairs: a poisoned cache, a lost license, a
/// thread that cannot be replaced. Liveness may use it. Its state shows with the next run, at most
/// [`cache_for`](crate::Dependency::cache_for) later.
///
/// ```
/// use tower_health::{Health, Probe, Status, checks::Switch};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let state = Switch::new();
/// let health = Health::builder().liveness_check("state", state.clone()).build();
/// state.set_down("the index is corrupt");
/// assert_eq!(health.report_for(&Probe::Liveness).await.status, Status::Down);
/// state.set_up();
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Switch {
    /// Why it is down; `None` while it is up.
    down: Arc<ArcSwapOption<Cow<'static, str>>>,
}

impl Switch {
    /// A switch that is up.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the status to up.
    pub fn set_up(&self) {
        self.down.store(None);
    }

    /// Sets the status to down, with reason `failed`.
    ///
    /// `message` is shown to authorized callers and must hold no credentials. Control characters become
    /// spaces, and text over 256 bytes is cut.
    pub fn set_down(&self, message: impl Into<Cow<'static, str>>) {
        self.down.store(Some(Arc::new(one_line(message.into()))));
    }

    /// Whether it is up.
    pub fn is_up(&self) -> bool {
        self.down.load().is_none()
    }
}

impl Check for Switch {
    fn check(&self) -> impl Future<Output = CheckResult> + Send {
        ready(match self.down.load_full() {
            None => Ok(Outcome::up()),
            Some(message) => Err(Failure::new(Reason::Failed).message((*message).clone())),
        })
    }

    fn kind(&self) -> Option<&'static str> {
        Some("switch")
    }
}

impl sealed::InProcess for Switch {}

impl InProcessCheck for Switch {}
