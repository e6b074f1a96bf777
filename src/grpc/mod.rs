//! `grpc.health.v1`: `Check`, `Watch` and `List` from the same results as the HTTP probes.
//!
//! [`Health::grpc_service`](crate::Health::grpc_service) is a tonic service. A name is `SERVING` while its status is
//! up or degraded. The app sets no status itself.
//!
//! ```
//! use tower_health::{Access, Dependency, Health, Outcome, Probe};
//!
//! let health = Health::builder()
//!     .add(Dependency::new("database", async || Ok(Outcome::up())).group("orders"))
//!     // `NOT_SERVING` if what this service needs is down.
//!     .map_grpc_service("shop.v1.Orders", Probe::group("orders"))
//!     .build();
//! let server = tonic::transport::Server::builder()
//!     .add_service(health.grpc_service().details(Access::loopback()));
//! # drop(server);
//! ```
//!
//! # Names
//!
//! For every caller:
//!
//! 1. Names that the app [maps](crate::HealthBuilder::map_grpc_service).
//! 2. `""` is readiness.
//! 3. `liveness`, `readiness` and `startup`, for probers that can only send a name. `List` leaves them out.
//!
//! For callers with [details](GrpcService::details) only. For other callers these names are unknown, whether they
//! exist or not:
//!
//! 4. Groups, declared or with a member.
//! 5. Dependencies.
//!
//! Up and degraded are `SERVING`, down and unknown `NOT_SERVING`. An optional dependency that is down
//! changes no name but its own. While the app [drains](crate::Health::drain) or is in
//! [maintenance](crate::Health::enter_maintenance), every name but liveness and startup is `NOT_SERVING`.
//!
//! # Calls
//!
//! 1. A call over HTTP/1.x is answered with HTTP 505 and `UNIMPLEMENTED`, before a stream opens. This
//!    includes calls that a gRPC-Web layer translates from HTTP/1.1. A request built by hand, as in a test,
//!    needs `Version::HTTP_2`; tonic's client sets it.
//! 2. A caller without access ([`allow`](GrpcService::allow)) gets `PERMISSION_DENIED`.
//! 3. tonic reads the request: a compressed message is `UNIMPLEMENTED`, a message over 1,024 bytes
//!    `OUT_OF_RANGE`, a malformed one `INTERNAL`. A service name over 200 bytes is `INVALID_ARGUMENT`.
//! 4. `Check` waits for the runs that are due, at most [`answer_within`](crate::HealthBuilder::answer_within).
//!    After that the last result counts. Without a result it is `NOT_SERVING`. An unknown name is `NOT_FOUND`.
//! 5. `Watch` sends the status at once (it waits up to 50 ms for a first result) and then each change. It never
//!    sends the same status twice. A slow reader gets the newest status. An unknown name is `SERVICE_UNKNOWN`, and
//!    the stream stays open, because the name may become known.
//! 6. `List` answers every name that the caller may know. More than 100 names are `RESOURCE_EXHAUSTED`.
//!
//! # What a watch costs
//!
//! One task per [`Health`](crate::Health) while a watch is open: it runs the checks at their period and wakes
//! each watch once per change. It ends with the last watch.
//!
//! At most 10,000 watches are open at a time. If the peer address is known, so are at most 100 [per
//! connection](crate::HealthBuilder::max_watches_per_connection) and 1,000 [per IP
//! address](crate::HealthBuilder::max_watches_per_ip). A tenth of each limit may be watches of unknown names. A watch
//! over a limit gets `RESOURCE_EXHAUSTED`.
//!
//! # Shutting down
//!
//! A server that stops gracefully waits for open streams, and clients keep theirs open. Therefore drain the
//! [`Health`](crate::Health) first. With [`drain(delay)`](crate::Health::drain) watches send `NOT_SERVING` at once,
//! and end with `UNAVAILABLE` after `delay`. With [`set_draining(true)`](crate::Health::set_draining) they end after
//! 1 s. Without a drain they stay open, as those of tonic-health do: a tower service cannot see that its
//! server stops.
//!
//! ```no_run
//! # async fn serve(health: tower_health::Health) -> Result<(), tonic::transport::Error> {
//! # let (address, signal) = (([127, 0, 0, 1], 50051).into(), async {});
//! tonic::transport::Server::builder()
//!     .add_service(health.grpc_service())
//!     .serve_with_shutdown(address, async move {
//!         signal.await;
//!         health.drain(std::time::Duration::from_secs(5)).await;
//!     })
//!     .await
//! # }
//! ```
//!
//! Trap: if a target has several addresses, the authority that grpcio sends contains all of them, and hyper rejects
//! the request. Set `grpc.default_authority` on the channel.
//!
//! # Migrating from tonic-health
//!
//! ```text
//! - let (reporter, service) = tonic_health::server::health_reporter();
//! + let health = Health::builder().check("database", checks::postgres(pool)).build();
//! - reporter.set_serving::<OrdersServer<Orders>>().await;
//! + .map_grpc_service("shop.v1.Orders", Probe::group("orders"))   // on the builder; nothing to call later
//! - tokio::spawn(async move { loop { ping(&pool).await; reporter.set_service_status(..).await } });
//! +                                                      // gone: calls and watches run the checks
//! - Server::builder().add_service(service)
//! + Server::builder().add_service(health.grpc_service())
//! - reporter.set_not_serving::<OrdersServer<Orders>>().await;
//! + health.drain(Duration::from_secs(5)).await;          // in the future given to serve_with_shutdown
//! - .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
//! + .register_encoded_file_descriptor_set(tower_health::grpc::FILE_DESCRIPTOR_SET)
//! ```
//!
//! | | tonic-health | here |
//! |---|---|---|
//! | a status is | what was set last | the result of the checks |
//! | at the start `""` is | `SERVING` | `NOT_SERVING` until all required dependencies were up or degraded once |
//! | `Watch` of an unknown name | ends with `NOT_FOUND` | sends `SERVICE_UNKNOWN` and stays open |
//! | a name is removed | its streams end with `OK` | they send `SERVICE_UNKNOWN` |
//! | a status that is set again | is sent again | is not sent again |
//! | `List` | `UNIMPLEMENTED` | answered |
//! | a name of 1 MB | looked up | `OUT_OF_RANGE` |
//! | open watches at a graceful shutdown | delay it | end with the drain |

// A file imports those above it only.
mod protocol;

#[rustfmt::skip]
#[allow(clippy::all, missing_docs, missing_debug_implementations)] // Not edited by hand.
#[allow(unnameable_types, unreachable_pub, dead_code)]
mod generated;
mod service;

pub(crate) use self::protocol::is_call;
pub use self::service::GrpcService;

/// `grpc/health/v1/health.proto` as an encoded `FileDescriptorSet`, for a reflection service.
///
/// That of tonic-health does not contain `List`.
///
/// ```
/// let reflection = tonic_reflection::server::Builder::configure()
///     .register_encoded_file_descriptor_set(tower_health::grpc::FILE_DESCRIPTOR_SET)
///     .build_v1()
///     .expect("well-formed");
/// # drop(reflection);
/// ```
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("proto/health.bin");
