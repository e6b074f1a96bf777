use std::time::Duration;

/// The worst of the last while: of between [`LENGTH`](Self::LENGTH) and twice as many looks.
///
/// A spike between two runs of the check would be missed otherwise.
#[derive(Debug, Default)]
pub(super) struct Window {
    looks: u32,
    before: Duration,
    present: Duration,
}

impl Window {
    pub(super) const LENGTH: u32 = 100;

    pub(super) fn push(&mut self, lag: Duration) {
        if self.looks == Self::LENGTH {
            self.looks = 0;
            self.before = self.present;
            self.present = Duration::ZERO;
        }
        self.looks += 1;
        self.present = self.present.max(lag);
    }

    pub(super) fn worst(&self) -> Duration {
        self.before.max(self.present)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Window;

    #[test]
    fn a_spike_is_remembered_for_a_while_and_then_forgotten() {
        let spike = Duration::from_secs(1);
        for lead in 0..Window::LENGTH {
            let mut window = Window::default();
            for _ in 0..lead {
                window.push(Duration::ZERO);
            }
            window.push(spike);
            let mut seen_for = 0;
            while window.worst() == spike {
                seen_for += 1;
                window.push(Duration::ZERO);
            }
            assert!(
                (Window::LENGTH..=2 * Window::LENGTH).contains(&seen_for),
                "{seen_for}"
            );
        }
    }
}
