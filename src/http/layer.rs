use std::{
    marker::PhantomData,
    sync::{Arc, OnceLock},
};

use http::{StatusCode, Uri};
use tower_layer::Layer;

#[cfg(feature = "grpc")]
use super::body::Grpc;
use super::{
    HealthService,
    body::{KeepBody, Mode, Plain},
    endpoints::{Endpoints, LayerSettings, ProbePath, path_fault},
};
use crate::{access::Access, health::Health, probe::Probe, render::Format, report::Status};

const DEFAULT_PATHS: [(&str, Probe); 4] = [
    ("/livez", Probe::Liveness),
    ("/readyz", Probe::Readiness),
    ("/startupz", Probe::Startup),
    ("/health", Probe::Full),
];

const DEFAULT_CODES: [StatusCode; 4] = [
    StatusCode::OK,
    StatusCode::OK,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::SERVICE_UNAVAILABLE,
];

/// Answers probes in front of any HTTP service.
///
/// ```
/// use tower_health::{Access, Health, HealthLayer, Probe};
///
/// let health = Health::builder().build();
/// let defaults = HealthLayer::new(health.clone());
/// let customised = HealthLayer::new(health)
///     .without_default_paths()
///     .path("/internal/ready", Probe::Readiness)
///     .path("/internal/health", Probe::Full)
///     .details(Access::loopback());
/// # drop((defaults, customised));
/// ```
///
/// `M` is the [mode](crate::service::mode). LayerSettings may be called before or after the one that changes it.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct HealthLayer<M = Plain> {
    settings: LayerSettings,
    /// Made once, so that all routes of a `Router` share the rendered bodies.
    endpoints: Arc<OnceLock<Arc<Endpoints>>>,
    mode: PhantomData<M>,
}

impl HealthLayer {
    /// Makes a layer with the four default paths: `/livez`, `/readyz`, `/startupz`, `/health`.
    ///
    /// Every caller may probe, and none sees details.
    pub fn new(health: Health) -> Self {
        Self {
            settings: LayerSettings {
                health,
                paths: DEFAULT_PATHS
                    .map(|(path, probe)| ProbePath {
                        path: path.into(),
                        probe,
                        format: None,
                        is_default: true,
                    })
                    .into(),
                pages: Vec::new(),
                details: Access::nobody(),
                allow: Access::everybody(),
                forward_denied: false,
                codes: DEFAULT_CODES,
                format: Format::json(),
                without_measurements: false,
                envoy_headers: false,
                marks: false,
            },
            endpoints: Arc::default(),
            mode: PhantomData,
        }
    }

    /// Keeps the inner service's response body type, which must implement `From<Bytes>`.
    ///
    /// For `axum::serve`, which takes no other body than axum's. Default: [`ResponseBody`].
    ///
    /// [`ResponseBody`]: crate::service::ResponseBody
    pub fn keep_body_type(self) -> HealthLayer<KeepBody> {
        self.into_mode()
    }

    /// Answers gRPC health calls on the same server. Default: they pass to the inner service.
    ///
    /// Calls of `Check`, `Watch` and `List` of `grpc.health.v1.Health` are answered as by
    /// [`Health::grpc_service`], with the layer's [`allow`](Self::allow) and [`details`](Self::details). Every
    /// other path passes through. The request body must be `http_body::Body + Send + 'static`.
    #[cfg(feature = "grpc")]
    pub fn grpc(self) -> HealthLayer<Grpc> {
        self.into_mode()
    }

    fn into_mode<M>(self) -> HealthLayer<M> {
        HealthLayer {
            settings: self.settings,
            endpoints: self.endpoints,
            mode: PhantomData,
        }
    }
}

impl<M: Mode> HealthLayer<M> {
    /// Answers `probe` at `path`, matched byte for byte.
    ///
    /// `{path}/{name}` answers `GET` and `HEAD` for one dependency of the probe to callers with
    /// [`details`](Self::details), and is rendered for each request. A probe at `/` has no such paths.
    /// Everything else below `path` passes to the inner service.
    ///
    /// # Panics
    ///
    /// - If `path` does not start with a slash, or ends with a slash.
    /// - If `path` has a character that the path of a request cannot have.
    /// - If `path` is already a probe path.
    /// - If `probe` is a group that is not declared and has no member.
    #[track_caller]
    pub fn path(self, path: &str, probe: Probe) -> Self {
        self.with_path(path, probe, None)
    }

    /// Answers `probe` at `path` in `format` only, whatever the request's `accept` names.
    ///
    /// # Panics
    ///
    /// As [`path`](Self::path).
    #[track_caller]
    pub fn path_with_format(self, path: &str, probe: Probe, format: Format) -> Self {
        self.with_path(path, probe, Some(format))
    }

    #[track_caller]
    fn with_path(self, path: &str, probe: Probe, format: Option<Format>) -> Self {
        if let Probe::Group(group) = &probe {
            assert!(
                self.settings.health.has_group(group),
                "no dependency is in the group {group:?}"
            );
        }
        assert_path(path);
        assert!(
            self.settings.paths.iter().all(|other| *other.path != *path),
            "the path {path:?} is already a probe path"
        );
        let path = ProbePath {
            path: path.into(),
            probe,
            format,
            is_default: false,
        };
        self.with(|settings| settings.paths.push(path))
    }

