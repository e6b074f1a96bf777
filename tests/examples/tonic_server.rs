//! `examples/tonic/`: one port for a service, its health and the probes.

use crate::helpers::wire;
use std::net::SocketAddr;

use crate::helpers::grpc::{NOT_SERVING, SERVING, channel, check, client, soon, watch};
use crate::support::{Postgres, Program, Redis};
use nix::sys::signal::Signal;
use tonic::{Code, Request, transport::Channel};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
struct Order {
    #[prost(string, tag = "1")]
    item: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Receipt {
    #[prost(int64, tag = "1")]
    number: i64,
}

async fn place(channel: Channel, item: &str) -> Result<i64, Code> {
    let mut client = tonic::client::Grpc::new(channel);
    soon(client.ready()).await.expect("ready");
    let path = "/shop.v1.Orders/Place".parse().expect("a path");
    let order = Order {
        item: item.to_owned(),
    };
    let codec = ProstCodec::<Order, Receipt>::default();
    match soon(client.unary(Request::new(order), path, codec)).await {
        Ok(receipt) => Ok(receipt.into_inner().number),
        Err(status) => Err(status.code()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_port_serves_the_app_its_health_and_the_probes() {
    let database = Postgres::start().await;
    let mut cache = Redis::start().await;
    let mut program = Program::example(
        "tonic",
        &[
            ("ADDR", "127.0.0.1:0"),
            ("DATABASE_URL", &database.url()),
            ("REDIS_URL", &cache.url()),
        ],
    );
    let line = program.says("/readyz").await;
    let address = line
        .strip_prefix("http://")
        .and_then(|line| line.split('/').next());
    let address: SocketAddr = address.expect("an address").parse().expect("an address");

    let mut client = client(address).await;
    let app = channel(address).await;
    assert_eq!(place(app.clone(), "tea").await, Ok(1));
    assert_eq!(place(app.clone(), "tea").await, Ok(2));
    assert_eq!(place(app.clone(), "").await, Err(Code::InvalidArgument));
    let mut orders = watch(&mut client, "shop.v1.Orders").await;
    let mut server = watch(&mut client, "").await;
    assert_eq!(orders.next().await, Ok(SERVING));
    assert_eq!(server.next().await, Ok(SERVING));
    assert_eq!(wire::get(address, "/readyz").await.code, 200);

    // The cache is optional, the database is required.
    cache.kill();
    assert_eq!(
        soon(async {
            while check(&mut client, "cache").await != Ok(NOT_SERVING) {}
            check(&mut client, "").await
        })
        .await,
        Ok(SERVING)
    );
    database.freeze();
    assert_eq!(orders.next().await, Ok(NOT_SERVING));
    assert_eq!(server.next().await, Ok(NOT_SERVING));
    assert_eq!(wire::get(address, "/readyz").await.code, 503);
    assert_eq!(wire::get(address, "/livez").await.code, 200);
    database.thaw();
    assert_eq!(orders.next().await, Ok(SERVING));

    // Open streams do not delay the exit.
    program.signal(Signal::SIGTERM);
    assert_eq!(orders.next().await, Ok(NOT_SERVING));
    assert_eq!(orders.next().await, Err(Code::Unavailable));
    assert!(program.ends().await.success());
    program.says("stopped").await;
}
