//! What the compiler promises about the public types; most tests here are already won when they compile.

use std::{
    convert::Infallible,
    error::Error,
    fmt::{Debug, Display},
    future::Future,
};

use axum::body::Body as AxumBody;
use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body::Body;
use http_body_util::{
    BodyStream, Either, Empty, Full, Limited, StreamBody,
    combinators::{BoxBody, UnsyncBoxBody},
};
use hyper::body::Incoming;
use tonic::body::Body as TonicBody;
use tower::{Layer, Service};
#[cfg(feature = "pool")]
use tower_health::checks::{
    CheckoutTest, ConnectTimeoutError, ConnectTimeoutManager, ConnectionPool, ConnectionPoolCheck,
    PingError, PingFuture, PoolCheck, PoolCounters,
};
use tower_health::{
    Access, Check, CheckResult, Dependency, Failure, Format, Health, HealthBuilder, HealthLayer,
    InProcessCheck, InvalidDependencyName, Outcome, PeerAddr, Probe, Reason, Status,
    access::{Detail, InvalidNetwork, RequestHead},
    checks::{Blocking, Heartbeat, RuntimeLag, Switch},
    health::{
        AddError, AddErrorKind, ConfigWarning, ConfigWarningKind, NotReady, Transition, Transitions,
    },
    render::{Render, View},
    report::{CheckRun, ObservedValue, PoolStats, Report, ReportEntry},
    service::{
        AnnounceDrainLayer, AnnounceDrainService, BusyService, HealthService, ProbeMark,
        ResponseBody, ResponseFuture,
        mode::{KeepBody, Mode, Plain},
    },
};

fn shared<T: Send + Sync + Debug>() {}
fn cloned<T: Clone + Send + Sync + Debug>() {}
fn plain<T: Copy + Eq + Send + Sync + Debug>() {}
fn error<T: Error + Clone + Send + Sync + 'static>() {}
fn unpinned<T: Unpin>() {}

#[test]
fn public_types_cross_threads_and_clone() {
    cloned::<Health>();
    cloned::<HealthLayer>();
    cloned::<HealthService<()>>();
    cloned::<HealthLayer<KeepBody>>();
    cloned::<HealthService<(), KeepBody>>();
    cloned::<BusyService<()>>();
    cloned::<AnnounceDrainLayer>();
    cloned::<AnnounceDrainService<()>>();
    cloned::<Access>();
    cloned::<Dependency>();
    cloned::<ReportEntry>();
    cloned::<Format>();
    cloned::<Heartbeat>();
    cloned::<RuntimeLag>();
    cloned::<Blocking>();
    cloned::<Switch>();
    cloned::<ConfigWarning>();
    cloned::<Outcome>();
    cloned::<Probe>();
    cloned::<Report>();
    cloned::<Transition>();
    cloned::<Transitions>();
    cloned::<ObservedValue>();
    cloned::<View<'static>>();
    cloned::<RequestHead<'static>>();
    plain::<AddErrorKind>();
    plain::<Detail>();
    plain::<PeerAddr>();
    plain::<PoolStats>();
    plain::<ProbeMark>();
    plain::<Reason>();
    plain::<CheckRun>();
    plain::<Status>();
    plain::<ConfigWarningKind>();
    // Not `Clone`: each holds checks, or the source of an error.
    shared::<HealthBuilder>();
    shared::<Failure>();
    shared::<CheckResult>();
    shared::<ResponseBody<Full<Bytes>>>();
    error::<AddError>();
    error::<InvalidDependencyName>();
    error::<InvalidNetwork>();
    error::<NotReady>();
    unpinned::<ResponseBody<Full<Bytes>>>();
    unpinned::<ResponseFuture<std::future::Ready<()>>>();
    unpinned::<ResponseFuture<std::future::Ready<()>, KeepBody>>();
}

#[test]
fn what_apps_implement_crosses_threads() {
    fn is_shared<T: Send + Sync + ?Sized + 'static>() {}
    fn checks<C: Check>() {
        is_shared::<C>();
    }
    fn local<C: InProcessCheck>() {
        checks::<C>();
    }
    fn renders<R: Render + ?Sized>() {
        is_shared::<R>();
    }
    local::<Heartbeat>();
    local::<RuntimeLag>();
    local::<Switch>();
    renders::<dyn Render>();
}

