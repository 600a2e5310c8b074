//! Against a server of HTTPS in this process.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::cloud::settings::NodeSettings;
use crate::cloud::uri::{Purpose, Uri};

/// A request: header, type, body.
type Got = (Option<String>, String, String);

/// A server, what it answers next, and what it got.
struct Server {
    url: String,
    ca: String,
    answers: Arc<Mutex<Vec<(u16, String)>>>,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Server {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!(
            "webhook-https://localhost:{}/hook?token=opensesame",
            listener.local_addr().unwrap().port()
        );
        let server = Self { url, ca: made.cert.pem(), answers: Arc::default(), got: Arc::default() };
        let (answers, got) = (Arc::clone(&server.answers), Arc::clone(&server.got));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answers, got) = (acceptor.clone(), Arc::clone(&answers), Arc::clone(&got));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let answer = service_fn(move |request: Request<Incoming>| {
                        let (answers, got) = (Arc::clone(&answers), Arc::clone(&got));
                        async move {
                            let header =
                                |name: &str| Some(request.headers().get(name)?.to_str().unwrap().to_owned());
                            let (auth, kind) = (header("authorization"), header("content-type"));
                            let body = request.into_body().collect().await?.to_bytes();
                            let body = String::from_utf8(body.to_vec()).unwrap();
                            got.lock().unwrap().push((auth, kind.unwrap_or_default(), body));
                            let mut answers = answers.lock().unwrap();
                            let (status, text) =
                                if answers.is_empty() { (200, String::new()) } else { answers.remove(0) };
                            let mut response = Response::builder().status(status);
                            if status == 307 {
                                response = response.header("location", "https://elsewhere.example/");
                            }
                            Ok::<_, hyper::Error>(response.body(Full::new(bytes::Bytes::from(text))).unwrap())
                        }
                    });
                    let connection = hyper::server::conn::http1::Builder::new();
                    let _ = connection.serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        server
    }

    fn sink(&self, options: &[(&str, &str)], trusted: bool) -> Webhook {
        use base64::Engine;
        let ca = base64::engine::general_purpose::STANDARD.encode(&self.ca);
        let ca: String =
            percent_encoding::utf8_percent_encode(&ca, percent_encoding::NON_ALPHANUMERIC).to_string();
        let url = if trusted { format!("{}&ca_cert={ca}", self.url) } else { self.url.clone() };
        let uri = Uri::parse(&url, Purpose::Sink { unordered: false }, &NodeSettings::nowhere()).unwrap();
        let Uri::Webhook(webhook) = &uri else { unreachable!("it is one") };
        let given: Vec<_> =
            options.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect();
        let options = Options::parse(&given, Timestamp::default()).unwrap().for_sink(&uri).unwrap();
        Webhook::new(webhook, &options, "").unwrap()
    }

    fn answer(&self, answers: &[(u16, &str)]) {
        *self.answers.lock().unwrap() =
            answers.iter().map(|(status, text)| (*status, (*text).to_owned())).collect();
    }

    fn got(&self) -> Vec<Got> {
        std::mem::take(&mut *self.got.lock().unwrap())
    }
}

fn messages(keys: std::ops::Range<u32>) -> Vec<Message> {
    keys.map(|key| Message {
        topic: "t".into(),
        key: format!("[{key}]").into_bytes(),
        value: Some(format!("{{\"after\": {{\"id\": {key}}}}}").into_bytes()),
        updated: Timestamp::default(),
        shape: Arc::default(),
    })
    .collect()
}

const QUICK: (&str, &str) = ("webhook_sink_config", "{\"Retry\": {\"Max\": 2, \"Backoff\": \"10ms\"}}");

