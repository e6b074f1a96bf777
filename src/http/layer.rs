use std::sync::{Arc, OnceLock};

use http::StatusCode;
use tokio::time::Instant;
use tower_layer::Layer;

use super::{
    AnnounceDrainLayer, BusyLayer, HealthService, KeepBodyLayer, answer::Answer, codes::Codes,
    face::Face, paths::Paths, route::Route, shard::Sharded,
};
use crate::{access::Access, health::Health, probe::Probe, render::Format, report::Status};

const DEFAULT_PATHS: [(&str, Probe); 4] = [
    ("/livez", Probe::Liveness),
    ("/readyz", Probe::Readiness),
    ("/startupz", Probe::Startup),
    ("/health", Probe::Full),
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
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct HealthLayer {
    settings: Settings,
    /// Made once: `Router::layer` applies a layer to each of its routes.
    face: Arc<OnceLock<Sharded<Face>>>,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    health: Health,
    with_defaults: bool,
    paths: Vec<OwnPath>,
    details: Access,
    allow: Access,
    forward_denied: bool,
    codes: Codes,
    format: Format,
    stable: bool,
    pub(super) marks: bool,
    #[cfg(feature = "grpc")]
    grpc: crate::grpc::Interception,
}

#[derive(Clone, Debug)]
struct OwnPath {
    path: Box<str>,
    probe: Probe,
    /// The only one that it answers in.
    format: Option<Format>,
}

impl HealthLayer {
    /// A layer with the four default paths: `/livez`, `/readyz`, `/startupz`, `/health`.
    ///
    /// Everybody may probe; nobody sees details.
    pub fn new(health: Health) -> Self {
        Self {
            settings: Settings {
                health,
                with_defaults: true,
                paths: Vec::new(),
                details: Access::nobody(),
                allow: Access::everybody(),
                forward_denied: false,
                codes: Codes::default(),
                format: Format::json(),
                stable: false,
                marks: false,
                #[cfg(feature = "grpc")]
                grpc: crate::grpc::Interception::default(),
            },
            face: Arc::default(),
        }
    }

    /// Answers `probe` at `path`, matched byte for byte, and below it for one dependency each.
    ///
    /// # Panics
    ///
    /// When `path` does not start with a slash, ends with one, has a character that no
    /// request's path can have, or is a probe's already; when no dependency is in the
    /// group that `probe` names.
    #[track_caller]
    pub fn path(self, path: &str, probe: Probe) -> Self {
        self.with_path(path, probe, None)
    }

    /// The same, always in `format`, whatever the request's `accept` says.
    ///
    /// The page gives native JSON, too, to whoever asks for that: its script does.
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
        let path = OwnPath {
            path: path.into(),
            probe,
            format,
        };
        let changed = self.with(|settings| settings.paths.push(path));
        // Refused here, where the caller's line is known, and not when the layer is applied.
        if let Err((path, fault)) = changed.settings.table() {
            panic!("the path {path:?} {fault}");
        }
        changed
    }

    /// The form of the answer to whoever names none, on all paths without one of their own.
    ///
    /// Default: [`Format::json`]. A request's `accept` that names another is served that; see [`Format`].
    pub fn format(self, format: Format) -> Self {
        self.with(|settings| settings.format = format)
    }

    /// Leaves out of every answer what differs between two runs that find the same: times, counters,
    /// pool numbers, observations and messages. For systems that compare bodies, or hashes of them.
    ///
    /// Two bodies that differ then differ in a status or a reason, or in what is checked.
    pub fn without_measurements(self) -> Self {
        self.with(|settings| settings.stable = true)
    }

    /// Takes the four default paths away.
    pub fn without_default_paths(self) -> Self {
        self.with(|settings| settings.with_defaults = false)
    }

    /// Who sees details: names, reasons, timings, pool numbers, the app's fields. Default: nobody.
    pub fn details(self, access: Access) -> Self {
        self.with(|settings| settings.details = access)
    }

    /// Who may probe at all; others get 403. Default: everybody.
    pub fn allow(self, access: Access) -> Self {
        self.with(|settings| settings.allow = access)
    }

    /// Hands the requests of those who may not probe to the inner service, as if there were no probe.
    pub fn forward_denied(self) -> Self {
        self.with(|settings| settings.forward_denied = true)
    }

    /// The status code for `status`. Default: 200 for up and degraded, 503 for unknown and down.
    pub fn status_code(self, status: Status, code: StatusCode) -> Self {
        self.with(|settings| settings.codes.set(status, code))
    }

    /// Leaves calls of `grpc.health.v1.Health` to the inner service. Default: they are answered here.
    #[cfg(feature = "grpc")]
    pub fn without_grpc(self) -> Self {
        self.with(|settings| settings.grpc.on = false)
    }

    /// Answers gRPC calls also where a request's body is an `A`. Others pass through: known are the
    /// bodies of axum, hyper and tonic, and the usual boxes around them.
    ///
    /// For a layer further out that changes the body's type, such as a limit on its size.
    #[cfg(feature = "grpc")]
    pub fn grpc_body<A: http_body::Body + Send + 'static>(self) -> Self {
        self.with(|settings| settings.grpc.named.add::<A>())
    }

    /// Keeps the inner service's response body, where that can be made from `Bytes`, as axum's can.
    ///
    /// For `axum::serve`, which takes no other body than axum's.
    pub fn keep_body_type(self) -> KeepBodyLayer {
        KeepBodyLayer::new(self)
    }

    /// Answers probes even while the inner service is not ready, as when its concurrency limit is full.
    ///
    /// The service is then always ready: a request that passes through waits for
    /// readiness inside its own future, so that what is outside feels no
    /// back-pressure. Needs an inner service that is `Clone`.
    pub fn answer_when_busy(self) -> BusyLayer {
        BusyLayer::new(self)
    }

    /// Tells proxies on ordinary responses that the app drains, so that they move on without another
    /// probe. Default: responses pass untouched.
    ///
    /// While [`Health::is_draining`] when a request arrives, its response carries
    /// `x-envoy-immediate-health-check-fail: true`, at which Envoy takes the host out of its
    /// cluster at once, and over HTTP/1 `connection: close`, at which every client opens its next
    /// connection elsewhere. Not on a switch of protocols, whose connection lives on, and not for
    /// a request that arrived before. Clients that are no proxies can read the field, too:
    /// it says that this process is about to stop, and nothing else. Settings come before this.
    pub fn announce_draining(self) -> AnnounceDrainLayer<Self> {
        let health = self.settings.health.clone();
        AnnounceDrainLayer::new(self, health)
    }

    /// The layer with other settings; what was made from the old ones is not its own.
    pub(super) fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self.face = Arc::default();
        self
    }

    pub(super) fn face(&self) -> &Sharded<Face> {
        self.face.get_or_init(|| Sharded::new(self.settings.face()))
    }
}

