//! Six checks to copy: HTTP, TCP, certificate, disk, schema version, stream lag.
//!
//! Prints one report of them. `DATABASE_URL` and `REDIS_URL` name the servers.
#![allow(missing_docs)]

mod certificate;
mod disk;
mod http;
mod schema;
mod stream_lag;
mod tcp;

use std::{env, error::Error};

use bb8_postgres::PostgresConnectionManager;
use bb8_redis::RedisConnectionManager;
use tokio_postgres::NoTls;
use tower_health::{Dependency, Health};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let variable = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let url = variable("DATABASE_URL", "postgres://postgres@127.0.0.1/postgres");
    let postgres = PostgresConnectionManager::new(url.parse()?, NoTls);
    let redis = RedisConnectionManager::new(variable("REDIS_URL", "redis://127.0.0.1/"))?;
    let postgres = bb8::Pool::builder().build_unchecked(postgres);
    let redis = bb8::Pool::builder().build_unchecked(redis);
    let certificate = certificate::certificate("/etc/ssl/app.pem".into(), 14);
    let health = Health::builder()
        .check("schema", schema::schema(postgres, 42))
        .check("search", http::http("http://127.0.0.1:9200/".parse()?))
        .check("mail", tcp::tcp("127.0.0.1:25".to_owned()))
        .check("disk", disk::free_space("/var/lib".into(), 1 << 30))
        .add(Dependency::new("certificate", certificate).optional())
        .add(Dependency::new("jobs", stream_lag::stream_lag(redis, "jobs", 1_000)).optional())
        .build();
    println!("{}", serde_json::to_string(&health.report().await)?);
    Ok(())
}
