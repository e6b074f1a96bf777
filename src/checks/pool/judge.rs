//! From evidence to status, reason and message: pure.

use crate::report::{Reason, Status};

/// What one run knows about the pool and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Evidence {
    pub(super) checkout: OwnCheckout,
    pub(super) dedicated: Dedicated,
    /// Other callers' checkouts during the run, by a pool whose test asks the server.
    pub(super) served: Served,
    /// Whether no connection is idle, none may be opened, and other callers hold some.
    pub(super) full: bool,
    /// Whether another checkout of this check has had no answer for a whole timeout.
    pub(super) unresponsive: bool,
    /// Whether the pool keeps a connection that is broken.
    pub(super) broken: bool,
    /// Whether the check requires more than an answer.
    pub(super) needs_proof: bool,
}

/// The best that the check's own checkouts have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnCheckout {
    NotTried,
    Waiting,
    /// No answer for a whole timeout, on a connection that was idle.
    Unresponsive,
    Broken(Reason),
    /// The pool opens connection after connection, and each fails the pool's test.
    ReconnectLoop,
    CannotServe(Reason),
    Answered(Proof),
    /// The server answered and forbids the ping.
    Forbidden(Proof),
}

/// How far the proof is that the check requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    NotRequired,
    Done(Status, Option<Reason>),
    /// It is not over, after at least half of the timeout.
    TooLong,
    /// It is not over, because the connection came late.
    NoTime,
}

impl Proof {
    fn is_fine(self) -> bool {
        matches!(self, Self::NotRequired | Self::Done(Status::Up, _))
    }

    fn has_failed(self) -> bool {
        matches!(
            self,
            Self::Done(Status::Degraded | Status::Down, _) | Self::TooLong
        )
    }
}

/// What the dedicated connection has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dedicated {
    NotTried,
    /// No answer yet.
    Waiting,
    /// No connection can be opened.
    Refused(Reason),
    /// A connection was opened, and the server cannot serve.
    Failed(Reason),
    Answered(Proof),
    Forbidden,
}

/// Whether the pool served other callers during the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    No,
    Promptly,
    /// After 200 ms or more on average.
    Slowly,
}

/// The result of a run, without its observations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judgment {
    pub(super) status: Status,
    pub(super) reason: Option<Reason>,
    pub(super) message: Message,
}

/// What the message of a result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    None,
    Fixed(&'static str),
    /// The error or the proof on the checkout.
    Checkout,
    /// The error or the proof on the dedicated connection.
    Dedicated,
    /// No reply: the message says what the run was waiting for.
    Phase,
}

const KEEPS_BROKEN: Message = Message::Fixed(
    "the pool keeps broken connections: build it with test_on_check_out, or use repair_pool",
);
const UNRESPONSIVE: Message = Message::Fixed(
    "a pooled connection does not answer while others do: set tcp_user_timeout and keepalives",
);
const STUCK: Message = Message::Fixed(
    "a new connection answers, the pooled ones do not: set test_on_check_out, tcp_user_timeout \
     and keepalives, or use repair_pool",
);
const FULL: Message =
    Message::Fixed("all pooled connections are in use, and the server answers on a new one");
const SLOW: Message = Message::Fixed("other callers are served after waits of 200 ms or more");
const UNPROVED: Message = Message::Fixed(
    "the pool serves other callers, and no connection was free for the check's query",
);
const PING_FORBIDDEN: Message =
    Message::Fixed("the server answers, and its ACL forbids this user to PING");
const TOO_LATE: Message = Message::Fixed("a pooled connection came too late for the query to end");

