//! What is dead for long is looked at less often, and its return is seen all the same.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tower_health::{Dependency, Failure, Health, HealthBuilder, Outcome, Reason, Status};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A dependency that is down until it is `alive`, and the count of its runs.
#[derive(Clone, Default)]
struct Server {
    alive: Arc<AtomicBool>,
    runs: Arc<AtomicU32>,
}

impl Server {
    fn dependency(&self) -> Dependency {
        let server = self.clone();
        Dependency::new("database", move || {
            server.runs.fetch_add(1, Ordering::SeqCst);
            ready(match server.alive.load(Ordering::SeqCst) {
                true => Ok(Outcome::up()),
                false => Err(Failure::new(Reason::Refused)),
            })
        })
    }

    /// How often it is looked at while `health` is asked ten times a second for `time`.
    async fn runs_within(&self, time: Duration, health: &Health) -> u32 {
        let before = self.runs.load(Ordering::SeqCst);
        let end = Instant::now() + time;
        while Instant::now() < end {
            let entry = health.report().await.entries.remove(0);
            // Neither stale nor pending: what it knows it has just looked at.
            assert!(
                matches!(entry.reason, None | Some(Reason::Refused | Reason::Pending)),
                "{entry:?}"
            );
            sleep(SECOND / 10).await;
        }
        self.runs.load(Ordering::SeqCst) - before
    }

    /// How long it takes until its return shows.
    async fn returns(&self, health: &Health) -> Duration {
        let start = Instant::now();
        self.alive.store(true, Ordering::SeqCst);
        while health.report().await.status != Status::Up {
            sleep(SECOND / 10).await;
        }
        start.elapsed()
    }
}

fn within(runs: u32, least: u32, most: u32) {
    assert!((least..=most).contains(&runs), "{runs} runs");
}

#[tokio::test(start_paused = true)]
async fn after_two_minutes_it_is_looked_at_half_as_often() {
    let server = Server::default();
    let health = Health::builder().add(server.dependency()).build();
    // One each 1 to 1.1 s, seen at the next tenth.
    within(server.runs_within(MINUTE, &health).await, 50, 60);
    let _ = server.runs_within(MINUTE, &health).await;
    within(server.runs_within(MINUTE, &health).await, 25, 30);
    within(
        server.runs_within(60 * MINUTE, &health).await,
        25 * 60,
        30 * 60,
    );
    assert!(server.returns(&health).await <= SECOND * 23 / 10);
    // Nothing is left of the outage.
    within(server.runs_within(MINUTE, &health).await, 50, 60);
}

#[tokio::test(start_paused = true)]
async fn its_bound_is_the_apps_to_choose() {
    let server = Server::default();
    let dependency = server.dependency().back_off_up_to(10 * SECOND);
    let health = Health::builder().add(dependency).build();
    let _ = server.runs_within(10 * MINUTE, &health).await;
    within(server.runs_within(10 * MINUTE, &health).await, 54, 60);
    assert!(server.returns(&health).await <= SECOND * 111 / 10);

    let server = Server::default();
    let dependency = server.dependency().back_off_up_to(Duration::ZERO);
    let health = Health::builder().add(dependency).build();
    let _ = server.runs_within(60 * MINUTE, &health).await;
    within(server.runs_within(MINUTE, &health).await, 50, 60);
}

#[tokio::test(start_paused = true)]
async fn a_background_refresh_backs_off_and_does_not_grow_stale() {
    let server = Server::default();
    let dependency = server.dependency().back_off_up_to(20 * SECOND);
    let health = HealthBuilder::default()
        .add(dependency)
        .refresh_every(SECOND)
        .build();
    let _ = server.runs_within(20 * MINUTE, &health).await;
    // One each 20 to 22 s, and up to a period of the refresh later.
    within(server.runs_within(60 * MINUTE, &health).await, 155, 180);
    assert!(server.returns(&health).await <= SECOND * 232 / 10);
    within(server.runs_within(MINUTE, &health).await, 54, 61);
}
