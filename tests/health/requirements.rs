//! What a dependency is required for: until the start, for one probe, for a group.

use tower_health::{Dependency, Health, Probe, Status};

use super::fixtures::{next_status, refused, status};
use crate::helpers::switch::Switch;

#[tokio::test(start_paused = true)]
async fn required_until_started_is_required_until_first_up() {
    fn add(health: &Health, ledger: Dependency) {
        health.add(ledger).expect("a new name");
    }
    let starts: [fn(Dependency) -> Health; 3] = [
        |ledger| Health::builder().add(ledger).build(),
        |ledger| {
            let health = Health::builder().build();
            add(&health, ledger);
            health.set_started();
            health
        },
        |ledger| {
            let health = Health::builder().build();
            health.set_started();
            add(&health, ledger);
            health
        },
    ];
    for start in starts {
        let ledger = Switch::off();
        let health = start(Dependency::new("ledger", ledger.check()).required_until_started());
        for (is_up, expected) in [
            (false, Status::Down),
            (true, Status::Up),
            (false, Status::Degraded),
        ] {
            ledger.set(is_up);
            for probe in [Probe::Readiness, Probe::Full] {
                let found = next_status(&health, probe.clone()).await;
                assert_eq!(found, expected, "{probe}");
            }
            let is_ready = health.ensure_ready().await.is_ok();
            assert_eq!(is_ready, expected != Status::Down);
        }
        let entry = health.snapshot().entries.remove(0);
        assert_eq!((entry.status, entry.required), (Status::Down, false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_requirement_may_differ_per_probe_and_group() {
    let orders = Probe::group("orders");
    let ledger = Dependency::new("ledger", refused).optional();
    let audit = Dependency::new("audit", refused).group("audits");
    let health = Health::builder()
        .add(ledger.group("orders").required_for(orders.clone()))
        .add(audit.optional_for(Probe::Readiness))
        .build();
    // Startup follows readiness: neither gates the start.
    assert_eq!(status(&health, Probe::Readiness).await, Status::Degraded);
    assert!(health.is_started());
    for probe in [orders, Probe::group("audits"), Probe::Full] {
        let found = status(&health, probe.clone()).await;
        assert_eq!(found, Status::Down, "{probe}");
    }
}