    /// Offers the status page at `path`, to requests whose `accept` names `text/html`, as browsers do.
    ///
    /// All others get the layer's [`format`](Self::format), as at every other path. If no probe is
    /// registered at `path`, it answers [`Probe::Full`]. Default: no path offers the page.
    ///
    /// ```
    /// use tower_health::{Access, Health, HealthLayer};
    ///
    /// let health = Health::builder().build();
    /// let layer = HealthLayer::new(health).page("/health").details(Access::loopback());
    /// # drop(layer);
    /// ```
    ///
    /// # Panics
    ///
    /// If `path` does not start with a slash, ends with one, or has a character that no request's path can have.
    #[cfg(feature = "html")]
    #[track_caller]
    pub fn page(self, path: &str) -> Self {
        assert_path(path);
        self.with(|settings| settings.pages.push((path.into(), Format::html())))
    }

    /// Sets the format of answers to requests that name none, on paths that have no sole format.
    ///
    /// Default: [`Format::json`]. A request's `accept` can name another one; see [`Format`].
    pub fn format(self, format: Format) -> Self {
        self.with(|settings| settings.format = format)
    }

    /// Leaves out everything that differs between two runs with the same result.
    ///
    /// These are times, counters, pool statistics, observations and messages. For systems that compare bodies,
    /// or hashes of them: two bodies then differ only by a status, a reason, or what is checked.
    pub fn without_measurements(self) -> Self {
        self.with(|settings| settings.without_measurements = true)
    }

    /// Adds Envoy's headers to answers of readiness and groups. Default: off.
    ///
    /// A degraded answer carries `x-envoy-degraded: true`: Envoy keeps the instance and prefers healthy ones,
    /// in other localities too. While the app drains, the answer carries
    /// `x-envoy-immediate-health-check-fail: true`: Envoy removes the instance at once, whatever its thresholds.
    /// Every caller who may probe sees them.
    ///
    /// See [Envoy's documentation](https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/health_checking).
    pub fn envoy_headers(self) -> Self {
        self.with(|settings| settings.envoy_headers = true)
    }

    /// Removes the four default paths.
    pub fn without_default_paths(self) -> Self {
        self.with(|settings| settings.paths.retain(|path| !path.is_default))
    }

    /// Sets which callers see names, reasons, timings, pool statistics and info fields. Default: none.
    pub fn details(self, access: Access) -> Self {
        self.with(|settings| settings.details = access)
    }

    /// Sets which callers may probe at all; others get 403. Default: every caller.
    pub fn allow(self, access: Access) -> Self {
        self.with(|settings| settings.allow = access)
    }

    /// Passes requests of callers who may not probe to the inner service. Default: they get 403.
    pub fn forward_denied(self) -> Self {
        self.with(|settings| settings.forward_denied = true)
    }

    /// Sets the status code for `status`. Default: 200 for up and degraded, 503 for unknown and down.
    ///
    /// # Panics
    ///
    /// If `code` allows no body, which every answer has: 1xx, 204, 205 and 304.
    #[track_caller]
    pub fn status_code(self, status: Status, code: StatusCode) -> Self {
        let is_empty = matches!(
            code,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
        );
        assert!(
            !is_empty && !code.is_informational(),
            "the status code {code} allows no body"
        );
        self.with(|settings| settings.codes[status as usize] = code)
    }

    /// Marks each answer with a [`ProbeMark`](crate::service::ProbeMark), for outer layers.
    ///
    /// Access logs and metrics can leave marked responses out. Default: off, since a mark costs two small allocations. Where there is no
    /// response yet, as when a span is opened, use [`is_probe`](Self::is_probe).
    pub fn mark_probes(self) -> Self {
        self.with(|settings| settings.marks = true)
    }

    /// Returns whether `uri` is a probe path, or that of a gRPC health call with [`grpc`](HealthLayer::grpc).
    ///
    /// For outer layers, with a clone of this layer. Access is not considered: with
    /// [`forward_denied`](Self::forward_denied) the inner service may get such a request. The path
    /// of one dependency is not a probe path, since the app may have a route there.
    ///
    /// ```
    /// use tower_health::{Health, HealthLayer};
    ///
    /// let layer = HealthLayer::new(Health::builder().build());
    /// assert!(layer.is_probe(&"/readyz?verbose".parse().expect("a URI")));
    /// assert!(!layer.is_probe(&"/".parse().expect("a URI")));
    /// ```
    pub fn is_probe(&self, uri: &Uri) -> bool {
        #[cfg(feature = "grpc")]
        if M::ANSWERS_GRPC && crate::grpc::is_call(uri.path()) {
            return true;
        }
        matches!(self.endpoints().find(uri.path()), Some((_, None)))
    }

    /// Changes the settings, and drops the endpoints that were made from them.
    fn with(mut self, change: impl FnOnce(&mut LayerSettings)) -> Self {
        change(&mut self.settings);
        self.endpoints = Arc::default();
        self
    }

    fn endpoints(&self) -> &Arc<Endpoints> {
        self.endpoints
            .get_or_init(|| Arc::new(Endpoints::new(self.settings.clone())))
    }
}

#[track_caller]
fn assert_path(path: &str) {
    if let Some(fault) = path_fault(path) {
        panic!("the path {path:?} {fault}");
    }
}

impl<S, M: Mode> Layer<S> for HealthLayer<M> {
    type Service = HealthService<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        HealthService::new(inner, self.endpoints().clone())
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::HealthLayer;
    use crate::{health::Health, report::Status};

    #[test]
    #[should_panic(expected = "the status code 204 No Content allows no body")]
    fn a_rejected_status_code_is_named() {
        let layer = HealthLayer::new(Health::builder().build());
        let _ = layer.status_code(Status::Up, StatusCode::NO_CONTENT);
    }
}
