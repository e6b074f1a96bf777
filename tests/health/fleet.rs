//! The claims of `examples/fleet` about 10,000 replicas, asserted for fewer.

#[path = "../../examples/fleet/model/mod.rs"]
mod model;

use std::time::Duration;

use model::{Balancer, Course, Outage, Policy, Scenario, Way, run, simulate};

const CACHE_FOR: u64 = 10;

fn scenario(envoys: usize) -> Scenario {
    Scenario {
        replicas: 200,
        spread: Duration::from_secs(1),
        fails_at: 63,
        returns_at: 93,
        ends_at: 123,
        envoys,
        cache_for: Duration::from_secs(CACHE_FOR),
        traffic: Duration::from_secs(1),
        seed: 7,
    }
}

/// All checks from the deploy until the server fails.
fn checks(course: &Course, scenario: &Scenario) -> u32 {
    let healthy = usize::try_from(scenario.fails_at).expect("small");
    course.arrivals.checks[..healthy].iter().sum()
}

/// One at the start, and one in each period.
fn bound(scenario: &Scenario) -> u32 {
    let periods = scenario.fails_at / CACHE_FOR;
    u32::try_from(scenario.replicas as u64 * (1 + periods)).expect("small")
}

#[test]
#[ignore = "simulates for up to a minute"]
fn checks_per_period_do_not_grow_with_the_number_of_probers() {
    for envoys in [1, 20] {
        let scenario = scenario(envoys);
        let naive = checks(&run(Way::Naive, &scenario), &scenario);
        let ours = checks(&run(Way::Jittered, &scenario), &scenario);
        let bound = bound(&scenario);
        println!("{envoys} Envoys: {naive} checks by hand, {ours} of {bound} by the engine");
        assert!((1..=bound).contains(&ours), "{ours} of {bound}");
        assert!(naive > bound, "{naive}: the limit proves nothing here");
    }
}

#[test]
#[ignore = "simulates for up to a minute"]
fn background_runs_spread_where_probes_come_together() {
    let scenario = scenario(1);
    let peak = |way| {
        let course = run(way, &scenario);
        let steady = &course.arrivals.checks[30..60];
        steady.iter().copied().max().expect("thirty seconds")
    };
    let (cached, refreshed) = (peak(Way::Cached), peak(Way::Refreshed));
    println!("most checks in a second: {cached} by hand, {refreshed} refreshed");
    // Together all 200 check within two seconds; spread over ten seconds about 20 check in each.
    assert!(cached > 100, "{cached}");
    assert!((1..50).contains(&refreshed), "{refreshed}");
}

#[test]
#[ignore = "simulates for up to a minute"]
fn a_shared_outage_costs_no_capacity_once_started() {
    for outage in [Outage::SharedDown, Outage::SharedSlow] {
        let of = |policy| simulate(outage, policy, 20, 3).costs;
        for cost in of(Policy::RequiredUntilStarted) {
            assert_eq!(cost.capacity_lost, 0.0, "{outage:?} {cost:?}");
        }
        let [kubernetes, ..] = of(Policy::Required);
        assert!(kubernetes.capacity_lost > 0.9, "{outage:?} {kubernetes:?}");
    }
}

#[test]
#[ignore = "simulates for up to a minute"]
fn full_pools_and_deploys_keep_replicas_in_rotation() {
    for policy in Policy::ALL {
        for cost in simulate(Outage::SharedSaturated, policy, 20, 3).costs {
            assert_eq!(cost.capacity_lost, 0.0, "{policy:?} {cost:?}");
        }
    }
    let [kubernetes, envoy, _] = simulate(Outage::RollingDeploy, Policy::Required, 20, 3).costs;
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
