//! `examples/readme.rs`, the quick start of the README, as a process that gets SIGTERM.

use nix::sys::signal::Signal;

use crate::{
    app::App,
    helpers::wire::Wire,
    support::{MAXIMUM_WAIT, Postgres, wait_until},
};

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_fails_readiness_while_an_open_request_finishes() {
    let mut postgres = Postgres::start().await;
    let url = postgres.url();
    postgres.kill();
    let mut app = App::start("readme", &[("DATABASE_URL", &url)]).await;
    for (path, code) in [("/livez", 200), ("/startupz", 503), ("/readyz", 503)] {
        assert_eq!(app.get(path).await.0, code, "{path}");
    }
    postgres.restart().await;
    app.becomes("/startupz", 200).await;
    app.becomes("/readyz", 200).await;
    let (_, details) = app.json("/health").await;
    assert_eq!(details["checks"]["database"]["kind"], "postgres");

    let mut open = Wire::connect(app.address).await;
    open.send("GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await;
    let client = postgres.client().await;
    wait_until("the request is in the database", MAXIMUM_WAIT, async || {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(2)'";
        let row = client.query_one(query, &[]).await.expect("a count");
        row.get::<_, i64>(0) == 1
    })
    .await;
    app.program.signal(Signal::SIGTERM);
    app.becomes("/readyz", 503).await;
    assert_eq!(app.get("/livez").await.0, 200);
    assert!(app.program.end().is_none(), "it ended too early");
    let response = open.answer().await;
    assert_eq!((response.code, &*response.body), (200, "hello\n"));
    assert!(app.program.ends().await.success());
}
