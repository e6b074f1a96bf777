//! From a report to bytes.
//!
//! A renderer receives only a [`View`]. The only way to make one is to restrict a report to the
//! [`Detail`](crate::access::Detail) that the caller may see, so that a renderer cannot leak the rest.
//!
//! | [`Format`] | media type | without details | with details |
//! |---|---|---|---|
//! | `json` | `application/json` | `{"status":"up"}` | `{"status":…,"checks":{…}}`, see [`schema`](Format::JSON_SCHEMA) |
//! | `health_json` | `application/health+json` | `{"status":"pass"}` | `checks` of arrays, `output` on what does not pass |
//! | `spring` | `application/vnd.spring-boot.actuator.v3+json` | `{"status":"UP"}` | `components` with `details`, `groups` |
//! | `text` | `text/plain` | `ok`, `readyz check failed` | the same with `?verbose`, or failing: a line for each dependency |
//! | `openmetrics` | `application/openmetrics-text` | the gauge `health_status` | the gauges of the `metrics` feature |
//! | `html` | `text/html` | the status in one word | the status page |

mod accept;
mod custom;
mod format;
#[cfg(test)]
mod guide_tests;
mod health_json;
#[cfg(feature = "html")]
mod html;
mod json;
mod openmetrics;
#[cfg(test)]
mod sample;
mod spring;
mod text;
mod time;
mod view;

use std::fmt::Display;

use bytes::Bytes;
use serde::Serialize;

pub(crate) use self::{accept::choose, format::Rendered, view::Question};
pub use self::{custom::Render, format::Format, view::View};

/// `word`, and the `message` if there is one.
fn sentence(word: &dyn Display, message: Option<&str>) -> String {
    match message {
        Some(message) => format!("{word}: {message}"),
        None => word.to_string(),
    }
}

fn to_json(value: &impl Serialize) -> Bytes {
    // Types of this crate with string keys: serializing them to memory cannot fail.
    Bytes::from(serde_json::to_vec(value).expect("a report is valid JSON"))
}
