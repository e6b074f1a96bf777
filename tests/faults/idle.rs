//! `idle_session_timeout`: the server closes what idles, and is fine.

use std::time::Duration;

use crate::support::{Postgres, wait_until};
use tower_health::{Check, Status, checks};

#[tokio::test(flavor = "multi_thread")]
async fn connections_closed_for_idling_are_no_fault_of_the_servers() {
    for test_on_check_out in [true, false] {
        let server = Postgres::builder()
            .setting("idle_session_timeout", "300ms")
            .start()
            .await;
        let manager = bb8_postgres::PostgresConnectionManager::new(
            server.config(),
            bb8_postgres::tokio_postgres::NoTls,
        );
        let pool = bb8::Pool::builder()
            .max_size(3)
            .test_on_check_out(test_on_check_out)
            .build_unchecked(manager);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(pool.get().await.expect("the server answers"));
        }
        // Held, so that the pool cannot know: they go back dead.
        wait_until(
            "the server closes them",
            Duration::from_secs(20),
            async || held.iter().all(|client| client.is_closed()),
        )
        .await;
        drop(held);
        let check = checks::postgres(pool.clone());
        let outcome = check.check().await.expect("up");
        assert_eq!(
            outcome.status(),
            Status::Up,
            "{test_on_check_out} {outcome:?}"
        );
        // The pool serves the app.
        let client = pool.get().await.expect("a connection");
        assert!(!client.is_closed());
        let row = client.query_one("SELECT 1", &[]).await.expect("an answer");
        assert_eq!(row.get::<_, i32>(0), 1);
    }
}
