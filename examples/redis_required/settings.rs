//! Settings from the environment; invalid ones end the start.

use std::env;

pub(crate) struct Settings {
    /// Never printed: it holds the login.
    pub(crate) redis_url: Option<String>,
    pub(crate) demo: bool,
    pub(crate) environment: String,
    pub(crate) rate_limit: u64,
    pub(crate) addr: String,
}

impl Settings {
    pub(crate) fn from_env() -> Result<Self, String> {
        let demo = match variable("DEMO_MODE")
            .map(|value| value.to_lowercase())
            .as_deref()
        {
            Some("true") => true,
            Some("false") | None => false,
            Some(other) => return Err(format!("DEMO_MODE {other:?} is neither true nor false")),
        };
        let rate_limit = match variable("RATE_LIMIT") {
            Some(text) => text
                .parse()
                .map_err(|_| format!("RATE_LIMIT {text:?} is not a number"))?,
            None => 60,
        };
        Ok(Self {
            redis_url: variable("REDIS_URL"),
            demo,
            environment: variable("ENVIRONMENT").unwrap_or_else(|| "development".to_owned()),
            rate_limit,
            addr: variable("ADDR").unwrap_or_else(|| "127.0.0.1:3000".to_owned()),
        })
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
