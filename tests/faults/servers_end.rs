//! The servers of the tests leave no process and no folder, and their ports are free.

use std::{
    env,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::{
    app::SOON,
    support::{Postgres, Redis, is_alive, unused_port, wait_until},
};

/// Set in the child process, which holds servers until it is killed.
const CHILD: &str = "TOWER_HEALTH_SERVERS_CHILD";

/// One running and one frozen server of each kind.
async fn servers() -> ([Postgres; 2], [Redis; 2]) {
    let (one, two) = tokio::join!(Postgres::start(), Postgres::start());
    let (three, four) = tokio::join!(Redis::start(), Redis::start());
    two.freeze();
    four.freeze();
    ([one, two], [three, four])
}

fn traces((postgres, redis): &([Postgres; 2], [Redis; 2])) -> (Vec<u32>, Vec<PathBuf>) {
    let postgres = postgres
        .iter()
        .map(|one| (one.process_ids(), one.directory()));
    let redis = redis.iter().map(|one| (one.process_ids(), one.directory()));
    let (ids, folders): (Vec<_>, Vec<_>) = postgres.chain(redis).unzip();
    let folders = folders.into_iter().map(Into::into).collect();
    (ids.concat(), folders)
}

#[tokio::test]
async fn a_dropped_server_leaves_nothing() {
    let servers = servers().await;
    let (ids, folders) = traces(&servers);
    assert!(
        ids.len() > 6 && ids.iter().all(|id| is_alive(*id)),
        "{ids:?}"
    );
    drop(servers);
    assert!(!ids.iter().any(|id| is_alive(*id)));
    assert!(!folders.iter().any(|folder| folder.exists()));
}

#[tokio::test]
async fn a_killed_test_process_leaves_no_server() {
    if env::var_os(CHILD).is_some() {
        let servers = servers().await;
        let (ids, folders) = traces(&servers);
        // libtest may print before on the same line.
        println!();
        ids.iter().for_each(|id| println!("process {id}"));
        folders
            .iter()
            .for_each(|folder| println!("folder {}", folder.display()));
        println!("done");
        return std::future::pending().await;
    }
    let mut child = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "servers_end::a_killed_test_process_leaves_no_server",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut ids, mut folders) = (Vec::<u32>::new(), Vec::<PathBuf>::new());
    for line in lines
        .map_while(Result::ok)
        .take_while(|line| line != "done")
    {
        match line.split_once(' ') {
            Some(("process", id)) => ids.push(id.parse().unwrap()),
            Some(("folder", path)) => folders.push(path.into()),
            _ => {}
        }
    }
    assert!(ids.len() > 6 && folders.len() == 4, "{ids:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("no server and no folder is left", SOON, async || {
        !ids.iter().any(|id| is_alive(*id)) && !folders.iter().any(|folder| folder.exists())
    })
    .await;
}

#[test]
fn an_unused_port_can_be_bound_while_programs_start() {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // A program that starts inherits every socket for a moment.
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _ = Command::new("true").status();
                }
            });
        }
        let bind = || TcpListener::bind(("127.0.0.1", unused_port()));
        let refused: Vec<_> = (0..300).filter_map(|_| bind().err()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(refused.is_empty(), "{refused:?}");
    });
}
