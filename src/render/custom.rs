use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use super::View;

/// A form of one's own for the answer to a probe.
///
/// ```
/// use tower_health::{Format, Render, View};
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
///         let word = if view.status().is_serving() { "healthy" } else { "unhealthy" };
///         format!(r#"{{"status":"{word}"}}"#).into_bytes()
///     }
/// }
///
/// let format = Format::custom(Healthy);
/// # drop(format);
/// ```
///
/// It decides the body and nothing else: the code comes from the status. It is
/// asked once per verdict and audience, not once per request.
pub trait Render: Send + Sync + 'static {
    /// The media type, with parameters if it has any. Asked once, when the format is made.
    fn content_type(&self) -> &'static str;

    /// The body. Must not block: it runs where the request is served.
    ///
    /// A panic in it costs the body alone: the answer then has the status in native JSON.
    fn render(&self, view: &View<'_>) -> Vec<u8>;
}

/// A user's renderer, whatever it does.
pub(super) struct Custom {
    content_type: &'static str,
    render: Box<dyn Render>,
}

impl Custom {
    #[track_caller]
    pub(super) fn new(render: impl Render) -> Self {
        let content_type = render.content_type();
        let printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        assert!(
            content_type.contains('/') && content_type.bytes().all(printable),
            "the content type {content_type:?} is no media type"
        );
        Self {
            content_type,
            render: Box::new(render),
        }
    }

    pub(super) fn content_type(&self) -> &'static str {
        self.content_type
    }

    /// Nothing where it panics.
    pub(super) fn render(&self, view: &View<'_>) -> Option<Bytes> {
        // Nothing that is looked at afterwards is left half done: the view is read only,
        // and what state the renderer keeps is its own affair.
        let body = catch_unwind(AssertUnwindSafe(|| self.render.render(view)));
        body.ok().map(Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Format, sample},
        Render, View,
    };

    struct Own;

    impl Render for Own {
        fn content_type(&self) -> &'static str {
            "text/x-own; charset=utf-8"
        }

        fn render(&self, view: &View<'_>) -> Vec<u8> {
            assert!(!view.entries().is_empty(), "a panic of the renderer's");
            vec![b'x'; view.entries().len()]
        }
    }

    #[test]
    fn a_format_of_ones_own_makes_the_body() {
        let report = sample::report();
        let rendered = Format::custom(Own).render(&sample::full(&report));
        assert_eq!(rendered.body, "xxx");
        assert_eq!(rendered.content_type, "text/x-own; charset=utf-8");
        assert_eq!(Format::custom(Own).media_type(), "text/x-own");
    }

    #[test]
    fn a_renderer_that_panics_leaves_the_status() {
        let report = sample::report();
        let rendered = Format::custom(Own).render(&sample::stranger(&report));
        assert_eq!(rendered.body, r#"{"status":"degraded"}"#);
        assert_eq!(rendered.content_type, "application/json");
    }

    #[test]
    fn media_types_are_distinct() {
        let mut types: Vec<_> = Format::NEGOTIABLE.iter().map(Format::media_type).collect();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types.len(), Format::NEGOTIABLE.len());
    }
}
