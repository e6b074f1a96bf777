use bytes::Bytes;
use serde::Serialize;

use super::View;
use crate::report::Status;

/// The native format.
pub(crate) fn json(view: &View<'_>) -> Bytes {
    match (view.full(), view.single_entry()) {
        (None, _) => Bytes::from_static(status_alone(view.status())),
        (_, Some(entry)) => to_bytes(entry),
        (Some(report), None) => to_bytes(report),
    }
}

/// What a stranger gets, made at compile time: no reference count is touched to hand it out.
const fn status_alone(status: Status) -> &'static [u8] {
    match status {
        Status::Up => br#"{"status":"up"}"#,
        Status::Degraded => br#"{"status":"degraded"}"#,
        Status::Unknown => br#"{"status":"unknown"}"#,
        Status::Down => br#"{"status":"down"}"#,
    }
}

fn to_bytes(value: &impl Serialize) -> Bytes {
    // Our own types with string keys: serialising them to memory cannot fail.
    Bytes::from(serde_json::to_vec(value).expect("a report is valid JSON"))
}

#[cfg(test)]
mod tests {
    use super::{super::Detail, View, json};
    use crate::report::{Report, Status};

    #[test]
    fn a_stranger_learns_the_status_and_no_more() {
        let info = [("version".into(), "secret".into())];
        for status in [Status::Up, Status::Degraded, Status::Unknown, Status::Down] {
            let mut report = Report::of(Vec::new(), info.clone().into());
            report.status = status;
            let bytes = json(&View::cut(&report, Detail::Status));
            assert_eq!(bytes, format!(r#"{{"status":"{status}"}}"#));
        }
    }
}
