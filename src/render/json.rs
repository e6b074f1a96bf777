use bytes::Bytes;
use serde::Serialize;

use super::view::View;
use crate::report::Status;

/// Renders native JSON.
pub(super) fn json(view: &View<'_>) -> Bytes {
    match (view.report(), view.single_entry()) {
        (None, _) => status_only(view.status()),
        (_, Some(entry)) => to_json(entry),
        (Some(report), None) => to_json(report),
    }
}

/// Returns the body without details. It is static, so no reference count is touched to send it.
pub(super) const fn status_only(status: Status) -> Bytes {
    Bytes::from_static(match status {
        Status::Up => br#"{"status":"up"}"#,
        Status::Degraded => br#"{"status":"degraded"}"#,
        Status::Unknown => br#"{"status":"unknown"}"#,
        Status::Down => br#"{"status":"down"}"#,
    })
}

pub(super) fn to_json(value: &impl Serialize) -> Bytes {
    // Types of this crate with string keys: serializing them to memory cannot fail.
    Bytes::from(serde_json::to_vec(value).expect("a report is valid JSON"))
}

#[cfg(test)]
mod tests {
    use super::{View, json};
    use crate::{
        access::Detail,
        render::view::sample,
        report::{Report, Status},
    };

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

    #[test]
    fn with_details_keys_have_a_fixed_order() {
        let report = sample::report();
        assert_eq!(
            json(&sample::full(&report)),
            concat!(
                r#"{"status":"degraded","version":"2.0.0","checks":{"#,
                r#""database":{"status":"up","kind":"postgres","required":true,"duration_ms":0.31,"age_ms":420,"#,
                r#""pool":{"max":10,"open":10,"idle":8,"in_use":2},"observations":{"lag_ms":3}},"#,
                r#""pool":{"status":"degraded","kind":"pool","required":true,"reason":"saturated","#,
                r#""duration_ms":2.0,"age_ms":10},"#,
                r#""cache":{"status":"down","kind":"redis","required":false,"reason":"timeout","#,
                r#""message":"no answer within 800 ms","failing_for_ms":12000,"consecutive_failures":12,"#,
                r#""duration_ms":800.2,"age_ms":310}}}"#
            )
        );
    }
}
