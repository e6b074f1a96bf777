use std::{future::poll_fn, io, pin::pin, task::Poll, time::Duration};

#[cfg(unix)]
use tokio::signal::unix;
#[cfg(windows)]
use tokio::signal::windows;

use super::Health;

impl Health {
    /// Waits for SIGTERM or Ctrl-C, then drains for `delay`. A second signal ends the delay.
    ///
    /// Give the future to the server as its shutdown signal. After the signal readiness answers 503 at once, the app
    /// serves requests for `delay`, and then the server stops. Choose the time that load balancers need to notice
    /// it: 5 s for a Kubernetes service.
    ///
    /// The handlers are installed by this call, whether the future is awaited or not. From then on these signals do
    /// not end the process by themselves. On Windows the signals are Ctrl-C and Ctrl-Break.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use axum::Router;
    /// use tokio::net::TcpListener;
    /// use tower_health::{Health, HealthLayer};
    ///
    /// # #[tokio::main] async fn main() -> std::io::Result<()> {
    /// let health = Health::builder().build();
    /// let app = Router::new().layer(HealthLayer::new(health.clone()));
    /// let listener = TcpListener::bind("0.0.0.0:3000").await?;
    /// axum::serve(listener, app)
    ///     .with_graceful_shutdown(health.drain_on_shutdown_signal(Duration::from_secs(5)))
    ///     .await
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with I/O and a timer (`enable_all`), or if the system rejects a handler.
    #[track_caller]
    pub fn drain_on_shutdown_signal(
        &self,
        delay: Duration,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        let (mut terminate, mut interrupt) = match install() {
            Ok(signals) => signals,
            Err(error) => panic!("cannot install a signal handler: {error}"),
        };
        let health = self.clone();
        async move {
            first(terminate.recv(), interrupt.recv()).await;
            let second = first(terminate.recv(), interrupt.recv());
            first(health.drain(delay), second).await;
            // After a second signal the server stops before the delay is over: open watches end now.
            #[cfg(feature = "grpc")]
            health.end_watches_after(Duration::ZERO);
        }
    }
}

/// Resolves when the first of both futures does.
async fn first<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|cx| {
        if a.as_mut().poll(cx).is_ready() || b.as_mut().poll(cx).is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

#[cfg(unix)]
fn install() -> io::Result<(unix::Signal, unix::Signal)> {
    let terminate = unix::signal(unix::SignalKind::terminate())?;
    Ok((terminate, unix::signal(unix::SignalKind::interrupt())?))
}

#[cfg(windows)]
fn install() -> io::Result<(windows::CtrlC, windows::CtrlBreak)> {
    Ok((windows::ctrl_c()?, windows::ctrl_break()?))
}

#[cfg(all(test, feature = "grpc"))]
mod tests {
    use tokio::time::Instant;

    use super::{Duration, Health};

    #[tokio::test(start_paused = true)]
    async fn after_a_second_signal_open_watches_end_at_once() {
        let health = Health::builder().build();
        let draining = health.clone();
        tokio::spawn(async move { draining.drain(Duration::from_secs(60)).await });
        tokio::task::yield_now().await;
        let now = Instant::now();
        let planned = || health.context().lifecycle.streams.planned_at();
        assert!(planned().is_some_and(|at| at > now));
        health.end_watches_after(Duration::ZERO);
        assert!(planned().is_some_and(|at| at <= now));
    }
}
