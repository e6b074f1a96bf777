//! The test servers keep their promises: what other tests build on is proven here.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Postgres, Proxy, Redis, is_alive, unused_port, wait_until};
use bb8_redis::redis::cmd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

/// How long an answer may take.
const SOON: Duration = Duration::from_secs(30);
/// How long no answer must come to call it silence.
const SILENCE: Duration = Duration::from_millis(150);

async fn one(client: &Client) -> Result<i32, tokio_postgres::Error> {
    Ok(client.query_one("SELECT 1", &[]).await?.get(0))
}

#[tokio::test]
async fn servers_start_in_parallel() {
    let (one, two, redis) = tokio::join!(Postgres::start(), Postgres::start(), Redis::start());
    assert_ne!(one.port(), two.port());
    for server in [&one, &two] {
        let row = server.client().await.query_one("SHOW port", &[]).await;
        assert_eq!(row.unwrap().get::<_, String>(0), server.port().to_string());
    }
    let pong: String = cmd("PING")
        .query_async(&mut redis.connection().await)
        .await
        .unwrap();
    assert_eq!(pong, "PONG");
}

#[tokio::test]
async fn a_pool_reaches_its_server() {
    let (postgres, redis) = tokio::join!(Postgres::start(), Redis::start());
    let pool = postgres.pool(2);
    assert_eq!(one(&pool.get().await.unwrap()).await.unwrap(), 1);
    let pool = redis.pool(2);
    let pong: String = cmd("PING")
        .query_async(&mut *pool.get().await.unwrap())
        .await
        .unwrap();
    assert_eq!(pong, "PONG");
}

