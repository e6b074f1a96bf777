//! The last answers of `Check`, by the message that asked: most servers are asked for one name or
//! two, over and over.

use std::{array, sync::Arc};

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use super::message::ServingStatus;
use crate::access::Detail;

/// Messages that differ in this many bits of a sum do not push each other out. A power of two.
const PLACES: usize = 8;

/// What was answered, for as long as it holds. Of each place the newest is kept.
#[derive(Debug)]
pub(super) struct Memo {
    places: [ArcSwapOption<Answered>; PLACES],
}

/// An answer to one message, and how long it holds.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) message: Box<[u8]>,
    pub(super) detail: Detail,
    pub(super) epoch: u64,
    pub(super) holds_until: Instant,
    pub(super) serving: ServingStatus,
}

impl Memo {
    /// What was answered to `message`, if it holds still.
    pub(super) fn get(
        &self,
        message: &[u8],
        detail: Detail,
        epoch: u64,
        now: Instant,
    ) -> Option<ServingStatus> {
        let last = self.place(message).load();
        let last = last.as_ref()?;
        let holds = last.epoch == epoch
            && last.detail == detail
            && now < last.holds_until
            && *last.message == *message;
        holds.then_some(last.serving)
    }

    pub(super) fn put(&self, answered: Answered) {
        let place = self.place(&answered.message);
        place.store(Some(Arc::new(answered)));
    }

    fn place(&self, message: &[u8]) -> &ArcSwapOption<Answered> {
        let last = message.last().copied().unwrap_or_default();
        &self.places[(message.len() + usize::from(last)) % PLACES]
    }
}

impl Default for Memo {
    fn default() -> Self {
        Self {
            places: array::from_fn(|_| ArcSwapOption::empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Answered, Memo, ServingStatus};
    use crate::access::Detail;

    #[test]
    fn an_answer_serves_the_same_question_while_it_holds() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let memo = Memo::default();
        let serving = ServingStatus::Serving;
        memo.put(Answered {
            message: Box::from(*b"\x0a\x01a"),
            detail: Detail::Full,
            epoch: 7,
            holds_until: later,
            serving,
        });
        let table: [(&[u8], Detail, u64, Instant, bool); 6] = [
            (b"\x0a\x01a", Detail::Full, 7, now, true),
            // In the same place, and another name.
            (b"\x0a\x01i", Detail::Full, 7, now, false),
            (b"", Detail::Full, 7, now, false),
            (b"\x0a\x01a", Detail::Status, 7, now, false),
            (b"\x0a\x01a", Detail::Full, 8, now, false),
            (b"\x0a\x01a", Detail::Full, 7, later, false),
        ];
        for (message, detail, epoch, at, expected) in table {
            let found = memo.get(message, detail, epoch, at);
            assert_eq!(found, expected.then_some(serving), "{message:?} {epoch}");
        }
    }
}
