//! An answer that stands ready, in one of the two places where answers are kept.

use super::{
    answer::{Answer, Holding},
    asked::Asked,
    face::Face,
};
use crate::report::Status;

pub(super) enum Ready {
    /// A word to a stranger.
    Told(Status),
    Kept(Holding),
}

impl Face {
    /// The last answer to what is `asked`, if it still holds.
    #[inline(always)]
    pub(super) fn ready(&self, asked: Asked) -> Option<Ready> {
        let (offer, epoch) = (self.offer(asked), self.health.epoch());
        if offer.is_word(asked.detail) {
            return offer.told.get(epoch, self.born).map(Ready::Told);
        }
        offer.slot(asked.detail).get(epoch).map(Ready::Kept)
    }

    /// Keeps `answer` for those who come next.
    pub(super) fn keep(&self, asked: Asked, answer: Answer) -> Ready {
        let offer = self.offer(asked);
        if offer.is_word(asked.detail) {
            let (epoch, until) = (answer.epoch, answer.valid_until);
            offer.told.put(epoch, self.born, until, answer.status);
            return Ready::Told(answer.status);
        }
        Ready::Kept(offer.slot(asked.detail).put(answer.for_many()))
    }
}

impl Ready {
    #[inline(always)]
    pub(super) fn answer<'a>(&'a self, face: &'a Face) -> &'a Answer {
        match self {
            Self::Told(status) => &face.words[*status as usize],
            Self::Kept(answer) => answer,
        }
    }
}
