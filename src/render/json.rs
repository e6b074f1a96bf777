use bytes::Bytes;

use super::{View, to_json};
use crate::report::Status;

/// The native format.
pub(crate) fn json(view: &View<'_>) -> Bytes {
    match (view.full(), view.single_entry()) {
        (None, _) => status_alone(view.status()),
        (_, Some(entry)) => to_json(entry),
        (Some(report), None) => to_json(report),
    }
}

/// The body without details, made at compile time: no reference count is touched to serve it.
pub(super) const fn status_alone(status: Status) -> Bytes {
    Bytes::from_static(match status {
        Status::Up => br#"{"status":"up"}"#,
        Status::Degraded => br#"{"status":"degraded"}"#,
        Status::Unknown => br#"{"status":"unknown"}"#,
        Status::Down => br#"{"status":"down"}"#,
    })
}

#[cfg(test)]
mod tests {
    use super::{View, json};
    use crate::access::Detail;
    use crate::report::{Report, Status};

    #[test]
    fn without_details_the_body_is_the_status() {
        let info = [("version".into(), "secret".into())];
        for status in [Status::Up, Status::Degraded, Status::Unknown, Status::Down] {
            let mut report = Report::new(Vec::new(), info.clone().into());
            report.status = status;
            let bytes = json(&View::new(&report, Detail::Status));
            assert_eq!(bytes, format!(r#"{{"status":"{status}"}}"#));
        }
    }
}
