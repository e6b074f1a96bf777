//! From evidence to status, reason and text: pure.

use crate::report::{Reason, Status};

/// What one run has seen of the pool and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Evidence {
    pub(super) checkout: Checkout,
    pub(super) dedicated: Dedicated,
    /// Other callers' checkouts during the run, by a pool whose test asks the server.
    pub(super) served: Served,
    /// No connection is idle, none may be opened, and not only the check holds them.
    pub(super) full: bool,
    /// Another checkout of this check has had no answer for a whole timeout.
    pub(super) silent: bool,
    /// The pool keeps a connection that is broken.
    pub(super) broken: bool,
    /// The check has to prove more than an answer.
    pub(super) needs_proof: bool,
}

/// The best that the check's own checkouts have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checkout {
    NotTried,
    Waiting,
    /// No answer for a whole timeout, on a connection that was idle.
    Silent,
    Broken(Reason),
    /// The pool opens connection after connection, and each fails the pool's test.
    Storm,
    CannotServe(Reason),
    Answered(Proof),
    /// The server answered and forbids the ping.
    Forbidden(Proof),
}

/// What became of the proof that the check requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    NotRequired,
    Done(Status, Option<Reason>),
    /// Not over, after at least half of the timeout.
    TooLong,
    /// Not over, because the connection came late.
    NoTime,
}

/// What the dedicated connection has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dedicated {
    NotTried,
    Silent,
    /// No connection can be opened.
    Refused(Reason),
    /// A connection was opened, and the server cannot serve.
    Failed(Reason),
    Answered(Proof),
    Forbidden,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    No,
    Promptly,
    /// After a wait of 200 ms or more.
    Slowly,
}

/// The result of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) status: Status,
    pub(super) reason: Option<Reason>,
    pub(super) text: Text,
}

/// Where the message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    None,
    Note(&'static str),
    /// The error or the proof on the checkout.
    Checkout,
    /// The error or the proof on the dedicated connection.
    Dedicated,
    /// No reply: the text names the phase.
    Phase,
}

const KEEPS_BROKEN: &str =
    "the pool keeps broken connections: build it with test_on_check_out, or use repair_pool";
const SILENT: &str =
    "a pooled connection does not answer while others do: set tcp_user_timeout and keepalives";
const STUCK: &str = "a new connection answers, the pooled ones do not: set test_on_check_out, tcp_user_timeout \
     and keepalives, or use repair_pool";
const FULL: &str = "all pooled connections are in use, and the server answers on a new one";
const WAITS: &str = "other callers are served after waits of 200 ms or more";
const UNPROVED: &str =
    "the pool serves other callers, and no connection was free for the check's query";
const PING: &str = "the server answers, and its ACL forbids this user to PING";
const LATE: &str = "a pooled connection came too late for the query to end";

