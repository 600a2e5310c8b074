//! The PostgreSQL protocol: the server of the `pgwire` crate, whose only answer is `true`, under TLS as a node's SQL
//! port. Its statements have three texts as parameters, and one row.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{Sink, stream};
use grantd_node::pgclient::Login;
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::ExtendedQueryHandler;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse, Response};
use pgwire::api::stmt::QueryParser;
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, PgWireServerHandlers, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::tokio::process_socket;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::echo::certificates::Certificates;

type Failed = Box<dyn std::error::Error>;

/// The server. It ends when this is dropped.
pub struct SqlEcho {
    port: u16,
    server: JoinHandle<()>,
}

impl SqlEcho {
    /// Starts it.
    pub async fn start(certificates: &Certificates) -> Result<Self, Failed> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let port = listener.local_addr()?.port();
        let acceptor = TlsAcceptor::from(certificates.server(grantd_node::pgwire::stream::ALPN)?);
        let server = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                // What breaks here fails the client's statement.
                let _ = tcp.set_nodelay(true);
                tokio::spawn(process_socket(tcp, Some(acceptor.clone()), Arc::new(Handlers::new())));
            }
        });
        Ok(Self { port, server })
    }

    /// How to log in.
    pub fn login(&self, certificates: &Certificates) -> Login {
        Login {
            host: "localhost".to_owned(),
            port: self.port,
            user: "root".to_owned(),
            database: "defaultdb".to_owned(),
            ca: certificates.ca(),
            certificate: Some(certificates.root()),
            password: None,
        }
    }
}

impl Drop for SqlEcho {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Handlers(Arc<Always>);

/// Answers each statement with one row of one boolean.
struct Always {
    fields: Arc<Vec<FieldInfo>>,
}

impl Handlers {
    fn new() -> Self {
        Self(Arc::new(Always { fields: Arc::new(fields()) }))
    }
}

fn fields() -> Vec<FieldInfo> {
    vec![FieldInfo::new("allowed".to_owned(), None, None, Type::BOOL, FieldFormat::Binary)]
}

impl PgWireServerHandlers for Handlers {
    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        Arc::clone(&self.0)
    }
}

/// Takes any text as it is.
struct Unparsed;

#[async_trait]
impl QueryParser for Unparsed {
    type Statement = String;

    async fn parse_sql<C>(&self, _: &C, sql: &str, _: &[Option<Type>]) -> PgWireResult<Option<String>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        Ok(Some(sql.to_owned()))
    }

    fn get_parameter_types(&self, _: &String) -> PgWireResult<Vec<Type>> {
        Ok(vec![Type::TEXT; 3])
    }

    fn get_result_schema(&self, _: &String, _: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        Ok(fields())
    }
}

#[async_trait]
impl ExtendedQueryHandler for Always {
    type Statement = String;
    type QueryParser = Unparsed;

    fn query_parser(&self) -> Arc<Unparsed> {
        Arc::new(Unparsed)
    }

    async fn do_query<C>(&self, _: &mut C, _: &Portal<String>, _: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = String>,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let mut row = DataRowEncoder::new(Arc::clone(&self.fields));
        row.encode_field(&true)?;
        let rows = stream::iter([Ok(row.take_row())]);
        Ok(Response::Query(QueryResponse::new(Arc::clone(&self.fields), rows)))
    }
}
