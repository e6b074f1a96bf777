use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::Bytes;

#[cfg(feature = "html")]
use super::html;
use super::{
    health_json::health_json,
    json::{json, status_only},
    openmetrics::openmetrics,
    spring::spring,
    text::text,
    view::View,
};

/// The format of a probe response.
///
/// | | media type | without details | with details |
/// |---|---|---|---|
/// | [`json`](Self::json) | `application/json` | `{"status":"up"}` | [`JSON_SCHEMA`](Self::JSON_SCHEMA) |
/// | [`health_json`](Self::health_json) | `application/health+json` | `{"status":"pass"}` | arrays in `checks`, `output` if not `pass` |
/// | [`spring`](Self::spring) | `application/vnd.spring-boot.actuator.v3+json` | `{"status":"UP"}` | `components` with `details`, `groups` |
/// | [`text`](Self::text) | `text/plain` | `ok` or `readyz check failed` | with `?verbose`, or if failing, a line for each dependency |
/// | [`openmetrics`](Self::openmetrics) | `application/openmetrics-text` | the gauge `health_status` | the gauges of each check |
/// | `html` (feature `html`) | `text/html` | the status page, with the status only | the status page |
/// | [`custom`](Self::custom) | custom | rendered from a [`View`] without details | rendered from a view with details |
///
/// Rules, in evaluation order:
///
/// 1. A path set by [`path_with_format`](crate::HealthLayer::path_with_format) always answers in its format.
/// 2. Otherwise the format that the request's `accept` names with the highest quality, the first of equals.
///    `accept` can name all formats of the table, except `custom` and `html`. Paths set by
///    `HealthLayer::page` also offer `html`.
/// 3. Otherwise the format set by [`format`](crate::HealthLayer::format): for `*/*`, without `accept`, and
///    if `accept` names no known format. Default: `json`. The code is never 406.
///
/// A body is rendered once for each result, format and [`Detail`](crate::access::Detail), and once a second while
/// it contains ages. The body for a query or for one dependency is rendered for each request. Samples:
/// [`guide::formats`](crate::guide::formats).
#[derive(Clone)]
pub struct Format(FormatKind);

#[derive(Clone)]
enum FormatKind {
    Json,
    HealthJson,
    Spring,
    Text,
    OpenMetrics,
    #[cfg(feature = "html")]
    Html,
    Custom {
        content_type: &'static str,
        render: Arc<dyn Render>,
    },
}

/// A custom format of probe responses.
///
/// ```
/// use tower_health::{Format, render::{Render, View}};
///
/// /// `{"status":"healthy"}` or `{"status":"unhealthy"}`.
/// struct Healthy;
///
/// impl Render for Healthy {
///     fn content_type(&self) -> &'static str {
///         "application/json"
///     }
///
///     fn render(&self, view: &View<'_>) -> Vec<u8> {
///         let status = if view.status().is_serving() { "healthy" } else { "unhealthy" };
///         format!(r#"{{"status":"{status}"}}"#).into_bytes()
///     }
/// }
///
/// let format = Format::custom(Healthy);
/// # drop(format);
/// ```
///
/// It decides the body only; the code depends on the status. It is called once for each new result and
/// [`Detail`](crate::access::Detail), and once a second for requests with details. For one dependency, or with
/// a query, it is called for each request.
pub trait Render: Send + Sync + 'static {
    /// Returns the media type, with its parameters. Called once, when the format is created.
    fn content_type(&self) -> &'static str;

    /// Returns the body. It must not block, because it runs in the task of the request.
    ///
    /// If it panics, the body is the status in native JSON instead.
    fn render(&self, view: &View<'_>) -> Vec<u8>;
}

impl Format {
    /// The JSON Schema (draft 2020-12) of the [`json`](Self::json) format:
    ///
    /// ```json
    #[doc = include_str!("schema.json")]
    /// ```
    pub const JSON_SCHEMA: &'static str = include_str!("schema.json");

