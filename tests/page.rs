#![cfg(feature = "html")]
//! scratch
mod browser;
use axum::Router;
use base64::{Engine, prelude::BASE64_STANDARD};
use browser::Browser;
use std::{
    net::SocketAddr,
    sync::Arc,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use tokio::net::TcpListener;
use tower_health::*;

fn wave(base: u64, spread: u64) -> impl Fn() -> Duration + Send + Sync + Clone {
    let n = Arc::new(AtomicU32::new(0));
    move || {
        let i = n.fetch_add(1, Ordering::Relaxed) as u64;
        Duration::from_micros(base + (i * 7919 % 97) * spread / 97)
    }
}

fn pool(max: u32, open: u32, idle: u32) -> PoolNumbers {
    PoolNumbers::new(max, open, idle)
}

async fn serve(health: Health) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let a = listener.local_addr().unwrap();
    let app = Router::new().layer(HealthLayer::new(health).details(Access::everybody()));
    tokio::spawn(async move { axum::serve(listener, app).await });
    a
}

async fn shots(name: &str, health: Health, runs: u32) {
    for _ in 0..runs {
        health.report().await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    let a = serve(health).await;
    let mut b = Browser::launch().await;
    for (scheme, w, h) in [
        ("light", 1120, 640),
        ("dark", 1120, 640),
        ("light", 390, 900),
    ] {
        b.view(scheme, w, h).await;
        b.open(&format!("http://{a}/health")).await;
        b.settled("document.getElementById('live').textContent.startsWith('Live')")
            .await;
        let png = b.screenshot().await;
        std::fs::write(
            format!("/tmp/wt/page-shots/{name}-{scheme}-{w}.png"),
            BASE64_STANDARD.decode(png).unwrap(),
        )
        .unwrap();
    }
    tokio::time::sleep(Duration::from_millis(4500)).await;
    b.evaluate("1").await;
    println!("{name}: {:#?} {:?}", b.complaints(), b.requests());
}

#[tokio::test]
async fn scratch() {
    let (d1, d2, d3) = (wave(310, 300), wave(180, 90), wave(4000, 9000));
    let builder = || {
        let (d1, d2) = (d1.clone(), d2.clone());
        Health::builder()
            .add(
                Dependency::new("database", move || {
                    let d = d1();
                    async move {
                        tokio::time::sleep(d).await;
                        Ok(Outcome::up()
                            .pool(pool(10, 10, 7))
                            .observe("role", "primary"))
                    }
                })
                .kind("postgres")
                .cache_for(Duration::from_millis(50)),
            )
            .add(
                Dependency::new("cache", move || {
                    let d = d2();
                    async move {
                        tokio::time::sleep(d).await;
                        Ok(Outcome::up()
                            .pool(pool(16, 6, 5))
                            .observe("queue_depth", 12))
                    }
                })
                .kind("redis")
                .optional()
                .cache_for(Duration::from_millis(50)),
            )
            .info("version", "2.0.0")
            .info("environment", "production")
            .info("region", "eu-west-1")
    };
    let n = Arc::new(AtomicU32::new(0));
    let d = d3.clone();
    let up = builder()
        .add(
            Dependency::new("search", move || {
                let d = d();
                async move {
                    tokio::time::sleep(d).await;
                    Ok(Outcome::up())
                }
            })
            .optional()
            .cache_for(Duration::from_millis(50)),
        )
        .build();
    shots("up", up, 40).await;
    let m = n.clone();
    let d = d3.clone();
    let degraded = builder()
        .add(
            Dependency::new("search", move || {
                let i = m.fetch_add(1, Ordering::Relaxed);
                let d = d();
                async move {
                    tokio::time::sleep(d).await;
                    if i % 40 > 25 {
                        Err(Failure::new(Reason::Timeout).message("no answer within 300 ms"))
                    } else {
                        Ok(Outcome::up())
                    }
                }
            })
            .optional()
            .cache_for(Duration::from_millis(50)),
        )
        .build();
    shots("degraded", degraded, 38).await;
    let m = Arc::new(AtomicU32::new(0));
    let down = builder()
        .add(
            Dependency::new("orders", move || {
                let i = m.fetch_add(1, Ordering::Relaxed);
                async move {
                    if i > 20 {
                        tokio::time::sleep(Duration::from_millis(8)).await;
                        Err(Failure::new(Reason::Saturated)
                            .message("no connection within 500 ms; the server answers")
                            .pool(pool(10, 10, 0)))
                    } else {
                        Ok(Outcome::up().pool(pool(10, 10, 3)))
                    }
                }
            })
            .kind("postgres")
            .cache_for(Duration::from_millis(50)),
        )
        .add(
            Dependency::new("<b>search \u{202e}evil\" onload=alert(1)", || async {
                Ok(Outcome::degraded(Reason::Behind).message("replica is 12 s behind"))
            })
            .kind("postgres")
            .cache_for(Duration::from_millis(50)),
        )
        .add(
            Dependency::new("mail", || async {
                tokio::time::sleep(Duration::from_secs(100)).await;
                Ok(Outcome::up())
            })
            .optional()
            .timeout(Duration::from_secs(90)),
        )
        .build();
    shots("down", down, 2).await;
}
