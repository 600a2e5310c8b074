//! A server whose statements are a small script, and the certificates around it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use grantd_catalog::command::Actor;
use grantd_catalog::id::{PrincipalId, Version};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::refusal::{Refusal, SqlState, may_not_log_in, state};
use grantd_catalog::role::PasswordVerifier;
use grantd_catalog::state::State;
use grantd_catalog::view::View;
use grantd_node::authn::scram::Verifier;
use grantd_node::authn::{Candidate, Login, certificate_binding};
use grantd_node::error::SqlError;
use grantd_node::pgclient::Tls;
use grantd_node::pgwire::backend::Backend;
use grantd_node::pgwire::machine::Described;
use grantd_node::pgwire::{Limits, Plaintext, Server, ServerConfig};
use grantd_node::session::block::{Kind, Status};
use grantd_node::session::{Cancelled, Notice, Session, Together};
use grantd_node::sql::execute::{CopiedRows, Copy, CopyIn, CopyOut, Place, Response, RowSink, Rows};
use grantd_node::sql::parse::copy::{CopyOptions, CopyStatement};
use grantd_node::sql::parse::{self, Statement};
use grantd_node::value::{ColumnInfo, Datum, SqlType, text};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::sync::Notify;

pub const PASSWORD: &str = "pencil";
const ORDINARY: PrincipalId = PrincipalId(100);

/// Answers statements by their first word.
#[derive(Clone, Default)]
pub struct Script {
    /// Told when a `wait` has begun.
    pub waiting: Arc<Notify>,
    /// Lets a `hold` end.
    pub released: Arc<Notify>,
    copied: Arc<Mutex<Vec<String>>>,
    copying: Arc<Mutex<Cancelled>>,
    places: Arc<Mutex<Vec<Place>>>,
    commits: Arc<AtomicUsize>,
    fails: Arc<AtomicBool>,
    views: Arc<AtomicUsize>,
    waits: Arc<AtomicBool>,
}

impl Script {
    /// The values that the last COPY has taken.
    pub fn copied(&self) -> Vec<String> {
        self.copied.lock().unwrap().clone()
    }

    /// Cancels the COPY that waits for rows.
    pub fn cancel(&self) {
        self.copying.lock().unwrap().raise();
    }
}

/// Keeps what it takes.
#[derive(Debug)]
struct Kept(Arc<Mutex<Vec<String>>>);

impl RowSink for Kept {
    fn push_batch<'a>(
        &'a mut self,
        _: &'a mut Session,
        rows: CopiedRows,
    ) -> BoxFuture<'a, Result<(), SqlError>> {
        async move {
            let values: Vec<_> = rows.values.iter().map(|value| text::format(value).unwrap()).collect();
            if values.iter().any(|value| value == "refused") {
                return Err(SqlError::new(state::INSUFFICIENT_PRIVILEGE, "no more"));
            }
            self.0.lock().unwrap().extend(values);
            Ok(())
        }
        .boxed()
    }

    fn finish<'a>(
        self: Box<Self>,
        session: &'a mut Session,
        place: Place,
    ) -> BoxFuture<'a, Result<Response, SqlError>> {
        placed(session, place);
        let tag = format!("COPY {}", self.0.lock().unwrap().len() / 2);
        std::future::ready(Ok(Response { tag, rows: None, copy: None })).boxed()
    }
}

fn copy_options() -> CopyOptions {
    let Statement::Copy(CopyStatement::From(copy)) = parse::parse("COPY t FROM STDIN").unwrap() else {
        panic!("COPY")
    };
    copy.options
}

impl Backend for Script {
    type Plan = String;

    async fn login(&self, user: &RoleName, database: &Name) -> Result<Login, SqlError> {
        static VERIFIER: LazyLock<PasswordVerifier> = LazyLock::new(|| {
            PasswordVerifier::new(Verifier::derive(PASSWORD, b"0123456789abcdef", 4096).to_text())
        });
        let allowed = |principal, verifier| {
            Login::Allowed(Candidate {
                principal,
                verifier,
                database_exists: database.as_str() == "defaultdb",
            })
        };
        Ok(match user.as_str() {
            "root" => allowed(PrincipalId::ROOT, None),
            "bob" => allowed(ORDINARY, Some(VERIFIER.clone())),
            "nopassword" => allowed(ORDINARY, None),
            "unsure" => return Err(SqlError::new(SqlState::new("57P03"), "no leader answered")),
            "nologin" => Login::Forbidden(may_not_log_in(user)),
            _ => Login::Unknown,
        })
    }

