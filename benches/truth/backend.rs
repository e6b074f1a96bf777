//! The real servers of one schedule, and how each of them is made to fail.

use std::{collections::BTreeSet, time::Duration};

use bb8_postgres::tokio_postgres::{Client, Config, NoTls};
use bb8_redis::redis::{self, AsyncConnectionConfig, aio::MultiplexedConnection, cmd};
use tokio::time::timeout;

use crate::{
    schedule::Target,
    support::{PgBouncer, Postgres, Redis},
    world::{Frozen, Setting},
};

const PASSWORD: &str = "first";
const ADMIN_LIMIT: Duration = Duration::from_millis(400);
/// So many keys are loaded, one after the other.
const KEYS: u32 = 200;

pub enum Backend {
    Postgres {
        server: Postgres,
        bouncer: Option<PgBouncer>,
        admin: Option<Client>,
    },
    Redis {
        server: Redis,
        admin: Option<MultiplexedConnection>,
    },
}

impl Backend {
    /// Starts the servers, or says what is missing.
    pub async fn start(target: Target) -> Option<Self> {
        if target == Target::Redis {
            let server = Redis::builder()
                .config_line(&format!("user app on >{PASSWORD} ~* &* +@all"))
                .arg("--enable-debug-command", "yes")
                .arg("--loading-process-events-interval-bytes", "1024")
                .start()
                .await;
            let mut backend = Self::Redis {
                server,
                admin: None,
            };
            backend.fill().await;
            return Some(backend);
        }
        let server = Postgres::builder()
            .hba("host all postgres 127.0.0.1/32 trust")
            .hba("host all app 127.0.0.1/32 scram-sha-256")
            .setting("max_connections", "300")
            .start()
            .await;
        let sql = format!(
            "CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'; CREATE TABLE written (n int); \
             GRANT ALL ON written TO app"
        );
        let admin = server.client().await;
        admin.batch_execute(&sql).await.expect("a new server");
        let settings = "max_client_conn = 1000\ndefault_pool_size = 40";
        let bouncer = match target {
            Target::PgBouncer => Some(PgBouncer::start_with(&server, settings).await?),
            _ => None,
        };
        Some(Self::Postgres {
            server,
            bouncer,
            admin: Some(admin),
        })
    }

    /// Where the app's routes lead.
    pub fn port(&self) -> u16 {
        match self {
            Self::Postgres {
                bouncer: Some(bouncer),
                ..
            } => bouncer.port(),
            Self::Postgres { server, .. } => server.port(),
            Self::Redis { server, .. } => server.port(),
        }
    }

