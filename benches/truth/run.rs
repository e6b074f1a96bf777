//! One schedule from its beginning to its end.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use bb8_postgres::{PostgresConnectionManager, tokio_postgres::NoTls};
use bb8_redis::RedisConnectionManager;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::{Builder, Runtime},
    sync::{mpsc, watch},
    task::{JoinSet, LocalSet},
    time::{Instant, interval, sleep, sleep_until, timeout},
};

use crate::{
    backend::Backend,
    oracle::{self, Answer, Fresh, WrongInterval},
    route::{Route, State},
    schedule::{Fault, Random, Schedule, Target},
    session::Session,
    settings::Settings,
    subject::{ANSWER_LIMIT, Candidate, Circumstances, Kind, Subject},
    world::World,
};

/// Between two looks of the harness at what should be the case.
const TICK: Duration = Duration::from_millis(20);
/// Between two connections of the client without a pool.
const FRESH_PERIOD: Duration = Duration::from_millis(250);

/// What one schedule shows of one app.
#[derive(Debug)]
pub struct Found {
    pub kind: Kind,
    pub wrong: Vec<WrongInterval>,
    pub detection: Vec<f64>,
    pub recovery: Vec<f64>,
    pub most_extra: u64,
}

/// What one schedule shows.
#[derive(Debug)]
pub struct Result {
    pub schedule: Schedule,
    pub found: Vec<Found>,
}

impl Result {
    /// The schedule and what was wrong in it, of those apps: enough to find it again with one seed.
    pub fn describe(&self, includes: impl Fn(Kind) -> bool) -> String {
        let mut lines = vec![self.schedule.to_string()];
        for found in self.found.iter().filter(|found| includes(found.kind)) {
            let wrong = found.wrong.iter();
            lines.extend(wrong.map(|interval| self.describe_interval(found.kind, interval)));
        }
        lines.join("\n")
    }

    fn describe_interval(&self, (candidate, setup): Kind, interval: &WrongInterval) -> String {
        let WrongInterval {
            wrong,
            from,
            to,
            stretch,
            words,
            worked,
            made,
            error,
            fresh: (fresh, looks),
        } = interval;
        let faults = self.schedule.faults_between(stretch.from - 0.5, *from);
        let begun = stretch.from;
        format!(
            "  {wrong:?} {from:.1}-{to:.1} s, {candidate}, {setup}: says {words:?}; app {worked} of {made} since \
             {begun:.1} ({error}); fresh client {fresh} of {looks}; {faults}"
        )
    }
}

