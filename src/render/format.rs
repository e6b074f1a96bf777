use std::{fmt, sync::Arc};

use bytes::Bytes;

#[cfg(feature = "html")]
use super::html::{CONTENT_SECURITY_POLICY, html};
use super::{Render, View, custom::Custom, health_json, json, openmetrics, spring, text};
use crate::report::Status;

/// The format of a probe response.
///
/// | | media type | without details | with details |
/// |---|---|---|---|
/// | [`json`](Self::json) | `application/json` | `{"status":"up"}` | [`JSON_SCHEMA`](Self::JSON_SCHEMA) |
/// | [`health_json`](Self::health_json) | `application/health+json` | `{"status":"pass"}` | arrays in `checks`, `output` on what does not pass |
/// | [`spring`](Self::spring) | `application/vnd.spring-boot.actuator.v3+json` | `{"status":"UP"}` | `components` with `details`, `groups` |
/// | [`text`](Self::text) | `text/plain` | `ok` or `readyz check failed` | with `?verbose`, or failing, a line for each dependency |
/// | [`openmetrics`](Self::openmetrics) | `application/openmetrics-text` | the gauge `health_status` | the gauges of each check |
/// | `html` (feature `html`) | `text/html` | the status in one word | the status page |
/// | [`custom`](Self::custom) | its own | made of a [`View`] without details | made of one with details |
///
/// Rules, in evaluation order:
///
/// 1. A path with a format of its own, set by
///    [`path_with_format`](crate::HealthLayer::path_with_format), always answers in that format.
/// 2. Otherwise the format that the request's `accept` names with the highest quality, the first of equals. All
///    in the table can be named but `html`, which only paths set by `HealthLayer::page` offer.
/// 3. Otherwise the layer's, set by [`format`](crate::HealthLayer::format): for `*/*`, without `accept`, and
///    if `accept` names no known format. Default: `json`. Never 406.
///
/// Each result is rendered once for each format and detail, and once a second where ages show. A body for a
/// query or for one dependency is rendered per request. Samples: [`guide::formats`](crate::guide::formats).
#[derive(Clone)]
pub struct Format {
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Json,
    HealthJson,
    Spring,
    Text,
    OpenMetrics,
    #[cfg(feature = "html")]
    Html,
    Custom(Arc<Custom>),
}

/// A rendered view.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
    /// The content security policy, if it has one.
    pub(crate) policy: Option<&'static str>,
}

impl Rendered {
    /// The status alone, in native JSON: without details, and if a custom renderer panics.
    pub(crate) fn word(status: Status) -> Self {
        Self {
            content_type: Format::json().content_type(),
            body: json::status_alone(status),
            policy: None,
        }
    }
}

impl Format {
    /// The JSON Schema (draft 2020-12) of the [`json`](Self::json) format:
    ///
    /// ```json
    #[doc = include_str!("schema.json")]
    /// ```
    pub const JSON_SCHEMA: &'static str = include_str!("schema.json");

    /// Native JSON, dependencies in the order of registration. See [`JSON_SCHEMA`](Self::JSON_SCHEMA).
    pub const fn json() -> Self {
        Self { kind: Kind::Json }
    }

    /// `application/health+json` after draft-inadarei-api-health-check-06.
    ///
    /// `pass` is up, `warn` degraded, `fail` down or unknown. `checks` maps
    /// `{dependency}:{measurement}` to an array: `responseTime` in ms, `connections` of a pool (in
    /// use), and one for each observation of the check; a colon in a name is written
    /// `%3A`. `time` is when the run started, by the wall clock, calculated back from the response.
    /// `output` is the reason of what does not pass. The draft wants a freshness lifetime; the
    /// header is `no-store` nevertheless, because results are cached here already.
    pub const fn health_json() -> Self {
        Self {
            kind: Kind::HealthJson,
        }
    }

