//! The bodies of the two endpoints.

use serde::Serialize;
use tower_health::{
    Status,
    render::{Render, View},
    report::{ObservedValue, ReportEntry},
};

/// `/health`.
pub(crate) struct Overview;

/// `/admin/health/redis`.
pub(crate) struct Admin {
    pub(crate) demo: bool,
}

#[derive(Serialize)]
struct Whole<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<Redis<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<Queue<'a>>,
}

#[derive(Serialize)]
struct Internals<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    counter_backend: Option<Redis<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_service: Option<Queue<'a>>,
    demo_mode: bool,
}

#[derive(Serialize)]
struct Redis<'a> {
    status: &'static str,
    backend: &'a str,
}

#[derive(Serialize)]
struct Queue<'a> {
    status: &'static str,
    backend: &'a str,
    /// `null` while Redis is down.
    queue_depth: Option<&'a ObservedValue>,
}

impl Render for Overview {
    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn render(&self, view: &View<'_>) -> Vec<u8> {
        let field = |wanted: &str| {
            let found = view.info().iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| &**value)
        };
        to_json(&Whole {
            status: overall(view.status()),
            version: field("version"),
            environment: field("environment"),
            redis: redis(view),
            queue: queue(view),
        })
    }
}

impl Render for Admin {
    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn render(&self, view: &View<'_>) -> Vec<u8> {
        to_json(&Internals {
            counter_backend: redis(view),
            queue_service: queue(view),
            demo_mode: self.demo,
        })
    }
}

fn redis<'a>(view: &View<'a>) -> Option<Redis<'a>> {
    entry(view, "redis").map(|entry| Redis {
        status: connection(entry.status),
        backend: backend(entry),
    })
}

fn queue<'a>(view: &View<'a>) -> Option<Queue<'a>> {
    entry(view, "queue").map(|entry| Queue {
        status: connection(entry.status),
        backend: backend(entry),
        queue_depth: (entry.observations())
            .find(|(name, _)| name.starts_with("queue"))
            .map(|(_, depth)| depth),
    })
}

fn entry<'a>(view: &View<'a>, name: &str) -> Option<&'a ReportEntry> {
    view.entries().iter().find(|entry| &*entry.name == name)
}

/// `redis` or `memory`.
fn backend(entry: &ReportEntry) -> &str {
    entry.kind.as_deref().unwrap_or("unknown")
}

fn connection(status: Status) -> &'static str {
    match status.is_serving() {
        true => "connected",
        false => "disconnected",
    }
}

fn overall(status: Status) -> &'static str {
    match status {
        Status::Up => "healthy",
        Status::Degraded => "degraded",
        Status::Unknown | Status::Down => "unhealthy",
    }
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain structs with string keys")
}
