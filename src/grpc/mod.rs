//! `grpc.health.v1`: `Check`, `Watch` and `List` from the same verdicts as the HTTP probes.
//!
//! With [`HealthLayer::grpc`](crate::HealthLayer::grpc) a layer answers calls of `/grpc.health.v1.Health/` itself,
//! in front of any HTTP/2 server: tonic's, axum's, hyper's. Nothing is set and nothing is pushed: a
//! name is `SERVING` while what it stands for is.
//!
//! ```
//! use tower_health::{Access, Dependency, Health, HealthLayer, Outcome, Probe};
//!
//! let health = Health::builder()
//!     .add(Dependency::new("database", async || Ok(Outcome::up())).group("orders"))
//!     // `NOT_SERVING` when what this service needs is down.
//!     .map_grpc_service("shop.v1.Orders", Probe::group("orders"))
//!     .build();
//! let server = tonic::transport::Server::builder()
//!     .layer(HealthLayer::new(health).details(Access::loopback()).grpc());
//! # drop(server);
//! ```
//!
//! # Names
//!
//! 1. `""` is readiness.
//! 2. Names [mapped](crate::HealthBuilder::service) by the app.
//! 3. Groups, declared or with a member.
//! 4. Dependencies, for those allowed [details](crate::HealthLayer::details): to all others their
//!    names are unknown, whether they exist or not.
//! 5. `liveness`, `readiness` and `startup`, for probes that can only give a name. They are not listed.
//!
//! Up and degraded are `SERVING`, down and unknown `NOT_SERVING`; an optional dependency takes nothing
//! down but its own name. While the app [drains](crate::Health::drain) or is [taken
//! out](crate::Health::enter_maintenance), everything but liveness and startup is `NOT_SERVING`.
//!
//! # Calls
//!
//! 1. Who may not probe ([`allow`](crate::HealthLayer::allow)) gets `PERMISSION_DENIED`, or with
//!    [`forward_denied`](crate::HealthLayer::forward_denied) the inner service's answer.
//! 2. What is no call is refused in the head, as the protocol has it: 405 for a method other than
//!    `POST`, 415 for another content-type, `UNIMPLEMENTED` for another method of the service and for a
//!    compressed message, `RESOURCE_EXHAUSTED` for one of more than 64 KiB, `INTERNAL` for one that
//!    cannot be read, `INVALID_ARGUMENT` for a name of more than 200 bytes. A message that does not
//!    come is given up after 5 s, or at the caller's deadline.
//! 3. `Check` waits for the run that is due, if there is one, for
//!    [`answer_within`](crate::HealthBuilder::answer_within) at most, or until a tenth of its
//!    `grpc-timeout` is left (50 ms at most): then the last verdict counts, and without one it is
//!    `DEADLINE_EXCEEDED`. An unknown name is `NOT_FOUND`.
//! 4. `Watch` sends the status at once (a first verdict that is under way is awaited for 50 ms) and then
//!    on change only, never the same twice; who reads slowly gets the newest. An unknown name
//!    is `SERVICE_UNKNOWN`, and the stream stays open: it may become known. It ends with
//!    `DEADLINE_EXCEEDED` at the caller's deadline, if it has one.
//! 5. `List` has all that the caller may know of; more than 100 names are `RESOURCE_EXHAUSTED`.
//!
//! # What watching costs
//!
//! One task for each [`Health`](crate::Health) while anybody watches, whoever and however many: it runs the
//! checks at their period, and each watcher is woken once per change. With the last watcher it
//! ends. 10,000 may watch at a time, at some 150 bytes each beside what the server holds for a stream; one
//! more gets `RESOURCE_EXHAUSTED`.
//!
//! # Shutting down
//!
//! A server that stops gracefully waits for open streams, and clients keep theirs. So tell the
//! [`Health`](crate::Health) first: at [`drain(delay)`](crate::Health::drain) watchers hear `NOT_SERVING`
//! at once, and after `delay` their streams end with `UNAVAILABLE`; after
//! [`set_draining(true)`](crate::Health::set_draining) they end after 1 s. Without either of them
//! nothing tells a stream that its server stops.
//!
//! ```no_run
//! # async fn serve(health: tower_health::Health, app: tower_health::grpc::GrpcService) -> Result<(), tonic::transport::Error> {
//! # let (address, signal) = (([127, 0, 0, 1], 50051).into(), async {});
//! tonic::transport::Server::builder()
//!     .add_service(app)
//!     .serve_with_shutdown(address, async move {
//!         signal.await;
//!         health.drain(std::time::Duration::from_secs(5)).await;
//!     })
//!     .await
//! # }
//! ```
//!
//! Trap: grpcio makes the authority of a target with several addresses out of all of them, and hyper
//! refuses such a request. Set `grpc.default_authority` on the channel.
//!
//! # Coming from tonic-health
//!
//! ```text
//! - let (reporter, service) = tonic_health::server::health_reporter();
//! + let health = Health::builder().check("database", checks::postgres(pool)).build();
//! - reporter.set_serving::<OrdersServer<Orders>>().await;
//! + .map_grpc_service("shop.v1.Orders", Probe::group("orders"))   // on the builder; nothing to call later
//! - tokio::spawn(async move { loop { ping(&pool).await; reporter.set_service_status(..).await } });
//! +                                                      // gone: checks run when somebody asks or watches
//! - Server::builder().add_service(service)
//! + Server::builder().layer(HealthLayer::new(health).grpc())    // or .add_service(health.grpc_service())
//! - reporter.set_not_serving::<OrdersServer<Orders>>().await;
//! + health.drain(Duration::from_secs(5)).await;          // in the future given to serve_with_shutdown
//! - .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
//! + .register_encoded_file_descriptor_set(tower_health::grpc::FILE_DESCRIPTOR_SET)
//! ```
//!
//! | | tonic-health | here |
//! |---|---|---|
//! | a status is | what was set last | what the checks find |
//! | at the start `""` is | `SERVING` | `NOT_SERVING` until everything required was up once |
//! | `Watch` of an unknown name | ends with `NOT_FOUND` | sends `SERVICE_UNKNOWN` and stays open |
//! | a name goes away | its streams end with `OK` | they send `SERVICE_UNKNOWN` |
//! | a status that is set again | is sent again | is not |
//! | `List` | `UNIMPLEMENTED` | answered |
//! | a name of 1 MB | looked up | `INVALID_ARGUMENT` |
//! | open watches at a graceful shutdown | hold it up | end when the drain is over |
//! | `Check`, in process | 8,789 instructions, 14 allocations | 3,926 and 2 |
//!
//! Clients, generated or not, stay as they are. Messages are those that tonic-health generates, `List`'s
//! derived with prost, and decoded by it; a status in an answer is one of three frames kept encoded, since
//! tonic's codec takes two buffers of 8 KiB for each call.

mod asked;
mod body;
mod call;
mod feed;
mod head;
mod kept;
mod memo;
mod message;
mod names;
mod read;
#[cfg(test)]
mod read_properties;
mod service;
mod status;
mod watchers;
mod watching;

use self::body::GrpcBody;
pub use self::service::{GrpcFuture, GrpcService};

const SERVICE: &str = "grpc.health.v1.Health";

/// Below it are the methods.
const PATH: &str = "/grpc.health.v1.Health";

/// Whether `path` is that of a method.
pub(crate) fn is_call(path: &str) -> bool {
    let method = path.strip_prefix(PATH);
    matches!(method, Some("/Check" | "/Watch" | "/List"))
}

/// `grpc/health/v1/health.proto`, encoded as a `FileDescriptorSet`: what reflection serves.
///
/// That of tonic-health ends before `List`.
///
/// ```
/// let reflection = tonic_reflection::server::Builder::configure()
///     .register_encoded_file_descriptor_set(tower_health::grpc::FILE_DESCRIPTOR_SET)
///     .build_v1()
///     .expect("well-formed");
/// # drop(reflection);
/// ```
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("proto/health.bin");
