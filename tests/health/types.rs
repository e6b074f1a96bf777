//! What the compiler guarantees about the public types, and what their `Debug` never shows.

use std::{cell::Cell, error::Error, fmt::Debug, future::Ready};

use bytes::Bytes;
use http_body_util::{Full, combinators::UnsyncBoxBody};
use tower::Layer;
use tower_health::{
    access::*,
    checks::*,
    health::*,
    render::*,
    report::*,
    service::{mode::KeepBody, *},
    *,
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
    // Only the inner service's future and body decide. `Cell` is not `Sync`.
    each!(send: ResponseFuture<Cell<()>>, HealthService<Cell<()>>);
    each!(send: ResponseBody<UnsyncBoxBody<Bytes, std::io::Error>>);
    #[cfg(feature = "grpc")]
    {
        each!(cloned: grpc::GrpcService, HealthLayer<mode::Grpc>);
        each!(send: ResponseBody<Full<Bytes>, mode::Grpc>);
        each!(unpinned: ResponseBody<Full<Bytes>, mode::Grpc>);
    }
}

const SECRET: &str = "hunter2";

fn assert_no_secret(value: &impl Debug) {
    let printed = format!("{value:#?}");
    assert!(
        !printed.contains(SECRET) && !printed.is_empty(),
        "{printed}"
    );
}

#[test]
fn debug_output_has_no_secret() {
    let secret = SECRET.to_owned();
    let check = move || std::future::ready(Ok(Outcome::up().message(secret.clone())));
    assert_no_secret(&Failure::new(Reason::Auth).caused_by(SECRET));
    let access = Access::bearer([SECRET]);
    let dependency = Dependency::new("database", check);
    assert_no_secret(&(access.clone(), dependency.clone()));
    let builder = Health::builder().add(dependency);
    assert_no_secret(&builder);
    let health = builder.build();
    let layer = HealthLayer::new(health.clone())
        .allow(access.clone())
        .details(access);
    assert_no_secret(&(health, layer.clone().keep_body_type(), layer.layer(())));
}

#[cfg(all(feature = "postgres", feature = "redis"))]
#[tokio::test]
async fn pool_checks_cross_threads_and_their_debug_has_no_password() {
    use bb8_postgres::{PostgresConnectionManager, tokio_postgres::NoTls};
    use bb8_redis::RedisConnectionManager;

    type Manager = PostgresConnectionManager<NoTls>;

    each!(cloned: PostgresCheck<Manager>, RedisCheck, ConnectTimeoutManager<Manager>);
    each!(shared: PostgresCheck<ConnectTimeoutManager<Manager>>);
    each!(shared: PoolCheck<RedisConnectionManager>, PingError);
    each!(error: ConnectTimeoutError<std::fmt::Error>);
    each!(plain: CheckoutTest, PoolCounters);
    each!(send: PingFuture<'static, std::io::Error>);
    each!(unpinned: PingFuture<'static, std::io::Error>);

    let config = format!("host=localhost user=app password={SECRET}");
    let postgres = PostgresConnectionManager::new_from_stringlike(config, NoTls).expect("valid");
    let postgres = ConnectTimeoutManager::new(postgres);
    let redis = RedisConnectionManager::new(format!("redis://:{SECRET}@localhost"));
    let redis = redis.expect("valid");
    let postgres_pool = bb8::Pool::builder().build_unchecked(postgres.clone());
    let redis_pool = bb8::Pool::builder().build_unchecked(redis.clone());
    let pool = checks::pool(redis_pool.clone(), |_| Box::pin(async { Ok(()) }));
    let check = checks::postgres(postgres_pool).query(format!("SELECT '{SECRET}'"));
    assert_no_secret(&(postgres, ConnectTimeoutManager::new(redis)));
    assert_no_secret(&(checks::redis(redis_pool), pool));
    assert_no_secret(&check);
    assert_no_secret(&Dependency::new("database", check));
}
