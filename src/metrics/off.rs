//! In the place of the numbers where the feature `metrics` is off: nothing, so that the
//! places that record need no condition.

use crate::{dependency::Dependency, monitor::result::LastResult};

#[derive(Debug)]
pub(crate) struct CheckNumbers;

impl CheckNumbers {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn record(&self, _: &Dependency, _: &LastResult) {}

    pub(crate) fn restate(&self, _: &Dependency, _: &LastResult) {}

    pub(crate) fn retire(&self, _: &Dependency, _: &LastResult) {}
}
