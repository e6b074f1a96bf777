//! `examples/tonic/`: one port for a service, its health and the probes.

use nix::sys::signal::Signal;
use tonic::{Code, Request, transport::Channel};
use tonic_prost::ProstCodec;

use crate::{
    app::App,
    helpers::grpc::{NOT_SERVING, SERVING, channel, check, client, soon, watch},
    support::{Postgres, Redis},
};

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
    let urls = [("DATABASE_URL", database.url()), ("REDIS_URL", cache.url())];
    let mut server = App::start("tonic", &urls.each_ref().map(|(name, url)| (*name, &**url))).await;
    let address = server.address;

    let mut client = client(address).await;
    let app = channel(address).await;
    assert_eq!(place(app.clone(), "tea").await, Ok(1));
    assert_eq!(place(app.clone(), "tea").await, Ok(2));
    assert_eq!(place(app.clone(), "").await, Err(Code::InvalidArgument));
    let mut orders = watch(&mut client, "shop.v1.Orders").await;
    let mut all = watch(&mut client, "").await;
    assert_eq!(orders.next().await, Ok(SERVING));
    assert_eq!(all.next().await, Ok(SERVING));
    assert_eq!(server.get("/readyz").await.0, 200);

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
