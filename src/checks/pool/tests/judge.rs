//! The table in the documentation of `checks`, and all combinations of evidence.

use super::super::judge::{
    Dedicated, Evidence, Judgment, OtherConnections, OwnCheckout, Proof, Served, is_settled, judge,
};
use crate::report::{Reason, Status};

const NOTHING: Evidence = Evidence {
    checkout: OwnCheckout::NotTried,
    dedicated: Dedicated::NotTried,
    served: Served::No,
    full: false,
    unresponsive: false,
    broken: false,
    needs_proof: false,
};
const FINE: Proof = Proof::Done(Status::Up, None);
const READ_ONLY: Proof = Proof::Done(Status::Down, Some(Reason::ReadOnly));
const BEHIND: Proof = Proof::Done(Status::Degraded, Some(Reason::Behind));

fn found(evidence: Evidence) -> (Status, Option<Reason>) {
    let Judgment { status, reason, .. } = judge(&evidence);
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
    let with_dedicated = |checkout, dedicated| Evidence {
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
        (1, checkout(OwnCheckout::Answered(Proof::NotRequired)), up),
        (1, checkout(OwnCheckout::Answered(FINE)), up),
        (
            2,
            Evidence {
                broken: true,
                ..checkout(OwnCheckout::Answered(FINE))
            },
            degraded(PoolStuck),
        ),
        (
            3,
            Evidence {
                unresponsive: true,
                ..checkout(OwnCheckout::Answered(FINE))
            },
            degraded(PoolStuck),
        ),
        (
            4,
            checkout(OwnCheckout::Forbidden(FINE)),
            degraded(Rejected),
        ),
        (
            5,
            checkout(OwnCheckout::Answered(READ_ONLY)),
            down(Reason::ReadOnly),
        ),
        (
            5,
            checkout(OwnCheckout::Forbidden(BEHIND)),
            degraded(Reason::Behind),
        ),
        (
            6,
            checkout(OwnCheckout::Answered(Proof::TooLong)),
            down(Timeout),
        ),
        (
            7,
            checkout(OwnCheckout::Answered(Proof::NoTime)),
            degraded(Saturated),
        ),
        (
            8,
            checkout(OwnCheckout::CannotServe(Loading)),
            down(Loading),
        ),
        (
            9,
            served(
                with_dedicated(OwnCheckout::Waiting, Dedicated::Refused(Exhausted)),
                Served::Promptly,
            ),
            degraded(Exhausted),
        ),
        (
            10,
            served(
                proving(with_dedicated(
                    OwnCheckout::NotTried,
                    Dedicated::Answered(READ_ONLY),
                )),
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
                proving(with_dedicated(
                    OwnCheckout::NotTried,
                    Dedicated::Answered(FINE),
                )),
                Served::Slowly,
            ),
            degraded(Saturated),
        ),
        (
            12,
            served(checkout(OwnCheckout::Unresponsive), Served::Promptly),
            degraded(PoolStuck),
        ),
        (
            13,
            served(checkout(OwnCheckout::Waiting), Served::Slowly),
            degraded(Saturated),
        ),
        (
            14,
            served(checkout(OwnCheckout::Waiting), Served::Promptly),
            up,
        ),
        (
            15,
            full(with_dedicated(
                OwnCheckout::NotTried,
                Dedicated::Answered(READ_ONLY),
            )),
            down(Reason::ReadOnly),
        ),
        (
            16,
            full(with_dedicated(OwnCheckout::NotTried, answers)),
            degraded(Saturated),
        ),
        (
            16,
            full(with_dedicated(OwnCheckout::Waiting, Dedicated::Forbidden)),
            degraded(Saturated),
        ),
        (
            17,
            with_dedicated(OwnCheckout::Waiting, answers),
            down(PoolStuck),
        ),
        (
            17,
            full(with_dedicated(OwnCheckout::Unresponsive, answers)),
            down(PoolStuck),
        ),
        (
            17,
            full(with_dedicated(OwnCheckout::Broken(Reset), answers)),
            down(PoolStuck),
        ),
        (
            18,
            with_dedicated(OwnCheckout::ReconnectLoop, Dedicated::Forbidden),
            down(Rejected),
        ),
        (
            19,
            with_dedicated(OwnCheckout::Broken(Reset), Dedicated::Refused(Auth)),
            down(Auth),
        ),
        (
            19,
            full(with_dedicated(
                OwnCheckout::NotTried,
                Dedicated::Failed(Loading),
            )),
            down(Loading),
        ),
        (20, checkout(OwnCheckout::Broken(Refused)), down(Refused)),
        (
            21,
            with_dedicated(OwnCheckout::Waiting, Dedicated::Waiting),
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
        OwnCheckout::NotTried,
        OwnCheckout::Waiting,
        OwnCheckout::Unresponsive,
        OwnCheckout::Broken(Reason::Reset),
        OwnCheckout::ReconnectLoop,
        OwnCheckout::CannotServe(Reason::Loading),
    ];
    checkouts.extend(proofs.map(OwnCheckout::Answered));
    checkouts.extend(proofs.map(OwnCheckout::Forbidden));
    let mut dedicated = vec![
        Dedicated::NotTried,
        Dedicated::Waiting,
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
                    unresponsive: bits & 2 != 0,
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
        OwnCheckout::Answered(_) | OwnCheckout::Forbidden(_)
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
            && matches!(
                evidence.checkout,
                OwnCheckout::NotTried | OwnCheckout::Waiting
            )
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
        if let OwnCheckout::Answered(READ_ONLY) | OwnCheckout::Forbidden(READ_ONLY) =
            evidence.checkout
        {
            assert_eq!(found(evidence), (Status::Down, Some(Reason::ReadOnly)));
        }
        if evidence.needs_proof
            && !matches!(
                evidence.checkout,
                OwnCheckout::Answered(FINE | Proof::NotRequired)
            )
        {
            assert_ne!(found(evidence).0, Status::Up, "{evidence:?}");
        }
    }
}

#[test]
fn a_settled_result_does_not_depend_on_what_is_pending() {
    for evidence in all() {
        for others in [
            OtherConnections::None,
            OtherConnections::Uncounted,
            OtherConnections::Counted,
        ] {
            if !is_settled(&evidence, others) {
                continue;
            }
            // Once the pool has answered, a dedicated connection without an answer changes nothing.
            if matches!(
                evidence.checkout,
                OwnCheckout::Answered(_) | OwnCheckout::CannotServe(_)
            ) {
                let later = Evidence {
                    dedicated: Dedicated::Waiting,
                    ..evidence
                };
                assert_eq!(found(later), found(evidence), "{evidence:?}");
            }
            // Down is settled early only where nothing else of the pool could still show more.
            if found(evidence).0 == Status::Down && !pool_works(&evidence) {
                let answered = matches!(evidence.checkout, OwnCheckout::CannotServe(_));
                assert!(
                    answered || others != OtherConnections::Counted,
                    "{evidence:?}"
                );
            }
        }
    }
}
