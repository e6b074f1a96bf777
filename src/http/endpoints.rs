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
};

/// The settings of a layer.
#[derive(Clone, Debug)]
pub(super) struct LayerSettings {
    pub(super) health: Health,
    pub(super) paths: Vec<ProbePath>,
    /// Paths that also offer this format.
    pub(super) pages: Vec<(Box<str>, Format)>,
    pub(super) details: Access,
    pub(super) allow: Access,
    pub(super) forward_denied: bool,
    /// The status code for each status, in the order of `Status`.
    pub(super) codes: [StatusCode; 4],
    pub(super) format: Format,
    pub(super) without_measurements: bool,
    pub(super) envoy_headers: bool,
    pub(super) marks: bool,
}

#[derive(Clone, Debug)]
pub(super) struct ProbePath {
    pub(super) path: Box<str>,
    pub(super) probe: Probe,
    /// The only format of its answers, if any.
    pub(super) format: Option<Format>,
    pub(super) is_default: bool,
}

#[derive(Debug)]
pub(super) struct Endpoints {
    pub(super) settings: LayerSettings,
    pub(super) endpoints: Vec<Endpoint>,
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
    pub(super) always_ok: bool,
    pub(super) status_only: ArcSwapOption<RenderedAnswer>,
    pub(super) full: ArcSwapOption<RenderedAnswer>,
}

/// The index of an endpoint; for a dependency path its last segment, percent-encoded.
pub(super) type EndpointMatch<'p> = (usize, Option<&'p str>);

impl Endpoints {
    pub(super) fn new(mut settings: LayerSettings) -> Self {
        for (page, _) in &settings.pages {
            if settings.paths.iter().all(|path| path.path != *page) {
                settings.paths.push(ProbePath {
                    path: page.clone(),
                    probe: Probe::Full,
                    format: None,
                    is_default: false,
                });
            }
        }
        let paths = settings.paths.iter();
        Self {
            endpoints: paths.map(|path| Endpoint::new(path, &settings)).collect(),
            #[cfg(feature = "grpc")]
            grpc: GrpcService::new(
                settings.health.clone(),
                settings.details.clone(),
                settings.allow.clone(),
            ),
            settings,
        }
    }

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
            return Some((endpoint, None));
        }
        // A later exact match takes precedence: `/health/detail` over `/health`.
        if let Some(name) = rest.strip_prefix('/')
            && !name.is_empty()
            && !name.contains('/')
        {
            below = Some((endpoint, Some(name)));
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
    fn new(path: &ProbePath, settings: &LayerSettings) -> Self {
        let pages = settings.pages.iter();
        let pages = pages.filter(|(page, _)| *page == path.path);
        let (first, negotiable) = match &path.format {
            Some(format) => (Representation::new(format, false), [].as_slice()),
            None => (
                Representation::new(&settings.format, true),
                Format::NEGOTIABLE,
            ),
        };
        let mut representations = vec![first];
        for format in negotiable.iter().chain(pages.map(|(_, format)| format)) {
            let named = Representation::new(format, false);
            let mut others = representations.iter();
            if others.all(|other| other.media_type != named.media_type) {
                representations.push(named);
            }
        }
        Self {
            path: path.path.clone(),
            #[cfg(feature = "metrics")]
            metrics: ProbeMetrics::new(&path.probe, settings.codes),
            probe: path.probe.clone(),
            representations,
        }
    }

    /// The name of the endpoint in a body: the path without its first slash.
    pub(super) fn name(&self) -> &str {
        self.path.trim_start_matches('/')
    }

    /// The index of the representation that `accept` names, or else of the first.
    pub(super) fn negotiate(&self, headers: &HeaderMap) -> usize {
        match headers.get(ACCEPT) {
            None => 0,
            // Most probers send it. The search below would make a cached probe 40 % dearer.
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
    /// `is_default` for requests that name no format: then the code depends on the status in every format.
    fn new(format: &Format, is_default: bool) -> Self {
        let is_scrape = format.is_scrape();
        Self {
            // The same format, requested by its name, is a separate representation.
            media_type: if is_default && is_scrape {
                "application/*"
            } else {
                format.media_type()
            },
            always_ok: is_scrape && !is_default,
            format: format.clone(),
            status_only: ArcSwapOption::empty(),
            full: ArcSwapOption::empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{find, path_fault};

    fn found<'p>(endpoints: &[&str], path: &'p str) -> Option<(usize, Option<&'p str>)> {
        find(endpoints.iter().copied(), path)
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