#[tokio::test]
async fn a_frozen_postgres_is_silent_until_it_thaws() {
    let server = Postgres::start().await;
    let client = server.client().await;
    server.freeze();
    let query = one(&client);
    tokio::pin!(query);
    assert!(timeout(SILENCE, &mut query).await.is_err());
    assert!(
        timeout(SILENCE, server.config().connect(NoTls))
            .await
            .is_err()
    );
    server.thaw();
    assert_eq!(timeout(SOON, query).await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn frozen_backends_hang_while_new_connections_work() {
    let server = Postgres::start().await;
    let client = server.client().await;
    server.freeze_backends();
    assert!(timeout(SILENCE, one(&client)).await.is_err());
    let fresh = timeout(SOON, server.client()).await.unwrap();
    assert_eq!(one(&fresh).await.unwrap(), 1);
    server.thaw();
    assert_eq!(timeout(SOON, one(&client)).await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn a_frozen_postmaster_serves_what_is_connected() {
    let server = Postgres::start().await;
    let client = server.client().await;
    server.freeze_postmaster();
    assert_eq!(timeout(SOON, one(&client)).await.unwrap().unwrap(), 1);
    assert!(
        timeout(SILENCE, server.config().connect(NoTls))
            .await
            .is_err()
    );
    server.thaw();
    timeout(SOON, server.client()).await.unwrap();
}

#[tokio::test]
async fn a_frozen_redis_is_silent_until_it_thaws() {
    let server = Redis::start().await;
    let mut connection = server.connection().await;
    server.freeze();
    let mut ping = cmd("PING");
    let silent = timeout(SILENCE, ping.query_async::<String>(&mut connection)).await;
    assert!(silent.is_err());
    server.thaw();
    ping = cmd("PING");
    let pong = timeout(SOON, ping.query_async::<String>(&mut connection)).await;
    assert_eq!(pong.unwrap().unwrap(), "PONG");
}

#[tokio::test]
async fn a_killed_postgres_refuses_and_comes_back_on_its_port() {
    let mut server = Postgres::start().await;
    let client = server.client().await;
    client
        .batch_execute("CREATE TABLE kept (n int)")
        .await
        .unwrap();
    let ids = server.process_ids();
    assert!(ids.len() > 3, "a postmaster and its helpers: {ids:?}");
    for round in 0..3 {
        server.kill();
        assert!(server.process_ids().is_empty());
        assert!(!ids.iter().any(|id| is_alive(*id)));
        let refused = TcpStream::connect(("127.0.0.1", server.port())).await;
        assert!(refused.is_err(), "round {round}");
        let port = server.port();
        server.restart().await;
        assert_eq!(server.port(), port);
        let client = server.client().await;
        client.query("SELECT n FROM kept", &[]).await.unwrap();
    }
    assert!(one(&client).await.is_err());
}

#[tokio::test]
async fn a_frozen_postgres_can_be_killed_and_restarted() {
    let mut server = Postgres::start().await;
    let _client = server.client().await;
    server.freeze();
    server.kill();
    server.restart().await;
    server.freeze();
    server.restart().await;
    assert_eq!(one(&server.client().await).await.unwrap(), 1);
}

#[tokio::test]
async fn a_killed_redis_refuses_and_comes_back_on_its_port() {
    let mut server = Redis::start().await;
    for _ in 0..3 {
        server.kill();
        let refused = TcpStream::connect(("127.0.0.1", server.port())).await;
        assert!(refused.is_err());
        server.restart().await;
        cmd("PING")
            .query_async::<String>(&mut server.connection().await)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_fast_shutdown_closes_connections() {
    let mut server = Postgres::start().await;
    let client = server.client().await;
    server.terminate_fast().await;
    assert!(one(&client).await.is_err());
    server.restart().await;
    assert_eq!(one(&server.client().await).await.unwrap(), 1);
}

#[tokio::test]
async fn a_smart_shutdown_serves_what_is_connected_and_refuses_the_rest() {
    let mut server = Postgres::start().await;
    let client = server.client().await;
    server.stop_smart().await;
    assert_eq!(one(&client).await.unwrap(), 1);
    let refused = server.config().connect(NoTls).await.err().unwrap();
    assert_eq!(refused.code(), Some(&SqlState::CANNOT_CONNECT_NOW));
    drop(client);
    server.wait_for_end().await;
    server.restart().await;
    assert_eq!(one(&server.client().await).await.unwrap(), 1);
}

#[tokio::test]
async fn extras_of_postgres_are_in_force() {
    let (small, locked, closed, standby, tls, loaded) = tokio::join!(
        Postgres::builder().setting("max_connections", "7").start(),
        Postgres::builder().password("it's:secret").start(),
        Postgres::builder().hba("host all nobody all trust").start(),
        Postgres::builder().standby().start(),
        Postgres::builder()
            .tls()
            .hba("hostssl all all all trust")
            .start(),
        Postgres::builder().preload("auto_explain").start(),
    );
    let shows = async |server: &Postgres, name: &str| -> String {
        let sql = format!("SHOW {name}");
        let client = server.client().await;
        client.query_one(&sql, &[]).await.unwrap().get(0)
    };
    assert_eq!(shows(&small, "max_connections").await, "7");
    assert_eq!(
        shows(&loaded, "shared_preload_libraries").await,
        "auto_explain"
    );
    assert_eq!(shows(&standby, "transaction_read_only").await, "on");

    assert_eq!(one(&locked.client().await).await.unwrap(), 1);
    let wrong = locked.config().password("wrong").connect(NoTls).await;
    let wrong = wrong.err().unwrap();
    assert_eq!(wrong.code(), Some(&SqlState::INVALID_PASSWORD));

    for server in [&closed, &tls] {
        let refused = server.config().connect(NoTls).await.err().unwrap();
        let code = refused.code();
        assert_eq!(code, Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION));
    }
    assert!(tls.certificate().is_file());
    // SSLRequest is answered with S for yes.
    let mut stream = TcpStream::connect(("127.0.0.1", tls.port())).await.unwrap();
    stream
        .write_all(&[0, 0, 0, 8, 4, 210, 22, 47])
        .await
        .unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'S');
}

#[tokio::test]
async fn extras_of_redis_are_in_force() {
    let (locked, limited) = tokio::join!(
        Redis::builder().password("secret").start(),
        Redis::builder()
            .arg("--maxclients", "17")
            .config_line("user probe on >word ~* +@all -ping")
            .start(),
    );
    let mut stream = TcpStream::connect(("127.0.0.1", locked.port()))
        .await
        .unwrap();
    stream.write_all(b"PING\r\n").await.unwrap();
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"-NOAUTH");
    locked.connection().await;

    let mut connection = limited.connection().await;
    let (_, clients): (String, String) = cmd("CONFIG")
        .arg("GET")
        .arg("maxclients")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(clients, "17");
    let users: Vec<String> = cmd("ACL")
        .arg("USERS")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert!(users.contains(&"probe".to_owned()), "{users:?}");
}

#[tokio::test]
async fn redis_tells_how_often_a_command_ran() {
    let server = Redis::start().await;
    let before = server.command_calls("ping").await;
    let mut connection = server.connection().await;
    for _ in 0..5 {
        cmd("PING")
            .query_async::<String>(&mut connection)
            .await
            .unwrap();
    }
    assert_eq!(server.command_calls("PING").await, before + 5);
    assert_eq!(server.command_calls("never").await, 0);
}

#[tokio::test]
async fn nothing_is_left_behind() {
    let (running, frozen, mut killed) =
        tokio::join!(Postgres::start(), Postgres::start(), Postgres::start());
    let (redis, frozen_redis) = tokio::join!(Redis::start(), Redis::start());
    let _client = running.client().await;
    let mut ids = Vec::new();
    let mut directories = Vec::new();
    for server in [&running, &frozen, &killed] {
        ids.extend(server.process_ids());
        directories.push(server.directory().to_path_buf());
    }
    for server in [&redis, &frozen_redis] {
        ids.extend(server.process_ids());
        directories.push(server.directory().to_path_buf());
    }
    assert!(ids.iter().all(|id| is_alive(*id)));
    assert!(directories.iter().all(|directory| directory.is_dir()));

    frozen.freeze();
    frozen_redis.freeze();
    killed.kill();
    drop((running, frozen, killed, redis, frozen_redis));
    assert!(!ids.iter().any(|id| is_alive(*id)));
    assert!(!directories.iter().any(|directory| directory.exists()));
}

/// In the child: holds servers, one of them frozen, until it is killed.
const CHILD: &str = "TOWER_HEALTH_SELFTEST_CHILD";

#[tokio::test]
async fn a_killed_test_process_leaves_no_server() {
    if env::var_os(CHILD).is_some() {
        return hold_servers().await;
    }
    let mut child = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "support_selftest::a_killed_test_process_leaves_no_server",
        ])
        .arg("--nocapture")
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut ids, mut directories) = (Vec::new(), Vec::new());
    for line in lines.map_while(Result::ok) {
        // libtest may print before us on the same line.
        let mut words = line.split_whitespace().rev().take(2);
        match (words.next(), words.next()) {
            (Some(id), Some("process")) => ids.push(id.parse::<u32>().unwrap()),
            (Some(path), Some("directory")) => directories.push(PathBuf::from(path)),
            (Some("done"), _) => break,
            _ => {}
        }
    }
    assert!(ids.len() > 6 && directories.len() == 4, "{ids:?}");
    assert!(ids.iter().all(|id| is_alive(*id)));

    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the servers have ended", SOON, async || {
        !ids.iter().any(|id| is_alive(*id))
    })
    .await;
    wait_until("the directories are gone", SOON, async || {
        !directories.iter().any(|directory| directory.exists())
    })
    .await;
}

