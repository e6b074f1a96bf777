//! Services of the app's own, and the probe that says what each needs.

use std::{borrow::Cow, panic::Location};

use super::HealthBuilder;
use crate::{bounds::LONGEST_SERVICE, probe::Probe};

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
    pub(super) fn check(&self, has_group: impl Fn(&str) -> bool) {
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

    /// What the service called `name` needs.
    pub(crate) fn find(&self, name: &str) -> Option<&Probe> {
        let found = self.0.iter().find(|service| service.name == name)?;
        Some(&found.probe)
    }

    /// All names, in the order in which they were mapped.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|service| &*service.name)
    }
}

impl HealthBuilder {
    /// Maps the gRPC service called `name`, as in `my.package.Service`, to `probe`.
    ///
    /// With a group the service is `NOT_SERVING` while any member is down: members count as required for
    /// the service, even if they are optional for readiness, unless they are
    /// [optional for](crate::Dependency::optional_for) that group.
    ///
    /// ```
    /// use tower_health::{Dependency, Health, Outcome, Probe};
    ///
    /// # async fn check() -> tower_health::CheckResult { Ok(Outcome::up()) }
    /// // Without the ledger only `Orders` is out of service, without the index only `Search`; the server stays ready.
    /// // Without the cache both go on.
    /// let health = Health::builder()
    ///     .add(Dependency::new("ledger", check).optional().group("orders"))
    ///     .add(Dependency::new("index", check).optional().group("search"))
    ///     .add(
    ///         Dependency::new("cache", check)
    ///             .optional()
    ///             .group("orders")
    ///             .group("search")
    ///             .optional_for(Probe::group("orders"))
    ///             .optional_for(Probe::group("search")),
    ///     )
    ///     .map_grpc_service("shop.v1.Orders", Probe::group("orders"))
    ///     .map_grpc_service("shop.v1.Search", Probe::group("search"))
    ///     .build();
    /// # drop(health);
    /// ```
    ///
    /// # Panics
    ///
    /// When the name is empty (that is readiness), longer than 200 bytes or mapped
    /// already; [`build`](Self::build) does when no dependency is in the group that `probe` names.
    #[track_caller]
    pub fn map_grpc_service(mut self, name: impl Into<Cow<'static, str>>, probe: Probe) -> Self {
        let name = name.into();
        assert!(
            !name.is_empty(),
            "the empty name is the server's as a whole"
        );
        assert!(
            name.len() <= LONGEST_SERVICE,
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
