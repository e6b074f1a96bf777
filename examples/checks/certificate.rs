//! A certificate file: degraded if it expires soon, down if it has expired.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use tower_health::{Check, Failure, Outcome, Reason, checks};
use x509_cert::{Certificate, der::DecodePem};

const DAY: Duration = Duration::from_secs(86_400);

/// Reads the first certificate of the PEM file at `path`. It should be valid for `days` more.
///
/// Make it optional: a restart or another replica has the same certificate.
pub(crate) fn certificate(path: PathBuf, days: u32) -> impl Check {
    checks::blocking(move || {
        let pem = fs::read(&path)?;
        let certificate = Certificate::from_pem(pem)
            .map_err(|error| Failure::new(Reason::Misconfigured).caused_by(error))?;
        let end = certificate.tbs_certificate.validity.not_after;
        let Ok(left) = end.to_system_time().duration_since(SystemTime::now()) else {
            return Err(Failure::new(Reason::Tls).message("the certificate has expired"));
        };
        let left_days = left.as_secs() / DAY.as_secs();
        let outcome = if left < DAY * days {
            Outcome::degraded(Reason::Tls).message("the certificate expires soon")
        } else {
            Outcome::up()
        };
        Ok(outcome.observe("days_left", left_days))
    })
}
