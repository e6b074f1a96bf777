//! An app with something of everything, in a state that does not move.

use std::{future::pending, time::Duration};

use tower_health::{
    Dependency, Failure, Health, HealthBuilder, Outcome, Reason, report::PoolStats,
};

/// A name that is markup, script, a format and an order to write backwards, all at once.
pub const HOSTILE: &str = "'><img src=x onerror=pwned=1>\"'&amp;${1}\u{202e}`%3Cb%3E";
/// The same as a message.
pub const MESSAGE: &str = "<script>pwned=1</script><!-- \"'&lt; no answer within 800 ms";

/// Longer than any test: what was found first stays.
const FOREVER: Duration = Duration::from_secs(100_000);

fn app() -> HealthBuilder {
    let database = async || {
        let up = Outcome::up().pool(PoolStats::new(10, 10, 7));
        Ok(up.observe("role", "primary").observe("lag_ms", 12.5))
    };
    let cache = async || Ok(Outcome::up().pool(PoolStats::new(16, 6, 5)));
    let database = Dependency::new("database", database).kind("postgres");
    let cache = Dependency::new("cache", cache).kind("redis").optional();
    Health::builder()
        .add(database.cache_for(FOREVER))
        .add(cache.cache_for(FOREVER))
        .info("version", "2.0.0")
        .info("<b>region</b>", "eu-west-1 & <i>others</i>")
}

pub fn up() -> Health {
    app().build()
}

/// An optional one is down and a required one degraded.
pub fn degraded() -> Health {
    app().add(hostile().optional()).add(behind()).build()
}

/// A required one is down, and another has not answered yet.
pub fn down() -> Health {
    let mail = Dependency::new("mail", async || pending().await).timeout(FOREVER);
    app()
        .add(hostile())
        .add(behind())
        .add(mail.optional())
        .answer_within(Duration::from_millis(20))
        .build()
}

fn hostile() -> Dependency {
    let fails = async || {
        let failure = Failure::new(Reason::Saturated).message(MESSAGE);
        Err(failure.pool(PoolStats::new(10, 10, 0)))
    };
    let hostile = Dependency::new(HOSTILE, fails).kind("<u>postgres</u>");
    hostile.cache_for(FOREVER)
}

fn behind() -> Dependency {
    let late = async || Ok(Outcome::degraded(Reason::Behind).message("replica is 12 s behind"));
    Dependency::new("1", late).cache_for(FOREVER)
}
