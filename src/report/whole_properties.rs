//! The whole follows from its parts: their order does not matter, and worse is never better.

use proptest::{collection::vec, prelude::*, sample::select};

use super::{Report, ReportEntry, Status, whole::tests::entry};

const STATUSES: [Status; 4] = [Status::Up, Status::Degraded, Status::Unknown, Status::Down];

fn entries() -> impl Strategy<Value = Vec<ReportEntry>> {
    let part = (any::<bool>(), select(&STATUSES[..]));
    vec(
        part.prop_map(|(required, status)| entry("x", required, status)),
        0..8,
    )
}

fn whole(entries: &[ReportEntry]) -> Status {
    Report::of(entries.to_vec(), [].into()).status
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_does_not_matter(
        (entries, shuffled) in entries().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        prop_assert_eq!(whole(&entries), whole(&shuffled));
    }

    #[test]
    fn a_part_that_gets_worse_never_makes_the_whole_better(
        entries in entries(),
        at in any::<prop::sample::Index>(),
        status in select(&STATUSES[..]),
    ) {
        prop_assume!(!entries.is_empty());
        let mut worse = entries.clone();
        let part = &mut worse[at.index(entries.len())];
        part.status = part.status.max(status);
        prop_assert!(whole(&worse) >= whole(&entries));
    }

    #[test]
    fn one_more_never_makes_it_better_and_one_optional_never_takes_it_out(
        entries in entries(),
        status in select(&STATUSES[..]),
    ) {
        let with = |required| {
            let mut more = entries.clone();
            more.push(entry("x", required, status));
            whole(&more)
        };
        prop_assert!(with(true) >= with(false));
        prop_assert!(with(false) >= whole(&entries));
        prop_assert_eq!(with(false).is_serving(), whole(&entries).is_serving());
        prop_assert_eq!(with(true).is_serving(), whole(&entries).is_serving() && status.is_serving());
    }

    #[test]
    fn the_whole_is_as_one_of_its_parts_counts(entries in entries()) {
        let whole = whole(&entries);
        prop_assert!(whole == Status::Up || entries.iter().any(|entry| entry.effective_status() == whole));
        prop_assert!(entries.iter().all(|entry| entry.effective_status() <= whole));
    }
}