#[tokio::test]
async fn messages_come_in_a_payload_and_resolved_ones_alone() {
    let server = Server::start().await;
    let mut sink = server.sink(&[("webhook_auth_header", "Basic c2VjcmV0LXdvcmQ=")], true);
    sink.emit(messages(0..2)).await.unwrap();
    sink.flush(Timestamp::default()).await.unwrap();
    sink.resolved(Timestamp::default(), b"{\"resolved\":\"1.0\"}").await.unwrap();
    let got = server.got();
    let auth = Some("Basic c2VjcmV0LXdvcmQ=".to_owned());
    let body = r#"{"payload":[{"after": {"id": 0}},{"after": {"id": 1}}],"length":2}"#;
    assert_eq!(got[0], (auth.clone(), "application/json".to_owned(), body.to_owned()));
    assert_eq!(got[1], (auth, "application/json".to_owned(), "{\"resolved\":\"1.0\"}".to_owned()));
    assert_eq!(got.len(), 2);
}

#[tokio::test]
async fn a_batch_is_sent_again_and_then_it_is_said_what_is_wrong_and_no_secret() {
    let server = Server::start().await;
    let mut sink = server.sink(&[QUICK, ("webhook_auth_header", "Bearer sesame-street")], true);
    server.answer(&[(500, "x"), (503, "y")]);
    sink.emit(messages(0..1)).await.unwrap();
    assert_eq!(server.got().len(), 3);
    server.answer(&[(403, "no"), (403, "no"), (403, "you said sesame-street")]);
    let error = sink.emit(messages(0..1)).await.unwrap_err();
    assert_eq!(error.class, Class::Retryable);
    assert_eq!(error.message, "webhook: 403: you said [redacted]");
    // A part of the URL.
    let mut sink = server.sink(&[QUICK], true);
    server.answer(&[(404, ""), (404, ""), (404, "nobody is called opensesame")]);
    let error = sink.emit(messages(0..1)).await.unwrap_err();
    assert_eq!(error.message, "webhook: 404: nobody is called [redacted]");
    // Where it is sent from here to is not where it was to go.
    server.answer(&[(307, ""), (307, ""), (307, "")]);
    let error = sink.emit(messages(0..1)).await.unwrap_err();
    assert_eq!(error.message, "webhook: 307: ");
}

#[tokio::test]
async fn who_is_not_trusted_gets_nothing_unless_everybody_is() {
    let server = Server::start().await;
    let mut sink = server.sink(&[QUICK], false);
    let error = sink.emit(messages(0..1)).await.unwrap_err();
    assert!(error.message.starts_with("webhook: "), "{error}");
    assert!(!error.message.contains("opensesame") && !error.message.contains("hook?"), "{error}");
    assert_eq!(server.got().len(), 0);
    let careless =
        Server { url: format!("{}&insecure_tls_skip_verify=true", server.url), ca: String::new(), ..server };
    careless.sink(&[QUICK], false).emit(messages(0..1)).await.unwrap();
    assert_eq!(careless.got().len(), 1);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("webhook-https://localhost:{}/", listener.local_addr().unwrap().port());
    let silent = Server { url, ca: String::new(), answers: Arc::default(), got: Arc::default() };
    let mut sink = silent.sink(&[QUICK, ("webhook_client_timeout", "100ms")], false);
    let began = Instant::now();
    assert_eq!(sink.emit(messages(0..1)).await.unwrap_err().class, Class::Retryable);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn messages_wait_for_others_where_the_options_say_so() {
    let server = Server::start().await;
    let config = ("webhook_sink_config", "{\"Flush\": {\"Messages\": 3, \"Frequency\": \"1s\"}}");
    let mut sink = server.sink(&[config], true);
    sink.emit(messages(0..2)).await.unwrap();
    assert_eq!(server.got().len(), 0);
    assert_eq!(sink.linger(), Some(Duration::from_secs(1)));
    sink.emit(messages(2..4)).await.unwrap();
    assert_eq!(server.got().len(), 2);
    sink.emit(messages(4..5)).await.unwrap();
    sink.begin(Timestamp::default()).await.unwrap();
    sink.flush(Timestamp::default()).await.unwrap();
    assert_eq!(server.got().len(), 0, "what is begun again is forgotten");
}
