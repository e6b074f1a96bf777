//! What the options of `checks::redis` prove.

use bb8_redis::redis::cmd;
use tower_health::{Reason, checks};

use crate::{
    app::{UP, assert_run, command, degraded, down, redis_pool, served, warm},
    support::{Redis, unused_port},
};

#[tokio::test]
async fn what_an_option_requires_is_proven() {
    let server = Redis::start().await;
    let plain = checks::redis(server.pool(1));
    let write = plain.clone().write_and_read_back();
    let primary = plain.clone().primary();
    let replica = plain.clone().replica();
    let memory = plain.clone().max_memory_usage(0.9);
    let jobs = plain.clone().queue_depth("jobs", 2, 4);
    let queues = jobs.clone().queue_depth("mail", 1, 2);
    let replicated = format!("REPLICAOF 127.0.0.1 {}", unused_port());
    let (rejected, read_only) = (down(Reason::Rejected), down(Reason::ReadOnly));
    let (behind, mismatch) = (degraded(Reason::Behind), down(Reason::Mismatch));
    // Each command, and what a check reports after it.
    for (words, check, expected) in [
        ("PING", &write, UP),
        ("PING", &primary, UP),
        ("PING", &replica, mismatch),
        (&replicated, &replica, UP),
        ("PING", &primary, read_only),
        ("PING", &write, read_only),
        ("PING", &plain, UP),
        ("REPLICAOF NO ONE", &write, UP),
        ("CONFIG SET maxmemory 1000", &write, read_only),
        ("PING", &plain, UP),
        ("PING", &memory, degraded(Reason::Exhausted)),
        ("CONFIG SET maxmemory 1gb", &memory, UP),
        ("CONFIG SET maxmemory 0", &memory, UP),
        ("CONFIG SET min-replicas-to-write 1", &write, read_only),
        ("CONFIG SET min-replicas-to-write 0", &write, UP),
        ("ACL SETUSER default -set", &write, rejected),
        ("ACL SETUSER default +set", &write, UP),
        ("RPUSH jobs x", &queues, UP),
        ("RPUSH jobs x", &queues, behind),
        ("RPUSH jobs x", &queues, behind),
        ("RPUSH jobs x", &queues, down(Reason::Behind)),
        ("DEL jobs", &queues, UP),
        ("RPUSH mail x", &queues, behind),
        ("SET jobs text", &queues, mismatch),
    ] {
        command(&server, words).await;
        assert_run(check, expected, words).await;
    }
    command(&server, "DEL jobs mail").await;
    let mut connection = server.connection().await;
    let keys = cmd("DBSIZE").query_async(&mut connection).await;
    assert_eq!(keys, Ok(0), "the writes left nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_ping_is_forbidden_options_are_proven_still() {
    let server = Redis::start().await;
    let pool = redis_pool(server.url(), 3, false);
    warm(&pool, 3).await;
    command(&server, "RPUSH queue 1 2 3").await;
    command(&server, "ACL SETUSER default -ping").await;
    let plain = checks::redis(pool.clone());
    let rejected = degraded(Reason::Rejected);
    let queue = plain.clone().queue_depth("queue", 1, 2);
    assert_run(&queue, down(Reason::Behind), "queue").await;
    let write = plain.clone().write_and_read_back();
    assert_run(&write, rejected, "write").await;
    assert_run(&plain, rejected, "plain").await;
    assert!(served(&pool).await > 0);
}
