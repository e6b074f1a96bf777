//! `examples/readme.rs`, the quick start of the README, as a process that gets SIGTERM.

use std::net::SocketAddr;

use crate::{
    helpers::wire,
    support::{MAXIMUM_WAIT, Postgres, Program, wait_until},
};
use nix::sys::signal::Signal;

async fn start(database: &str) -> (Program, SocketAddr) {
    let variables = [("ADDR", "127.0.0.1:0"), ("DATABASE_URL", database)];
    let mut program = Program::example("readme", &variables);
    let line = program.says("/readyz").await;
    let address = line
        .strip_prefix("http://")
        .and_then(|line| line.strip_suffix("/readyz"));
    let address = address.expect("an address").parse().expect("an address");
    (program, address)
}

async fn becomes(address: SocketAddr, path: &str, code: u16) {
    wait_until(&format!("{path} is {code}"), MAXIMUM_WAIT, async || {
        wire::get(address, path).await.code == code
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_fails_readiness_while_an_open_request_finishes() {
    let postgres = Postgres::start().await;
    let (mut program, address) = start(&postgres.url()).await;
    becomes(address, "/readyz", 200).await;
    let details = wire::get(address, "/health").await.body;
    assert!(details.contains(r#""kind":"postgres""#), "{details}");

    let mut open = wire::Wire::connect(address).await;
    open.send("GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await;
    let client = postgres.client().await;
    wait_until("the request is in the database", MAXIMUM_WAIT, async || {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(2)'";
        let row = client.query_one(query, &[]).await.expect("a count");
        row.get::<_, i64>(0) == 1
    })
    .await;
    program.signal(Signal::SIGTERM);
    becomes(address, "/readyz", 503).await;
    assert_eq!(wire::get(address, "/livez").await.code, 200);
    assert!(program.end().is_none(), "it ended before the open request");
    let response = open.answer().await;
    assert_eq!((response.code, &*response.body), (200, "hello\n"));
    assert!(program.ends().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_it_serves_and_is_not_ready() {
    let mut postgres = Postgres::start().await;
    let url = postgres.url();
    postgres.kill();
    let (mut program, address) = start(&url).await;
    assert_eq!(wire::get(address, "/livez").await.code, 200);
    for path in ["/startupz", "/readyz"] {
        assert_eq!(wire::get(address, path).await.code, 503, "{path}");
    }
    postgres.restart().await;
    for path in ["/startupz", "/readyz"] {
        becomes(address, path, 200).await;
    }
    program.signal(Signal::SIGINT);
    assert!(program.ends().await.success());
}
