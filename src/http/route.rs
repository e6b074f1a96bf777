//! One probe's path: what it asks, and the forms in which it can answer.

use http::{HeaderMap, HeaderValue, StatusCode, header::ACCEPT};

use super::{answer::Slot, codes::Codes, told::Told};
use crate::{
    probe::Probe,
    render::{Detail, Format, choose},
    report::Status,
};

// As `Face`: it is read for each probe.
#[repr(align(128))]
#[derive(Debug)]
pub(super) struct Route {
    pub(super) probe: Probe,
    /// What the answer calls it: the path without its first slash.
    pub(super) name: Box<str>,
    /// For whoever names no other.
    first: Offer,
    /// What else can be asked for by name.
    others: Box<[Offer]>,
    #[cfg(feature = "metrics")]
    pub(super) requests: crate::metrics::RequestNumbers,
}

/// A form of the answer, and the last answers made in it.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) format: Format,
    /// What a range of `accept` must cover.
    media_type: &'static str,
    /// A scraper asked for it by its name, and drops whatever is not 200.
    always_ok: bool,
    /// In place of the slot below, where the answer is one word.
    pub(super) told: Told,
    status_alone: Slot,
    full: Slot,
}

/// Which of a route's offers, counted from the first: small, since every waiter keeps it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen(u8);

impl Route {
    /// Answers in the form that `accept` names, and in `fallback` where it names none.
    pub(super) fn negotiated(path: &str, probe: Probe, fallback: Format) -> Self {
        let first = if fallback.is_scrape() {
            // Asked for by name it is another offer: to a prober, which names none, the code must tell.
            Offer {
                media_type: "application/*",
                ..Offer::new(fallback)
            }
        } else {
            Offer::new(fallback)
        };
        let others = Format::NEGOTIABLE
            .iter()
            .filter(|format| format.media_type() != first.media_type)
            .map(|format| Offer::by_name(format.clone()))
            .collect();
        Self::of(path, probe, first, others)
    }

    /// Answers in `format`, and in what comes with it, whatever else `accept` says.
    pub(super) fn fixed(path: &str, probe: Probe, format: Format) -> Self {
        let others = format.besides().iter().cloned();
        let others = others.map(Offer::by_name).collect();
        Self::of(path, probe, Offer::by_name(format), others)
    }

    fn of(path: &str, probe: Probe, first: Offer, others: Box<[Offer]>) -> Self {
        Self {
            #[cfg(feature = "metrics")]
            requests: crate::metrics::RequestNumbers::new(&probe),
            probe,
            name: path.trim_start_matches('/').into(),
            first,
            others,
        }
    }

    /// The offer that `headers` ask for.
    // Nearly every prober sends no `accept` at all, or `*/*`.
    #[inline]
    pub(super) fn choose(&self, headers: &HeaderMap) -> Chosen {
        match headers.get(ACCEPT) {
            None => Chosen(0),
            Some(accept) if accept == "*/*" => Chosen(0),
            Some(_) => self.negotiate(headers),
        }
    }

    #[inline(never)]
    fn negotiate(&self, headers: &HeaderMap) -> Chosen {
        let fields = headers.get_all(ACCEPT).iter().map(HeaderValue::to_str);
        let offers = [&self.first].into_iter().chain(&self.others);
        let chosen = choose(
            fields.filter_map(Result::ok),
            offers.map(|offer| offer.media_type),
            0,
        );
        Chosen(chosen.try_into().unwrap_or_default())
    }

    /// Whether a query changes the answer: in text, and of readiness in every form.
    #[inline]
    pub(super) fn reads_query(&self, chosen: Chosen) -> bool {
        self.probe == Probe::Readiness || self.offer(chosen).format.is_text()
    }

    #[inline]
    pub(super) fn offer(&self, chosen: Chosen) -> &Offer {
        match chosen.0.checked_sub(1) {
            None => &self.first,
            Some(index) => &self.others[usize::from(index)],
        }
    }
}

impl Offer {
    fn new(format: Format) -> Self {
        Self {
            media_type: format.media_type(),
            format,
            always_ok: false,
            told: Told::default(),
            status_alone: Slot::default(),
            full: Slot::default(),
        }
    }

    fn by_name(format: Format) -> Self {
        Self {
            always_ok: format.is_scrape(),
            ..Self::new(format)
        }
    }

    /// Whether an answer is one word of native JSON.
    #[inline]
    pub(super) fn is_word(&self, detail: Detail) -> bool {
        detail == Detail::Status && self.format.is_json()
    }

    #[inline]
    pub(super) fn slot(&self, detail: Detail) -> &Slot {
        match detail {
            Detail::Status => &self.status_alone,
            Detail::Full => &self.full,
        }
    }

    pub(super) fn code(&self, status: Status, codes: Codes) -> StatusCode {
        if self.always_ok {
            StatusCode::OK
        } else {
            codes.of(status)
        }
    }
}
