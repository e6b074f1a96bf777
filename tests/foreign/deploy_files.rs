//! The files in `examples/deploy`: valid to the programs they are for, with numbers that work
//! together with the layer's defaults, and comments that state those numbers.

use std::{
    convert::Infallible,
    future::pending,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::support::{installed, wheel};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use tokio::time::{Instant, advance};
use tower::{Layer, ServiceExt, service_fn};
use tower_health::{Dependency, Health, HealthLayer, Outcome};
use yaml_rust2::{Yaml, YamlLoader};

const HAPROXY: &str = include_str!("../../examples/deploy/haproxy.cfg");
const ENVOY: &str = include_str!("../../examples/deploy/envoy.yaml");
const KUBERNETES: &str = include_str!("../../examples/deploy/kubernetes.yaml");

/// The limit of the last requests, and the exit of the process.
const LAST_REQUESTS: Duration = Duration::from_secs(15);

/// The layer's defaults, as a prober sees them.
struct Defaults {
    answer_within: Duration,
    check_ends: Duration,
    cached_for: Duration,
}

impl Defaults {
    async fn measured() -> Self {
        tokio::time::pause();
        let hangs = || Dependency::new("database", async || pending().await);
        let start = Instant::now();
        let health = Health::builder().add(hangs()).build();
        health.ensure_ready().await.expect_err("down");
        let check_ends = since(start);
        // A caller gets its response while the run goes on.
        let health = Health::builder().add(hangs().timeout(Duration::from_secs(9)));
        let start = Instant::now();
        assert_eq!(ready(&HealthLayer::new(health.build())).await, 503);
        let answer_within = since(start);
        let mut cached_for = Duration::ZERO;
        // The jitter is at random: the longest of many.
        for _ in 0..100 {
            cached_for = cached_for.max(time_between_runs().await);
        }
        Self {
            answer_within,
            check_ends,
            cached_for,
        }
    }
}

/// Less the millisecond by which tokio's timers are late.
fn since(start: Instant) -> Duration {
    start.elapsed() - Duration::from_millis(1)
}

/// The cache lifetime, found by a probe each millisecond.
async fn time_between_runs() -> Duration {
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = runs.clone();
    let health = Health::builder().check("database", move || {
        counter.fetch_add(1, Ordering::Relaxed);
        async { Ok(Outcome::up()) }
    });
    let layer = HealthLayer::new(health.build());
    let start = Instant::now();
    while runs.load(Ordering::Relaxed) < 2 {
        assert_eq!(ready(&layer).await, 200);
        advance(Duration::from_millis(1)).await;
    }
    start.elapsed()
}

async fn ready(layer: &HealthLayer) -> u16 {
    let app = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let request = Request::get("/readyz").body(()).expect("valid");
    let response = layer.layer(app).oneshot(request).await;
    response.expect("never fails").status().as_u16()
}

/// Such as `800ms` or `1.2s`.
fn duration(text: &str) -> Duration {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').expect("a unit"), 1.0),
    };
    Duration::from_secs_f64(number.parse::<f64>().expect("a number") * unit)
}

/// As the comments write it.
fn seconds(duration: Duration) -> String {
    format!("= {:.1} s", duration.as_secs_f64())
}

/// The comment line that begins with `claim` ends with `value`.
#[track_caller]
fn says(file: &str, claim: &str, value: Duration) {
    let line = file
        .lines()
        .find(|line| line.trim_start_matches(['#', ' ']).starts_with(claim));
    let line = line.unwrap_or_else(|| panic!("no line on {claim:?}"));
    assert!(line.contains(&seconds(value)), "{line}: {value:?}");
}

#[tokio::test]
async fn haproxys_numbers_fit_the_defaults() {
    let defaults = Defaults::measured().await;
    let settings: Vec<_> = HAPROXY
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    let settings = settings.join("\n");
    let word = |after: &str| {
        let (_, rest) = settings.split_once(after).expect(after);
        rest.split_whitespace().next().expect("a value")
    };
    let time = |after| duration(word(after));
    let [inter, fast, down] = ["check inter ", " fastinter ", " downinter "].map(time);
    assert_eq!([word(" fall "), word(" rise ")], ["2", "2"]);
    assert!(time("timeout check ") > defaults.answer_within);
    assert!(inter > defaults.cached_for);
    // The second check of a failure gets the result of the first.
    assert!(defaults.check_ends + fast < Duration::from_secs(1));
    says(
        HAPROXY,
        "out of rotation",
        inter + defaults.check_ends + fast,
    );
    says(HAPROXY, "back in rotation", down + fast);
    says(HAPROXY, "drain", inter + fast);
}

fn yaml(text: &str) -> Vec<Yaml> {
    YamlLoader::load_from_str(text).expect("YAML")
}

