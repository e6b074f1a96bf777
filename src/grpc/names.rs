//! Names of services, and what each stands for.
//!
//! In this order: `""` is readiness; the names mapped by the app; groups; for those
//! allowed details the names of dependencies; `liveness`, `readiness` and `startup`.

use std::{borrow::Cow, panic::Location};

use crate::{
    health::{Health, HealthBuilder, Subject},
    probe::Probe,
    render::Detail,
};

/// More names are refused by `List`, as by grpc-go.
const MAX_LISTED: usize = 100;

/// The names that the app has mapped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Services(Vec<Service>);

#[derive(Clone, Debug)]
struct Service {
    name: Cow<'static, str>,
    probe: Probe,
    mapped_at: &'static Location<'static>,
}

impl Services {
    /// Panics when a group is mapped to that has no member.
    pub(crate) fn check(&self, has_group: impl Fn(&str) -> bool) {
        for service in &self.0 {
            if let Probe::Group(group) = &service.probe {
                assert!(
                    has_group(group),
                    "no dependency is in the group {group:?} ({})",
                    service.mapped_at
                );
            }
        }
    }

    fn find(&self, name: &str) -> Option<&Probe> {
        let found = self.0.iter().find(|service| service.name == name)?;
        Some(&found.probe)
    }
}

impl HealthBuilder {
    /// Maps the gRPC service called `name`, as in `my.package.Service`, to `probe`: it is
    /// `NOT_SERVING` when what it needs is down.
    ///
    /// ```
    /// use tower_health::{Dependency, Health, Outcome, Probe};
    ///
    /// let health = Health::builder()
    ///     .add(Dependency::new("database", async || Ok(Outcome::up())).group("orders"))
    ///     .service("shop.v1.Orders", Probe::group("orders"))
    ///     .build();
    /// # drop(health);
    /// ```
    ///
    /// # Panics
    ///
    /// When the name is empty (that is readiness), longer than 200 bytes or mapped
    /// already; [`build`](Self::build) does when no dependency is in the group that `probe` names.
    #[track_caller]
    pub fn service(mut self, name: impl Into<Cow<'static, str>>, probe: Probe) -> Self {
        let name = name.into();
        assert!(
            !name.is_empty(),
            "the empty name is the server's as a whole"
        );
        assert!(
            name.len() <= super::message::MAX_NAME,
            "the service name {name:?} is longer than 200 bytes"
        );
        assert!(
            self.services.find(&name).is_none(),
            "the service {name:?} is mapped already"
        );
        self.services.0.push(Service {
            name,
            probe,
            mapped_at: Location::caller(),
        });
        self
    }
}

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
    let mapped = health.services().0.iter();
    let mut names = vec![String::new()];
    names.extend(mapped.map(|service| service.name.as_ref().to_owned()));
    let unmapped = |name: &String| health.services().find(name).is_none();
    if detail == Detail::Full {
        let ungrouped = |name: &String| unmapped(name) && !groups.contains(name);
        names.extend(dependencies.into_iter().filter(ungrouped));
    }
    names.extend(groups.into_iter().filter(unmapped));
    (names.len() <= MAX_LISTED).then_some(names)
}
