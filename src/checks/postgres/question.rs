//! What a Postgres can be asked to prove beyond an answer.

use std::{
    borrow::Cow,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use bb8::ManageConnection;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};
use tokio_postgres::{
    CancelToken, Client, NoTls, SimpleQueryMessage, Socket,
    error::SqlState,
    tls::{MakeTlsConnect, TlsConnect},
};

use super::{classify, role};
use crate::{
    check::{CheckResult, Outcome},
    checks::pool::{Backend, Judgement, Loan},
    report::{Failure, Reason},
};

/// A query that was cut off may take so long to end, until its connection is given up.
const END_OF_QUERY: Duration = Duration::from_secs(5);
/// So much later than the query's own deadline the run ends: a cancellation takes some 3 ms.
const END_OF_RUN: Duration = Duration::from_millis(15);

#[derive(Clone)]
pub(super) struct Question {
    pub(super) role: Option<Role>,
    pub(super) max_lag: Option<Duration>,
    pub(super) query: Option<Cow<'static, str>>,
    pub(super) expected: Option<Cow<'static, str>>,
    pub(super) cancel: Arc<Cancel>,
    /// One question at a time, counted to its end on the server: a server that does
    /// not even end a cancelled query must not get all the pool's connections.
    pub(super) single: Arc<Semaphore>,
}

/// Sends the request to cancel.
pub(super) type Cancel =
    dyn Fn(CancelToken) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

impl Default for Question {
    fn default() -> Self {
        Self {
            role: None,
            max_lag: None,
            query: None,
            expected: None,
            cancel: cancel_with(NoTls),
            single: Arc::new(Semaphore::new(1)),
        }
    }
}

pub(super) fn cancel_with<Tls>(tls: Tls) -> Arc<Cancel>
where
    Tls: MakeTlsConnect<Socket, TlsConnect: Send, Stream: Send> + Clone + Send + Sync + 'static,
    <Tls::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    Arc::new(move |token| {
        let tls = tls.clone();
        Box::pin(async move {
            // What becomes of it shows in the query's own end.
            let _sent = token.cancel_query(tls).await;
        })
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Primary,
    Replica,
}

impl<M: ManageConnection<Connection = Client>> Backend<M> for Question {
    async fn ping(&self, connection: &mut Client) -> Result<(), Judgement> {
        connection.check_connection().await.map_err(classify::judge)
    }

    fn refusal(&self, error: M::Error) -> Failure {
        classify::refusal(error)
    }

    fn proves_more(&self) -> bool {
        self.role.is_some() || self.max_lag.is_some() || self.query.is_some()
    }

    fn prove(&self, loan: Loan<M>, deadline: Instant) -> impl Future<Output = CheckResult> + Send {
        let question = self.clone();
        async move {
            let Ok(permit) = question.single.clone().try_acquire_owned() else {
                return Err(Failure::new(Reason::Timeout)
                    .message("the last query was cancelled, and has not ended yet"));
            };
            // Detached: whoever gives up on the run must not leave the app a connection on
            // which a query still runs. The task ends it, and only then returns the loan.
            let task = tokio::spawn(async move {
                let result = question.ask(&loan, deadline).await;
                drop((loan, permit));
                result
            });
            match timeout_at(deadline + END_OF_RUN, task).await {
                Ok(Ok(result)) => result,
                // The runtime is shutting down.
                Ok(Err(error)) => Err(Failure::new(Reason::Failed).caused_by(error)),
                Err(_) => Err(took_too_long()),
            }
        }
    }
}

impl Question {
    async fn ask(&self, client: &Client, deadline: Instant) -> CheckResult {
        let mut outcome = Outcome::up();
        if self.role.is_some() || self.max_lag.is_some() {
            let rows = self.single_row(client, role::SQL, deadline).await?;
            outcome = role::judge(&rows, self.role, self.max_lag)?;
        }
        let Some(sql) = &self.query else {
            return Ok(outcome);
        };
        let values = self.single_row(client, sql, deadline).await?;
        match &self.expected {
            Some(expected) if values.first().map(Option::as_deref) != Some(Some(&**expected)) => {
                Err(Failure::new(Reason::Mismatch)
                    .message("the query's answer is not the expected one"))
            }
            _ => Ok(outcome),
        }
    }

    /// The first row of what `sql` answers, by `deadline` or cancelled.
    async fn single_row(
        &self,
        client: &Client,
        sql: &str,
        deadline: Instant,
    ) -> Result<Vec<Option<String>>, Failure> {
        let answer = match self.bounded(client, sql, deadline).await? {
            // The app has returned its connection with a failed transaction in it, where
            // nothing but its end is taken.
            Err(error) if error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION) => {
                let _ended = self.bounded(client, "ROLLBACK", deadline).await?;
                self.bounded(client, sql, deadline).await?
            }
            answer => answer,
        };
        let messages = answer.map_err(classify::failure)?;
        let row = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(row.map_or_else(Vec::new, |row| {
            (0..row.len())
                .map(|column| row.try_get(column).ok().flatten().map(str::to_owned))
                .collect()
        }))
    }

    /// The answer of `sql`, or a failure once the query is cancelled and over.
    async fn bounded(
        &self,
        client: &Client,
        sql: &str,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let mut query = pin!(client.simple_query(sql));
        if let Ok(answer) = timeout_at(deadline, query.as_mut()).await {
            return Ok(answer);
        }
        // The request is a connection of its own. The answer is awaited first: a cancellation that comes late would hit the app's next query.
        let end = async {
            (self.cancel)(client.cancel_token()).await;
            let _over = query.await;
        };
        let _ended = timeout(END_OF_QUERY, end).await;
        Err(took_too_long())
    }
}

type Answer = Result<Vec<SimpleQueryMessage>, tokio_postgres::Error>;

fn took_too_long() -> Failure {
    Failure::new(Reason::Timeout).message("the query takes too long, and was cancelled")
}
