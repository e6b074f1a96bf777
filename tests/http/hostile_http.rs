//! Hostile requests over raw sockets: no 5xx but a probe's own, no hang, and the app lives on.

use super::hostile::{Served, ServedBy, http1, http2_faults, talk};

async fn survives(served_by: ServedBy) {
    let mut faults = Vec::new();
    for up in [true, false] {
        let served = Served::by(served_by, up).await;
        for row in http1() {
            if let Err(fault) = talk(&row, &served, up).await {
                faults.push(format!("{:.80?}, up {up}: {fault:.500}", row.name));
            }
        }
        faults.extend(http2_faults(&served, up).await);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test]
async fn a_router_with_the_layer_survives() {
    survives(ServedBy::AxumLayer).await;
}

#[tokio::test]
async fn a_router_wrapped_from_outside_survives() {
    survives(ServedBy::AxumFromOutside).await;
}

#[tokio::test]
async fn plain_hyper_survives() {
    survives(ServedBy::Hyper).await;
}

#[test]
fn the_table_is_long_enough_to_mean_something() {
    assert!(http1().len() >= 120, "{}", http1().len());
}
