//! What five outages cost the fleet, by requirement policy and balancer.

use std::time::Duration;

use crate::{
    chart::thousands,
    model::{Balancer, Losses, Outage, Policy, simulate},
};

pub(crate) fn print(replicas: usize, seed: u64) {
    println!(
        "\n{} replicas; half of the requests use the database; the users need 60 % of the fleet.\n\
         Cells: capacity lost / requests failed, mean over the outage.\n",
        thousands(replicas)
    );
    let [first, second, third] = Balancer::ALL.map(Balancer::name);
    println!(
        "| outage | policy | {first} | {second} | {third} | failed if all stay in rotation | checks per second: mean / peak |"
    );
    println!("|---|---|---|---|---|---|---|");
    for outage in Outage::ALL {
        for policy in Policy::ALL {
            row(outage, policy, &simulate(outage, policy, replicas, seed));
        }
    }
}

fn row(outage: Outage, policy: Policy, losses: &Losses) {
    let cells = losses.costs.map(|cost| {
        let out = cost.out_after.map_or_else(String::new, out);
        let (lost, failed) = (percent(cost.capacity_lost), percent(cost.failed));
        format!("{lost} / {failed}{out}")
    });
    let (mean, peak) = losses.checks;
    println!(
        "| {} | {} | {} | {} | {mean:.0} / {peak} |",
        outage.name(),
        policy.name(),
        cells.join(" | "),
        percent(losses.unavoidable),
    );
}

fn out(after: Duration) -> String {
    format!(", out after {:.1} s", after.as_secs_f64())
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0 %".into(),
        small if small < 0.1 => format!("{small:.3} %"),
        large => format!("{large:.1} %"),
    }
}
