//! From a report to bytes.
//!
//! A renderer gets a [`View`] and nothing else, and the only way to a view is to
//! cut a report down to the [`Detail`] that the asker may see: here is where what
//! a stranger must not learn is cut.
//!
//! | [`Format`] | media type | to a stranger | to those allowed details |
//! |---|---|---|---|
//! | `json` | `application/json` | `{"status":"up"}` | `{"status":…,"checks":{…}}`, see [`schema`](Format::JSON_SCHEMA) |
//! | `health_json` | `application/health+json` | `{"status":"pass"}` | `checks` of arrays, `output` on what does not pass |
//! | `spring` | `application/vnd.spring-boot.actuator.v3+json` | `{"status":"UP"}` | `components` with `details`, `groups` |
//! | `text` | `text/plain` | `ok`, `readyz check failed` | the same with `?verbose`, or failing: a line for each dependency |
//! | `openmetrics` | `application/openmetrics-text` | the gauge `health_status` | the gauges of the `metrics` feature |
//! | `html` | `text/html` | the word | the page for whoever is on call |

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

/// `word`, and the `message` where there is one.
fn sentence(word: &dyn Display, message: Option<&str>) -> String {
    match message {
        Some(message) => format!("{word}: {message}"),
        None => word.to_string(),
    }
}

fn to_json(value: &impl Serialize) -> Bytes {
    // Our own types with string keys: serialising them to memory cannot fail.
    Bytes::from(serde_json::to_vec(value).expect("a report is valid JSON"))
}
