//! Three balancers: how each probes, and what it does without a healthy replica.

use std::time::Duration;

/// A balancer with the settings that the policy guide recommends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Balancer {
    /// A Kubernetes Service: without a ready replica it refuses connections.
    Kubernetes,
    /// Envoy: below 50 % healthy replicas it uses all of them.
    Envoy,
    /// An Application Load Balancer: without a healthy replica it uses all of them.
    Alb,
}

impl Balancer {
    pub(crate) const ALL: [Self; 3] = [Self::Kubernetes, Self::Envoy, Self::Alb];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "Kubernetes",
            Self::Envoy => "Envoy",
            Self::Alb => "ALB",
        }
    }

    pub(crate) fn period(self) -> Duration {
        match self {
            Self::Kubernetes => Duration::from_secs(2),
            Self::Envoy => Duration::from_millis(1200),
            Self::Alb => Duration::from_secs(5),
        }
    }

    pub(crate) fn timeout(self) -> Duration {
        match self {
            Self::Kubernetes | Self::Envoy => Duration::from_secs(1),
            Self::Alb => Duration::from_secs(2),
        }
    }

    /// Results in a row until a replica enters rotation, or leaves it.
    pub(crate) fn threshold(self, enters: bool) -> u32 {
        match (self, enters) {
            (Self::Kubernetes | Self::Envoy, true) => 1,
            _ => 2,
        }
    }

    /// Whether it sends requests to all replicas while only `healthy` of `replicas` are in rotation.
    pub(crate) fn uses_all(self, healthy: usize, replicas: usize) -> bool {
        match self {
            Self::Kubernetes => false,
            Self::Envoy => healthy * 2 < replicas,
            Self::Alb => healthy == 0,
        }
    }
}
