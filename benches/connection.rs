//! User instructions of a whole HTTP/1.1 connection per request: hyper, the service, and what is written.
//!
//! Without sockets, so that nothing of the kernel's is in it. Counted by callgrind as in
//! `instructions`; fails when a ratio is over what it was when it was last made better.
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
    contestants::{
        FOREIGN, PROBE, axum_handler, axum_health, constant, eager_constant, router, settled,
    },
    plot::Bars,
    wire::Connection,
};
use tower_layer::Layer;

/// Name, and what it is.
const VARIANTS: &[(&str, &str)] = &[
    ("bare", "a tower service by itself"),
    ("pass", "it in our layer"),
    ("pass_same_body", "it in our layer, `keep_body_type`"),
    ("router", "an axum `Router`"),
    ("router_pass", "it in our layer"),
    ("router_pass_same_body", "it in our layer, `keep_body_type`"),
    ("router_layer", "our layer by `Router::layer`"),
    ("router_layer_same_body", "the same, `keep_body_type`"),
    ("constant_0", "a constant by hand, no header of its own"),
    ("constant_1", "and `content-type`"),
    ("constant", "and `cache-control`: a probe's own bytes"),
    ("constant_eager", "the same, the request dropped at once"),
    ("constant_3", "`constant` and `x-content-type-options`"),
    ("constant_4", "and `retry-after`"),
    ("probe", "our cached probe: the same bytes"),
    ("probe_hyper", "the same, our layer as hyper's own service"),
    (
        "probe_hyper_around_router",
        "the same, around an axum `Router`",
    ),
    ("pass_hyper", "a foreign path, likewise"),
    ("probe_down", "our 503, with `retry-after`"),
    ("probe_around_router", "our cached probe, around a `Router`"),
    ("probe_router_layer", "our cached probe, by `Router::layer`"),
    ("axum_handler", "an axum handler: the same bytes"),
    ("axum_health", "`axum-health`, one trivial indicator"),
];

/// Of what a variant may cost so many times another: what is aimed at, and what fails the bench.
// Between the two where the aim is missed: as it was, and half a hundredth for what the compiler lays out anew.
const LIMITS: &[(&str, &str, f64, f64)] = &[
    ("pass", "bare", 1.025, 1.025),
    ("pass_same_body", "bare", 1.025, 1.025),
    ("router_pass", "router", 1.010, 1.010),
    ("router_pass_same_body", "router", 1.010, 1.010),
    ("probe", "constant", 1.05, 1.08),
    ("probe", "axum_handler", 0.58, 0.66),
    ("probe", "axum_health", 0.44, 0.465),
    ("probe_hyper", "constant", 1.05, 1.05),
    ("probe_hyper", "axum_handler", 0.58, 0.61),
    ("probe_hyper", "axum_health", 0.44, 0.44),
];

/// Without a limit, but good to know.
const ASIDE: &[(&str, &str)] = &[
    ("router_layer", "router"),
    ("router_layer_same_body", "router"),
    ("pass_hyper", "bare"),
    ("probe_hyper", "constant_eager"),
    ("probe_hyper_around_router", "constant"),
    ("probe_around_router", "constant"),
    ("probe_router_layer", "constant"),
];

/// What each header costs, as the difference of two variants.
const HEADERS: &[(&str, &str, &str)] = &[
    ("content-type", "constant_1", "constant_0"),
    ("cache-control", "constant", "constant_1"),
    ("x-content-type-options", "constant_3", "constant"),
    ("retry-after", "constant_4", "constant_3"),
    ("retry-after of our 503", "probe_down", "probe"),
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
            let count = count(name);
            println!("| `{name}` | {what} | {count} |");
            count
        })
        .collect();
    let of = |wanted: &str| {
        let at = VARIANTS.iter().position(|(name, _)| *name == wanted);
        counts[at.expect("a variant")]
    };
    let ratio = |name, over| of(name) as f64 / of(over) as f64;

    println!("\n| variant | over | more | ratio | aim | fails at |");
    println!("|---|---|---:|---:|---:|---:|");
    let mut failed = false;
    for (name, over, aim, most) in LIMITS {
        let (more, ratio) = (of(name) - of(over), ratio(name, over));
        failed |= ratio > *most;
        let missed = if ratio > *aim { ", missed" } else { "" };
        println!("| `{name}` | `{over}` | {more:+} | {ratio:.4} | {aim:.3}{missed} | {most:.3} |");
    }
    for (name, over) in ASIDE {
        let (more, ratio) = (of(name) - of(over), ratio(name, over));
        println!("| `{name}` | `{over}` | {more:+} | {ratio:.4} | | |");
    }

    println!("\n| header | instructions |");
    println!("|---|---:|");
    for (header, with, without) in HEADERS {
        println!("| `{header}` | {:+} |", of(with) - of(without));
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
        ("probe_hyper", "our cached probe, hyper's service"),
        ("probe", "our cached probe, tower's service"),
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
        "probe"
        | "probe_around_router"
        | "probe_router_layer"
        | "probe_hyper"
        | "probe_hyper_around_router"
        | "axum_handler"
        | "constant_eager" => answer("constant"),
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
        "pass_same_body" => {
            Connection::new(Hyper::new(layer.keep_body_type().layer(Bare)), FOREIGN)
        }
        "router" => Connection::new(Hyper::new(router()), FOREIGN),
        "router_pass" => Connection::new(Hyper::new(layer.layer(router())), FOREIGN),
        "router_pass_same_body" => {
            Connection::new(Hyper::new(layer.keep_body_type().layer(router())), FOREIGN)
        }
        "router_layer" => Connection::new(Hyper::new(router().layer(layer)), FOREIGN),
        "router_layer_same_body" => {
            Connection::new(Hyper::new(router().layer(layer.keep_body_type())), FOREIGN)
        }
        "constant_0" => Connection::new(service_fn(constant::<0>), PROBE),
        "constant_1" => Connection::new(service_fn(constant::<1>), PROBE),
        "constant" => Connection::new(service_fn(constant::<2>), PROBE),
        "constant_eager" => Connection::new(service_fn(eager_constant::<2>), PROBE),
        "constant_3" => Connection::new(service_fn(constant::<3>), PROBE),
        "constant_4" => Connection::new(service_fn(constant::<4>), PROBE),
        "probe" => Connection::new(Hyper::new(layer.layer(Bare)), PROBE),
        "probe_hyper" => Connection::new(layer.layer(Hyper::new(Bare)), PROBE),
        "pass_hyper" => Connection::new(layer.layer(Hyper::new(Bare)), FOREIGN),
        "probe_hyper_around_router" => Connection::new(layer.layer(Hyper::new(router())), PROBE),
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
        other => unreachable!("{other} is no variant"),
    }
}