    /// The format of Spring Boot Actuator, version 3, for existing dashboards.
    ///
    /// `UP` is up and degraded (with `description` for callers with details), `DOWN` down, `UNKNOWN`
    /// unknown, which is 503 here, and `OUT_OF_SERVICE` draining. Components are
    /// sorted by name.
    pub const fn spring() -> Self {
        Self { kind: Kind::Spring }
    }

    /// Plain text as of kube-apiserver: `ok`, or one line for each dependency.
    ///
    /// With `?verbose` a passing probe has the lines, too. The code of a failing one is 503, where
    /// kube-apiserver has 500.
    pub const fn text() -> Self {
        Self { kind: Kind::Text }
    }

    /// OpenMetrics text 1.0.0: gauges by the names of the `metrics` feature, without a recorder.
    ///
    /// If the path's own format or `accept` names it, the code is 200 whatever the status, because
    /// Prometheus drops all samples of other scrapes. As the layer's format for requests that name none, the
    /// code follows the status: such a prober is not a scraper.
    pub const fn openmetrics() -> Self {
        Self {
            kind: Kind::OpenMetrics,
        }
    }

    /// The status page for people: one document that loads nothing from elsewhere.
    ///
    /// With scripts it fetches its own address as HTML every 2 s and replaces its content. Without them it
    /// reloads every 5 s.
    #[cfg(feature = "html")]
    pub const fn html() -> Self {
        Self { kind: Kind::Html }
    }

    /// A custom format.
    ///
    /// # Panics
    ///
    /// If its content type is not a media type that a header can carry.
    #[track_caller]
    pub fn custom(render: impl Render) -> Self {
        Self {
            kind: Kind::Custom(Arc::new(Custom::new(render))),
        }
    }

    /// The formats that an `accept` header can name.
    pub(crate) const NEGOTIABLE: &'static [Self] = &[
        Self::json(),
        Self::health_json(),
        Self::spring(),
        Self::text(),
        Self::openmetrics(),
    ];

    pub(crate) fn content_type(&self) -> &'static str {
        match &self.kind {
            Kind::Json => "application/json",
            Kind::HealthJson => "application/health+json",
            Kind::Spring => "application/vnd.spring-boot.actuator.v3+json",
            Kind::Text => "text/plain; charset=utf-8",
            Kind::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            #[cfg(feature = "html")]
            Kind::Html => "text/html; charset=utf-8",
            Kind::Custom(custom) => custom.content_type(),
        }
    }

    /// The content type without its parameters.
    pub(crate) fn media_type(&self) -> &'static str {
        let content_type = self.content_type();
        let essence = content_type.split(';').next();
        essence.unwrap_or(content_type).trim_ascii()
    }

    /// Whether a request that names it wants 200 whatever the status, as a scraper does.
    pub(crate) fn is_scrape(&self) -> bool {
        matches!(self.kind, Kind::OpenMetrics)
    }

    /// Whether it writes out a query's `verbose` and `exclude`, whatever the probe.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self.kind, Kind::Text)
    }

    /// Renders `view` in this format.
    pub(crate) fn render(&self, view: &View<'_>) -> Rendered {
        let body = match &self.kind {
            Kind::Json => json::json(view),
            Kind::HealthJson => health_json::health_json(view),
            Kind::Spring => spring::spring(view),
            Kind::Text => text::text(view),
            Kind::OpenMetrics => openmetrics::openmetrics(view),
            #[cfg(feature = "html")]
            Kind::Html => html(view),
            Kind::Custom(custom) => match custom.render(view) {
                Some(body) => body,
                None => return Rendered::word(view.status()),
            },
        };
        Rendered {
            content_type: self.content_type(),
            body,
            policy: self.policy(),
        }
    }

    fn policy(&self) -> Option<&'static str> {
        match self.kind {
            #[cfg(feature = "html")]
            Kind::Html => Some(CONTENT_SECURITY_POLICY),
            _ => None,
        }
    }
}

/// [`json`](Self::json).
impl Default for Format {
    fn default() -> Self {
        Self::json()
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Format")
            .field(&self.content_type())
            .finish_non_exhaustive()
    }
}
