//! The manager whose connects end: the one place where the benches name it.

use tower_health::checks;

pub type Bounded<M> = checks::ConnectTimeoutManager<M>;

pub fn bounded<M>(manager: M) -> Bounded<M> {
    Bounded::new(manager)
}
