//! Everything that an unauthorized caller may try.

use http::Method;

use super::apps::PATHS;

/// What is asked, and by whom it pretends to be.
#[derive(Clone, Debug)]
pub struct Question {
    pub method: Method,
    pub target: String,
    pub headers: Vec<(&'static str, &'static str)>,
}

pub fn walk() -> Vec<Question> {
    let below = [
        "/zq-database",
        "/zq%2Ddatabase",
        "/zq%22%3Cb%3E%C3%A9",
        "/nobody",
        "/",
        "/a/b",
    ];
    let queries = [
        "",
        "?verbose",
        "?exclude=zq-search",
        "?verbose=1&exclude=zq-group&exclude=nobody",
    ];
    let accepts = [
        "*/*",
        "application/json",
        "application/health+json",
        "application/vnd.spring-boot.actuator.v3+json",
        "text/plain",
        "application/openmetrics-text",
        "text/html",
        "image/png",
    ];
    let disguises = [
        ("x-forwarded-for", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9"),
        ("x-real-ip", "203.0.113.9"),
        ("x-forwarded-for", "203.0.113.9, 198.51.100.7"),
        ("authorization", "Bearer"),
        ("authorization", "Bearer zq-toke"),
        ("authorization", "Bearer zq-tokens"),
        ("authorization", "Basic enEtdG9rZW4="),
        ("authorization", "zq-token"),
        ("cookie", "authorization=Bearer zq-token"),
        ("x-http-method-override", "POST"),
        ("range", "bytes=0-1"),
        ("if-none-match", "*"),
        ("origin", "https://example.org"),
        ("te", "trailers"),
    ];
    let methods = [
        "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "ZQ",
    ];
    let mut questions = Vec::new();
    let mut push = |method: &str, target: &str, headers: &[(&'static str, &'static str)]| {
        questions.push(Question {
            method: method.parse().expect("a method"),
            target: target.to_owned(),
            headers: headers.to_vec(),
        });
    };
    for path in PATHS {
        for accept in accepts {
            for query in queries {
                push("GET", &format!("{path}{query}"), &[("accept", accept)]);
            }
            for below in below {
                push("GET", &format!("{path}{below}"), &[("accept", accept)]);
            }
        }
        for below in [""].iter().chain(&below) {
            let target = format!("{path}{below}");
            for query in queries {
                push("GET", &format!("{target}{query}"), &[]);
            }
            for method in methods {
                push(method, &target, &[]);
            }
        }
        for below in ["", below[0]] {
            for disguise in disguises {
                push("GET", &format!("{path}{below}"), &[disguise]);
            }
        }
    }
    questions
}
