//! The names of the gRPC health service, and what each means.
//!
//! 1. The names that the app maps.
//! 2. `""` is readiness; `liveness`, `readiness` and `startup` are those probes.
//! 3. For authorized callers: the names of groups, then those of dependencies.

use std::{borrow::Cow, panic::Location};

use super::{Health, HealthBuilder, StatusTarget, grpc_settings::MappedService};
use crate::{bounds::LONGEST_SERVICE, probe::Probe};

/// The most names that `List` answers, as in grpc-go.
const MAX_LISTED: usize = 100;

impl Health {
    /// Returns what `name` means; `None` if such a caller does not know it.
    pub(crate) fn resolve<'a>(
        &'a self,
        name: &'a str,
        sees_details: bool,
    ) -> Option<StatusTarget<'a>> {
        if let Some(probe) = self.shared.grpc.find(name) {
            return Some(StatusTarget::Probe(probe));
        }
        match name {
            "" | "readiness" => Some(StatusTarget::Probe(&Probe::Readiness)),
            "liveness" => Some(StatusTarget::Probe(&Probe::Liveness)),
            "startup" => Some(StatusTarget::Probe(&Probe::Startup)),
            _ if !sees_details => None,
            _ if self.has_group(name) => Some(StatusTarget::Group(name)),
            _ => {
                let states = self.states();
                let mut names = states.iter().map(|state| &*state.dependency.name);
                let is_known = names.any(|other| other == name);
                is_known.then_some(StatusTarget::Dependency(name))
            }
        }
    }

    /// Panics if a name is mapped to a group that does not exist.
    #[track_caller]
    pub(super) fn check_mapped_groups(&self) {
        for service in &self.shared.grpc.mapped {
            if let Probe::Group(group) = &service.probe {
                assert!(
                    self.has_group(group),
                    "no dependency is in the group {group:?} ({})",
                    service.mapped_at
                );
            }
        }
    }

    /// Returns each name that `List` answers to such a caller, once; `None` if there are too many.
    pub(crate) fn listed_names(&self, sees_details: bool) -> Option<Vec<String>> {
        let mapped = self.shared.grpc.mapped.iter();
        let mut names = vec![String::new()];
        names.extend(mapped.map(|service| service.name.clone().into_owned()));
        if sees_details {
            let states = self.states();
            let joined = states.iter().flat_map(|state| &state.dependency.groups);
            let groups = self.shared.groups.iter().chain(joined).map(AsRef::as_ref);
            let dependencies = states.iter().map(|state| &*state.dependency.name);
            for name in groups.chain(dependencies) {
                if !names.iter().any(|other| other == name) {
                    names.push(name.to_owned());
                }
            }
        }
        (names.len() <= MAX_LISTED).then_some(names)
    }
}

impl HealthBuilder {
    /// Maps the gRPC service called `name`, as in `my.package.Service`, to `probe`.
    ///
    /// The service is `NOT_SERVING` if the status of `probe` is down or unknown. Every caller may check, watch and
    /// list a mapped name; for the names of groups and dependencies a caller needs details.
    ///
    /// If `probe` is a group, the service is `NOT_SERVING` while any member is down, even a member that is optional
    /// for readiness. Exempt are members that are [optional for](crate::Dependency::optional_for) that group.
    ///
    /// ```
    /// use tower_health::{Dependency, Health, Outcome, Probe};
    ///
    /// # async fn check() -> tower_health::CheckResult { Ok(Outcome::up()) }
    /// // Without the ledger only `Orders` is `NOT_SERVING`, without the index only `Search`. The server stays ready.
    /// // Without the cache both are `SERVING`.
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
    /// If the name is empty (which means readiness), longer than 200 bytes, or already mapped.
    /// [`build`](Self::build) panics if no dependency is in the group that `probe` names.
    #[track_caller]
    pub fn map_grpc_service(mut self, name: impl Into<Cow<'static, str>>, probe: Probe) -> Self {
        let name = name.into();
        assert!(
            !name.is_empty(),
            "the empty service name means readiness and cannot be mapped"
        );
        assert!(
            name.len() <= LONGEST_SERVICE,
            "service name {name:?} is longer than 200 bytes"
        );
        assert!(
            self.grpc.find(&name).is_none(),
            "service {name:?} is already mapped"
        );
        self.grpc.mapped.push(MappedService {
            name,
            probe,
            mapped_at: Location::caller(),
        });
        self
    }

    /// Limits the open gRPC watches of one connection. Default: 100.
    ///
    /// A tenth of the limit may be watches of unknown names. A watch over the limit gets `RESOURCE_EXHAUSTED`. The
    /// limit applies if the peer address is known.
    pub fn max_watches_per_connection(mut self, limit: usize) -> Self {
        self.grpc.limits.per_connection = limit;
        self
    }

    /// Limits the open gRPC watches of one IP address (IPv6: of one /64 network). Default: 1,000.
    ///
    /// A tenth of the limit may be watches of unknown names. All clients behind a proxy share its address: raise
    /// both limits there. The limit of a [`Health`] is 10,000 open watches, and cannot be changed.
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
        self.grpc.limits.per_ip = limit;
        self
    }
}