/// Runs the schedule on this thread; nothing where a program is missing.
pub fn run(schedule: Schedule, settings: &Settings) -> Option<Result> {
    // The app has separate threads, which a fault can keep busy.
    let app = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("app")
        .enable_all()
        .build()
        .expect("a runtime");
    let harness = Builder::new_current_thread().enable_all().build();
    let work = conduct(schedule, settings, &app);
    let result = LocalSet::new().block_on(&harness.expect("a runtime"), work);
    app.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn conduct(schedule: Schedule, settings: &Settings, app: &Runtime) -> Option<Result> {
    let mut world = World::start(&schedule).await?;
    let start = Instant::now();
    let (held, is_held) = watch::channel(false);
    let circumstances = Circumstances {
        start,
        pool_size: schedule.pool_size,
        writes: schedule.writes,
        crowd: schedule.crowd,
        held: is_held,
        cache_for: settings.cache_for,
    };
    let mut subjects = Vec::new();
    for kind in settings.kinds() {
        subjects
            .push(start_subject(kind, &world.backend, schedule.target, &circumstances, app).await);
    }
    let own = Route::start(world.backend.port(), State::CLEAR).await;
    let starved = Arc::new(AtomicBool::new(false));
    for thread in 0..2 {
        app.spawn(starve(starved.clone(), schedule.seed * 2 + thread));
    }

    // Probers and the client without a pool.
    let (answers, mut all_answers) = mpsc::unbounded_channel();
    let mut probers = JoinSet::new();
    for (index, subject) in subjects.iter().enumerate() {
        let phase = settings.period * index as u32 / subjects.len() as u32;
        let first = start + phase;
        let address = subject.address;
        probers.spawn_local(probe(
            index,
            address,
            first,
            settings.period,
            start,
            answers.clone(),
        ));
    }
    let (looks, mut all_looks) = mpsc::unbounded_channel();
    probers.spawn_local(connect_repeatedly(
        &world.backend,
        own.port(),
        schedule.target,
        start,
        looks,
    ));

    let end = start + Duration::from_secs_f64(schedule.seconds);
    let mut ticks = interval(TICK);
    while Instant::now() < end {
        ticks.tick().await;
        let at = start.elapsed().as_secs_f64();
        let active = World::active(&schedule, at);
        let has = |fault| active.iter().any(|window| window.fault == fault);
        starved.store(has(Fault::Starved), Ordering::Relaxed);
        held.send_replace(has(Fault::Held));
        let routes: Vec<_> = subjects.iter().map(|subject| &subject.route).collect();
        let routes: Vec<_> = routes.into_iter().chain([&own]).collect();
        world.update(&schedule, at, &routes).await;
        subjects.iter().for_each(Subject::count_sockets);
    }
    // The last requests have their second, too.
    sleep(ANSWER_LIMIT).await;
    probers.shutdown().await;

    let mut by_subject: BTreeMap<usize, Vec<Answer>> = BTreeMap::new();
    while let Ok((index, answer)) = all_answers.try_recv() {
        by_subject.entry(index).or_default().push(answer);
    }
    let mut fresh = Vec::new();
    while let Ok(look) = all_looks.try_recv() {
        fresh.push(look);
    }
    let found = subjects
        .iter()
        .enumerate()
        .map(|(index, subject)| {
            let answers = by_subject.remove(&index).unwrap_or_default();
            judge(&schedule, subject, &answers, &fresh)
        })
        .collect();
    Some(Result { schedule, found })
}

async fn start_subject(
    kind: Kind,
    backend: &Backend,
    target: Target,
    circumstances: &Circumstances,
    app: &Runtime,
) -> Subject {
    let route = Route::start(backend.port(), State::CLEAR).await;
    let circumstances = circumstances.clone();
    let subject = if target == Target::Redis {
        let manager = RedisConnectionManager::new(Backend::redis_url(route.port()));
        let manager = manager.expect("a valid URL");
        app.spawn(Subject::start(kind, manager, route, circumstances))
    } else {
        let config = backend.postgres_config(route.port());
        let manager = PostgresConnectionManager::new(config, NoTls);
        app.spawn(Subject::start(kind, manager, route, circumstances))
    };
    subject.await.expect("no panic")
}

fn judge(schedule: &Schedule, subject: &Subject, answers: &[Answer], fresh: &[Fresh]) -> Found {
    let mut requests = subject.log.lock().expect("no panic").clone();
    requests.sort_by(|one, other| one.from.total_cmp(&other.from));
    let stretches = oracle::stretches(&requests, schedule.seconds);
    // The app without a check has no answers.
    let answers = match subject.kind.0 {
        Candidate::None => &[],
        _ => answers,
    };
    let is_held = |at: f64| {
        // A request that began under it may end up to a second after it.
        let mut windows = schedule.windows.iter();
        windows
            .any(|window| window.fault == Fault::Held && window.from <= at && at < window.to + 1.0)
    };
    let wrong = oracle::wrong_intervals(&stretches, answers, &requests, fresh, is_held);
    let (detection, recovery) = oracle::delays(&stretches, answers);
    Found {
        kind: subject.kind,
        wrong,
        detection,
        recovery,
        most_extra: subject.most_extra.load(Ordering::Relaxed),
    }
}

/// Keeps one of the app's threads busy for nearly all of the time, while it should.
async fn starve(starved: Arc<AtomicBool>, seed: u64) {
    let mut random = Random::new(seed);
    loop {
        if starved.load(Ordering::Relaxed) {
            // The thread is taken from the app, and no processor from the other schedules.
            thread::sleep(Duration::from_secs_f64(random.between(0.03, 0.25)));
            sleep(Duration::from_millis(5)).await;
        } else {
            sleep(TICK).await;
        }
    }
}

async fn probe(
    index: usize,
    address: SocketAddr,
    first: Instant,
    period: Duration,
    start: Instant,
    answers: mpsc::UnboundedSender<(usize, Answer)>,
) {
    sleep_until(first).await;
    let mut ticks = interval(period);
    loop {
        ticks.tick().await;
        let (code, words) = match timeout(ANSWER_LIMIT, get(address)).await {
            Ok(Some((code, words))) => (Some(code), words),
            _ => (None, "no answer".to_owned()),
        };
        let at = start.elapsed().as_secs_f64();
        let _ = answers.send((index, Answer { at, code, words }));
    }
}

/// As a kubelet probes: each time on a new connection.
async fn get(address: SocketAddr) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    let code: u16 = text.get(9..12)?.parse().ok()?;
    let (_, body) = text.split_once("\r\n\r\n")?;
    Some((code, words(code, body)))
}

/// Status and reason, or else the code.
fn words(code: u16, body: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let entry = &value["checks"]["server"];
    match (entry["status"].as_str(), entry["reason"].as_str()) {
        (Some(status), Some(reason)) => format!("{status} {reason}"),
        (Some(status), None) => status.to_owned(),
        _ => code.to_string(),
    }
}

/// A client that connects, asks and goes, again and again.
fn connect_repeatedly(
    backend: &Backend,
    port: u16,
    target: Target,
    start: Instant,
    looks: mpsc::UnboundedSender<Fresh>,
) -> impl Future<Output = ()> + use<> {
    let config = backend.postgres_config(port);
    let url = Backend::redis_url(port);
    async move {
        let mut ticks = interval(FRESH_PERIOD);
        loop {
            ticks.tick().await;
            let look = async {
                if target == Target::Redis {
                    let client = bb8_redis::redis::Client::open(url.as_str()).ok()?;
                    let connection = client.get_multiplexed_async_connection().await;
                    connection.ok()?.request(false).await.ok()
                } else {
                    let (mut client, connection) = config.connect(NoTls).await.ok()?;
                    let driver = tokio::spawn(connection);
                    let result = client.request(false).await.ok();
                    driver.abort();
                    result
                }
            };
            let ok = matches!(timeout(ANSWER_LIMIT, look).await, Ok(Some(())));
            let at = start.elapsed().as_secs_f64();
            let _ = looks.send(Fresh { at, ok });
        }
    }
}
