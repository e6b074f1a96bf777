//! The table of the module's documentation, and all combinations of evidence.

use super::judge::{
    Checkout, Dedicated, Evidence, Judgement, Others, Proof, Served, is_settled, judge,
};
use crate::report::{Reason, Status};

const NOTHING: Evidence = Evidence {
    checkout: Checkout::NotTried,
    dedicated: Dedicated::NotTried,
    served: Served::No,
    full: false,
    silent: false,
    broken: false,
    needs_proof: false,
};
const FINE: Proof = Proof::Done(Status::Up, None);
const READ_ONLY: Proof = Proof::Done(Status::Down, Some(Reason::ReadOnly));
const BEHIND: Proof = Proof::Done(Status::Degraded, Some(Reason::Behind));

fn found(evidence: Evidence) -> (Status, Option<Reason>) {
    let Judgement { status, reason, .. } = judge(&evidence);
    (status, reason)
}

#[test]
fn each_row_has_its_result() {
    use Reason::{
        Auth, Exhausted, Loading, PoolStuck, Refused, Rejected, Reset, Saturated, Timeout,
    };
    let up = (Status::Up, None);
    let degraded = |reason| (Status::Degraded, Some(reason));
    let down = |reason| (Status::Down, Some(reason));
    let checkout = |checkout| Evidence {
        checkout,
        ..NOTHING
    };
    let beside = |checkout, dedicated| Evidence {
        checkout,
        dedicated,
        ..NOTHING
    };
    let served = |evidence, served| Evidence { served, ..evidence };
    let full = |evidence| Evidence {
        full: true,
        ..evidence
    };
    let proving = |evidence| Evidence {
        needs_proof: true,
        ..evidence
    };
    let answers = Dedicated::Answered(Proof::NotRequired);
    let rows = [
        (1, checkout(Checkout::Answered(Proof::NotRequired)), up),
        (1, checkout(Checkout::Answered(FINE)), up),
        (
            2,
            Evidence {
                broken: true,
                ..checkout(Checkout::Answered(FINE))
            },
            degraded(PoolStuck),
        ),
        (
            3,
            Evidence {
                silent: true,
                ..checkout(Checkout::Answered(FINE))
            },
            degraded(PoolStuck),
        ),
        (4, checkout(Checkout::Forbidden(FINE)), degraded(Rejected)),
        (
            5,
            checkout(Checkout::Answered(READ_ONLY)),
            down(Reason::ReadOnly),
        ),
        (
            5,
            checkout(Checkout::Forbidden(BEHIND)),
            degraded(Reason::Behind),
        ),
        (
            6,
            checkout(Checkout::Answered(Proof::TooLong)),
            down(Timeout),
        ),
        (
            7,
            checkout(Checkout::Answered(Proof::NoTime)),
            degraded(Saturated),
        ),
        (8, checkout(Checkout::CannotServe(Loading)), down(Loading)),
        (
            9,
            served(
                beside(Checkout::Waiting, Dedicated::Refused(Exhausted)),
                Served::Promptly,
            ),
            degraded(Exhausted),
        ),
        (
            10,
            served(
                proving(beside(Checkout::NotTried, Dedicated::Answered(READ_ONLY))),
                Served::Promptly,
            ),
            down(Reason::ReadOnly),
        ),
        (
            11,
            served(proving(NOTHING), Served::Promptly),
            degraded(Saturated),
        ),
        (
            11,
            served(
                proving(beside(Checkout::NotTried, Dedicated::Answered(FINE))),
                Served::Slowly,
            ),
            degraded(Saturated),
        ),
        (
            12,
            served(checkout(Checkout::Silent), Served::Promptly),
            degraded(PoolStuck),
        ),
        (
            13,
            served(checkout(Checkout::Waiting), Served::Slowly),
            degraded(Saturated),
        ),
        (
            14,
            served(checkout(Checkout::Waiting), Served::Promptly),
            up,
        ),
        (
            15,
            full(beside(Checkout::NotTried, Dedicated::Answered(READ_ONLY))),
            down(Reason::ReadOnly),
        ),
        (
            16,
            full(beside(Checkout::NotTried, answers)),
            degraded(Saturated),
        ),
        (
            16,
            full(beside(Checkout::Waiting, Dedicated::Forbidden)),
            degraded(Saturated),
        ),
        (17, beside(Checkout::Waiting, answers), down(PoolStuck)),
        (17, full(beside(Checkout::Silent, answers)), down(PoolStuck)),
        (
            17,
            full(beside(Checkout::Broken(Reset), answers)),
            down(PoolStuck),
        ),
        (
            18,
            beside(Checkout::Storm, Dedicated::Forbidden),
            down(Rejected),
        ),
        (
            19,
            beside(Checkout::Broken(Reset), Dedicated::Refused(Auth)),
            down(Auth),
        ),
        (
            19,
            full(beside(Checkout::NotTried, Dedicated::Failed(Loading))),
            down(Loading),
        ),
        (20, checkout(Checkout::Broken(Refused)), down(Refused)),
        (
            21,
            beside(Checkout::Waiting, Dedicated::Silent),
            down(Timeout),
        ),
        (21, NOTHING, down(Timeout)),
    ];
    for (row, evidence, result) in rows {
        assert_eq!(found(evidence), result, "row {row}: {evidence:?}");
    }
}

