//! The callers that may probe, from `HEALTHCHECK_IPS`.

use tower_health::Access;

/// Access for the networks in `list`; without a list, for this host.
///
/// An invalid entry is logged and ignored.
pub(crate) fn allowed(list: Option<&str>) -> Access {
    let Some(list) = list else {
        return Access::loopback();
    };
    let entries = list
        .split([',', ' ', '\t', '\n'])
        .filter(|entry| !entry.is_empty());
    entries.fold(Access::nobody(), |access, entry| {
        match Access::networks([entry]) {
            Ok(network) => access.or(network),
            Err(error) => {
                tracing::error!("HEALTHCHECK_IPS: {error}; it is left out");
                access
            }
        }
    })
}
