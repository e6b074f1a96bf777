//! The mark by which layers further out tell an answered probe from traffic.

use std::mem;

use http::{Response, Uri, uri::PathAndQuery};

use super::{HealthLayer, future::Probe};

/// An extension of each response that answered a probe, where [`HealthLayer::mark_probes`] asks for it.
///
/// Refusals (403, 404, 405) have it, too; a request that was concealed from its sender and went to
/// the inner service has not.
///
/// ```
/// use http::Response;
/// use tower_health::ProbeMark;
///
/// fn is_traffic<B>(response: &Response<B>) -> bool {
///     response.extensions().get::<ProbeMark>().is_none()
/// }
/// # drop(is_traffic::<()>);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
// Complete for ever: it says that it is there.
pub struct ProbeMark;

impl HealthLayer {
    /// Marks each response that answers a probe with a [`ProbeMark`], so that access logs and numbers of
    /// layers further out can leave probes out. Default: off, since it costs two small
    /// allocations for each.
    ///
    /// What is decided before there is a response, such as whether to open a span, can ask
    /// [`is_probe`](Self::is_probe).
    pub fn mark_probes(self) -> Self {
        self.with(|settings| settings.marks = true)
    }

    /// Whether this layer takes a request for `uri` as a probe: its path is one, or one below it, or a gRPC
    /// health call where those are answered here.
    ///
    /// For layers further out, with a clone of this layer. It knows nothing of who asks: a request that
    /// [`forward_denied`](Self::forward_denied) hands on is one all the same.
    ///
    /// ```
    /// use tower_health::{Health, HealthLayer};
    ///
    /// let layer = HealthLayer::new(Health::builder().build());
    /// assert!(layer.is_probe(&"/readyz?verbose".parse().expect("a URI")));
    /// assert!(!layer.is_probe(&"/".parse().expect("a URI")));
    /// ```
    pub fn is_probe(&self, uri: &Uri) -> bool {
        let target = uri.path_and_query().map_or("", PathAndQuery::as_str);
        self.face().paths.find(target).is_some()
    }
}

impl Probe {
    // Never in the way of those who did not ask for it.
    #[cold]
    pub(super) fn mark(&mut self) {
        *self = match mem::replace(self, Self::Answer(None)) {
            Self::Answer(response) => Self::Answer(response.map(marked)),
            Self::Waiting(answer) => Self::Waiting(Box::pin(async { marked(answer.await) })),
        };
    }
}

pub(super) fn marked<B>(mut response: Response<B>) -> Response<B> {
    response.extensions_mut().insert(ProbeMark);
    response
}
