//! What `examples/fleet` shows of ten thousand replicas, asserted of two hundred.

#[path = "../../examples/fleet/model/mod.rs"]
mod model;

use std::time::Duration;

use model::{Course, Scenario, Way, run};

const CACHE_FOR: u64 = 10;

fn scenario(envoys: usize) -> Scenario {
    Scenario {
        replicas: 200,
        spread: Duration::from_secs(1),
        dies_at: 63,
        returns_at: 93,
        ends_at: 123,
        envoys,
        cache_for: Duration::from_secs(CACHE_FOR),
        traffic: Duration::from_secs(1),
        seed: 7,
    }
}

/// All checks from the deploy until the server dies.
fn checks(course: &Course, scenario: &Scenario) -> u32 {
    let healthy = usize::try_from(scenario.dies_at).expect("small");
    course.arrivals.checks[..healthy].iter().sum()
}

/// One at the start, and one in each period begun.
fn bound(scenario: &Scenario) -> u32 {
    let periods = scenario.dies_at / CACHE_FOR;
    u32::try_from(scenario.replicas as u64 * (1 + periods)).expect("small")
}

#[test]
fn checks_are_bounded_by_instances_and_period_whatever_the_number_of_probers() {
    for envoys in [1, 20] {
        let scenario = scenario(envoys);
        let naive = checks(&run(Way::Naive, &scenario), &scenario);
        let ours = checks(&run(Way::Jittered, &scenario), &scenario);
        let bound = bound(&scenario);
        println!("{envoys} Envoys: {naive} checks by hand, {ours} of {bound} by the engine");
        assert!(ours <= bound, "{ours} of {bound}");
        assert!(naive > bound, "{naive}: the bound says nothing here");
    }
}

#[test]
fn a_background_refresh_beats_out_of_step_where_probers_beat_in_step() {
    let scenario = scenario(1);
    let peak = |way| {
        let course = run(way, &scenario);
        let steady = &course.arrivals.checks[30..60];
        steady.iter().copied().max().expect("thirty seconds")
    };
    let (asked, refreshed) = (peak(Way::Cached), peak(Way::Refreshed));
    println!("most checks in a second: {asked} by hand, {refreshed} refreshed");
    // In step all 200 ask in one or two seconds; spread over ten they are 20, give or take.
    assert!(asked > 100, "{asked}");
    assert!(refreshed < 50, "{refreshed}");
}