#[tokio::test]
async fn envoys_numbers_fit_the_defaults() {
    let defaults = Defaults::measured().await;
    let file = &yaml(ENVOY)[0];
    let clusters = file["static_resources"]["clusters"].as_vec().expect("some");
    assert_eq!(clusters.len(), 2);
    for cluster in clusters {
        let check = &cluster["health_checks"][0];
        let time = |field: &str| duration(check[field].as_str().expect(field));
        assert!(time("timeout") > defaults.answer_within);
        assert!(time("interval") > defaults.cached_for);
        assert_eq!(time("no_traffic_interval"), time("interval"));
        assert_eq!(time("unhealthy_edge_interval"), time("unhealthy_interval"));
        assert_eq!(check["healthy_threshold"].as_i64(), Some(1));
        says(
            ENVOY,
            "out of rotation",
            time("interval") + defaults.check_ends,
        );
        says(ENVOY, "back in rotation", time("unhealthy_interval"));
        says(ENVOY, "drain", time("interval"));
    }
}

#[test]
fn envoy_takes_its_file() {
    run(Command::new(wheel("envoy")).args([
        "--mode",
        "validate",
        "-c",
        "examples/deploy/envoy.yaml",
    ]));
}

#[test]
fn haproxy_takes_its_file() {
    run(Command::new(installed("haproxy")).args(["-c", "-f", "examples/deploy/haproxy.cfg"]));
}

#[test]
fn kubernetes_takes_its_file() {
    run(Command::new(wheel("kubernetes-validate"))
        .args(["--strict", "examples/deploy/kubernetes.yaml"]));
}

fn run(command: &mut Command) {
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = output.expect("starts");
    let [said, warned] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{command:?}: {said}{warned}");
}

#[tokio::test]
async fn kubernetes_numbers_fit_the_defaults() {
    let defaults = Defaults::measured().await;
    let deployment = &yaml(KUBERNETES)[0];
    assert_eq!(deployment["kind"].as_str(), Some("Deployment"));
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    for (probe, path, threshold) in [
        ("startupProbe", "/startupz", 300),
        ("readinessProbe", "/readyz", 2),
        ("livenessProbe", "/livez", 3),
    ] {
        let probe = &container[probe];
        assert_eq!(probe["httpGet"]["path"].as_str(), Some(path));
        assert_eq!(probe["httpGet"]["port"].as_str(), Some("http"));
        assert!(time(&probe["timeoutSeconds"]) > defaults.answer_within);
        assert!(time(&probe["periodSeconds"]) >= time(&probe["timeoutSeconds"]));
        assert_eq!(probe["failureThreshold"].as_i64(), Some(threshold));
    }
    let readiness = &container["readinessProbe"];
    let period = time(&readiness["periodSeconds"]);
    assert!(period > defaults.cached_for);
    let out = period * 2 + defaults.check_ends;
    says(KUBERNETES, "out of traffic", out);

    let drain = container["env"].as_vec().expect("some");
    let drain = drain
        .iter()
        .find(|variable| variable["name"].as_str() == Some("DRAIN_SECONDS"));
    let drain = drain.expect("is set")["value"].as_str().expect("text");
    let drain = Duration::from_secs(drain.parse().expect("a number"));
    assert!(drain > out, "every prober must have noticed");
    assert_eq!(container["lifecycle"], Yaml::BadValue, "no hook to count");
    let grace = time(&pod["terminationGracePeriodSeconds"]);
    assert!(grace >= drain + LAST_REQUESTS + Duration::from_secs(5));
}

#[tokio::test]
async fn the_policy_page_states_the_defaults_and_the_files_numbers() {
    let defaults = Defaults::measured().await;
    let page = include_str!("../../src/guide/policy.md");
    let states = |text: String| assert!(page.contains(&text), "{text}");
    let [check, answer] =
        [defaults.check_ends, defaults.answer_within].map(|time| time.as_millis());
    states(format!("| {check} ms < {answer} ms < 1 s |"));
    let serves = defaults.cached_for.as_secs_f64();
    states(format!("| 1.2 s > {serves:.1} s |"));

    let container = &yaml(KUBERNETES)[0]["spec"]["template"]["spec"]["containers"][0];
    let numbers = |probe: &str| {
        ["periodSeconds", "timeoutSeconds", "failureThreshold"]
            .map(|field| container[probe][field].as_i64().expect(field))
    };
    let [period, timeout, failures] = numbers("readinessProbe");
    states(format!(
        "| readiness {period} s, {timeout} s, {failures}, 1; "
    ));
    let [period, timeout, failures] = numbers("livenessProbe");
    states(format!("; liveness {period} s, {timeout} s, {failures} |"));
}

fn time(seconds: &Yaml) -> Duration {
    let seconds = seconds.as_i64().expect("a number of seconds");
    Duration::from_secs(seconds.try_into().expect("not negative"))
}
