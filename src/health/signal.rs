//! Draining on the signal that ends the process.

use std::{future::poll_fn, io, pin::pin, task::Poll, time::Duration};

use super::Health;

impl Health {
    /// Waits for SIGTERM or Ctrl-C, then drains for `delay`; a second signal ends the delay.
    ///
    /// Hand it to the server as its shutdown signal: readiness answers 503 at once, the app serves for
    /// `delay` more, and then the server stops. Choose the delay by the time in which load
    /// balancers notice; 5 s fit a Kubernetes service.
    ///
    /// The handlers are installed when this is called, not when the future is polled: no later signal ends the
    /// process by itself, whether the future is awaited or not. On Windows Ctrl-C and Ctrl-Break count.
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
    /// Outside a Tokio runtime with I/O and a timer (`enable_all`), and if the system refuses a handler.
    #[track_caller]
    pub fn drain_on_shutdown_signal(
        &self,
        delay: Duration,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut signals = match Signals::install() {
            Ok(signals) => signals,
            Err(error) => panic!("no signal handler: {error}"),
        };
        let health = self.clone();
        async move {
            signals.recv().await;
            let drained = health.drain(delay);
            first(drained, signals.recv()).await;
            // Open watches end now, too: after a second signal the server stops before the delay is over.
            #[cfg(feature = "grpc")]
            health.close_streams();
        }
    }
}

/// Ends with the first of both.
async fn first(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|cx| {
        if one.as_mut().poll(cx).is_ready() || other.as_mut().poll(cx).is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn install() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn recv(&mut self) {
        let (terminate, interrupt) = (&mut self.terminate, &mut self.interrupt);
        first(
            async { terminate.recv().await.unwrap_or_default() },
            async { interrupt.recv().await.unwrap_or_default() },
        )
        .await;
    }
}

#[cfg(windows)]
struct Signals {
    ctrl_c: tokio::signal::windows::CtrlC,
    ctrl_break: tokio::signal::windows::CtrlBreak,
}

#[cfg(windows)]
impl Signals {
    fn install() -> io::Result<Self> {
        use tokio::signal::windows::{ctrl_break, ctrl_c};

        Ok(Self {
            ctrl_c: ctrl_c()?,
            ctrl_break: ctrl_break()?,
        })
    }

    async fn recv(&mut self) {
        let (ctrl_c, ctrl_break) = (&mut self.ctrl_c, &mut self.ctrl_break);
        first(async { ctrl_c.recv().await.unwrap_or_default() }, async {
            ctrl_break.recv().await.unwrap_or_default()
        })
        .await;
    }
}