    fn is_superuser(&self, actor: Actor) -> bool {
        actor.current == PrincipalId::ROOT
    }

    fn begin(&self, _session: &mut Session) {}

    fn set(&self, session: &mut Session, name: &str, value: &str) -> Result<(), SqlError> {
        match name {
            "application_name" => session.application_name = value.to_owned(),
            "server_version" => return Err(SqlError::new(SqlState::new("55P02"), "cannot be changed")),
            _ => {}
        }
        Ok(())
    }

    fn split(&self, text: &str) -> Result<Vec<String>, SqlError> {
        if text.contains("syntax error") {
            return Err(SqlError { position: Some(3), ..SqlError::new(state::SYNTAX_ERROR, "syntax error") });
        }
        Ok(text.split(';').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }

    async fn prepare(
        &self,
        _: &mut Session,
        text: &str,
        hints: &[Option<SqlType>],
    ) -> Result<Described<String>, SqlError> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let columns = |types: &[SqlType]| {
            let column = |(index, sql_type): (usize, &SqlType)| ColumnInfo {
                name: format!("c{}", index + 1),
                sql_type: *sql_type,
            };
            Some(types.iter().enumerate().map(column).collect())
        };
        let (parameters, columns) = match word {
            "echo" => {
                let types: Vec<_> = rest.split(' ').filter_map(type_of).collect();
                (types.clone(), columns(&types))
            }
            "hinted" => {
                let types: Vec<_> = hints.iter().map(|hint| hint.unwrap_or(SqlType::Unknown)).collect();
                (types.clone(), columns(&types))
            }
            "truth" => (vec![SqlType::Text], columns(&[SqlType::Bool])),
            "rows" | "changed" => (Vec::new(), columns(&[SqlType::Int8, SqlType::Text])),
            "unknown" => return Err(SqlError::new(state::UNDEFINED_TABLE, "relation does not exist")),
            _ => (Vec::new(), None),
        };
        let (copies_in, plan) = (word == "copyin", text.to_owned());
        let is_inquiry = word == "truth";
        Ok(Described { parameters, columns, copies_in, is_inquiry, plan })
    }

    fn answer(
        &self,
        session: &mut Session,
        _: &String,
        parameters: &[Datum],
        answers: &mut Vec<Option<bool>>,
    ) -> Option<Result<(), SqlError>> {
        if self.waits.load(Ordering::Relaxed) || session.block.status() != Status::Idle {
            return None;
        }
        if session.together.is_none() {
            self.views.fetch_add(1, Ordering::Relaxed);
            let view = Arc::new(View::build(Version(1), State::bootstrap()));
            session.together =
                Some(Together { view, by_lease: false, context: session.name_context(), told: None });
        }
        let [Datum::Text(word)] = parameters else { panic!("one text") };
        match word.as_str() {
            "yes" => answers.push(Some(true)),
            "no" => answers.push(Some(false)),
            "null" => answers.push(None),
            _ => return Some(Err(SqlError::new(state::UNDEFINED_OBJECT, "no such role"))),
        }
        Some(Ok(()))
    }

    async fn execute(
        &self,
        session: &mut Session,
        plan: &String,
        parameters: &[Datum],
        place: Place,
    ) -> Result<Response, SqlError> {
        placed(session, place);
        self.places.lock().unwrap().push(place);
        let result = self.executed(session, plan, parameters).await;
        match place {
            _ if result.is_err() => session.fail(),
            // At Sync, or with the COPY.
            Place::Inner | Place::Alone => {}
            Place::Last => self.commit(session).await?,
        }
        result
    }

    async fn commit(&self, session: &mut Session) -> Result<(), SqlError> {
        if session.block.is_implicit() {
            session.block.take();
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        match self.fails.swap(false, Ordering::Relaxed) {
            true => Err(SqlError::new(SqlState::new("40001"), "not committed")),
            false => Ok(()),
        }
    }
}

/// Begins a transaction for a statement that others stand beside.
fn placed(session: &mut Session, place: Place) {
    if place == Place::Inner && session.block.status() == Status::Idle {
        let before = session.before();
        session.block.begin(Kind::Implicit, false, before, 0);
    }
}

impl Script {
    /// Where the statements stood that were executed since this was last called.
    pub fn places(&self) -> Vec<Place> {
        std::mem::take(&mut self.places.lock().unwrap())
    }