/// Chooses the result. The rows are those of the table in the documentation of `checks`.
pub(super) fn judge(e: &Evidence) -> Judgment {
    use Reason::{PoolStuck, Rejected, Saturated, Timeout};
    let is_served = e.served != Served::No;
    match (e.checkout, e.dedicated) {
        // Rows 1 to 8: the check's own checkout decides.
        (OwnCheckout::Answered(proof), _) if e.broken && proof.is_fine() => {
            degraded(PoolStuck, KEEPS_BROKEN)
        }
        (OwnCheckout::Answered(proof), _) if e.unresponsive && proof.is_fine() => {
            degraded(PoolStuck, UNRESPONSIVE)
        }
        (OwnCheckout::Forbidden(proof), _) if proof.is_fine() => degraded(Rejected, PING_FORBIDDEN),
        (OwnCheckout::Answered(proof) | OwnCheckout::Forbidden(proof), _) => {
            of_proof(proof, Message::Checkout)
        }
        (OwnCheckout::CannotServe(reason), _) => down(reason, Message::Checkout),
        // Rows 9 to 14: no answer on a checkout, and the pool serves other callers.
        (_, Dedicated::Refused(reason)) if is_served => degraded(reason, Message::Dedicated),
        (_, Dedicated::Answered(proof)) if is_served && e.needs_proof && proof.has_failed() => {
            of_proof(proof, Message::Dedicated)
        }
        (_, Dedicated::Failed(reason)) if is_served && e.needs_proof => {
            down(reason, Message::Dedicated)
        }
        _ if is_served && e.needs_proof => degraded(Saturated, UNPROVED),
        (OwnCheckout::Unresponsive, _) if is_served => degraded(PoolStuck, UNRESPONSIVE),
        _ if e.served == Served::Slowly => degraded(Saturated, SLOW),
        _ if is_served => UP,
        // Rows 15 to 21: the pool serves no caller.
        (OwnCheckout::NotTried | OwnCheckout::Waiting, Dedicated::Answered(proof))
            if e.full && proof.has_failed() =>
        {
            of_proof(proof, Message::Dedicated)
        }
        (
            OwnCheckout::NotTried | OwnCheckout::Waiting,
            Dedicated::Answered(_) | Dedicated::Forbidden,
        ) if e.full => degraded(Saturated, FULL),
        (_, Dedicated::Answered(_)) => down(PoolStuck, STUCK),
        (_, Dedicated::Forbidden) => down(Rejected, PING_FORBIDDEN),
        (_, Dedicated::Refused(reason) | Dedicated::Failed(reason)) => {
            down(reason, Message::Dedicated)
        }
        (OwnCheckout::Broken(reason), Dedicated::NotTried) => down(reason, Message::Checkout),
        (_, Dedicated::NotTried | Dedicated::Waiting) => down(Timeout, Message::Phase),
    }
}

/// What the pool's other connections could still show in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OtherConnections {
    /// The pool holds no connection.
    None,
    /// They may serve callers, and the pool's counters do not prove it.
    Uncounted,
    /// They may serve callers, and the pool's counters would prove it.
    Counted,
}

/// Whether more evidence cannot make the result better.
pub(super) fn is_settled(e: &Evidence, others: OtherConnections) -> bool {
    let no_server = matches!(
        e.dedicated,
        Dedicated::Refused(_) | Dedicated::Failed(_) | Dedicated::Forbidden
    );
    match e.checkout {
        OwnCheckout::Answered(proof) | OwnCheckout::Forbidden(proof) => {
            !matches!(proof, Proof::TooLong | Proof::NoTime)
        }
        OwnCheckout::CannotServe(_) => true,
        _ if e.served != Served::No => {
            e.full
                && (!e.needs_proof || matches!(e.dedicated, Dedicated::Answered(Proof::Done(..))))
        }
        OwnCheckout::Broken(_) | OwnCheckout::ReconnectLoop => {
            others != OtherConnections::Counted
                && (no_server || (!e.full && matches!(e.dedicated, Dedicated::Answered(_))))
        }
        OwnCheckout::NotTried | OwnCheckout::Waiting => {
            others == OtherConnections::None && no_server
        }
        OwnCheckout::Unresponsive => false,
    }
}

/// The result of a proof. `message`: where the proof was made.
fn of_proof(proof: Proof, message: Message) -> Judgment {
    match proof {
        Proof::NotRequired => UP,
        Proof::Done(status, reason) => Judgment {
            status,
            reason,
            message,
        },
        Proof::TooLong => down(Reason::Timeout, Message::Phase),
        Proof::NoTime => degraded(Reason::Saturated, TOO_LATE),
    }
}

const UP: Judgment = Judgment {
    status: Status::Up,
    reason: None,
    message: Message::None,
};

fn degraded(reason: Reason, message: Message) -> Judgment {
    Judgment {
        status: Status::Degraded,
        ..down(reason, message)
    }
}

fn down(reason: Reason, message: Message) -> Judgment {
    Judgment {
        status: Status::Down,
        reason: Some(reason),
        message,
    }
}