    /// How the app logs in by way of `port`.
    pub fn postgres_config(&self, port: u16) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(port).dbname("postgres");
        match self {
            // Which knows the one user.
            Self::Postgres {
                bouncer: Some(_), ..
            } => config.user("postgres"),
            _ => config.user("app").password(PASSWORD),
        };
        config
    }

    pub fn redis_url(port: u16) -> String {
        format!("redis://app:{PASSWORD}@127.0.0.1:{port}/")
    }

    pub fn kill(&mut self) {
        match self {
            Self::Postgres { server, admin, .. } => {
                *admin = None;
                server.kill();
            }
            Self::Redis { server, admin } => {
                *admin = None;
                server.kill();
            }
        }
    }

    pub async fn restart(&mut self) {
        match self {
            Self::Postgres { server, .. } => server.restart().await,
            Self::Redis { server, .. } => {
                server.restart().await;
                self.fill().await;
            }
        }
    }

    /// Which settings a restart leaves as they were.
    pub fn lasting(&self, settings: &BTreeSet<Setting>) -> BTreeSet<Setting> {
        match self {
            Self::Postgres { .. } => settings.clone(),
            Self::Redis { .. } => BTreeSet::new(),
        }
    }

    pub fn freeze(&self, kind: Frozen) {
        match (self, kind) {
            (Self::Postgres { server, .. }, Frozen::Whole) => server.freeze(),
            (Self::Postgres { server, .. }, Frozen::Backends) => server.freeze_backends(),
            (Self::Postgres { server, .. }, Frozen::Postmaster) => server.freeze_postmaster(),
            (Self::Redis { server, .. }, _) => server.freeze(),
        }
    }

    pub fn thaw(&self) {
        match self {
            Self::Postgres { server, .. } => server.thaw(),
            Self::Redis { server, .. } => server.thaw(),
        }
    }

    /// Sets it or takes it back; false where the server does not listen.
    pub async fn set(&mut self, setting: Setting, on: bool) -> bool {
        match self {
            Self::Postgres { .. } => {
                let sql: &[&str] = match (setting, on) {
                    (Setting::OtherPassword, true) => &["ALTER ROLE app PASSWORD 'second'"],
                    (Setting::OtherPassword, false) => &["ALTER ROLE app PASSWORD 'first'"],
                    (Setting::NoSlots, true) => &["ALTER ROLE app CONNECTION LIMIT 0"],
                    (Setting::NoSlots, false) => &["ALTER ROLE app CONNECTION LIMIT -1"],
                    (Setting::ReadOnly, true) => &[
                        "ALTER SYSTEM SET default_transaction_read_only = on",
                        "SELECT pg_reload_conf()",
                    ],
                    (Setting::ReadOnly, false) => &[
                        "ALTER SYSTEM RESET default_transaction_read_only",
                        "SELECT pg_reload_conf()",
                    ],
                    (Setting::UserDeleted | Setting::NoPing, _) => &[],
                };
                self.sql(sql).await
            }
            Self::Redis { .. } => {
                let command = match (setting, on) {
                    (Setting::OtherPassword, true) => "ACL SETUSER app resetpass >second",
                    (Setting::OtherPassword, false) => "ACL SETUSER app resetpass >first",
                    (Setting::NoSlots, true) => "CONFIG SET maxclients 1",
                    (Setting::NoSlots, false) => "CONFIG SET maxclients 10000",
                    // Its primary is nowhere.
                    (Setting::ReadOnly, true) => "REPLICAOF 127.0.0.1 1",
                    (Setting::ReadOnly, false) => "REPLICAOF NO ONE",
                    (Setting::UserDeleted, true) => "ACL DELUSER app",
                    (Setting::UserDeleted, false) => "ACL SETUSER app on >first ~* &* +@all",
                    (Setting::NoPing, true) => "ACL SETUSER app -ping",
                    (Setting::NoPing, false) => "ACL SETUSER app +ping",
                };
                self.command(command).await
            }
        }
    }

    /// Ends all connections of the app; false where the server does not listen.
    pub async fn terminate(&mut self) -> bool {
        match self {
            Self::Postgres { .. } => {
                let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                           WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
                self.sql(&[sql]).await
            }
            Self::Redis { .. } => self.command("CLIENT KILL USER app").await,
        }
    }

    /// Redis loads its data for about this long.
    pub fn load(&self, length: Duration) {
        let per_key = (length / KEYS).as_micros().to_string();
        self.in_background(vec![
            format!("CONFIG SET key-load-delay {per_key}"),
            "DEBUG RELOAD".into(),
            "CONFIG SET key-load-delay 0".into(),
        ]);
    }

    pub fn pause(&self, length: Duration) {
        self.in_background(vec![format!("CLIENT PAUSE {} ALL", length.as_millis())]);
    }

    fn in_background(&self, commands: Vec<String>) {
        let Self::Redis { server, .. } = self else {
            return;
        };
        let url = server.url();
        tokio::spawn(async move {
            if let Ok(mut connection) = connect(&url, Duration::from_secs(60)).await {
                for command in commands {
                    let _ = run(&mut connection, &command).await;
                }
            }
        });
    }

    async fn sql(&mut self, statements: &[&str]) -> bool {
        let Self::Postgres { server, admin, .. } = self else {
            return false;
        };
        if admin.as_ref().is_none_or(Client::is_closed) {
            let config = server.config();
            let Ok(Ok((client, connection))) = timeout(ADMIN_LIMIT, config.connect(NoTls)).await
            else {
                return false;
            };
            tokio::spawn(connection);
            *admin = Some(client);
        }
        let client = admin.as_ref().expect("just connected");
        let _ = client
            .batch_execute("SET default_transaction_read_only = off")
            .await;
        for statement in statements {
            if let Err(error) = client.batch_execute(statement).await {
                if !error.is_closed() {
                    eprintln!("{statement}: {error:?}");
                }
                *admin = None;
                return false;
            }
        }
        true
    }

    async fn command(&mut self, command: &str) -> bool {
        let Self::Redis { server, admin } = self else {
            return false;
        };
        if admin.is_none() {
            *admin = connect(&server.url(), ADMIN_LIMIT).await.ok();
        }
        let Some(connection) = admin else {
            return false;
        };
        match run(connection, command).await {
            Ok(()) => true,
            // One that only had no answer yet may be the last that the server lets in.
            Err(error) => {
                if error.is_unrecoverable_error() {
                    *admin = None;
                }
                false
            }
        }
    }

    async fn fill(&mut self) {
        let keys: Vec<_> = (0..KEYS)
            .map(|key| format!("key-{key} {}", "x".repeat(100)))
            .collect();
        let command = format!("MSET {}", keys.join(" "));
        if !self.command(&command).await {
            eprintln!("redis could not be filled");
        }
    }
}

async fn connect(url: &str, limit: Duration) -> redis::RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limit))
        .set_response_timeout(Some(limit));
    let client = redis::Client::open(url)?;
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

async fn run(connection: &mut MultiplexedConnection, text: &str) -> redis::RedisResult<()> {
    let mut words = text.split(' ');
    let mut command = cmd(words.next().expect("a command"));
    for word in words {
        command.arg(word);
    }
    let result: redis::RedisResult<redis::Value> = command.query_async(connection).await;
    if let Err(error) = &result
        && error.code().is_some_and(|code| code != "LOADING")
    {
        eprintln!("{text}: {error}");
    }
    result.map(drop)
}