    /// From now on inquiries wait for a leader.
    pub fn wait(&self) {
        self.waits.store(true, Ordering::Relaxed);
    }

    /// How many views inquiries were answered from since this was last called.
    pub fn views(&self) -> usize {
        self.views.swap(0, Ordering::Relaxed)
    }

    /// How many transactions that nobody began were committed.
    pub fn commits(&self) -> usize {
        self.commits.load(Ordering::Relaxed)
    }

    /// The next commit fails.
    pub fn fail_commit(&self) {
        self.fails.store(true, Ordering::Relaxed);
    }

    async fn executed(
        &self,
        session: &mut Session,
        plan: &str,
        parameters: &[Datum],
    ) -> Result<Response, SqlError> {
        let (word, rest) = plan.split_once(' ').unwrap_or((plan, ""));
        let statement = self.prepare(session, plan, &[]).await?;
        let done = |tag: &str| Ok(Response { tag: tag.to_owned(), rows: None, copy: None });
        let columns = statement.columns.unwrap_or_default();
        match word {
            "truth" => Ok(one_row(columns, vec![Datum::Bool(true)])),
            "echo" => Ok(one_row(columns, parameters.to_vec())),
            "hinted" => {
                let column = |_: &Datum| ColumnInfo { name: "c1".to_owned(), sql_type: SqlType::Int8 };
                let columns = parameters.iter().map(column).collect();
                let rows = Some(Rows { columns, rows: vec![parameters.to_vec()], ..Rows::default() });
                Ok(Response { tag: "SELECT 1".to_owned(), rows, copy: None })
            }
            "rows" => {
                let count: i64 = rest.parse().unwrap();
                let row = |number| vec![Datum::Int(number), Datum::Text("x".repeat(100))];
                let rows = Some(Rows { columns, rows: (1..=count).map(row).collect(), ..Rows::default() });
                Ok(Response { tag: format!("SELECT {count}"), rows, copy: None })
            }
            "copyin" => Ok(self.copy_in(session)),
            "copyout" => Ok(copy_out()),
            "changed" => done("SELECT 0"),
            "notice" => {
                let body = Refusal::new(state::NO_GRANT_OPTION, "look here").with_hint("There.");
                session.notices.push(Notice { severity: "WARNING", body });
                done("GRANT")
            }
            "fail" => {
                let code = SqlState::new("22012");
                Err(Refusal::new(code, "division by zero").with_detail("Really.").with_hint("Do not.").into())
            }
            "name" => {
                session.application_name = rest.to_owned();
                done("SET")
            }
            "role" => {
                session.actor.current = ORDINARY;
                done("SET")
            }
            "wait" => {
                self.waiting.notify_one();
                while !session.cancelled.is_raised() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(SqlError::new(SqlState::new("57014"), "query execution canceled"))
            }
            "hold" => {
                self.waiting.notify_one();
                self.released.notified().await;
                if session.cancelled.is_raised() {
                    return Err(SqlError::new(SqlState::new("57014"), "query execution canceled"));
                }
                done("HOLD")
            }
            // A block that says nothing for `begin`'s milliseconds is ended.
            "begin" => {
                begin(session, rest);
                done("BEGIN")
            }
            "end" => {
                session.block.take();
                done("COMMIT")
            }
            "nothing" => done(""),
            _ => done(&word.to_uppercase()),
        }
    }

