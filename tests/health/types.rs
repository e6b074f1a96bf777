//! What the compiler guarantees about the public types, and what their `Debug` never shows.

use std::{convert::Infallible, error::Error, fmt::Debug, future::Ready};

use axum::body::Body as AxumBody;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{Either, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use tonic::body::Body as TonicBody;
use tower::{Layer, Service, service_fn, util::BoxService};
use tower_health::{
    Access, CheckResult, Dependency, Failure, Format, Health, HealthBuilder, HealthLayer,
    InvalidDependencyName, Outcome, PeerAddr, Probe, Reason, Status,
    access::{Detail, InvalidNetwork, RequestHead},
    checks::{Blocking, Heartbeat, RuntimeLag, Switch},
    health::{
        AddError, AddErrorKind, ConfigWarning, ConfigWarningKind, NotReady, Transition, Transitions,
    },
    render::View,
    report::{CheckRun, ObservedValue, PoolStats, Report, ReportEntry},
    service::{
        AnnounceDrainLayer, AnnounceDrainService, BusyService, HealthService, ProbeMark,
        ResponseBody, ResponseFuture, mode::KeepBody,
    },
};

fn shared<T: Send + Sync + Debug>() {}
fn cloned<T: Clone + Send + Sync + Debug>() {}
fn plain<T: Copy + Eq + Send + Sync + Debug>() {}
fn error<T: Error + Clone + Send + Sync + 'static>() {}
fn unpinned<T: Unpin>() {}
fn send<T: Send>() {}

macro_rules! each {
    ($assert:ident: $($type:ty),+ $(,)?) => {$( $assert::<$type>(); )+};
}

#[test]
fn public_types_cross_threads_and_clone() {
    each!(cloned: Health, HealthLayer, HealthLayer<KeepBody>, HealthService<()>);
    each!(cloned: HealthService<(), KeepBody>, BusyService<()>, AnnounceDrainLayer);
    each!(cloned: AnnounceDrainService<()>, Access, Dependency, Format, Outcome, Probe);
    each!(cloned: Report, ReportEntry, ObservedValue, Transition, Transitions, ConfigWarning);
    each!(cloned: Heartbeat, RuntimeLag, Blocking, Switch, View<'static>, RequestHead<'static>);
    each!(plain: AddErrorKind, ConfigWarningKind, Detail, PeerAddr, PoolStats, ProbeMark);
    each!(plain: CheckRun, Reason, Status);
    each!(error: AddError, InvalidDependencyName, InvalidNetwork, NotReady);
    each!(shared: HealthBuilder, Failure, CheckResult, ResponseBody<Full<Bytes>>);
    each!(unpinned: ResponseBody<Full<Bytes>>, ResponseFuture<Ready<()>>);
    each!(unpinned: ResponseFuture<Ready<()>, KeepBody>);
}

#[cfg(all(feature = "postgres", feature = "redis"))]
#[test]
fn checks_of_pools_cross_threads() {
    use bb8_postgres::{PostgresConnectionManager, tokio_postgres::NoTls};
    use bb8_redis::RedisConnectionManager;
    use tower_health::checks::{
        CheckoutTest, ConnectTimeoutError, ConnectTimeoutManager, ConnectionPool,
        ConnectionPoolCheck, PingError, PingFuture, PoolCheck, PoolCounters, PostgresCheck,
        RedisCheck,
    };

    type Manager = PostgresConnectionManager<NoTls>;

    /// The least that an app implements.
    struct NoPool;

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

    each!(cloned: PostgresCheck<Manager>, RedisCheck, ConnectTimeoutManager<Manager>);
    each!(shared: PostgresCheck<ConnectTimeoutManager<Manager>>);
    each!(shared: PoolCheck<RedisConnectionManager>);
    each!(error: ConnectTimeoutError<std::fmt::Error>);
    each!(plain: CheckoutTest, PoolCounters);
    each!(shared: PingError);
    each!(cloned: ConnectionPoolCheck<NoPool>);
    each!(send: PingFuture<'static, std::io::Error>);
    each!(unpinned: PingFuture<'static, std::io::Error>);
}

#[cfg(feature = "grpc")]
#[test]
fn the_grpc_service_crosses_threads() {
    use tower_health::{grpc::GrpcService, service::mode::Grpc};

    each!(cloned: GrpcService, HealthLayer<Grpc>);
    each!(send: ResponseBody<Full<Bytes>, Grpc>);
    each!(unpinned: ResponseBody<Full<Bytes>, Grpc>);
}

/// Only the inner service's future and body decide. `Cell` is not `Sync`.
#[test]
fn futures_and_bodies_are_send_where_the_inner_ones_are() {
    each!(send: ResponseFuture<std::cell::Cell<()>>, HealthService<std::cell::Cell<()>>);
    each!(send: ResponseFuture<Ready<()>, KeepBody>);
    each!(send: ResponseBody<UnsyncBoxBody<Bytes, std::io::Error>>);
}

type Inner<A, B, E> = BoxService<Request<A>, Response<B>, E>;

fn layer() -> HealthLayer {
    HealthLayer::new(Health::builder().build())
}

/// Any request body `A`, and any response body `B` whose data can be made of `Bytes`.
fn wraps<A, B: Body<Data: From<Bytes>>>() {
    #[derive(Debug)]
    struct InnerError;

    fn is_service<S, A, B, E>(_: &S)
    where
        S: Service<Request<A>, Response = Response<ResponseBody<B>>, Error = E>,
        ResponseBody<B>: Body<Data = B::Data, Error = B::Error>,
        B: Body,
    {
    }
    let _ =
        |inner: Inner<A, B, InnerError>| is_service::<_, A, B, InnerError>(&layer().layer(inner));
}

#[test]
fn every_usual_body_is_wrapped() {
    wraps::<AxumBody, AxumBody>();
    wraps::<TonicBody, TonicBody>();
    wraps::<Incoming, Full<Bytes>>();
    wraps::<Incoming, UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>>();
    wraps::<Incoming, Either<Full<Bytes>, AxumBody>>();
    wraps::<Incoming, String>();
    wraps::<Incoming, ResponseBody<Full<Bytes>>>();
    wraps::<std::rc::Rc<str>, AxumBody>();
}

#[test]
fn keep_body_type_keeps_every_body_made_of_bytes() {
    fn keeps<B: From<Bytes>>() {
        fn is_service<S: Service<Request<()>, Response = Response<B>>, B>(_: &S) {}
        let _ = |inner: Inner<(), B, std::io::Error>| {
            is_service::<_, B>(&layer().keep_body_type().layer(inner));
        };
    }
    each!(keeps: AxumBody, Full<Bytes>, Bytes);
}

#[test]
fn a_request_body_may_be_borrowed() {
    fn borrowed<'a>(body: &'a str) {
        let inner = |_: Request<&'a str>| async {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        };
        let mut plain = layer().layer(service_fn(inner));
        let mut kept = layer().keep_body_type().layer(service_fn(inner));
        drop((
            plain.call(Request::new(body)),
            kept.call(Request::new(body)),
        ));
    }
    borrowed(&String::from("a body"));
}

const SECRET: &str = "hunter2";

#[test]
fn debug_output_has_no_secret() {
    let check = || {
        let secret = SECRET.to_owned();
        move || {
            drop(secret.clone());
            std::future::ready(Err(Failure::new(Reason::Auth)))
        }
    };
    let access = Access::bearer([SECRET]).or(Access::predicate(|_| SECRET.is_empty()));
    let builder = Health::builder().check("database", check());
    let printed_builder = format!("{builder:#?}");
    let health = builder.build();
    let layer = HealthLayer::new(health.clone())
        .allow(access.clone())
        .details(access.clone());
    for printed in [
        format!("{access:#?}"),
        format!("{:#?}", Dependency::new("database", check())),
        printed_builder,
        format!("{health:#?}"),
        format!("{layer:#?}"),
        format!("{:#?}", layer.layer(())),
        format!("{:#?}", layer.clone().keep_body_type()),
        request_head(),
        format!("{:?}", Failure::new(Reason::Auth).caused_by(SECRET)),
    ] {
        assert!(!printed.contains(SECRET), "{printed}");
        assert!(!printed.is_empty());
    }
}

/// A printed head with the secret in its query and headers.
fn request_head() -> String {
    let (prints, printed) = std::sync::mpsc::channel();
    let access = Access::predicate(move |head| prints.send(format!("{head:#?}")).is_ok());
    let inner = service_fn(async |_| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())));
    let request = Request::get(format!("/livez?token={SECRET}"))
        .header("authorization", format!("Bearer {SECRET}"))
        .header("cookie", SECRET)
        .body(())
        .expect("valid");
    drop(layer().allow(access).layer(inner).call(request));
    printed.recv().expect("the probe was called")
}

