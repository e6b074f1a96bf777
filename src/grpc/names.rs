//! Names of services, and what each stands for.
//!
//! In this order: `""` is readiness; the names mapped by the app; groups; for those
//! allowed details the names of dependencies; `liveness`, `readiness` and `startup`.

use crate::{
    access::Detail,
    health::{Health, Subject},
    probe::Probe,
};

/// More names are refused by `List`, as by grpc-go.
const MAX_LISTED: usize = 100;

/// What `name` stands for, to somebody who sees `detail`.
pub(super) fn resolve<'a>(
    health: &'a Health,
    name: &'a str,
    detail: Detail,
) -> Option<Subject<'a>> {
    if name.is_empty() {
        return Some(Subject::Probe(&Probe::Readiness));
    }
    if let Some(probe) = health.services().find(name) {
        return Some(Subject::Probe(probe));
    }
    if health.has_group(name) {
        return Some(Subject::Group(name));
    }
    if detail == Detail::Full && health.has_dependency(name) {
        return Some(Subject::Dependency(name));
    }
    match name {
        "liveness" => Some(Subject::Probe(&Probe::Liveness)),
        "readiness" => Some(Subject::Probe(&Probe::Readiness)),
        "startup" => Some(Subject::Probe(&Probe::Startup)),
        _ => None,
    }
}

/// Every name for somebody who sees `detail`, each once; `None` when there are too many.
pub(super) fn listed(health: &Health, detail: Detail) -> Option<Vec<String>> {
    let (groups, dependencies) = health.names();
    let mut names = vec![String::new()];
    names.extend(health.services().names().map(str::to_owned));
    let unmapped = |name: &String| health.services().find(name).is_none();
    if detail == Detail::Full {
        let ungrouped = |name: &String| unmapped(name) && !groups.contains(name);
        names.extend(dependencies.into_iter().filter(ungrouped));
    }
    names.extend(groups.into_iter().filter(unmapped));
    (names.len() <= MAX_LISTED).then_some(names)
}