    fn copy_in(&self, session: &Session) -> Response {
        self.copied.lock().unwrap().clear();
        *self.copying.lock().unwrap() = session.cancelled.clone();
        let column = |(name, sql_type): (&str, _)| ColumnInfo { name: name.to_owned(), sql_type };
        let columns = [("c1", SqlType::Int8), ("c2", SqlType::Text)].map(column).to_vec();
        let into = CopyIn { relation: "t".to_owned(), columns, options: copy_options() };
        let copy = Some(Copy::In(into, Box::new(Kept(Arc::clone(&self.copied)))));
        Response { tag: "COPY".to_owned(), rows: None, copy }
    }
}

fn one_row(columns: Vec<ColumnInfo>, row: Vec<Datum>) -> Response {
    let rows = Some(Rows { columns, rows: vec![row], ..Rows::default() });
    Response { tag: "SELECT 1".to_owned(), rows, copy: None }
}

fn copy_out() -> Response {
    let rows = vec![vec![Datum::Int(1), Datum::Text("a\tb".to_owned())], vec![Datum::Int(2), Datum::Null]];
    let column = |sql_type| ColumnInfo { name: "c".to_owned(), sql_type };
    let columns = [SqlType::Int8, SqlType::Text].map(column).to_vec();
    let copy =
        Some(Copy::Out(CopyOut { options: copy_options(), rows: Rows { columns, rows, ..Rows::default() } }));
    Response { tag: "COPY 2".to_owned(), rows: None, copy }
}

fn begin(session: &mut Session, milliseconds: &str) {
    session.settings.insert("idle_in_transaction_session_timeout", milliseconds.to_owned());
    let before = session.before();
    session.block.begin(Kind::Explicit, false, before, 0);
}

fn type_of(word: &str) -> Option<SqlType> {
    Some(match word {
        "bool" => SqlType::Bool,
        "int2" => SqlType::Int2,
        "int4" => SqlType::Int4,
        "int8" => SqlType::Int8,
        "float8" => SqlType::Float8,
        "text" => SqlType::Text,
        "bytea" => SqlType::Bytea,
        "uuid" => SqlType::Uuid,
        "timestamptz" => SqlType::TimestampTz,
        "text[]" => SqlType::TextArray,
        _ => return None,
    })
}

/// A CA, the server's certificate, and how to make clients'.
struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    server: (CertificateDer<'static>, PrivatePkcs8KeyDer<'static>),
}

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| {
    let key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    // OpenSSL takes a leaf that is named like its issuer for self-signed.
    ca.distinguished_name.push(DnType::CommonName, "ca");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = ca.self_signed(&key).unwrap().der().clone();
    let issuer = Issuer::new(ca, key);
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server = leaf.signed_by(&key, &issuer).unwrap().der().clone();
    Authority { certificate, issuer, server: (server, PrivatePkcs8KeyDer::from(key.serialize_der())) }
});

/// TLS for a client that shows a certificate for `user`, or none.
pub fn client_tls(user: Option<&str>) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(AUTHORITY.certificate.clone()).unwrap();
    let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
    Arc::new(match user {
        None => builder.with_no_client_auth(),
        Some(user) => {
            let key = KeyPair::generate().unwrap();
            let mut leaf = CertificateParams::default();
            leaf.distinguished_name.push(DnType::CommonName, user);
            leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            let certificate = leaf.signed_by(&key, &AUTHORITY.issuer).unwrap().der().clone();
            let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    })
}

fn server_tls() -> Arc<rustls::ServerConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(AUTHORITY.certificate.clone()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots));
    let (certificate, key) = &AUTHORITY.server;
    let config = rustls::ServerConfig::builder()
        .with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        .with_single_cert(vec![certificate.clone()], key.clone_key().into());
    Arc::new(config.unwrap())
}

pub fn server_config() -> ServerConfig {
    ServerConfig {
        node_id: 3,
        tls: Some(server_tls()),
        binding: certificate_binding(&AUTHORITY.server.0),
        plaintext: Plaintext::Refused,
        limits: Limits::default(),
        fake_salt_key: [7; 32],
    }
}

pub async fn start(config: ServerConfig) -> (Server, Script) {
    let script = Script::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (Server::start(listener, config, script.clone()).unwrap(), script)
}

/// How `user` connects with `tokio-postgres`.
pub fn client_config(server: &Server, user: &str) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config.host("localhost").hostaddr(server.address().ip()).port(server.address().port());
    config.user(user).dbname("defaultdb").ssl_mode(tokio_postgres::config::SslMode::Require);
    config
}

/// Connects; the connection's task ends with the client.
pub async fn connect(
    config: &tokio_postgres::Config,
    certificate: Option<&str>,
) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(Tls::new(client_tls(certificate))).await?;
    tokio::spawn(connection);
    Ok(client)
}
