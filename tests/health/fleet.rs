//! The claims of `examples/fleet` about 10,000 replicas, asserted for fewer.

#[path = "../../examples/fleet/model/mod.rs"]
mod model;

use std::time::Duration;

use model::{Balancer, Outage, Policy, Scenario, Way, run, simulate};

/// A deploy at once, and a server that fails after 63 s.
fn scenario(envoys: usize) -> Scenario {
    Scenario {
        replicas: 200,
        spread: Duration::from_secs(1),
        fails_at: 63,
        returns_at: 93,
        ends_at: 123,
        envoys,
        cache_for: Duration::from_secs(10),
        traffic: Duration::from_secs(1),
        seed: 7,
    }
}

/// The checks in each second.
fn checks(way: Way, envoys: usize) -> Vec<u32> {
    run(way, &scenario(envoys)).arrivals.checks
}

#[test]
#[ignore = "simulates for up to a minute"]
fn checks_do_not_grow_with_probers_and_background_runs_spread() {
    for envoys in [1, 20] {
        let [naive, ours] = [Way::Naive, Way::Jittered].map(|way| checks(way, envoys));
        let [naive, ours] = [naive, ours].map(|checks| checks[..63].iter().sum::<u32>());
        // One at the start, and one in each period of 10 s.
        let bound = 200 * 7;
        assert!((1..=bound).contains(&ours), "{ours} of {bound}");
        assert!(naive > bound, "{naive}: the limit proves nothing here");
    }
    let peak = |way| checks(way, 1)[30..60].iter().copied().max();
    // Together all 200 check within two seconds; spread over ten seconds about 20 check in each.
    let (cached, refreshed) = (peak(Way::Cached), peak(Way::Refreshed));
    assert!(cached > Some(100), "{cached:?}");
    assert!((Some(1)..Some(50)).contains(&refreshed), "{refreshed:?}");
}

#[test]
#[ignore = "simulates for up to a minute"]
fn only_an_outage_of_what_is_required_costs_capacity() {
    let of = |outage, policy| simulate(outage, policy, 20, 3).costs;
    for outage in [Outage::SharedDown, Outage::SharedSlow] {
        for cost in of(outage, Policy::RequiredUntilStarted) {
            assert_eq!(cost.capacity_lost, 0.0, "{outage:?} {cost:?}");
        }
        let [kubernetes, ..] = of(outage, Policy::Required);
        assert!(kubernetes.capacity_lost > 0.9, "{outage:?} {kubernetes:?}");
    }
    for policy in Policy::ALL {
        for cost in of(Outage::SharedSaturated, policy) {
            assert_eq!(cost.capacity_lost, 0.0, "{policy:?} {cost:?}");
        }
    }
    let [kubernetes, envoy, _] = of(Outage::RollingDeploy, Policy::Required);
    assert_eq!((kubernetes.failed, envoy.failed), (0.0, 0.0));
}

#[test]
fn a_broken_replica_leaves_rotation_where_it_is_required() {
    let of = |policy| simulate(Outage::OneReplicaBroken, policy, 20, 3).costs;
    for (balancer, cost) in Balancer::ALL.into_iter().zip(of(Policy::Required)) {
        let after = cost.out_after.expect("removed");
        // Two failed probes, and the duration of the last run.
        let limit = balancer.period() * 2 + Duration::from_millis(800);
        assert!(after <= limit, "{balancer:?}: {after:?}");
    }
    for cost in of(Policy::Optional) {
        assert_eq!(cost.out_after, None);
    }
}
