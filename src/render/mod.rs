//! From a report to bytes.
//!
//! A renderer gets a [`View`] and nothing else, and the only way to a view is to
//! cut a report down to the [`Detail`] that the asker may see: here is where what
//! a stranger must not learn is cut.

#[cfg(feature = "html")]
mod html;
mod json;
mod view;

#[cfg(feature = "html")]
pub(crate) use self::html::{CONTENT_SECURITY_POLICY, html};
pub(crate) use self::json::json;
pub use self::view::{Detail, View};
