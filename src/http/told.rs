//! What strangers are told in native JSON: one word of four, until when, in one number.
//!
//! Nearly every probe is answered from here. Reading a number writes nothing, where holding an answer
//! writes to a place of the thread's own: two such places on neighbouring lines of the processor's
//! cache cost four threads 15 % of a whole request.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use crate::report::Status;

const STATUS_BITS: u32 = 2;
/// In ms: 34 years.
const TIME_BITS: u32 = 40;
const MAX_DURATION: u64 = (1 << TIME_BITS) - 1;

/// The last word, from the lowest bit on: the status, until when it holds, and the verdicts' epoch.
///
/// Of the epoch there are 22 bits: by the time they come around, the word has long expired.
#[derive(Debug, Default)]
pub(super) struct Told(AtomicU64);

impl Told {
    /// The last word, if nothing has changed since and its time is not up. `born` is the face's birth.
    #[inline]
    pub(super) fn get(&self, epoch: u64, born: Instant) -> Option<Status> {
        let kept = self.0.load(Ordering::Acquire);
        let until = kept >> STATUS_BITS & MAX_DURATION;
        let holds = kept >> (STATUS_BITS + TIME_BITS) == short(epoch)
            && millis(born, Instant::now()) < until;
        holds.then_some(Status::EACH[(kept & ((1 << STATUS_BITS) - 1)) as usize])
    }

    /// Keeps `status` for those who come next. Rounded down to a whole ms: never for longer.
    pub(super) fn put(&self, epoch: u64, born: Instant, valid_until: Instant, status: Status) {
        let until = millis(born, valid_until).min(MAX_DURATION);
        let kept = short(epoch) << (STATUS_BITS + TIME_BITS) | until << STATUS_BITS | status as u64;
        self.0.store(kept, Ordering::Release);
    }
}

fn short(epoch: u64) -> u64 {
    epoch & (u64::MAX >> (STATUS_BITS + TIME_BITS))
}

#[inline]
fn millis(born: Instant, then: Instant) -> u64 {
    let age = then.saturating_duration_since(born);
    age.as_secs() * 1_000 + u64::from(age.subsec_millis())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::{MAX_DURATION, Status, Told};

    #[tokio::test(start_paused = true)]
    async fn a_word_holds_for_its_epoch_and_its_time_and_no_longer() {
        let born = Instant::now();
        let told = Told::default();
        assert_eq!(told.get(0, born), None, "nothing was said yet");
        advance(Duration::from_millis(1_234)).await;
        for (epoch, status) in (7..).zip(Status::EACH) {
            let until = Instant::now() + Duration::from_micros(2_900);
            told.put(epoch, born, until, status);
            assert_eq!(told.get(epoch, born), Some(status));
            assert_eq!(told.get(epoch + 1, born), None);
            assert_eq!(told.get(epoch - 1, born), None);
            advance(Duration::from_millis(1)).await;
            assert_eq!(told.get(epoch, born), Some(status));
            advance(Duration::from_millis(1)).await;
            assert_eq!(told.get(epoch, born), None, "{status}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn neither_a_late_epoch_nor_a_long_time_spills_over() {
        let born = Instant::now();
        let told = Told::default();
        let far = born + Duration::from_millis(2 * MAX_DURATION);
        for (epoch, status) in [u64::MAX, u64::MAX - 1, 1 << 22, 1 << 21]
            .into_iter()
            .zip(Status::EACH)
        {
            told.put(epoch, born, far, status);
            assert_eq!(told.get(epoch, born), Some(status));
            assert_eq!(told.get(epoch ^ 1, born), None);
        }
    }
}
