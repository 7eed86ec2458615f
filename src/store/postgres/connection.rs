//! One connection to the database: opened, listened to, and given up when it is slow.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::error::Severity;
use tokio_postgres::tls::{MakeTlsConnect, NoTls, TlsConnect};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{AsyncMessage, Client, Row, SimpleQueryMessage, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::{Address, CONNECT};
use super::trouble::Trouble;
use crate::store::sql::Value;

/// An open connection. Dropping it closes it.
pub(super) struct Connection {
    client: Client,
    heard: Arc<Heard>,
    /// Whether it was asked to hear of changes.
    listening: AtomicBool,
    tls: Option<MakeRustlsConnect>,
    /// Reads and writes the socket, on the runtime of the store's own.
    task: JoinHandle<()>,
}

/// What the server says without being asked.
#[derive(Default)]
pub(super) struct Heard {
    warned: AtomicBool,
    /// Rung by a notification, and when the connection ends.
    pub(super) bell: Notify,
}

impl Connection {
    /// Opens one whose socket is served by `runtime`.
    pub(super) async fn open(address: &Address, runtime: &Handle) -> Result<Self, Trouble> {
        if !address.is_seen() {
            return Err(Trouble::Gone("it was not there when keyward started".into()));
        }
        let (address, on) = (address.clone(), runtime.clone());
        // On that runtime, whose sockets these are, whoever asks.
        let opening = runtime.spawn(async move {
            // The driver's own limit is for each of the addresses that a name has.
            in_time(CONNECT * 2, async {
                match address.tls.clone() {
                    None => Self::over(&address, NoTls, &on).await,
                    Some(tls) => Self::over(&address, tls, &on).await,
                }
            })
            .await
        });
        match opening.await.map_err(|_| Trouble::Gone("the store is closed".into()))? {
            // No question of ours came too late: there is nobody there, and who is told of that is told where.
            Err(Trouble::TimedOut) => Err(Trouble::Gone("it takes connections, and says nothing".into())),
            opened => opened,
        }
    }

    async fn over<T>(address: &Address, tls: T, runtime: &Handle) -> Result<Self, Trouble>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let (client, mut connection) = address.config.connect(tls).await?;
        let heard = Arc::<Heard>::default();
        let ear = Arc::clone(&heard);
        let task = runtime.spawn(async move {
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                match message {
                    AsyncMessage::Notice(notice) if notice.parsed_severity() == Some(Severity::Warning) => {
                        ear.warned.store(true, Ordering::Release);
                    }
                    AsyncMessage::Notification(_) => ear.bell.notify_one(),
                    _ => {}
                }
            }
            ear.bell.notify_one();
        });
        Ok(Self { client, heard, listening: AtomicBool::new(false), tls: address.tls.clone(), task })
    }

    /// Asks with parameters, in one message, and waits no longer than `limit`. What then comes of the connection is the
    /// caller's matter: after a [`Trouble`] that is not the server's own word it is of no use any more.
    pub(super) async fn query(&self, sql: &str, values: &[Value<'_>], limit: Duration) -> Result<Vec<Row>, Trouble> {
        in_time(limit, async { Ok(self.client.query_typed(sql, &parameters(values)).await?) }).await
    }

    /// Does with parameters; how many rows it did it to.
    pub(super) async fn execute(&self, sql: &str, values: &[Value<'_>], limit: Duration) -> Result<u64, Trouble> {
        in_time(limit, async { Ok(self.client.execute_typed(sql, &parameters(values)).await?) }).await
    }

    /// Does several statements in one message; the first column of the last row that any of them answered.
    pub(super) async fn script(&self, sql: &str, limit: Duration) -> Result<Option<String>, Trouble> {
        let messages = in_time(limit, async { Ok(self.client.simple_query(sql).await?) }).await?;
        let rows = messages.iter().rev().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(rows.filter_map(|row| row.get(0)).next().map(str::to_owned))
    }

    /// Whether the server has warned since this was last asked.
    pub(super) fn take_warned(&self) -> bool {
        self.heard.warned.swap(false, Ordering::AcqRel)
    }

    /// Asks to hear of changes, where that was not asked yet.
    pub(super) async fn listen(&self, limit: Duration) -> Result<(), Trouble> {
        if !self.listening.load(Ordering::Acquire) {
            self.script("LISTEN keyward", limit).await?;
            self.listening.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// What it hears.
    pub(super) fn heard(&self) -> &Arc<Heard> {
        &self.heard
    }

    /// Ends it, whoever may still hold it; who waits to hear of changes is told.
    pub(super) fn end(&self) {
        self.task.abort();
        self.heard.bell.notify_one();
    }

    /// Ends it, and has the server give up what it still does for it. It would notice that nobody listens only when it is done,
    /// which may be never while it waits for a lock; and meanwhile the next connection is opened.
    pub(super) async fn cancel(&self) {
        for _ in 0..CANCELS {
            let token = self.client.cancel_token();
            let _ = match self.tls.clone() {
                None => tokio::time::timeout(CANCEL, token.cancel_query(NoTls)).await,
                Some(tls) => tokio::time::timeout(CANCEL, token.cancel_query(tls)).await,
            };
            // Only now: a pooler cancels nothing of who has gone.
            self.end();
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

/// Of what was asked on it one after the other the first is given up, then the next, whose answer nobody takes any more: that the
/// server notices.
const CANCELS: u32 = 3;
const CANCEL: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(50);

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn in_time<T>(limit: Duration, answer: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    tokio::time::timeout(limit, answer).await.unwrap_or(Err(Trouble::TimedOut))
}

/// Values and what they are: every parameter's type is said, so that no statement has to be prepared under a name, which a pooler
/// between us would not keep.
fn parameters<'a>(values: &'a [Value<'_>]) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    let of = |value: &'a Value<'_>| {
        let kind = match value {
            Value::Int(_) => Type::INT8,
            Value::Text(_) => Type::TEXT,
            Value::Bytes(_) => Type::BYTEA,
        };
        (value as &(dyn ToSql + Sync), kind)
    };
    values.iter().map(of).collect()
}

/// The driver wants it; a value may be a digest, and is not shown.
impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Int(number) => number.to_sql(kind, out),
            Self::Text(text) => text.as_deref().to_sql(kind, out),
            Self::Bytes(bytes) => bytes.as_deref().to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