async fn hold_servers() {
    let (postgres, frozen) = tokio::join!(Postgres::start(), Postgres::start());
    let (redis, frozen_redis) = tokio::join!(Redis::start(), Redis::start());
    let _clients = (postgres.client().await, frozen.client().await);
    frozen.freeze();
    frozen_redis.freeze();
    println!();
    for server in [&postgres, &frozen] {
        for id in server.process_ids() {
            println!("process {id}");
        }
        println!("directory {}", server.directory().display());
    }
    for server in [&redis, &frozen_redis] {
        for id in server.process_ids() {
            println!("process {id}");
        }
        println!("directory {}", server.directory().display());
    }
    println!("done");
    std::future::pending().await
}

#[tokio::test]
async fn servers_are_reached_through_the_route() {
    let (postgres, redis) = tokio::join!(Postgres::start(), Redis::start());
    let to_postgres = Proxy::start(postgres.port()).await;
    let to_redis = Proxy::start(redis.port()).await;

    let pool = postgres.pool_through(to_postgres.port(), 1);
    assert_eq!(one(&pool.get().await.unwrap()).await.unwrap(), 1);
    let pool = redis.pool_through(to_redis.port(), 1);
    let _: String = cmd("PING")
        .query_async(&mut *pool.get().await.unwrap())
        .await
        .unwrap();
    assert_eq!((to_postgres.connections(), to_redis.connections()), (1, 1));
}

#[tokio::test]
async fn a_server_can_take_a_port_that_was_dead_before() {
    let port = unused_port();
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    let server = Redis::builder().port(port).start().await;
    assert_eq!(server.port(), port);
}

#[tokio::test]
#[should_panic(expected = "in vain until the sun rises")]
async fn waiting_has_an_end() {
    let limit = Duration::from_millis(20);
    wait_until("the sun rises", limit, async || false).await;
}
