//! An app whose requests stay until the test releases them.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::timeout};

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub struct Stuck {
    entered: Arc<Semaphore>,
    gate: Arc<Semaphore>,
}

impl Stuck {
    pub fn new() -> Self {
        Self {
            entered: Arc::new(Semaphore::new(0)),
            gate: Arc::new(Semaphore::new(0)),
        }
    }

    /// What the app does for a request.
    pub fn request(&self) -> impl Future<Output = ()> + Send + use<> {
        let Self { entered, gate } = self.clone();
        async move {
            entered.add_permits(1);
            gate.acquire().await.expect("never closed").forget();
        }
    }

    /// Waits until `requests` more of them are inside.
    pub async fn holds(&self, requests: u32) {
        let all = timeout(LIMIT, self.entered.acquire_many(requests)).await;
        all.expect("they get in").expect("never closed").forget();
    }

    /// How many are inside that `holds` has not counted.
    pub fn held(&self) -> usize {
        self.entered.available_permits()
    }

    /// Lets as many out, now or when they come in.
    pub fn release(&self, requests: usize) {
        self.gate.add_permits(requests);
    }

    pub fn release_all(&self) {
        self.release(Semaphore::MAX_PERMITS / 2);
    }
}
