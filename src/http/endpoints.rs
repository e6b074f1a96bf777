//! What all services of one layer share: the endpoints, and how a path matches them.

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderValue, StatusCode, header::ACCEPT};

use super::rendered_answer::RenderedAnswer;
#[cfg(feature = "grpc")]
use crate::grpc::GrpcService;
#[cfg(feature = "metrics")]
use crate::metrics::ProbeMetrics;
use crate::{
    access::Access,
    health::Health,
    probe::Probe,
    render::{Format, choose},
    report::Status,
};

#[derive(Debug)]
pub(super) struct Endpoints {
    pub(super) health: Health,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) details: Access,
    pub(super) allow: Access,
    pub(super) forward_denied: bool,
    pub(super) codes: Codes,
    pub(super) without_measurements: bool,
    pub(super) envoy_headers: bool,
    pub(super) marks: bool,
    #[cfg(feature = "grpc")]
    pub(super) grpc: GrpcService,
}

/// A probe path, with the formats of its answers.
#[derive(Debug)]
pub(super) struct Endpoint {
    path: Box<str>,
    pub(super) probe: Probe,
    /// The first is for requests that name no format.
    pub(super) representations: Vec<Representation>,
    #[cfg(feature = "metrics")]
    pub(super) metrics: ProbeMetrics,
}

/// A format of an endpoint, with the last rendered bodies.
#[derive(Debug)]
pub(super) struct Representation {
    pub(super) format: Format,
    /// The media type that `accept` must match.
    media_type: &'static str,
    /// Whether every status is answered 200: a scraper discards responses with another code.
    always_ok: bool,
    pub(super) status_only: ArcSwapOption<RenderedAnswer>,
    pub(super) full: ArcSwapOption<RenderedAnswer>,
}

/// The endpoint of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EndpointMatch<'p> {
    pub(super) endpoint: usize,
    /// The last segment of a dependency path, percent-encoded.
    pub(super) name: Option<&'p str>,
}

impl Endpoints {
    /// The endpoint whose probe path is `path`, byte for byte, or `path` without its last segment.
    pub(super) fn find<'p>(&self, path: &'p str) -> Option<EndpointMatch<'p>> {
        find(self.endpoints.iter().map(|endpoint| &*endpoint.path), path)
    }
}

fn find<'e, 'p>(
    endpoints: impl Iterator<Item = &'e str>,
    path: &'p str,
) -> Option<EndpointMatch<'p>> {
    let mut below = None;
    let initial = path.as_bytes().get(1);
    for (endpoint, own) in endpoints.enumerate() {
        // Most other paths differ here. The root has no such byte, and therefore no dependency paths.
        if own.as_bytes().get(1) != initial {
            continue;
        }
        let Some(rest) = path.strip_prefix(own) else {
            continue;
        };
        if rest.is_empty() {
            return Some(EndpointMatch {
                endpoint,
                name: None,
            });
        }
        // A later exact match takes precedence: `/health/detail` over `/health`.
        if let Some(name) = rest.strip_prefix('/')
            && !name.is_empty()
            && !name.contains('/')
        {
            below = Some(EndpointMatch {
                endpoint,
                name: Some(name),
            });
        }
    }
    below
}

/// Why `path` cannot be a probe path, as the end of a sentence.
pub(super) fn path_fault(path: &str) -> Option<&'static str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte);
    if !path.starts_with('/') {
        Some("does not start with a slash")
    } else if path.len() > 1 && path.ends_with('/') {
        Some("ends with a slash")
    } else if !path.bytes().all(is_plain) {
        Some("has a character that the path of a request cannot have")
    } else {
        None
    }
}

