//! How long a verdict serves: pure.

use std::time::Duration;

use crate::dependency::Settings;

/// Of a long outage the return shows within this share: 1/60.
const SHARE: u32 = 60;

/// How long a verdict serves before jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    usual: Duration,
    whole: Duration,
}

impl Period {
    /// The period of a verdict that is `failed`, or not, when its dependency has been failing for `outage`.
    pub(super) fn of(settings: &Settings, failed: bool, outage: Duration) -> Self {
        if !failed {
            return Self {
                usual: settings.cache_for,
                whole: settings.cache_for,
            };
        }
        let usual = settings.cache_failures_for.unwrap_or(settings.cache_for);
        let longest = settings.back_off_up_to.unwrap_or(usual * 2);
        Self {
            usual,
            whole: usual.max(longest.min(outage / SHARE)),
        }
    }

    /// Whether it is longer than it would be without an outage.
    pub(super) fn backs_off(self) -> bool {
        self.whole > self.usual
    }

    /// Lengthened by the share `jitter`, `0.0..1.0`, of a tenth. Jitter only lengthens, so that
    /// the bound on checks per second holds.
    pub(super) fn jittered(self, jitter: f64) -> Duration {
        self.whole + self.whole.mul_f64(0.1 * jitter)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Period, Settings};

    #[test]
    fn a_long_outage_makes_the_period_a_sixtieth_of_it_up_to_the_bound() {
        // The period of a failure, the bound, and then outages with what comes of them; all in ms.
        let table = [
            (
                None,
                None,
                &[
                    (0, 1_000),
                    (60_000, 1_000),
                    (60_060, 1_001),
                    (120_000, 2_000),
                    (86_400_000, 2_000),
                ][..],
            ),
            (
                Some(200),
                None,
                &[
                    (12_000, 200),
                    (18_000, 300),
                    (24_000, 400),
                    (86_400_000, 400),
                ],
            ),
            (
                None,
                Some(10_000),
                &[
                    (30_000, 1_000),
                    (300_000, 5_000),
                    (600_000, 10_000),
                    (86_400_000, 10_000),
                ],
            ),
            // Off: not above the period itself.
            (None, Some(1_000), &[(86_400_000, 1_000)]),
            (None, Some(0), &[(86_400_000, 1_000)]),
            (Some(0), None, &[(86_400_000, 0)]),
        ];
        for (cache_failures_for, bound, outages) in table {
            let settings = Settings {
                cache_failures_for: cache_failures_for.map(Duration::from_millis),
                back_off_up_to: bound.map(Duration::from_millis),
                ..Settings::default()
            };
            for &(outage, expected) in outages {
                let period = Period::of(&settings, true, Duration::from_millis(outage));
                assert_eq!(
                    period.jittered(0.0).as_millis(),
                    expected,
                    "{settings:?} {outage}"
                );
                let usual = u128::from(cache_failures_for.unwrap_or(1_000));
                assert_eq!(
                    period.backs_off(),
                    expected > usual,
                    "{settings:?} {outage}"
                );
            }
            let up = Period::of(&settings, false, Duration::from_secs(86_400));
            assert_eq!(
                (up.jittered(0.0).as_millis(), up.backs_off()),
                (1_000, false)
            );
        }
    }

    #[test]
    fn jitter_adds_up_to_a_tenth_of_the_whole() {
        let settings = Settings::default();
        let period = Period::of(&settings, true, Duration::from_secs(86_400));
        for (jitter, expected) in [(0.0, 2_000), (0.5, 2_100), (1.0, 2_200)] {
            assert_eq!(period.jittered(jitter).as_millis(), expected);
        }
    }

    #[test]
    fn no_setting_overflows() {
        let settings = Settings {
            cache_for: crate::bounds::MAX_DURATION,
            ..Settings::default()
        };
        let period = Period::of(&settings, true, Duration::MAX);
        assert_eq!(period.jittered(0.0), crate::bounds::MAX_DURATION * 2);
    }
}
