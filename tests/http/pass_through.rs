//! A request that is not a probe reaches the inner service unchanged, and so does its response the caller.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_health::{Access, HealthLayer, service::mode::KeepBody};
use tower_test::mock;

use crate::helpers::server::up;

type Reply = Response<Full<Bytes>>;
type Step = Poll<Option<Result<Frame<Bytes>, &'static str>>>;

#[derive(Clone, Debug, PartialEq)]
struct Marker(&'static str);

/// A body with these steps, which may contradict its size hint and its end.
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

fn layer() -> HealthLayer {
    HealthLayer::new(up())
}

fn request(path: &str) -> Request<()> {
    Request::builder().uri(path).body(()).expect("valid")
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
    let mut raw = HeaderValue::from_bytes(b"\xff").expect("valid");
    raw.set_sensitive(true);
    request.headers_mut().insert("x-raw", raw);
    request
}

#[tokio::test]
async fn a_request_that_is_not_answered_arrives_unchanged() {
    let plain = layer();
    let forwards = layer().allow(Access::nobody()).forward_denied();
    for (layer, target) in [
        (&plain, "/users?a=%20b&c"),
        (&plain, "/readyz/"),
        (&plain, "http://user@example.org:81/a%2Fb?x"),
        (&plain, "*"),
        (&forwards, "/health?x"),
        (&forwards, "/health/database"),
    ] {
        // The response carries the request back.
        let inner = service_fn(async |request: Request<Full<Bytes>>| {
            let mut response = Reply::default();
            response.extensions_mut().insert(Arc::new(request));
            Ok::<_, Infallible>(response)
        });
        let Ok(response) = layer.layer(inner).oneshot(odd_request(target)).await;
        let seen = response.extensions().get::<Arc<Request<Full<Bytes>>>>();
        let seen = seen.expect("the inner service was called");
        // With method, target, version, and headers in their order.
        assert_eq!(format!("{seen:?}"), format!("{:?}", odd_request(target)));
        assert_eq!(seen.headers(), odd_request(target).headers());
        assert_eq!(seen.extensions().get(), Some(&Marker("request")));
        assert_eq!(seen.extensions().len(), 1, "nothing is added");
        let body = seen.body().clone().collect().await.expect("never fails");
        assert_eq!(body.to_bytes(), "body");
    }
}

#[tokio::test]
async fn a_response_comes_back_unchanged() {
    let mut between = SizeHint::new();
    between.set_lower(3);
    between.set_upper(9);
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
    // The last one is inconsistent, which the layer must not correct.
    for (ends, hint) in [
        (false, SizeHint::new()),
        (true, SizeHint::with_exact(0)),
        (false, between),
        (true, SizeHint::with_exact(7)),
    ] {
        let inner = service_fn(async |_: Request<()>| {
            let head = Response::builder().status(299).version(Version::HTTP_3);
            let head = head
                .header("x-twice", "1")
                .header("cache-control", "max-age=1");
            let head = head.header("x-twice", "2").extension(Marker("response"));
            let steps = steps();
            head.body(StatedBody { steps, ends, hint })
        });
        let bare = inner.oneshot(request("/users")).await.expect("valid");
        let layered = layer().layer(inner).oneshot(request("/users")).await;
        let layered = layered.expect("valid");
        let head =
            |status, version, headers: &HeaderMap| format!("{status} {version:?} {headers:?}");
        assert_eq!(
            head(layered.status(), layered.version(), layered.headers()),
            head(bare.status(), bare.version(), bare.headers())
        );
        assert_eq!(layered.extensions().get(), Some(&Marker("response")));
        assert_eq!(layered.extensions().len(), 1);

        let mut body = Box::pin(layered.into_body());
        assert_eq!(body.is_end_stream(), ends, "{hint:?}");
        let bounds = (body.size_hint().lower(), body.size_hint().upper());
        assert_eq!(bounds, (hint.lower(), hint.upper()));
        let mut cx = Context::from_waker(Waker::noop());
        for expected in steps() {
            let polled = body.as_mut().poll_frame(&mut cx);
            assert_eq!(format!("{polled:?}"), format!("{expected:?}"));
        }
    }
}

#[tokio::test]
async fn an_answer_knows_its_length_and_ends_with_it() {
    let service = layer().layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Reply::default())
    }));
    let Ok(response) = service.clone().oneshot(request("/readyz")).await;
    let mut body = response.into_body();
    assert!(!body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(15));
    let frame = body.frame().await.expect("a frame").expect("no error");
    assert_eq!(frame.into_data().expect("data"), r#"{"status":"up"}"#);
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.frame().await.is_none() && body.frame().await.is_none());

    for method in [Method::HEAD, Method::POST] {
        let mut request = request("/readyz");
        *request.method_mut() = method;
        let Ok(response) = service.clone().oneshot(request).await;
        assert!(response.body().is_end_stream());
        assert_eq!(response.body().size_hint().exact(), Some(0));
    }
}

#[tokio::test]
async fn readiness_is_that_of_the_inner_service() {
    let (mut plain, mut handle) = mock::spawn_layer::<Request<()>, Reply, _>(layer());
    handle.allow(0);
    assert!(plain.poll_ready().is_pending());
    handle.allow(1);
    assert!(plain.is_woken(), "by the waker of the caller");
    assert!(plain.poll_ready().is_ready());
    handle.send_error("broken");
    let Poll::Ready(Err(error)) = plain.poll_ready() else {
        panic!("the error of the inner service");
    };
    assert_eq!(error.to_string(), "broken");

    type Kept = HealthLayer<KeepBody>;
    let kept = layer().keep_body_type();
    let (mut kept, mut handle) = mock::spawn_layer::<Request<()>, Response<Vec<u8>>, Kept>(kept);
    handle.allow(0);
    assert!(kept.poll_ready().is_pending());
    handle.allow(1);
    assert!(kept.poll_ready().is_ready());
}

/// The inner service would fail for a probe too, but a probe never reaches it.
#[tokio::test]
async fn errors_of_the_inner_service_keep_their_type() {
    #[derive(Debug, PartialEq)]
    struct OwnError(u32);

    let inner = service_fn(async |_: Request<()>| Err::<Reply, _>(OwnError(7)));
    let send =
        async |path| -> Result<_, OwnError> { layer().layer(inner).oneshot(request(path)).await };
    assert_eq!(send("/users").await.expect_err("fails"), OwnError(7));
    assert_eq!(send("/livez").await.expect("answered").status(), 200);
}

#[tokio::test]
async fn neither_service_nor_request_need_clone_or_send() {
    let not_send = Rc::new(());
    let mut service = layer().layer(service_fn(move |_: Request<Rc<()>>| {
        let _held = &not_send;
        async { Ok::<_, Infallible>(Reply::default()) }
    }));
    let service = ServiceExt::<Request<Rc<()>>>::ready(&mut service).await;
    let probe = request("/readyz").map(Rc::new);
    let Ok(response) = service.expect("ready").call(probe).await;
    assert_eq!(response.headers()["cache-control"], "no-store");
}
