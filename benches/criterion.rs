//! Times in process: what a request costs alone and in our layer.
//!
//! `cargo bench --bench criterion`
#![allow(missing_docs)]

mod support;

use std::{convert::Infallible, time::Duration};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::{Request, Response};
use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService as Hyper;
use support::{
    Bare,
    contestants::{FOREIGN, PROBE, axum_handler, axum_health, constant, router, settled},
    drive, layer, request,
    wire::Connection,
};
use tower_health::{Access, HealthLayer};
use tower_layer::Layer;
use tower_service::Service;

fn settled_layer() -> HealthLayer {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
        .block_on(settled(true))
}

/// `service` alone, as hyper drives it.
fn in_process<S, B>(criterion: &mut Criterion, name: &str, mut service: S, path: &str)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
{
    let mut slot = Box::pin(None);
    criterion
        .benchmark_group("in process")
        .throughput(Throughput::Elements(1))
        .bench_function(name, |bencher| {
            bencher.iter_batched(
                || request(path),
                |request| drive(&mut service, request, &mut slot),
                BatchSize::SmallInput,
            );
        });
}

fn services(criterion: &mut Criterion) {
    const FOREIGN: &str = "/api/v1/users/42";
    let open = settled_layer().details(Access::everybody());
    in_process(criterion, "bare service", Bare, FOREIGN);
    in_process(criterion, "pass-through", layer().layer(Bare), FOREIGN);
    let keep_body_type = layer().keep_body_type().layer(Bare);
    in_process(
        criterion,
        "pass-through, same body",
        keep_body_type,
        FOREIGN,
    );
    let looked_up = layer().layer(Bare);
    in_process(
        criterion,
        "pass-through, a probe's length",
        looked_up,
        "/readyx",
    );
    let probe = settled_layer().layer(Bare);
    in_process(criterion, "cached probe", probe, "/readyz");
    in_process(
        criterion,
        "cached probe, details",
        open.layer(Bare),
        "/readyz",
    );
}

/// A whole hyper connection, without a socket.
fn connection(criterion: &mut Criterion, name: &str, mut connection: Connection) {
    criterion
        .benchmark_group("connection")
        .throughput(Throughput::Elements(1))
        .bench_function(name, |bencher| bencher.iter(|| connection.serve_one()));
}

fn connections(criterion: &mut Criterion) {
    let layer = settled_layer();
    let rows = [
        ("bare service", Connection::new(Hyper::new(Bare), FOREIGN)),
        (
            "pass-through",
            Connection::new(Hyper::new(layer.layer(Bare)), FOREIGN),
        ),
        (
            "axum router",
            Connection::new(Hyper::new(router()), FOREIGN),
        ),
        (
            "axum router, pass-through",
            Connection::new(Hyper::new(layer.layer(router())), FOREIGN),
        ),
        (
            "constant by hand",
            Connection::new(service_fn(constant::<2>), PROBE),
        ),
        (
            "cached probe",
            Connection::new(Hyper::new(layer.layer(Bare)), PROBE),
        ),
        (
            "axum handler",
            Connection::new(Hyper::new(axum_handler()), PROBE),
        ),
        (
            "axum-health",
            Connection::new(Hyper::new(axum_health()), PROBE),
        ),
    ];
    for (name, row) in rows {
        connection(criterion, name, row);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = services, connections
}
criterion_main!(benches);
