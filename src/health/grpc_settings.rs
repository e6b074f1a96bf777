//! The settings of the gRPC health service: mapped names, and limits of open watches.

use std::{borrow::Cow, panic::Location};

use crate::probe::Probe;

#[derive(Clone, Debug, Default)]
pub(super) struct GrpcSettings {
    pub(super) mapped: Vec<MappedService>,
    pub(super) limits: WatchLimits,
}

/// A service name that the app maps to a probe.
#[derive(Clone, Debug)]
pub(super) struct MappedService {
    pub(super) name: Cow<'static, str>,
    pub(super) probe: Probe,
    pub(super) mapped_at: &'static Location<'static>,
}

/// The most open watches of one peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct WatchLimits {
    pub(super) per_connection: usize,
    pub(super) per_ip: usize,
}

impl Default for WatchLimits {
    fn default() -> Self {
        Self {
            per_connection: 100,
            per_ip: 1_000,
        }
    }
}

impl GrpcSettings {
    /// The probe that `name` is mapped to.
    pub(super) fn find(&self, name: &str) -> Option<&Probe> {
        let service = self.mapped.iter().find(|service| service.name == name)?;
        Some(&service.probe)
    }
}
