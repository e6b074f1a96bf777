use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use super::View;

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
///         let word = if view.status().is_serving() { "healthy" } else { "unhealthy" };
///         format!(r#"{{"status":"{word}"}}"#).into_bytes()
///     }
/// }
///
/// let format = Format::custom(Healthy);
/// # drop(format);
/// ```
///
/// It decides the body only: the code comes from the status. It is called once for each new result and
/// [`Detail`](crate::access::Detail), not once for each request; answers for one dependency or with a query are
/// rendered for each request.
pub trait Render: Send + Sync + 'static {
    /// Returns the media type, with its parameters. Called once, when the format is created.
    fn content_type(&self) -> &'static str;

    /// Returns the body. It must not block, because it runs in the task of the request.
    ///
    /// If it panics, the response has the status in native JSON instead.
    fn render(&self, view: &View<'_>) -> Vec<u8>;
}

/// A user's renderer, which may panic.
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

    /// `None` if the renderer panics.
    pub(super) fn render(&self, view: &View<'_>) -> Option<Bytes> {
        // The view is read only, so a panic leaves nothing half done that is used afterwards.
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
            assert!(!view.entries().is_empty(), "the renderer panics");
            vec![b'x'; view.entries().len()]
        }
    }

    #[test]
    fn a_custom_format_makes_the_body() {
        let report = sample::report();
        let rendered = Format::custom(Own).render(&sample::full(&report));
        assert_eq!(rendered.body, "xxx");
        assert_eq!(rendered.content_type, "text/x-own; charset=utf-8");
        assert_eq!(Format::custom(Own).media_type(), "text/x-own");
    }

    #[test]
    fn a_panicking_renderer_leaves_the_status() {
        let report = sample::report();
        let rendered = Format::custom(Own).render(&sample::without_details(&report));
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