#[cfg(all(feature = "postgres", feature = "redis"))]
#[test]
fn checks_of_pools_cross_threads() {
    use bb8_postgres::{PostgresConnectionManager, tokio_postgres::NoTls};
    use bb8_redis::RedisConnectionManager;
    use tower_health::checks::{PostgresCheck, RedisCheck};

    type Manager = PostgresConnectionManager<NoTls>;

    shared::<PostgresCheck<Manager>>();
    shared::<PostgresCheck<ConnectTimeoutManager<Manager>>>();
    cloned::<PostgresCheck<Manager>>();
    shared::<RedisCheck>();
    cloned::<RedisCheck>();
    shared::<PoolCheck<RedisConnectionManager>>();
    cloned::<ConnectTimeoutManager<Manager>>();
    error::<ConnectTimeoutError<std::fmt::Error>>();
    fn sent<T: Send + Unpin>() {}
    sent::<PingFuture<'static, std::io::Error>>();
    plain::<CheckoutTest>();
    plain::<PoolCounters>();
    shared::<PingError>();
    cloned::<ConnectionPoolCheck<NoPool>>();
}

/// The least that an app implements.
#[cfg(all(feature = "postgres", feature = "redis"))]
struct NoPool;

#[cfg(all(feature = "postgres", feature = "redis"))]
impl ConnectionPool for NoPool {
    type Connection = ();
    type Checkout = Box<()>;

    async fn check_out(&self) -> Result<Box<()>, Option<Failure>> {
        Err(None)
    }

    async fn connect(&self) -> Result<(), Failure> {
        Err(Reason::Refused.into())
    }

    async fn ping(&self, (): &mut ()) -> Result<(), PingError> {
        Err(PingError::NoReply)
    }

    fn counters(&self) -> PoolCounters {
        PoolCounters::default()
    }
}

#[cfg(feature = "grpc")]
#[test]
fn the_grpc_service_crosses_threads() {
    use tower_health::{grpc::GrpcService, service::mode::Grpc};

    fn sent<T: Send + Unpin>() {}

    cloned::<GrpcService>();
    cloned::<HealthLayer<Grpc>>();
    sent::<ResponseBody<Full<Bytes>, Grpc>>();
}

/// What has a word is that word.
#[test]
fn words_are_displayed() {
    fn displayed<T: Display>(value: T, word: &str) {
        assert_eq!(value.to_string(), word);
    }
    displayed(Status::Degraded, Status::Degraded.as_str());
    displayed(Reason::ReadOnly, Reason::ReadOnly.as_str());
    displayed(Probe::Readiness, "readiness");
    displayed(Probe::group("orders"), "orders");
}

/// A type that is new must be asserted above: its name is looked for in this very file.
#[test]
fn no_public_type_is_left_out() {
    fn words(text: &str) -> impl Iterator<Item = &str> {
        text.split(|letter: char| !letter.is_alphanumeric())
    }
    let asserted = include_str!("types.rs");
    let root = include_str!("../../src/lib.rs");
    let modules = [
        ("checks", include_str!("../../src/checks/mod.rs")),
        ("grpc", include_str!("../../src/grpc/mod.rs")),
        ("mode", "pub use Mode, Plain, KeepBody, Grpc;"),
        // What it exports the root exports, too.
        ("report", ""),
        ("metrics", include_str!("../../src/metrics/mod.rs")),
        // Prose.
        ("guide", ""),
    ];
    let public = root.split("\npub mod ").skip(1);
    for module in public.filter_map(|rest| rest.split(';').next()) {
        assert!(modules.iter().any(|(name, _)| *name == module), "{module}");
    }
    let files = modules.iter().map(|(_, file)| *file).chain([root]);
    let exports = files.flat_map(|file| file.split("pub use ").skip(1));
    let names = exports
        .filter_map(|export| export.split(';').next())
        .flat_map(words)
        .filter(|name| name.starts_with(char::is_uppercase));
    // Once to import it, and at least once more.
    let forgotten = names.filter(|name| words(asserted).filter(|word| word == name).count() < 2);
    assert_eq!(forgotten.collect::<Vec<_>>(), [""; 0]);
}