impl Endpoint {
    /// `others` are the formats besides `first` that `accept` can name.
    pub(super) fn new(
        path: &str,
        probe: Probe,
        first: Representation,
        others: impl IntoIterator<Item = Format>,
        #[cfg_attr(not(feature = "metrics"), allow(unused_variables))] codes: Codes,
    ) -> Self {
        let mut representations = vec![first];
        for format in others {
            let media_type = format.media_type();
            if representations
                .iter()
                .all(|other| other.media_type != media_type)
            {
                representations.push(Representation::by_name(format));
            }
        }
        Self {
            path: path.into(),
            #[cfg(feature = "metrics")]
            metrics: ProbeMetrics::new(&probe, codes.0),
            probe,
            representations,
        }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The name of the endpoint in a body: the path without its first slash.
    pub(super) fn name(&self) -> &str {
        self.path.trim_start_matches('/')
    }

    /// The index of the representation that `accept` names, or else of the first.
    pub(super) fn negotiate(&self, headers: &HeaderMap) -> usize {
        match headers.get(ACCEPT) {
            None => 0,
            Some(accept) if accept == "*/*" => 0,
            Some(_) => {
                let fields = headers.get_all(ACCEPT).iter().map(HeaderValue::to_str);
                let media_types = self.representations.iter().map(|other| other.media_type);
                choose(fields.filter_map(Result::ok), media_types, 0)
            }
        }
    }

    /// Whether a query changes the body: that of readiness in every format, all others in text.
    pub(super) fn reads_query(&self, representation: usize) -> bool {
        self.probe == Probe::Readiness || self.representations[representation].format.is_text()
    }
}

impl Representation {
    /// For requests that name no format. The code depends on the status in every format.
    pub(super) fn by_default(format: Format) -> Self {
        let named = Self::by_name(format);
        if !named.always_ok {
            return named;
        }
        Self {
            // The same format, requested by its name, is a separate representation.
            media_type: "application/*",
            always_ok: false,
            ..named
        }
    }

    /// For requests that name the format.
    pub(super) fn by_name(format: Format) -> Self {
        Self {
            media_type: format.media_type(),
            always_ok: format.is_scrape(),
            format,
            status_only: ArcSwapOption::empty(),
            full: ArcSwapOption::empty(),
        }
    }

    pub(super) fn code(&self, status: Status, codes: Codes) -> StatusCode {
        if self.always_ok {
            StatusCode::OK
        } else {
            codes.of(status)
        }
    }
}

/// The status code for each status, in the order of `Status`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codes([StatusCode; 4]);

impl Default for Codes {
    fn default() -> Self {
        let mut codes = Self([StatusCode::SERVICE_UNAVAILABLE; 4]);
        codes.set(Status::Up, StatusCode::OK);
        codes.set(Status::Degraded, StatusCode::OK);
        codes
    }
}

impl Codes {
    pub(super) fn set(&mut self, status: Status, code: StatusCode) {
        self.0[status as usize] = code;
    }

    fn of(self, status: Status) -> StatusCode {
        self.0[status as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::{EndpointMatch, find, path_fault};

    fn found<'p>(endpoints: &[&str], path: &'p str) -> Option<(usize, Option<&'p str>)> {
        find(endpoints.iter().copied(), path)
            .map(|EndpointMatch { endpoint, name }| (endpoint, name))
    }

    #[test]
    fn a_path_matches_byte_for_byte() {
        let endpoints = [
            "/livez",
            "/readyz",
            "/startupz",
            "/health",
            "/health/detail",
            "/x",
        ];
        let rows = [
            ("/livez", Some((0, None))),
            ("/readyz", Some((1, None))),
            ("/health", Some((3, None))),
            ("/health/detail", Some((4, None))),
            ("/health/database", Some((3, Some("database")))),
            ("/health/detail/database", Some((4, Some("database")))),
            ("/x", Some((5, None))),
            ("/x/y", Some((5, Some("y")))),
            ("/readyz/", None),
            ("/READYZ", None),
            ("/%72eadyz", None),
            ("/readyz/a/b", None),
            ("//readyz", None),
            ("/readyzz", None),
            ("/ready", None),
            ("/", None),
            ("", None),
            ("*", None),
            ("/x/", None),
        ];
        for (path, expected) in rows {
            assert_eq!(found(&endpoints, path), expected, "{path}");
        }
    }

    #[test]
    fn order_of_registration_does_not_matter() {
        let (one, other) = (["/health", "/health/detail"], ["/health/detail", "/health"]);
        for path in ["/health", "/health/detail", "/health/x", "/health/detail/x"] {
            let (index, name) = found(&one, path).expect("matches");
            assert_eq!(found(&other, path), Some((1 - index, name)), "{path}");
        }
    }

    #[test]
    fn the_root_matches_itself_alone() {
        assert_eq!(found(&["/"], "/"), Some((0, None)));
        for path in ["/users", "//", "//x", "", "*"] {
            assert_eq!(found(&["/"], path), None, "{path}");
        }
    }

    #[test]
    fn malformed_paths_are_rejected() {
        for path in ["", "health", "/a/", "/a b", "/a?b", "/a#b", "/ä", "/a\n"] {
            assert!(path_fault(path).is_some(), "{path:?}");
        }
        for path in ["/", "/a", "/a/b", "/a%20b", "/.well-known/health"] {
            assert_eq!(path_fault(path), None, "{path:?}");
        }
    }
}