#[cfg(all(feature = "postgres", feature = "redis"))]
#[tokio::test]
async fn debug_output_of_a_pool_check_has_no_password() {
    use bb8_postgres::{PostgresConnectionManager, tokio_postgres::NoTls};
    use bb8_redis::RedisConnectionManager;
    use tower_health::checks::{self, ConnectTimeoutManager};

    let config = format!("host=localhost user=app password={SECRET}");
    let postgres = PostgresConnectionManager::new_from_stringlike(config, NoTls).expect("valid");
    let postgres = ConnectTimeoutManager::new(postgres);
    let redis = RedisConnectionManager::new(format!("redis://:{SECRET}@localhost"));
    let redis = redis.expect("valid");
    let postgres_pool = bb8::Pool::builder().build_unchecked(postgres.clone());
    let redis_pool = bb8::Pool::builder().build_unchecked(redis.clone());
    let check = || checks::postgres(postgres_pool.clone());
    let pool = checks::pool(redis_pool.clone(), |_| Box::pin(async { Ok(()) }));
    for printed in [
        format!("{postgres:#?}"),
        format!("{:#?}", ConnectTimeoutManager::new(redis)),
        format!("{:#?}", check().query(format!("SELECT '{SECRET}'"))),
        format!("{:#?}", checks::redis(redis_pool)),
        format!("{pool:#?}"),
        format!("{:#?}", Dependency::new("database", check())),
    ] {
        assert!(!printed.contains(SECRET), "{printed}");
        assert!(!printed.is_empty());
    }
}
