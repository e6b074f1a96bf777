//! User instructions of a whole HTTP/1.1 connection per request: hyper, the service, and what is written.
//!
//! Without sockets, so that no work of the kernel is in it. Counted by callgrind; fails if a ratio is over its limit.
//!
//! `cargo bench --bench connection --features hyper [-- --plot FILE]`

mod support;

use std::{env, fs};

use axum::{Router, routing::get};
use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService as Hyper;
use support::{
    Bare,
    callgrind::{REQUESTS, count, is_missing, variant},
    contestants::{FOREIGN, PROBE, axum_handler, axum_health, constant, router, settled},
    plot::Bars,
    wire::Connection,
};
use tower_health::Access;
use tower_layer::Layer;

/// Name, and what it is.
const VARIANTS: &[(&str, &str)] = &[
    ("bare", "hyper with a constant tower service"),
    ("pass", "it in our layer"),
    ("pass_keep_body", "the same, `keep_body_type`"),
    ("router", "an axum `Router`"),
    ("router_pass", "it in our layer"),
    ("router_pass_keep_body", "the same, `keep_body_type`"),
    ("router_layer", "our layer by `Router::layer`"),
    ("constant", "a probe's bytes and headers by hand"),
    ("probe", "our cached probe: the same bytes"),
    ("probe_details", "the same with details"),
    ("probe_down", "our 503, with `retry-after`"),
    ("probe_around_router", "our cached probe, around a `Router`"),
    ("probe_hyper", "the same, our layer as hyper's own service"),
    ("probe_router_layer", "our cached probe, by `Router::layer`"),
    ("axum_handler", "an axum handler: the same bytes"),
    ("axum_health", "`axum-health`, one trivial indicator"),
];

/// Of what a variant may cost at most so many times another.
const LIMITS: &[(&str, &str, f64)] = &[
    ("pass", "bare", 1.08),
    ("pass_keep_body", "bare", 1.08),
    ("router_pass", "router", 1.02),
    ("router_pass_keep_body", "router", 1.02),
    ("probe", "constant", 1.12),
    ("probe", "axum_handler", 0.66),
    ("probe", "axum_health", 0.48),
];

/// Without a limit.
const ASIDE: &[(&str, &str)] = &[
    ("probe_details", "probe"),
    ("probe_down", "probe"),
    ("probe_around_router", "constant"),
    ("probe_hyper", "probe_around_router"),
    ("router_layer", "router"),
    ("probe_router_layer", "constant"),
];

fn main() {
    match variant() {
        Some(variant) => {
            let mut connection = connection(&variant);
            // What is made once is made outside the count.
            for _ in 0..10 {
                connection.serve_one();
            }
            for _ in 0..REQUESTS {
                measured(&mut connection);
            }
        }
        None => measure_all(),
    }
}

/// The only function that is counted, with all it calls.
#[inline(never)]
fn measured(connection: &mut Connection) {
    connection.serve_one();
}

fn measure_all() {
    for (name, _) in VARIANTS {
        check_answer(name);
    }
    if is_missing("connection") {
        return;
    }
    println!("| variant | what it is | instructions a request |");
    println!("|---|---|---:|");
    let counts: Vec<i64> = VARIANTS
        .iter()
        .map(|(name, what)| {
            // Random seeds differ between processes, and rarely cost a request 160 more.
            let least = count(name).min(count(name));
            println!("| `{name}` | {what} | {least} |");
            least
        })
        .collect();
    let of = |wanted: &str| {
        let at = VARIANTS.iter().position(|(name, _)| *name == wanted);
        counts[at.expect("a variant")]
    };
    let ratio = |name, over| of(name) as f64 / of(over) as f64;

    println!("\n| variant | over | more | ratio | limit |");
    println!("|---|---|---:|---:|---:|");
    let mut failed = false;
    for (name, over, limit) in LIMITS {
        let (more, ratio) = (of(name) - of(over), ratio(name, over));
        // Limits have two decimals, and so has what is compared with them.
        failed |= (ratio * 100.0).round() > (limit * 100.0).round();
        println!("| `{name}` | `{over}` | {more:+} | {ratio:.4} | {limit:.2} |");
    }
    for (name, over) in ASIDE {
        let (more, ratio) = (of(name) - of(over), ratio(name, over));
        println!("| `{name}` | `{over}` | {more:+} | {ratio:.4} | |");
    }
    draw(of);
    assert!(!failed, "a variant costs more than its limit");
}

