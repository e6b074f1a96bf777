//! Names of gRPC services, and what each stands for.
//!
//! In this order: `""` is readiness; the names that the app maps; `liveness`, `readiness` and
//! `startup`; for callers with details the names of groups, then those of dependencies.

use std::{borrow::Cow, panic::Location};

use super::{Health, HealthBuilder, StatusTarget, watch_limits::WatchLimits};
use crate::{bounds::LONGEST_SERVICE, probe::Probe};

/// `List` answers at most this many names, as in grpc-go.
const MAX_LISTED: usize = 100;

/// The settings of the gRPC health service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Services {
    /// The names that the app has mapped.
    mapped: Vec<Service>,
    pub(super) limits: WatchLimits,
}

#[derive(Clone, Debug)]
struct Service {
    name: Cow<'static, str>,
    probe: Probe,
    mapped_at: &'static Location<'static>,
}

impl Services {
    /// Panics when a group is mapped to that has no member.
    pub(super) fn check(&self, has_group: impl Fn(&str) -> bool) {
        for service in &self.mapped {
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
    fn find(&self, name: &str) -> Option<&Probe> {
        let found = self.mapped.iter().find(|service| service.name == name)?;
        Some(&found.probe)
    }
}

impl Health {
    /// What `name` stands for; `None` if it is unknown to such a caller.
    pub(crate) fn resolve<'a>(
        &'a self,
        name: &'a str,
        sees_details: bool,
    ) -> Option<StatusTarget<'a>> {
        if let Some(probe) = self.services().find(name) {
            return Some(StatusTarget::Probe(probe));
        }
        match name {
            "" | "readiness" => Some(StatusTarget::Probe(&Probe::Readiness)),
            "liveness" => Some(StatusTarget::Probe(&Probe::Liveness)),
            "startup" => Some(StatusTarget::Probe(&Probe::Startup)),
            _ if !sees_details => None,
            _ if self.has_group(name) => Some(StatusTarget::Group(name)),
            _ => self
                .has_dependency(name)
                .then_some(StatusTarget::Dependency(name)),
        }
    }

    /// Every name that `List` answers to such a caller, each once; `None` if there are too many.
    pub(crate) fn listed_names(&self, sees_details: bool) -> Option<Vec<String>> {
        let mapped = self.services().mapped.iter();
        let mut names = vec![String::new()];
        names.extend(mapped.map(|service| service.name.clone().into_owned()));
        if sees_details {
            let (groups, dependencies) = self.names();
            for name in groups.into_iter().chain(dependencies) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        (names.len() <= MAX_LISTED).then_some(names)
    }
}

impl HealthBuilder {
    /// Maps the gRPC service called `name`, as in `my.package.Service`, to `probe`.
    ///
    /// The service is `NOT_SERVING` if the result of `probe` is down or unknown. Every caller may check,
    /// watch and list a mapped name; the names of groups and dependencies need details.
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
    /// If the name is empty (that is readiness), longer than 200 bytes or already mapped.
    /// [`build`](Self::build) panics if no dependency is in the group that `probe` names.
    #[track_caller]
    pub fn map_grpc_service(mut self, name: impl Into<Cow<'static, str>>, probe: Probe) -> Self {
        let name = name.into();
        assert!(
            !name.is_empty(),
            "the empty service name is readiness and cannot be mapped"
        );
        assert!(
            name.len() <= LONGEST_SERVICE,
            "service name {name:?} is longer than 200 bytes"
        );
        assert!(
            self.services.find(&name).is_none(),
            "service {name:?} is already mapped"
        );
        self.services.mapped.push(Service {
            name,
            probe,
            mapped_at: Location::caller(),
        });
        self
    }

    /// Limits how many gRPC watches one connection may hold open. Default: 100.
    ///
    /// A tenth of the limit may be watches of unknown names. A watch over the limit is answered with
    /// `RESOURCE_EXHAUSTED`. The limit applies where the peer's address is known.
    pub fn max_watches_per_connection(mut self, limit: usize) -> Self {
        self.services.limits.per_connection = limit;
        self
    }

    /// Limits how many gRPC watches one IP address (IPv6: one /64 network) may hold open. Default: 1,000.
    ///
    /// A tenth of the limit may be watches of unknown names. All clients behind a proxy share its address:
    /// raise both limits there. A [`Health`] holds at most 10,000 watches open in any case.
    ///
    /// ```
    /// use tower_health::Health;
    ///
    /// let behind_proxy = Health::builder()
    ///     .max_watches_per_connection(2_000)
    ///     .max_watches_per_ip(8_000)
    ///     .build();
    /// # drop(behind_proxy);
    /// ```
    pub fn max_watches_per_ip(mut self, limit: usize) -> Self {
        self.services.limits.per_ip = limit;
        self
    }
}