/// The inner service's future and body decide, and nothing of the layer's.
#[test]
fn futures_and_bodies_are_send_where_the_inner_ones_are() {
    fn send<T: Send>() {}
    send::<ResponseFuture<std::future::Ready<()>>>();
    send::<ResponseFuture<std::future::Ready<()>, KeepBody>>();
    // Neither of these is Sync.
    send::<ResponseFuture<std::cell::Cell<()>>>();
    send::<ResponseBody<UnsyncBoxBody<Bytes, std::io::Error>>>();
    send::<HealthService<std::cell::Cell<()>>>();
}

/// What a service of response body `B` becomes, for any request body `A`.
fn wraps<A, B>()
where
    B: Body,
    B::Data: From<Bytes>,
{
    fn is_service<S, A, B, E>(_: &S)
    where
        S: Service<Request<A>, Response = Response<ResponseBody<B>>, Error = E>,
    {
    }
    fn is_body<B: Body<Data = D, Error = E>, D: Buf, E>() {}

    #[derive(Debug)]
    struct OwnError;

    is_body::<ResponseBody<B>, B::Data, B::Error>();
    let make = |inner| HealthLayer::new(Health::builder().build()).layer(inner);
    let _ = |inner: Inner<A, B, OwnError>| is_service::<_, A, B, OwnError>(&make(inner));
}

type Inner<A, B, E> = tower::util::BoxService<Request<A>, Response<B>, E>;

#[test]
fn every_usual_body_is_wrapped() {
    wraps::<AxumBody, AxumBody>();
    wraps::<TonicBody, TonicBody>();
    wraps::<Incoming, Incoming>();
    wraps::<Incoming, Full<Bytes>>();
    wraps::<Incoming, Empty<Bytes>>();
    wraps::<Incoming, BoxBody<Bytes, std::io::Error>>();
    wraps::<Incoming, UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>>();
    wraps::<Incoming, StreamBody<BodyStream<Incoming>>>();
    wraps::<Incoming, Limited<Incoming>>();
    wraps::<Incoming, Either<Full<Bytes>, AxumBody>>();
    wraps::<Incoming, String>();
    wraps::<Incoming, ResponseBody<Full<Bytes>>>();
    // Any request body at all.
    wraps::<(), AxumBody>();
    wraps::<std::rc::Rc<str>, AxumBody>();
    wraps::<fn(), AxumBody>();
}

/// Whatever features are on: a request's body may even be borrowed.
#[test]
fn a_request_body_need_not_be_static() {
    fn borrowed<'a>(body: &'a str) {
        let layer = HealthLayer::new(Health::builder().build());
        let inner = |_: Request<&'a str>| async {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        };
        let plain = layer
            .layer(tower::service_fn(inner))
            .call(Request::new(body));
        let kept = layer.keep_body_type().layer(tower::service_fn(inner));
        drop((plain, { kept }.call(Request::new(body))));
    }
    borrowed(&String::from("a body"));
}

/// In the order of calls that reads best: the mode last, first or in between.
#[test]
fn settings_come_before_and_after_the_mode() {
    fn any<M: Mode>(layer: HealthLayer<M>) -> HealthLayer<M> {
        layer
            .path("/x", Probe::Full)
            .details(Access::nobody())
            .mark_probes()
    }
    let layer = || HealthLayer::new(Health::builder().build());
    let _: HealthLayer<Plain> = any(layer());
    let _: HealthLayer<KeepBody> = any(layer().keep_body_type());
    let _: HealthLayer<KeepBody> = layer().details(Access::nobody()).keep_body_type();
    #[cfg(feature = "grpc")]
    let _: HealthLayer<tower_health::service::mode::Grpc> = any(layer().grpc());
}

#[test]
fn bodies_made_of_bytes_may_stay_as_they_are() {
    fn same<B: From<Bytes>>() {
        fn is_service<S: Service<Request<()>, Response = Response<B>>, B>(_: &S) {}
        let layer = HealthLayer::new(Health::builder().build()).keep_body_type();
        let _ = |inner: Inner<(), B, std::io::Error>| is_service::<_, B>(&layer.layer(inner));
    }
    same::<AxumBody>();
    same::<Full<Bytes>>();
    same::<Bytes>();
}

