//! The shell's connection: who it is, running a statement, cancelling it, notices, coming back after a loss.

use std::future::poll_fn;
use std::path::PathBuf;

use grantd_catalog::name::RoleName;
use tokio::sync::mpsc;
use tokio_postgres::error::DbError;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, SimpleQueryMessage};

use crate::cert;
use crate::failure::Failure;
use crate::pgclient::{self, ConnectError, Login, Tls};
use crate::secret::Secret;
use crate::shell::output::{ResultSet, Shape};

/// Notices that wait to be shown; further ones are dropped, as a statement's rows matter more.
const NOTICES_MAX: usize = 256;

/// Where to, and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// The node's host.
    pub host: String,
    /// Its SQL port.
    pub port: u16,
    /// The SQL user.
    pub user: String,
    /// The database.
    pub database: String,
    /// The directory with ca.crt and, if the user has one, its certificate.
    pub certs_dir: PathBuf,
    /// The password, for a user without a certificate.
    pub password: Option<Secret>,
}

/// A connection to one node.
pub struct Connection {
    target: Target,
    client: Client,
    tls: Tls,
    notices: mpsc::Receiver<DbError>,
}

/// A part of what a statement returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Rows.
    Rows(ResultSet),
    /// No rows; how many were changed, where that makes sense.
    Done(u64),
}

/// Why a statement gave no result.
#[derive(Debug)]
pub enum StatementError {
    /// The server said no: its error, formatted.
    Refused(String),
    /// There is no connection any more, or nowhere to write to.
    Lost(Failure),
}

impl Target {
    /// Whether the directory has a certificate of the user.
    pub fn has_certificate(&self) -> bool {
        let user = RoleName::normalize(&self.user);
        self.certs_dir.join(cert::client_cert_file(&user)).exists()
    }

    /// How the driver logs in there: by certificate if there is one, else by password.
    pub fn login(&self) -> Login {
        let user = RoleName::normalize(&self.user);
        let file = |name: String| self.certs_dir.join(name);
        let pair = (file(cert::client_cert_file(&user)), file(cert::client_key_file(&user)));
        Login {
            host: self.host.clone(),
            port: self.port,
            user: self.user.clone(),
            database: self.database.clone(),
            ca: self.certs_dir.join(cert::CA_CERT),
            certificate: self.has_certificate().then_some(pair),
            password: self.password.clone(),
        }
    }