/// Chooses the result. The rows are those of the table in the module's documentation.
pub(super) fn judge(e: &Evidence) -> Judgement {
    use Reason::{PoolStuck, Rejected, Saturated, Timeout};
    match (e.checkout, e.dedicated, e.served) {
        // Rows 1 to 8: the pool's own connection decides.
        (Checkout::Answered(proof), ..) => match proof {
            Proof::NotRequired | Proof::Done(Status::Up, _) if e.broken => {
                degraded(PoolStuck, Text::Note(KEEPS_BROKEN))
            }
            Proof::NotRequired | Proof::Done(Status::Up, _) if e.silent => {
                degraded(PoolStuck, Text::Note(SILENT))
            }
            proof => of_proof(proof),
        },
        (Checkout::Forbidden(proof), ..) => match proof {
            Proof::NotRequired | Proof::Done(Status::Up, _) => degraded(Rejected, Text::Note(PING)),
            proof => of_proof(proof),
        },
        (Checkout::CannotServe(reason), ..) => down(reason, Text::Checkout),
        // Rows 9 to 13: no answer on a checkout, and the pool serves other callers.
        (_, Dedicated::Refused(reason), Served::Promptly | Served::Slowly) => {
            degraded(reason, Text::Dedicated)
        }
        (_, dedicated, Served::Promptly | Served::Slowly) if e.needs_proof => match dedicated {
            Dedicated::Answered(
                proof @ (Proof::Done(Status::Degraded | Status::Down, _) | Proof::TooLong),
            ) => of_dedicated_proof(proof),
            Dedicated::Failed(reason) => down(reason, Text::Dedicated),
            _ => degraded(Saturated, Text::Note(UNPROVED)),
        },
        (Checkout::Silent, _, Served::Promptly | Served::Slowly) => {
            degraded(PoolStuck, Text::Note(SILENT))
        }
        (.., Served::Slowly) => degraded(Saturated, Text::Note(WAITS)),
        (.., Served::Promptly) => Judgement {
            status: Status::Up,
            reason: None,
            text: Text::None,
        },
        // Rows 14 to 20: the pool serves nobody.
        (
            Checkout::NotTried | Checkout::Waiting,
            Dedicated::Answered(
                proof @ (Proof::Done(Status::Degraded | Status::Down, _) | Proof::TooLong),
            ),
            Served::No,
        ) if e.full => of_dedicated_proof(proof),
        (
            Checkout::NotTried | Checkout::Waiting,
            Dedicated::Answered(_) | Dedicated::Forbidden,
            Served::No,
        ) if e.full => degraded(Saturated, Text::Note(FULL)),
        (_, Dedicated::Answered(_), Served::No) => down(PoolStuck, Text::Note(STUCK)),
        (_, Dedicated::Forbidden, Served::No) => down(Rejected, Text::Note(PING)),
        (_, Dedicated::Refused(reason) | Dedicated::Failed(reason), Served::No) => {
            down(reason, Text::Dedicated)
        }
        (Checkout::Broken(reason), Dedicated::NotTried, Served::No) => down(reason, Text::Checkout),
        (_, Dedicated::NotTried | Dedicated::Silent, Served::No) => down(Timeout, Text::Phase),
    }
}

/// What the pool's other connections could still show in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// The pool holds no connection.
    None,
    /// They may serve callers, and the pool's counters do not prove it.
    Uncounted,
    /// They may serve callers, and the pool's counters would prove it.
    Counted,
}

/// Whether more evidence cannot make the result better.
pub(super) fn is_settled(e: &Evidence, others: Others) -> bool {
    let no_server = matches!(
        e.dedicated,
        Dedicated::Refused(_) | Dedicated::Failed(_) | Dedicated::Forbidden
    );
    match e.checkout {
        Checkout::Answered(proof) | Checkout::Forbidden(proof) => {
            !matches!(proof, Proof::TooLong | Proof::NoTime)
        }
        Checkout::CannotServe(_) => true,
        _ if e.served != Served::No => {
            e.full
                && (!e.needs_proof || matches!(e.dedicated, Dedicated::Answered(Proof::Done(..))))
        }
        Checkout::Broken(_) | Checkout::Storm => {
            others != Others::Counted
                && (no_server || (!e.full && matches!(e.dedicated, Dedicated::Answered(_))))
        }
        Checkout::NotTried | Checkout::Waiting => others == Others::None && no_server,
        Checkout::Silent => false,
    }
}

fn of_proof(proof: Proof) -> Judgement {
    match proof {
        Proof::NotRequired => Judgement {
            status: Status::Up,
            reason: None,
            text: Text::None,
        },
        Proof::Done(status, reason) => Judgement {
            status,
            reason,
            text: Text::Checkout,
        },
        Proof::TooLong => down(Reason::Timeout, Text::Phase),
        Proof::NoTime => degraded(Reason::Saturated, Text::Note(LATE)),
    }
}

fn of_dedicated_proof(proof: Proof) -> Judgement {
    match of_proof(proof) {
        judgement @ Judgement {
            text: Text::Checkout,
            ..
        } => Judgement {
            text: Text::Dedicated,
            ..judgement
        },
        judgement => judgement,
    }
}

fn degraded(reason: Reason, text: Text) -> Judgement {
    Judgement {
        status: Status::Degraded,
        reason: Some(reason),
        text,
    }
}

fn down(reason: Reason, text: Text) -> Judgement {
    Judgement {
        status: Status::Down,
        reason: Some(reason),
        text,
    }
}
