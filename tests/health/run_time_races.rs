//! Dependencies that come and go beside callers, runs and listeners.

use std::{
    future::{Ready, ready},
    time::Duration,
};

use crate::helpers::layer_client::LayerClient;
use tokio::{task::yield_now, time::timeout};
use tower_health::{CheckResult, Dependency, Failure, Health, Outcome, Reason, Status};

const SECOND: Duration = Duration::from_secs(1);

fn up() -> Ready<CheckResult> {
    ready(Ok(Outcome::up()))
}

fn refused() -> Ready<CheckResult> {
    ready(Err(Failure::new(Reason::Refused)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn coming_and_going_beside_callers_leaves_nothing_behind() {
    let health = Health::builder().check("a", up).build();
    let face = LayerClient::new(&health);
    let changers: Vec<_> = (0..2)
        .map(|number| {
            let health = health.clone();
            tokio::spawn(async move {
                let name = format!("tenant-{number}");
                for _ in 0..500 {
                    let one = Dependency::new(name.clone(), refused);
                    health.add(one).expect("free: this task alone uses it");
                    // Added before this question, so that it counts.
                    assert_eq!(health.report().await.status, Status::Down);
                    assert!(health.remove(&name));
                    assert!(health.report().await.entry(&name).is_none());
                }
            })
        })
        .collect();
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let face = face.clone();
            tokio::spawn(async move {
                for _ in 0..2_000 {
                    let (code, body) = face.json("/health").await;
                    let others = body["checks"].as_object().map_or(0, |all| all.len() - 1);
                    assert_eq!(code == 200, others == 0, "{body}");
                }
            })
        })
        .collect();
    for task in changers.into_iter().chain(callers) {
        task.await.expect("no panic");
    }
    let left = health.snapshot().entries;
    assert_eq!((left.len(), &*left[0].name), (1, "a"));
    assert_eq!(face.json("/readyz").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_name_that_is_used_again_while_old_runs_end_has_no_past() {
    let health = Health::builder().check("a", up).build();
    let face = LayerClient::new(&health);
    let mut transitions = health.subscribe();
    let mut ended = 0;
    for round in 0..400_u64 {
        // Fails within some microseconds of its removal, before or after.
        let failing = move || async move {
            for _ in 0..round % 20 {
                yield_now().await;
            }
            Err(Failure::new(Reason::Refused))
        };
        health.add(Dependency::new("x", failing)).expect("free");
        let asked: Vec<_> = (0..2)
            .map(|_| {
                let face = face.clone();
                tokio::spawn(async move { face.json("/readyz").await })
            })
            .collect();
        for _ in 0..round % 23 {
            yield_now().await;
        }
        let known = health.snapshot().entry("x").map(|entry| entry.status);
        ended += u32::from(known == Some(Status::Down));
        assert!(health.remove("x"));
        // What was told of it is forgotten, and nothing follows.
        while let Ok(Some(old)) = timeout(Duration::ZERO, transitions.recv()).await {
            assert_eq!(&*old.name, "a", "{old:?}");
        }
        health.add(Dependency::new("x", up)).expect("free again");
        let (code, body) = face.json("/readyz").await;
        assert_eq!(
            (code, &body["checks"]["x"]["status"]),
            (200, &"up".into()),
            "{body}"
        );
        for asked in asked {
            asked.await.expect("no panic");
        }
        // Its answer was from before the change, and is not kept.
        assert_eq!(face.json("/readyz").await.0, 200);
        let reported = soon(transitions.recv()).await.expect("a handle lives");
        assert_eq!(
            (&*reported.name, reported.from, reported.to),
            ("x", Status::Unknown, Status::Up)
        );
        assert!(health.remove("x"));
    }
    println!("{ended} of 400 old runs ended before their removal");
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(30 * SECOND, future).await.expect("in time")
}
