//! What the services of one layer share: its endpoints, and their matching.

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderValue, StatusCode, header::ACCEPT};

use super::respond::CachedAnswer;
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
    pub(super) marks: bool,
    #[cfg(feature = "grpc")]
    pub(super) grpc: GrpcService,
}

/// A probe path and its representations.
#[derive(Debug)]
pub(super) struct Endpoint {
    path: Box<str>,
    pub(super) probe: Probe,
    /// The first one answers requests that name none.
    pub(super) representations: Vec<Representation>,
    #[cfg(feature = "metrics")]
    pub(super) metrics: ProbeMetrics,
}

/// A format of an endpoint, with the bodies last rendered in it.
#[derive(Debug)]
pub(super) struct Representation {
    pub(super) format: Format,
    /// What a range of `accept` must cover.
    media_type: &'static str,
    /// A scraper that names the format discards every other code than 200.
    always_ok: bool,
    pub(super) status_only: ArcSwapOption<CachedAnswer>,
    pub(super) full: ArcSwapOption<CachedAnswer>,
}

/// Where a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found<'p> {
    pub(super) endpoint: usize,
    /// The last segment below the probe path, percent-encoded.
    pub(super) name: Option<&'p str>,
}

impl Endpoints {
    /// The endpoint whose path is `path`, byte for byte, or whose path has one more segment in it.
    pub(super) fn find<'p>(&self, path: &'p str) -> Option<Found<'p>> {
        find(self.endpoints.iter().map(|endpoint| &*endpoint.path), path)
    }
}

fn find<'e, 'p>(endpoints: impl Iterator<Item = &'e str>, path: &'p str) -> Option<Found<'p>> {
    let mut below = None;
    let initial = path.as_bytes().get(1);
    for (endpoint, own) in endpoints.enumerate() {
        // Most other paths differ here, and nothing is below the root: its path has no such byte.
        if own.as_bytes().get(1) != initial {
            continue;
        }
        let Some(rest) = path.strip_prefix(own) else {
            continue;
        };
        if rest.is_empty() {
            return Some(Found {
                endpoint,
                name: None,
            });
        }
        // An exact match further on takes precedence: `/health/detail` over `/health`.
        if let Some(name) = rest.strip_prefix('/')
            && !name.is_empty()
            && !name.contains('/')
        {
            below = Some(Found {
                endpoint,
                name: Some(name),
            });
        }
    }
    below
}

/// What is wrong with a probe path, as the end of a sentence.
pub(super) fn fault_of(path: &str) -> Option<&'static str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte);
    if !path.starts_with('/') {
        Some("does not start with a slash")
    } else if path.len() > 1 && path.ends_with('/') {
        Some("ends with a slash")
    } else if !path.bytes().all(is_plain) {
        Some("has a character that no path of a request can have")
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

    /// The index of the representation that `headers` name, or of the first.
    pub(super) fn negotiate(&self, headers: &HeaderMap) -> usize {
        match headers.get(ACCEPT) {
            None => 0,
            Some(accept) if accept == "*/*" => 0,
            Some(_) => {
                let fields = headers.get_all(ACCEPT).iter().map(HeaderValue::to_str);
                let media_types = self.representations.iter().map(|one| one.media_type);
                choose(fields.filter_map(Result::ok), media_types, 0)
            }
        }
    }

    /// Whether a query changes the body: in text, and of readiness in every format.
    pub(super) fn reads_query(&self, representation: usize) -> bool {
        self.probe == Probe::Readiness || self.representations[representation].format.is_text()
    }
}

impl Representation {
    /// One that answers requests that name no format. Its code tells the status, whatever the format.
    pub(super) fn by_default(format: Format) -> Self {
        let named = Self::by_name(format);
        if !named.always_ok {
            return named;
        }
        Self {
            // The same format by its name is another representation.
            media_type: "application/*",
            always_ok: false,
            ..named
        }
    }

    /// One that answers requests that name its format.
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
    use super::{Found, fault_of, find};

    fn found<'p>(endpoints: &[&str], path: &'p str) -> Option<(usize, Option<&'p str>)> {
        find(endpoints.iter().copied(), path).map(|Found { endpoint, name }| (endpoint, name))
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
    fn malformed_paths_are_refused() {
        for path in ["", "health", "/a/", "/a b", "/a?b", "/a#b", "/ä", "/a\n"] {
            assert!(fault_of(path).is_some(), "{path:?}");
        }
        for path in ["/", "/a", "/a/b", "/a%20b", "/.well-known/health"] {
            assert_eq!(fault_of(path), None, "{path:?}");
        }
    }
}
