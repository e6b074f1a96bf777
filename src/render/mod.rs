//! Renders reports: from a [`View`] to the bytes of a response.
//!
//! A renderer receives only a [`View`], so it cannot leak details. The only way to create a view is to restrict
//! a report to the [`Detail`](crate::access::Detail) that the caller may see. [`Format`] lists the formats.

// Each file imports only from those above it.
mod accept;
mod time;
mod view;

mod json;

mod health_json;
#[cfg(feature = "html")]
mod html;
mod openmetrics;
mod spring;
mod text;

mod format;

pub(crate) use self::{accept::choose, view::RequestContext};
pub use self::{
    format::{Format, Render},
    view::View,
};