/// Every value of every field, with one reason for each that carries one.
fn all() -> impl Iterator<Item = Evidence> {
    let proofs = [
        Proof::NotRequired,
        FINE,
        BEHIND,
        READ_ONLY,
        Proof::TooLong,
        Proof::NoTime,
    ];
    let mut checkouts = vec![
        Checkout::NotTried,
        Checkout::Waiting,
        Checkout::Silent,
        Checkout::Broken(Reason::Reset),
        Checkout::Storm,
        Checkout::CannotServe(Reason::Loading),
    ];
    checkouts.extend(proofs.map(Checkout::Answered));
    checkouts.extend(proofs.map(Checkout::Forbidden));
    let mut dedicated = vec![
        Dedicated::NotTried,
        Dedicated::Silent,
        Dedicated::Refused(Reason::Auth),
        Dedicated::Failed(Reason::Busy),
        Dedicated::Forbidden,
    ];
    dedicated.extend(proofs.map(Dedicated::Answered));
    let served = [Served::No, Served::Promptly, Served::Slowly];
    checkouts.into_iter().flat_map(move |checkout| {
        dedicated.clone().into_iter().flat_map(move |dedicated| {
            served.into_iter().flat_map(move |served| {
                (0..16).map(move |bits| Evidence {
                    checkout,
                    dedicated,
                    served,
                    full: bits & 1 != 0,
                    silent: bits & 2 != 0,
                    broken: bits & 4 != 0,
                    needs_proof: bits & 8 != 0,
                })
            })
        })
    })
}

fn pool_works(evidence: &Evidence) -> bool {
    matches!(
        evidence.checkout,
        Checkout::Answered(_) | Checkout::Forbidden(_)
    ) || evidence.served != Served::No
}

#[test]
fn up_and_degraded_need_a_pooled_connection_that_works() {
    let mut count = 0;
    for evidence in all() {
        count += 1;
        let (status, reason) = found(evidence);
        // The one exception: a full pool in front of a server that answers.
        let is_full = evidence.full
            && matches!(evidence.checkout, Checkout::NotTried | Checkout::Waiting)
            && matches!(
                evidence.dedicated,
                Dedicated::Answered(_) | Dedicated::Forbidden
            );
        if status.is_serving() {
            assert!(pool_works(&evidence) || is_full, "{evidence:?}");
        }
        assert_eq!(reason.is_none(), status == Status::Up, "{evidence:?}");
        assert_ne!(status, Status::Unknown, "{evidence:?}");
    }
    assert_eq!(count, 18 * 11 * 3 * 16);
}

#[test]
fn a_proof_that_failed_is_never_up() {
    for evidence in all() {
        if let Checkout::Answered(READ_ONLY) | Checkout::Forbidden(READ_ONLY) = evidence.checkout {
            assert_eq!(found(evidence), (Status::Down, Some(Reason::ReadOnly)));
        }
        if evidence.needs_proof
            && !matches!(
                evidence.checkout,
                Checkout::Answered(FINE | Proof::NotRequired)
            )
        {
            assert_ne!(found(evidence).0, Status::Up, "{evidence:?}");
        }
    }
}

#[test]
fn a_settled_result_does_not_depend_on_what_is_pending() {
    for evidence in all() {
        for others in [Others::None, Others::Uncounted, Others::Counted] {
            if !is_settled(&evidence, others) {
                continue;
            }
            // A dedicated connection that has not answered yet changes nothing about an answer of the pool.
            if matches!(
                evidence.checkout,
                Checkout::Answered(_) | Checkout::CannotServe(_)
            ) {
                let later = Evidence {
                    dedicated: Dedicated::Silent,
                    ..evidence
                };
                assert_eq!(found(later), found(evidence), "{evidence:?}");
            }
            // Down is settled early only where nothing else of the pool could still show more.
            if found(evidence).0 == Status::Down && !pool_works(&evidence) {
                let answered = matches!(evidence.checkout, Checkout::CannotServe(_));
                assert!(answered || others != Others::Counted, "{evidence:?}");
            }
        }
    }
}