/// The probes, if a place for the picture is named.
fn draw(of: impl Fn(&str) -> i64) {
    let Some(file) = env::args().skip_while(|word| word != "--plot").nth(1) else {
        return;
    };
    let title = "A probe on a whole HTTP/1.1 connection, without sockets";
    let mut plot = Bars::new(title, "user instructions");
    for (variant, name) in [
        ("constant", "hyper, a constant by hand"),
        ("probe", "our cached probe"),
        ("axum_handler", "axum, a static handler"),
        ("axum_health", "axum-health, one indicator"),
    ] {
        plot.add(name, of(variant) as f64, variant.starts_with("probe"));
    }
    fs::write(file, plot.draw()).expect("the plot's place can be written");
}

/// A comparison of answers that differ would be none.
fn check_answer(name: &str) {
    let answer = |name| {
        let mut connection = connection(name);
        connection.serve_one();
        connection.answer()
    };
    let found = answer(name);
    let wanted = match name {
        "probe" | "probe_around_router" | "probe_hyper" | "probe_router_layer" | "axum_handler" => {
            answer("constant")
        }
        "probe_down" => {
            assert!(found.starts_with("HTTP/1.1 503 "), "{name}: {found}");
            return;
        }
        _ => {
            assert!(found.starts_with("HTTP/1.1 200 "), "{name}: {found}");
            return;
        }
    };
    assert_eq!(found, wanted, "{name}");
}

fn connection(variant: &str) -> Connection {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let layer = runtime.block_on(settled(true));
    match variant {
        "bare" => Connection::new(Hyper::new(Bare), FOREIGN),
        "pass" => Connection::new(Hyper::new(layer.layer(Bare)), FOREIGN),
        "pass_keep_body" => {
            Connection::new(Hyper::new(layer.keep_body_type().layer(Bare)), FOREIGN)
        }
        "router" => Connection::new(Hyper::new(router()), FOREIGN),
        "router_pass" => Connection::new(Hyper::new(layer.layer(router())), FOREIGN),
        "router_pass_keep_body" => {
            Connection::new(Hyper::new(layer.keep_body_type().layer(router())), FOREIGN)
        }
        "router_layer" => Connection::new(Hyper::new(router().layer(layer)), FOREIGN),
        "constant" => Connection::new(service_fn(constant::<2>), PROBE),
        "probe" => Connection::new(Hyper::new(layer.layer(Bare)), PROBE),
        "probe_hyper" => Connection::new(layer.layer(Hyper::new(router())), PROBE),
        "probe_details" => {
            let layer = layer.details(Access::everybody());
            Connection::new(Hyper::new(layer.layer(Bare)), PROBE)
        }
        "probe_down" => {
            let layer = runtime.block_on(settled(false));
            Connection::new(Hyper::new(layer.layer(Bare)), PROBE)
        }
        "probe_around_router" => Connection::new(Hyper::new(layer.layer(router())), PROBE),
        "probe_router_layer" => {
            // A layer is reached where a route matches, or the fallback.
            let router: Router = router().route("/readyz", get(async || ""));
            Connection::new(Hyper::new(router.layer(layer)), PROBE)
        }
        "axum_handler" => Connection::new(Hyper::new(axum_handler()), PROBE),
        "axum_health" => Connection::new(Hyper::new(axum_health()), PROBE),
        other => unreachable!("{other} is not a variant"),
    }
}
