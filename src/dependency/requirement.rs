//! Which probes cover a dependency, which of them fail with it, and which settings contradict each other.

use super::{definition::Dependency, settings::Requirement};
use crate::probe::Probe;

impl Dependency {
    /// Whether `probe` fails with the dependency. Startup follows readiness.
    pub(crate) fn requirement(&self, probe: &Probe) -> Requirement {
        let exception = |probe: &Probe| {
            let mut all = self.exceptions.iter();
            all.find(|(other, _)| other == probe).map(|(_, it)| *it)
        };
        let exception = exception(probe).or_else(|| match probe {
            Probe::Startup => exception(&Probe::Readiness),
            _ => None,
        });
        let requirement = exception.or(self.requirements.last().copied());
        requirement.unwrap_or(Requirement::Required)
    }

    /// Whether the dependency was made optional for exactly `probe`.
    #[cfg(feature = "grpc")]
    pub(crate) fn is_optional_for(&self, probe: &Probe) -> bool {
        let mut exceptions = self.exceptions.iter();
        exceptions.any(|(other, it)| other == probe && *it == Requirement::Optional)
    }

    /// Whether `probe` covers the dependency.
    pub(crate) fn is_covered_by(&self, probe: &Probe) -> bool {
        match probe {
            Probe::Liveness => self.liveness,
            Probe::Readiness => self.readiness,
            Probe::Startup => self.readiness && self.requirement(probe) != Requirement::Optional,
            Probe::Full => true,
            Probe::Group(group) => self.groups.iter().any(|name| name == group),
        }
    }

    /// Returns the first fault of the settings, as one line.
    pub(crate) fn validate(&self) -> Result<(), String> {
        let fault = self.fault_of_times().or_else(|| self.fault_of_probes());
        match fault {
            Some(fault) => Err(format!("dependency {:?}: {fault}", self.name)),
            None => Ok(()),
        }
    }

    fn fault_of_times(&self) -> Option<String> {
        let timeout = self.settings.timeout;
        if timeout.is_zero() {
            return Some("timeout must not be zero".into());
        }
        let limit = self.settings.slow_after?;
        if limit.is_zero() {
            return Some("slow_after must not be zero".into());
        }
        (limit >= timeout).then(|| {
            format!(
                "slow_after ({} ms) must be shorter than timeout ({} ms)",
                limit.as_millis(),
                timeout.as_millis()
            )
        })
    }

    fn fault_of_probes(&self) -> Option<String> {
        if self.requirements.windows(2).any(|two| two[0] != two[1]) {
            return Some("optional and required_until_started contradict each other".into());
        }
        for (number, (probe, requirement)) in self.exceptions.iter().enumerate() {
            let mut earlier = self.exceptions[..number].iter();
            if earlier.any(|(other, it)| other == probe && it != requirement) {
                return Some(format!(
                    "required_for and optional_for {probe} contradict each other"
                ));
            }
            let is_covered = match probe {
                // Startup does not cover an optional dependency, and this exception may make it optional.
                Probe::Startup => self.readiness,
                probe => self.is_covered_by(probe),
            };
            if !is_covered {
                return Some(format!(
                    "requirement for {probe}, which does not cover this dependency"
                ));
            }
        }
        let until_started = Requirement::RequiredUntilStarted;
        if !self.requirements.contains(&until_started) {
            return None;
        }
        if self.requirement(&Probe::Startup) == Requirement::Optional {
            return Some("required_until_started and optional_for contradict each other".into());
        }
        (!self.readiness).then(|| {
            "required_until_started and exclude_from_readiness contradict each other".into()
        })
    }
}