/// A struct can hold each of them: all have names.
#[test]
fn every_type_of_the_middleware_can_be_named() {
    #[derive(Debug)]
    #[allow(dead_code)] // To be named is all they are for.
    struct Holds<S, F, B> {
        layer: HealthLayer,
        same_body_layer: HealthLayer<KeepBody>,
        service: HealthService<S>,
        same_body_service: HealthService<S, KeepBody>,
        future: ResponseFuture<F>,
        same_body_future: ResponseFuture<F, KeepBody>,
        body: ResponseBody<B>,
    }
    fn held<T: Send + Debug>() {}
    held::<Holds<(), std::future::Ready<()>, Full<Bytes>>>();
}

#[test]
fn waiting_can_be_spawned() {
    fn send<T: Send + 'static>(_: T) {}
    let health = || Health::builder().build();
    let first = health();
    let report = async move { first.report().await };
    send(report);
    let second = health();
    send(async move { second.wait_until_ready(std::time::Duration::ZERO).await });
    let third = health();
    send(async move { third.drain(std::time::Duration::ZERO).await });
    fn is_future<F: Future>(_: &F) {}
    is_future(&health().report());
}

#[test]
fn nothing_that_is_printed_holds_a_secret() {
    const SECRET: &str = "hunter2";
    let check = || {
        let secret = SECRET.to_owned();
        move || {
            let connects_with = secret.clone();
            async move {
                drop(connects_with);
                Err(Failure::new(Reason::Auth))
            }
        }
    };
    let access = Access::bearer([SECRET]).or(Access::predicate(|_| SECRET.is_empty()));
    let dependency = Dependency::new("database", check());
    let builder = Health::builder().check("database", check());
    let printed_builder = format!("{builder:#?}");
    let health = builder.build();
    let layer = HealthLayer::new(health.clone())
        .allow(access.clone())
        .details(access.clone());
    let service = layer.layer(());
    let peer = PeerAddr(([127, 0, 0, 1], 1).into());
    for printed in [
        format!("{access:#?}"),
        format!("{dependency:#?}"),
        printed_builder,
        format!("{health:#?}"),
        format!("{layer:#?}"),
        format!("{service:#?}"),
        format!("{:#?}", layer.clone().keep_body_type()),
        format!("{peer:?}"),
        head_with(SECRET),
        format!("{:?}", Failure::new(Reason::Auth).caused_by(SECRET)),
    ] {
        assert!(!printed.contains(SECRET), "{printed}");
        assert!(!printed.is_empty());
    }
}

/// A head, printed, whose query and headers bring `secret`.
fn head_with(secret: &str) -> String {
    let (prints, printed) = std::sync::mpsc::channel();
    let access = Access::predicate(move |head| prints.send(format!("{head:#?}")).is_ok());
    let inner =
        tower::service_fn(async |_| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())));
    let request = Request::get(format!("/livez?token={secret}"))
        .header("authorization", format!("Bearer {secret}"))
        .header("cookie", secret)
        .body(())
        .expect("valid");
    let layer = HealthLayer::new(Health::builder().build()).allow(access);
    drop(layer.layer(inner).call(request));
    printed.recv().expect("the probe was called")
}

#[cfg(all(feature = "postgres", feature = "redis"))]
#[tokio::test]
async fn nothing_that_is_printed_of_a_pool_holds_its_password() {
    use bb8_postgres::{PostgresConnectionManager, tokio_postgres::NoTls};
    use bb8_redis::RedisConnectionManager;
    use tower_health::checks;

    let config = "host=localhost user=app password=hunter2";
    let postgres = PostgresConnectionManager::new_from_stringlike(config, NoTls).expect("valid");
    let postgres = ConnectTimeoutManager::new(postgres);
    let redis = RedisConnectionManager::new("redis://:hunter2@localhost").expect("valid");
    let postgres_pool = bb8::Pool::builder().build_unchecked(postgres.clone());
    let redis_pool = bb8::Pool::builder().build_unchecked(redis.clone());
    for printed in [
        format!("{postgres:#?}"),
        format!("{:#?}", ConnectTimeoutManager::new(redis)),
        format!(
            "{:#?}",
            checks::postgres(postgres_pool.clone()).query("SELECT 'hunter2'")
        ),
        format!("{:#?}", checks::redis(redis_pool.clone())),
        format!(
            "{:#?}",
            checks::pool(redis_pool, |_| Box::pin(async { Ok(()) }))
        ),
        format!(
            "{:#?}",
            Dependency::new("database", checks::postgres(postgres_pool))
        ),
    ] {
        assert!(!printed.contains("hunter2"), "{printed}");
        assert!(!printed.is_empty());
    }
}