    fn shown(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl Connection {
    /// Connects and logs in.
    pub async fn open(target: Target) -> Result<Self, Failure> {
        let (client, mut driver, tls) =
            pgclient::open(&target.login()).await.map_err(|error| cannot_connect(&target, &error))?;
        let (sender, notices) = mpsc::channel(NOTICES_MAX);
        // Ends when the client is dropped or the connection is lost; the client learns of the loss by itself.
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| driver.poll_message(context)).await {
                if let AsyncMessage::Notice(notice) = message {
                    // Full: the notice is dropped, see `NOTICES_MAX`.
                    let _dropped = sender.try_send(notice);
                }
            }
        });
        Ok(Self { target, client, tls, notices })
    }

    /// Connects again, after a loss. Settings of the old session are gone.
    pub async fn reconnect(&mut self) -> Result<(), Failure> {
        *self = Self::open(self.target.clone()).await?;
        Ok(())
    }

    /// Runs one statement. Ctrl-C cancels it on the server and waits for what the server then says.
    ///
    /// With `typed`, asks for the types of the result's columns first: one more round trip.
    pub async fn run(&mut self, statement: &str, typed: bool) -> Result<Vec<Part>, StatementError> {
        let shapes = if typed { self.shapes(statement).await } else { Vec::new() };
        let running = self.client.simple_query(statement);
        tokio::pin!(running);
        let result = tokio::select! {
            result = &mut running => result,
            _ = tokio::signal::ctrl_c() => {
                if let Err(error) = self.client.cancel_token().cancel_query(self.tls.clone()).await {
                    eprintln!("the statement could not be cancelled: {error}");
                }
                running.await
            }
        };
        match result {
            Ok(messages) => Ok(parts(messages, &shapes)),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// What the server said beside the result, oldest first.
    pub fn notices(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        while let Ok(notice) = self.notices.try_recv() {
            texts.push(message(&notice, notice.severity()));
        }
        texts
    }

    /// The prompt: who, and where; when a statement goes on, only that it does.
    pub fn prompt(&self, inside_statement: bool) -> String {
        let head = format!("{}@{}", self.target.user, self.target.shown());
        if inside_statement {
            format!("{}-> ", " ".repeat(head.len().saturating_sub(1)))
        } else {
            format!("{head}> ")
        }
    }

    /// One line: to which node, as whom.
    pub fn describe(&self) -> String {
        format!("{} as user {}, over TLS", self.target.shown(), self.target.user)
    }

    async fn shapes(&self, statement: &str) -> Vec<Shape> {
        // A statement that cannot be prepared fails when it is run, with the right error.
        let Ok(prepared) = self.client.prepare(statement).await else { return Vec::new() };
        prepared.columns().iter().map(|column| shape(column.type_())).collect()
    }

    fn failed(&self, error: &tokio_postgres::Error) -> StatementError {
        match error.as_db_error() {
            Some(refused) if !self.client.is_closed() => StatementError::Refused(message(
                refused,
                &format!("{} {}", refused.severity(), refused.code().code()),
            )),
            Some(_) | None => StatementError::Lost(
                Failure::unreachable(format!("the connection to {} was lost", self.target.shown()))
                    .because(error)
                    .help("the statement may or may not have taken effect: look before repeating it"),
            ),
        }
    }
}

fn shape(kind: &Type) -> Shape {
    match *kind {
        Type::BOOL => Shape::Bool,
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID | Type::FLOAT4 | Type::FLOAT8 => Shape::Number,
        _ => Shape::Text,
    }
}

fn parts(messages: Vec<SimpleQueryMessage>, shapes: &[Shape]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut open: Option<ResultSet> = None;
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                let shape = |index| shapes.get(index).copied().unwrap_or(Shape::Text);
                let named = columns.iter().enumerate();
                let columns = named.map(|(index, column)| (column.name().to_owned(), shape(index))).collect();
                open = Some(ResultSet { columns, rows: Vec::new() });
            }
            SimpleQueryMessage::Row(row) => {
                if let Some(set) = &mut open {
                    set.rows.push((0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect());
                }
            }
            SimpleQueryMessage::CommandComplete(count) => {
                parts.push(open.take().map_or(Part::Done(count), Part::Rows));
            }
            // The enum is open for the library's future; ours are matched above.
            _ => {}
        }
    }
    parts
}

/// A message of the server with its detail and hint, a line each.
fn message(error: &DbError, head: &str) -> String {
    let mut text = format!("{head}: {}", error.message());
    for (name, value) in [("DETAIL", error.detail()), ("HINT", error.hint())] {
        if let Some(value) = value {
            text.push_str(&format!("\n{name}: {value}"));
        }
    }
    text
}

fn cannot_connect(target: &Target, error: &ConnectError) -> Failure {
    let what = format!("cannot connect to {} as {}", target.shown(), target.user);
    let failure = Failure::unreachable(what);
    match error {
        ConnectError::Tls(source) => failure.because(source).help(
            "name the directory with ca.crt, and the user's certificate if it has one, with --certs-dir",
        ),
        ConnectError::Timeout { .. } => failure.because(error).help("is it the SQL port, and is a firewall between?"),
        ConnectError::Postgres { source, .. } => match source.as_db_error() {
            Some(refused) => {
                let mut failure = failure;
                failure.causes.push(message(refused, refused.code().code()));
                failure
            }
            None => failure.because(source.as_ref()).help(
                "is a node running there (`grantd node status`)? Was its certificate made for this host name, by the \
                 CA in the certs directory?",
            ),
        },
    }
}