    /// The formats that an `accept` header can name.
    pub(crate) const NEGOTIABLE: &'static [Self] = &[
        Self::json(),
        Self::health_json(),
        Self::spring(),
        Self::text(),
        Self::openmetrics(),
    ];

    /// Native JSON, dependencies in the order of registration. See [`JSON_SCHEMA`](Self::JSON_SCHEMA).
    pub const fn json() -> Self {
        Self(FormatKind::Json)
    }

    /// `application/health+json` after draft-inadarei-api-health-check-06.
    ///
    /// - `pass` is up, `warn` degraded, `fail` down or unknown.
    /// - `checks` maps `{dependency}:{measurement}` to an array. The measurements are `responseTime` in ms,
    ///   `connections` (in use) of a pool, and each observation. A colon in a name is written `%3A`.
    /// - `time` is when the run started, by the wall clock.
    /// - `output` is the reason, and present only if the status is not `pass`.
    ///
    /// The draft recommends a freshness lifetime. The header is `no-store` nevertheless, because the results
    /// are cached already.
    pub const fn health_json() -> Self {
        Self(FormatKind::HealthJson)
    }

    /// The format of Spring Boot Actuator, version 3, for existing dashboards.
    ///
    /// `UP` is up or degraded, with `description` if degraded. `DOWN` is down, `UNKNOWN` unknown and
    /// `OUT_OF_SERVICE` draining. Unlike in Spring, `UNKNOWN` has the code 503. Components are sorted by name.
    /// `description` and `OUT_OF_SERVICE` are for callers with details only.
    pub const fn spring() -> Self {
        Self(FormatKind::Spring)
    }

    /// Plain text as of kube-apiserver: `ok`, or one line for each dependency.
    ///
    /// With `?verbose` a passing probe has the lines, too. The code of a failing probe is 503, where
    /// kube-apiserver has 500.
    pub const fn text() -> Self {
        Self(FormatKind::Text)
    }

    /// OpenMetrics text 1.0.0: gauges with the names of the `metrics` feature, without a recorder.
    ///
    /// If `accept` or the format of the path selects it, the code is 200 whatever the status: Prometheus drops
    /// the samples of any other response. As the default format, the code depends on the status, because a
    /// prober that names no format is not a scraper.
    pub const fn openmetrics() -> Self {
        Self(FormatKind::OpenMetrics)
    }

    /// The status page for operators: one document that loads nothing from other addresses.
    ///
    /// With scripts it fetches its own address as HTML every 2 s and replaces its content. Without scripts it
    /// reloads every 5 s.
    #[cfg(feature = "html")]
    pub const fn html() -> Self {
        Self(FormatKind::Html)
    }

    /// A custom format.
    ///
    /// # Panics
    ///
    /// If its content type is not a media type that a header can carry.
    #[track_caller]
    pub fn custom(render: impl Render) -> Self {
        let content_type = render.content_type();
        let is_printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        assert!(
            content_type.contains('/') && content_type.bytes().all(is_printable),
            "content type {content_type:?} is not a media type"
        );
        let render = Arc::new(render);
        Self(FormatKind::Custom {
            content_type,
            render,
        })
    }

    pub(crate) fn content_type(&self) -> &'static str {
        match self.0 {
            FormatKind::Json => "application/json",
            FormatKind::HealthJson => "application/health+json",
            FormatKind::Spring => "application/vnd.spring-boot.actuator.v3+json",
            FormatKind::Text => "text/plain; charset=utf-8",
            FormatKind::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            #[cfg(feature = "html")]
            FormatKind::Html => "text/html; charset=utf-8",
            FormatKind::Custom { content_type, .. } => content_type,
        }
    }

    /// Returns the content type without its parameters.
    pub(crate) fn media_type(&self) -> &'static str {
        let content_type = self.content_type();
        let media_type = content_type.split(';').next();
        media_type.unwrap_or(content_type).trim_ascii()
    }

    /// Returns whether a request that names this format is a scrape, which expects 200 whatever the status.
    pub(crate) fn is_scrape(&self) -> bool {
        matches!(self.0, FormatKind::OpenMetrics)
    }

    /// Returns whether `verbose` and `exclude` in a query change the body of every probe.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self.0, FormatKind::Text)
    }

    /// Returns whether the format is the status page, which also shows readiness.
    pub(crate) fn is_page(&self) -> bool {
        self.content_security_policy().is_some()
    }

    /// Returns the content security policy of the status page.
    pub(crate) fn content_security_policy(&self) -> Option<&'static str> {
        match self.0 {
            #[cfg(feature = "html")]
            FormatKind::Html => Some(html::CONTENT_SECURITY_POLICY),
            _ => None,
        }
    }

    /// Returns the body and its format: native JSON if a custom renderer panics.
    pub(crate) fn render(&self, view: &View<'_>) -> (&Self, Bytes) {
        match self.body(view) {
            Some(body) => (self, body),
            None => (&Self::NEGOTIABLE[0], status_only(view.status())),
        }
    }

    /// Returns `None` if a custom renderer panics.
    fn body(&self, view: &View<'_>) -> Option<Bytes> {
        Some(match &self.0 {
            FormatKind::Json => json(view),
            FormatKind::HealthJson => health_json(view),
            FormatKind::Spring => spring(view),
            FormatKind::Text => text(view),
            FormatKind::OpenMetrics => openmetrics(view),
            #[cfg(feature = "html")]
            FormatKind::Html => html::html(view),
            FormatKind::Custom { render, .. } => {
                // The view is read only, so a panic leaves no value half changed.
                let body = catch_unwind(AssertUnwindSafe(|| render.render(view)));
                body.ok()?.into()
            }
        })
    }
}

/// Returns [`json`](Self::json).
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

#[cfg(test)]
mod tests {
    use super::{Format, Render, View};
    use crate::render::view::sample;

    struct CustomFormat;

    impl Render for CustomFormat {
        fn content_type(&self) -> &'static str {
            "text/x-custom; charset=utf-8"
        }

        fn render(&self, view: &View<'_>) -> Vec<u8> {
            assert!(!view.entries().is_empty(), "the renderer panics");
            vec![b'x'; view.entries().len()]
        }
    }

    #[test]
    fn a_custom_format_renders_the_body() {
        let report = sample::report();
        let format = Format::custom(CustomFormat);
        let rendered = format.render(&sample::full(&report));
        assert_eq!(rendered.1, "xxx");
        assert_eq!(rendered.0.content_type(), "text/x-custom; charset=utf-8");
        assert_eq!(Format::custom(CustomFormat).media_type(), "text/x-custom");
    }

    #[test]
    fn after_a_panic_of_a_renderer_the_body_is_the_status() {
        let report = sample::report();
        let format = Format::custom(CustomFormat);
        let rendered = format.render(&sample::without_details(&report));
        assert_eq!(rendered.1, r#"{"status":"degraded"}"#);
        assert_eq!(rendered.0.content_type(), "application/json");
    }

    #[test]
    fn media_types_are_distinct() {
        let mut types: Vec<_> = Format::NEGOTIABLE.iter().map(Format::media_type).collect();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types.len(), Format::NEGOTIABLE.len());
    }
}
