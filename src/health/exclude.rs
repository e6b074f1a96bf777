//! A question without some of the dependencies that its probe looks at.

use std::borrow::Cow;

use super::{Gathering, Health};
use crate::{dependency::Dependency, probe::Probe, report::Excluded};

impl Gathering {
    /// As [`ask`](Self::ask), without those called as one of `names`, or in a group that is.
    pub(super) fn ask_without(health: Health, probe: &Probe, names: &[String]) -> Self {
        Self::ask_unless(health, probe, |dependency| excluded(dependency, names))
    }

    /// Which of `names` are nothing that was asked for, neither a dependency nor a group.
    pub(crate) fn unmatched(&self, names: &[String]) -> Vec<String> {
        let matches = |name: &String| {
            self.parts
                .iter()
                .any(|part| excluded(&part.cell.dependency, &[name]).is_some())
        };
        names
            .iter()
            .filter(|name| !matches(name))
            .cloned()
            .collect()
    }

    /// The groups of what was asked for, each once.
    pub(crate) fn groups(&self) -> Vec<Cow<'static, str>> {
        let mut groups = Vec::new();
        for part in &self.parts {
            for group in &part.cell.dependency.groups {
                if !groups.contains(group) {
                    groups.push(group.clone());
                }
            }
        }
        groups
    }

    /// Whether one dependency was asked for by its name.
    pub(crate) fn is_for_one(&self) -> bool {
        self.probe.is_none()
    }
}

/// By what `dependency` is among `names`: its own name before its groups in their order.
fn excluded(dependency: &Dependency, names: &[impl AsRef<str>]) -> Option<Excluded> {
    let named = |name: &str| names.iter().any(|other| other.as_ref() == name);
    if named(&dependency.name) {
        return Some(Excluded::ByName);
    }
    let mut groups = dependency.groups.iter();
    groups
        .find(|group| named(group))
        .map(|group| Excluded::WithGroup(group.clone()))
}
