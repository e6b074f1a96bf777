//! What is no probe reaches the inner service, and its response comes back, untouched.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_health::{Access, Health, HealthLayer};

#[derive(Clone, Debug, PartialEq)]
struct Marker(&'static str);

type Step = Poll<Option<Result<Frame<Bytes>, &'static str>>>;

/// A body that says of itself what it was told to say.
struct StatedBody {
    steps: VecDeque<Step>,
    ends: bool,
    hint: SizeHint,
}

impl Body for StatedBody {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Step {
        self.steps.pop_front().unwrap_or(Poll::Ready(None))
    }

    fn is_end_stream(&self) -> bool {
        self.ends
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

fn stated_body(ends: bool, hint: SizeHint) -> StatedBody {
    StatedBody {
        steps: VecDeque::new(),
        ends,
        hint,
    }
}

fn layer() -> HealthLayer {
    HealthLayer::new(Health::builder().build())
}

fn odd_request(target: &str) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(Method::from_bytes(b"BREW").expect("a method"))
        .uri(target)
        .version(Version::HTTP_10)
        .header("x-twice", "1")
        .header("content-length", "4")
        .header("x-twice", "2")
        .extension(Marker("request"))
        .body(Full::from("body"))
        .expect("valid");
    let mut raw = http::HeaderValue::from_bytes(b"\xff").expect("valid");
    raw.set_sensitive(true);
    request.headers_mut().insert("x-raw", raw);
    request
}

async fn assert_request_passes(layer: HealthLayer, target: &str) {
    let expected = odd_request(target);
    // The whole request goes back out, to be compared.
    let inner = service_fn(async |request: Request<Full<Bytes>>| {
        let mut response = Response::new(Full::<Bytes>::default());
        response.extensions_mut().insert(Arc::new(request));
        Ok::<_, Infallible>(response)
    });
    let response = layer
        .layer(inner)
        .oneshot(odd_request(target))
        .await
        .expect("passes");
    let seen = response
        .extensions()
        .get::<Arc<Request<Full<Bytes>>>>()
        .expect("the inner service was called");
    assert_eq!(seen.method(), expected.method(), "{target}");
    assert_eq!(seen.uri(), expected.uri(), "{target}");
    assert_eq!(seen.uri().to_string(), expected.uri().to_string());
    assert_eq!(seen.version(), expected.version(), "{target}");
    assert_eq!(seen.headers(), expected.headers(), "{target}");
    let order = |headers: &HeaderMap| headers.keys().cloned().collect::<Vec<_>>();
    assert_eq!(order(seen.headers()), order(expected.headers()));
    assert!(seen.headers()["x-raw"].is_sensitive());
    assert_eq!(seen.extensions().get(), Some(&Marker("request")));
    assert_eq!(seen.extensions().len(), 1, "nothing is added");
    let body = seen.body().clone().collect().await.expect("never fails");
    assert_eq!(body.to_bytes(), "body");
}

#[tokio::test]
async fn a_request_that_is_no_probe_arrives_untouched() {
    for target in [
        "/",
        "/users?a=%20b&c",
        "/readyz/",
        "/health/a/b",
        "/HEALTH",
        "/%72eadyz",
        "http://user@example.org:81/a%2Fb?x",
        "example.org:443",
        "*",
    ] {
        assert_request_passes(layer(), target).await;
    }
}

#[tokio::test]
async fn a_concealed_probe_arrives_untouched() {
    let layer = layer().allow(Access::nobody()).forward_denied();
    for target in ["/readyz", "/health?x", "/health/database"] {
        assert_request_passes(layer.clone(), target).await;
    }
}

#[tokio::test]
async fn the_head_of_a_response_comes_back_untouched() {
    let inner = service_fn(async |_: Request<()>| {
        Response::builder()
            .status(299)
            .version(Version::HTTP_3)
            .header("x-twice", "1")
            .header("cache-control", "max-age=1")
            .header("x-twice", "2")
            .extension(Marker("response"))
            .body(stated_body(false, SizeHint::new()))
    });
    let request = || {
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from_static("/users");
        request
    };
    let (bare, _) = inner.oneshot(request()).await.expect("valid").into_parts();
    let (layered, _) = layer()
        .layer(inner)
        .oneshot(request())
        .await
        .expect("valid")
        .into_parts();
    assert_eq!(layered.status, bare.status);
    assert_eq!(layered.version, bare.version);
    assert_eq!(layered.headers, bare.headers);
    assert_eq!(layered.headers.len(), 3);
    assert_eq!(layered.extensions.get(), Some(&Marker("response")));
    assert_eq!(layered.extensions.len(), 1);
}

#[tokio::test]
async fn a_body_says_of_itself_what_it_said_before() {
    let mut between = SizeHint::new();
    between.set_lower(3);
    between.set_upper(9);
    let table = [
        (false, SizeHint::new()),
        (true, SizeHint::new()),
        (false, SizeHint::with_exact(0)),
        (true, SizeHint::with_exact(0)),
        (false, SizeHint::with_exact(7)),
        // A body that ends with a promise unkept: not the layer's to mend.
        (true, SizeHint::with_exact(7)),
        (false, between),
    ];
    for (ends, hint) in table {
        let inner = service_fn(|_: Request<()>| {
            let body = stated_body(ends, hint);
            async { Ok::<_, Infallible>(Response::new(body)) }
        });
        let body = layer()
            .layer(inner)
            .oneshot(Request::new(()))
            .await
            .expect("never fails")
            .into_body();
        assert_eq!(body.is_end_stream(), ends, "{hint:?}");
        assert_eq!(body.size_hint().lower(), hint.lower());
        assert_eq!(body.size_hint().upper(), hint.upper());
    }
}

#[tokio::test]
async fn every_frame_comes_through_as_it_was() {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().expect("valid"));
    let steps = || {
        VecDeque::from([
            Poll::Ready(Some(Ok(Frame::data(Bytes::from("a"))))),
            Poll::Pending,
            Poll::Ready(Some(Ok(Frame::data(Bytes::new())))),
            Poll::Ready(Some(Ok(Frame::trailers(trailers.clone())))),
            Poll::Ready(Some(Err("an error"))),
            Poll::Ready(None),
        ])
    };
    let inner = service_fn(|_: Request<()>| {
        let body = StatedBody {
            steps: steps(),
            ..stated_body(false, SizeHint::new())
        };
        async { Ok::<_, Infallible>(Response::new(body)) }
    });
    let body = layer()
        .layer(inner)
        .oneshot(Request::new(()))
        .await
        .expect("never fails")
        .into_body();
    let mut body = pin!(body);
    let mut cx = Context::from_waker(Waker::noop());
    for expected in steps() {
        let polled = body.as_mut().poll_frame(&mut cx);
        assert_eq!(format!("{polled:?}"), format!("{expected:?}"));
    }
}

#[tokio::test]
async fn an_answer_says_its_length_and_ends_with_it() {
    let inner = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(stated_body(false, SizeHint::new())))
    });
    let service = layer().layer(inner);
    let request = |method, path: &'static str| {
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_static(path);
        request
    };
    let mut body = service
        .clone()
        .oneshot(request(Method::GET, "/readyz"))
        .await
        .expect("never fails")
        .into_body();
    assert!(!body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(15));
    let frame = body.frame().await.expect("a frame").expect("no error");
    assert_eq!(frame.into_data().expect("data"), r#"{"status":"up"}"#);
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.frame().await.is_none());
    assert!(body.frame().await.is_none(), "and stays ended");

    for (method, path) in [(Method::HEAD, "/readyz"), (Method::POST, "/readyz")] {
        let body = service
            .clone()
            .oneshot(request(method, path))
            .await
            .expect("never fails")
            .into_body();
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
    }
}