impl Settings {
    /// The paths with their probes, or the first one that cannot be.
    fn table(&self) -> Result<(Paths, Vec<Route>), (&str, &'static str)> {
        let mut paths = Paths::default();
        let mut routes = Vec::new();
        let defaults = DEFAULT_PATHS.iter().filter(|_| self.with_defaults);
        for (path, probe) in defaults {
            paths.add(path).map_err(|fault| (*path, fault))?;
            routes.push(Route::negotiated(path, probe.clone(), self.format.clone()));
        }
        for own in &self.paths {
            let (path, probe) = (&*own.path, own.probe.clone());
            paths.add(path).map_err(|fault| (path, fault))?;
            routes.push(match &own.format {
                Some(format) => Route::fixed(path, probe, format.clone()),
                None => Route::negotiated(path, probe, self.format.clone()),
            });
        }
        // After all routes: a call is what has no route.
        #[cfg(feature = "grpc")]
        if self.grpc.on {
            let service = crate::grpc::PATH;
            paths.add(service).map_err(|fault| (service, fault))?;
        }
        Ok((paths, routes))
    }

    fn face(&self) -> Face {
        // `path` refuses what `table` would; taking the defaults away only takes refusals away.
        let (paths, routes) = self.table().unwrap_or_default();
        Face {
            health: self.health.clone(),
            paths,
            routes,
            details: self.details.clone(),
            allow: self.allow.clone(),
            forward_denied: self.forward_denied,
            codes: self.codes,
            words: Answer::words(self.codes),
            born: Instant::now(),
            stable: self.stable,
            marks: self.marks,
            #[cfg(feature = "grpc")]
            grpc: self.grpc.clone(),
        }
    }
}

impl<S> Layer<S> for HealthLayer {
    type Service = HealthService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HealthService::new(inner, self.face().share())
    }
}
