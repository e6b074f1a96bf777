//! The probers of each replica, with their documented defaults.

use std::{iter, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};

use super::{random::Random, replica::Probe};

/// Sends the same probe periodically.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prober {
    pub(crate) period: Duration,
    pub(crate) timeout: Duration,
    /// The longest time from the replica's start to the first probe.
    pub(crate) delay: Duration,
}

// None of them has jitter by default: each keeps the phase that it began with.

const KUBELET: Prober = Prober {
    period: Duration::from_secs(10),
    timeout: Duration::from_secs(1),
    delay: Duration::from_secs(1),
};

/// One node of an Application Load Balancer; each node probes every replica.
const ALB: Prober = Prober {
    period: Duration::from_secs(30),
    timeout: Duration::from_secs(5),
    delay: Duration::from_secs(1),
};

/// One Envoy; each probes every replica. One update announces all endpoints of a deploy, and they are probed at once.
const ENVOY: Prober = Prober {
    period: Duration::from_secs(5),
    timeout: Duration::from_secs(1),
    delay: Duration::from_millis(200),
};

/// The probers of one replica: a kubelet, a node of a balancer, and `envoys` Envoys.
///
/// The first Envoy learns of the replica with the deploy; the others have any phase.
pub(crate) fn probers(envoys: usize) -> impl Iterator<Item = Prober> {
    let other = Prober {
        delay: ENVOY.period,
        ..ENVOY
    };
    let others = iter::repeat_n(other, envoys.saturating_sub(1));
    [KUBELET, ALB, ENVOY].into_iter().chain(others)
}

impl Prober {
    /// Probes a replica that starts at `start`, and passes each result to `reported`.
    pub(crate) async fn probe(
        self,
        endpoint: Probe,
        start: Instant,
        mut random: Random,
        reported: impl Fn(bool),
    ) {
        let mut next = start + random.within(self.delay);
        loop {
            sleep_until(next).await;
            reported(timeout(self.timeout, endpoint()).await.unwrap_or(false));
            next += self.period;
        }
    }
}
