//! The servers that are compared: the same loop around hyper for each, and tonic's own.

use std::{
    convert::Infallible,
    fs,
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService as Hyper};
use tokio::{net::TcpListener, runtime};
use tonic::{server::NamedService, transport::server::TcpIncoming};
use tonic_health::server::health_reporter;
use tower_health::HealthLayer;
use tower_layer::Layer;

use super::{
    short_timeout::mutex_cached,
    support::{
        Bare,
        contestants::{FOREIGN, PROBE, axum_handler, axum_health, constant, settled_health},
    },
};

pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) is_ours: bool,
    pub(super) address: SocketAddr,
    /// The request to it; `None` for gRPC.
    pub(super) request: Option<&'static [u8]>,
    /// That of its threads.
    thread_name: String,
}

impl Server {
    /// What its threads have had of the processors.
    pub(super) fn cpu(&self) -> Duration {
        let tasks = fs::read_dir("/proc/self/task").expect("Linux");
        let nanoseconds = tasks.flatten().filter_map(|task| {
            let name = fs::read_to_string(task.path().join("comm")).ok()?;
            let spent = fs::read_to_string(task.path().join("schedstat")).ok()?;
            let spent: u64 = spent.split(' ').next()?.parse().ok()?;
            (name.trim_end() == self.thread_name).then_some(spent)
        });
        Duration::from_nanos(nanoseconds.sum())
    }
}

/// Starts each server on as many separate threads. The others are compared with the first.
pub(super) fn all(threads: usize) -> Vec<Server> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let health = runtime.block_on(settled_health(true));
    let layer = HealthLayer::new(health.clone());
    let start = |name, request| Start {
        name,
        is_ours: false,
        threads,
        request: Some(request),
    };
    let ours = |name, request| Start {
        is_ours: true,
        ..start(name, request)
    };
    vec![
        start("hyper, a constant by hand", PROBE).http1(service_fn(constant::<2>)),
        start("a tower service by itself", FOREIGN).http1(Hyper::new(Bare)),
        ours("it in our layer", FOREIGN).http1(Hyper::new(layer.layer(Bare))),
        ours("our cached probe", PROBE).http1(Hyper::new(layer.layer(Bare))),
        ours("our cached probe, hyper's service", PROBE).http1(layer.layer(Hyper::new(Bare))),
        start("axum, a static handler", PROBE).http1(Hyper::new(axum_handler())),
        start("axum, cached in a `Mutex`", PROBE).http1(Hyper::new(mutex_cached(
            Duration::from_secs(3_600),
            Duration::ZERO,
        ))),
        start("`axum-health`, one indicator", PROBE).http1(Hyper::new(axum_health())),
        ours("our gRPC service, `Check`", PROBE).tonic(health.grpc_service()),
        start("`tonic-health`, `Check`", PROBE).tonic(health_reporter().1),
    ]
}

struct Start {
    name: &'static str,
    is_ours: bool,
    threads: usize,
    request: Option<&'static [u8]>,
}

impl Start {
    fn http1<S, B>(self, service: S) -> Server
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.run(|listener| async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let served =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
                tokio::spawn(async move {
                    let _ = served.await;
                });
            }
        })
    }

    fn tonic<S>(mut self, service: S) -> Server
    where
        S: tower_service::Service<
                Request<tonic::body::Body>,
                Response = Response<tonic::body::Body>,
                Error = Infallible,
                Future: Send,
            > + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
    {
        self.request = None;
        self.run(|listener| async move {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let mut server = tonic::transport::Server::builder();
            let served = server.add_service(service).serve_with_incoming(incoming);
            let _ = served.await;
        })
    }

    /// Until the bench ends.
    fn run<F: Future<Output = ()>>(
        self,
        serve: impl FnOnce(TcpListener) -> F + Send + 'static,
    ) -> Server {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("bound");
        // The kernel keeps 15 letters.
        let thread_name = format!("bench-{}", address.port());
        let mut runtime = if self.threads == 1 {
            runtime::Builder::new_current_thread()
        } else {
            runtime::Builder::new_multi_thread()
        };
        if self.threads > 1 {
            runtime.worker_threads(self.threads);
        }
        let runtime = runtime
            .thread_name(&thread_name)
            .enable_all()
            .build()
            .expect("a runtime");
        thread::Builder::new()
            .name(thread_name.clone())
            .spawn(move || {
                runtime.block_on(async {
                    serve(TcpListener::from_std(listener).expect("bound")).await;
                });
            })
            .expect("a thread");
        Server {
            name: self.name,
            is_ours: self.is_ours,
            address,
            request: self.request,
            thread_name,
        }
    }
}
