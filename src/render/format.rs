use std::{fmt, sync::Arc};

use bytes::Bytes;

#[cfg(feature = "html")]
use super::html::{CONTENT_SECURITY_POLICY, html, page_data};
use super::{Render, View, custom::Custom, health_json, json, openmetrics, spring, text};
use crate::report::Status;

/// The form in which a probe is answered.
///
/// | | media type | to a stranger | to those allowed details |
/// |---|---|---|---|
/// | [`json`](Self::json) | `application/json` | `{"status":"up"}` | [`JSON_SCHEMA`](Self::JSON_SCHEMA) |
/// | [`health_json`](Self::health_json) | `application/health+json` | `{"status":"pass"}` | arrays in `checks`, `output` on what does not pass |
/// | [`spring`](Self::spring) | `application/vnd.spring-boot.actuator.v3+json` | `{"status":"UP"}` | `components` with `details`, `groups` |
/// | [`text`](Self::text) | `text/plain` | `ok` or `readyz check failed` | with `?verbose`, or failing, a line for each dependency |
/// | [`openmetrics`](Self::openmetrics) | `application/openmetrics-text` | the gauge `health_status` | the gauges of each check |
/// | `html` (feature `html`) | `text/html` | the status in a word | the page for whoever is on call |
/// | [`custom`](Self::custom) | its own | what a [`View`] without details gives | what one with them gives |
///
/// Which one answers, in evaluation order:
///
/// 1. The path's own, set by [`path_with_format`](crate::HealthLayer::path_with_format): whatever
///    `accept` says.
/// 2. The one that the request's `accept` names with the highest quality, the first of equals. All in
///    the table can be named but `html`, which only paths set by `HealthLayer::page` offer.
/// 3. The layer's, set by [`format`](crate::HealthLayer::format), for `*/*`, for no `accept` and for
///    one that names nothing served here. Default: `json`. Never 406.
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
    #[cfg(feature = "html")]
    PageData,
    Custom(Arc<Custom>),
}

/// What a format makes of a view.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
    /// The content security policy, where it has one.
    pub(crate) policy: Option<&'static str>,
}

impl Rendered {
    /// The status alone, in native JSON: what a stranger gets, and everybody whose renderer panics.
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

    /// The native JSON, in the order of registration. See [`JSON_SCHEMA`](Self::JSON_SCHEMA).
    pub const fn json() -> Self {
        Self { kind: Kind::Json }
    }

    /// `application/health+json` after draft-inadarei-api-health-check-06.
    ///
    /// `pass` is up, `warn` degraded, `fail` down or unknown. `checks` maps
    /// `{dependency}:{measurement}` to an array: `responseTime` in ms, `connections` of a pool (in
    /// use), and one for each observation of the check; a colon in a name is written
    /// `%3A`. `time` is when the run started, by the wall clock, reckoned back from the answer.
    /// `output` is the reason, on what does not pass. The draft wants a freshness lifetime; the
    /// header is `no-store` all the same, since verdicts are cached here already.
    pub const fn health_json() -> Self {
        Self {
            kind: Kind::HealthJson,
        }
    }

    /// The shape of Spring Boot Actuator, version 3: an existing dashboard works.
    ///
    /// `UP` is up and degraded (with `description` for those allowed details), `DOWN` down, `UNKNOWN`
    /// unknown, which is 503 here, and `OUT_OF_SERVICE` draining. Components are
    /// sorted by name.
    pub const fn spring() -> Self {
        Self { kind: Kind::Spring }
    }

    /// Plain text in the manner of kube-apiserver: `ok`, or one line for each dependency.
    ///
    /// With `?verbose` the lines stand under a passing probe, too. The code of a failing one is 503,
    /// where kube-apiserver has 500.
    pub const fn text() -> Self {
        Self { kind: Kind::Text }
    }

    /// OpenMetrics text 1.0.0: gauges by the names of the `metrics` feature, without a recorder.
    ///
    /// Where it was asked for, by the path's own format or by name in `accept`, the code is 200
    /// whatever the status: Prometheus drops every sample of a scrape that is not. As the layer's
    /// format for whoever names none, the code is the status's: such a prober is no scraper.
    pub const fn openmetrics() -> Self {
        Self {
            kind: Kind::OpenMetrics,
        }
    }

    /// The page for people: one document, without anything from elsewhere.
    ///
    /// Without scripts it reloads itself every 5 s. With scripts it asks its own address every 2 s
    /// for JSON, by a media type of its own that nobody else need know, and patches what changed.
    #[cfg(feature = "html")]
    pub const fn html() -> Self {
        Self { kind: Kind::Html }
    }

    /// What the page's script asks for.
    #[cfg(feature = "html")]
    const fn page_data() -> Self {
        Self {
            kind: Kind::PageData,
        }
    }

    /// A form of one's own.
    ///
    /// # Panics
    ///
    /// When its content type is no media type that a header can carry.
    #[track_caller]
    pub fn custom(render: impl Render) -> Self {
        Self {
            kind: Kind::Custom(Arc::new(Custom::new(render))),
        }
    }

    /// Those that an `accept` header can ask for, wherever negotiation takes place.
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
            #[cfg(feature = "html")]
            Kind::PageData => "application/vnd.tower-health.page+json",
            Kind::Custom(custom) => custom.content_type(),
        }
    }

    /// The content type without its parameters.
    pub(crate) fn media_type(&self) -> &'static str {
        let content_type = self.content_type();
        let essence = content_type.split(';').next();
        essence.unwrap_or(content_type).trim_ascii()
    }

    /// Whether who asks for it by name wants 200 whatever the status: a scraper, which drops all
    /// else, and the page, during whose outage a browser's console would count one error every 2 s.
    pub(crate) fn is_scrape(&self) -> bool {
        match self.kind {
            Kind::OpenMetrics => true,
            #[cfg(feature = "html")]
            Kind::PageData => true,
            _ => false,
        }
    }

    /// What a path gives besides, if this is its one form: the page's script asks for data.
    pub(crate) fn besides(&self) -> &'static [Self] {
        #[cfg(feature = "html")]
        const OF_PAGE: &[Format] = &[Format::json(), Format::page_data()];
        match self.kind {
            #[cfg(feature = "html")]
            Kind::Html => OF_PAGE,
            _ => &[],
        }
    }

    /// Whether it spells out a query's `verbose` and `exclude`, whatever the probe.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self.kind, Kind::Text)
    }

    /// What `view` looks like in this form.
    pub(crate) fn render(&self, view: &View<'_>) -> Rendered {
        let body = match &self.kind {
            Kind::Json => json::json(view),
            Kind::HealthJson => health_json::health_json(view),
            Kind::Spring => spring::spring(view),
            Kind::Text => text::text(view),
            Kind::OpenMetrics => openmetrics::openmetrics(view),
            #[cfg(feature = "html")]
            Kind::Html => html(view),
            #[cfg(feature = "html")]
            Kind::PageData => page_data(view),
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
