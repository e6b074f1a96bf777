//! Who may ask, from `HEALTHCHECK_IPS`.

use tower_health::Access;

/// Those in `list`, or this host where there is none.
///
/// An entry that makes no sense is named in the log and left out: it never lets anybody in.
pub(crate) fn may_ask(list: Option<&str>) -> Access {
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
