//! `examples/tonic/`: one port for a service, its health and the probes.

use nix::sys::signal::Signal;
use tonic::{Code, Request, transport::Channel};
use tonic_prost::ProstCodec;

use crate::{
    app::App,
    helpers::grpc::{NOT_SERVING, SERVING, becomes, channel, check, client, soon, watch},
    support::{Postgres, Redis},
};

/// Places an order of `item`, and returns the number in the receipt. Each message has one field, as a
/// `StringValue` and an `Int64Value` have.
async fn place(channel: &Channel, item: &str) -> Result<i64, Code> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    soon(client.ready()).await.expect("ready");
    let path = "/shop.v1.Orders/Place".parse().expect("a path");
    let order = Request::new(item.to_owned());
    let codec = ProstCodec::<String, i64>::default();
    let receipt = soon(client.unary(order, path, codec)).await;
    let number = receipt.map(|receipt| receipt.into_inner());
    number.map_err(|status| status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_port_serves_the_app_its_health_and_the_probes() {
    let database = Postgres::start().await;
    let mut cache = Redis::start().await;
    let (database_url, cache_url) = (database.url(), cache.url());
    let urls = [("DATABASE_URL", &*database_url), ("REDIS_URL", &cache_url)];
    let mut server = App::start("tonic", &urls).await;

    let mut client = client(server.address).await;
    let app = channel(server.address).await;
    for (item, expected) in [
        ("tea", Ok(1)),
        ("tea", Ok(2)),
        ("", Err(Code::InvalidArgument)),
    ] {
        assert_eq!(place(&app, item).await, expected, "{item:?}");
    }
    let mut orders = watch(&mut client, "shop.v1.Orders").await;
    let mut all = watch(&mut client, "").await;
    assert_eq!(orders.next().await, Ok(SERVING));
    assert_eq!(all.next().await, Ok(SERVING));
    assert_eq!(server.get("/readyz").await.0, 200);

    // The cache is optional, the database is required.
    cache.kill();
    becomes(&mut client, "cache", NOT_SERVING).await;
    assert_eq!(check(&mut client, "").await, Ok(SERVING));
    database.freeze();
    assert_eq!(orders.next().await, Ok(NOT_SERVING));
    assert_eq!(all.next().await, Ok(NOT_SERVING));
    assert_eq!(server.get("/readyz").await.0, 503);
    assert_eq!(server.get("/livez").await.0, 200);
    database.thaw();
    assert_eq!(orders.next().await, Ok(SERVING));

    // Open streams do not delay the exit.
    server.program.signal(Signal::SIGTERM);
    assert_eq!(orders.next().await, Ok(NOT_SERVING));
    assert_eq!(orders.next().await, Err(Code::Unavailable));
    assert!(server.program.ends().await.success());
    server.program.says("stopped").await;
}
