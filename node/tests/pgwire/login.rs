use std::time::Duration;

use grantd_node::pgwire::{Plaintext, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::config::{ChannelBinding, SslMode, SslNegotiation};

use crate::raw::{self, Raw, SSL_REQUEST};
use crate::scripted::{PASSWORD, client_config, connect, server_config, start};

/// The SQLSTATE and message of a refusal.
async fn refusal(config: &tokio_postgres::Config, certificate: Option<&str>) -> String {
    let error = connect(config, certificate).await.expect_err("the login is refused");
    let error = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
    format!("{} {} {}", error.severity(), error.code().code(), error.message())
}

/// What a server answers to bytes on a plain socket, to its end.
async fn answer(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut tcp = TcpStream::connect(server.address()).await.unwrap();
    tcp.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A connection that is reset ends here too.
    let _ = tcp.read_to_end(&mut answer).await;
    answer
}

#[tokio::test]
async fn the_right_password_logs_in_with_and_without_channel_binding() {
    let (server, _) = start(server_config()).await;
    for binding in [ChannelBinding::Require, ChannelBinding::Disable] {
        let mut config = client_config(&server, "Bob");
        config.password(PASSWORD).channel_binding(binding);
        let client = connect(&config, None).await.unwrap();
        assert_eq!(client.execute("grant", &[]).await.unwrap(), 0);
        assert_eq!(server.sessions().users()[0].as_str(), "bob");
    }
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_get_the_same_answer() {
    let (server, _) = start(server_config()).await;
    for user in ["bob", "nobody", "nopassword", "root"] {
        let mut config = client_config(&server, user);
        config.password("wrong");
        let expected = format!("FATAL 28P01 password authentication failed for user {user}");
        assert_eq!(refusal(&config, None).await, expected);
        // A certificate of somebody else is no proof.
        assert_eq!(refusal(&config, Some("eve")).await, expected);
    }
}

#[tokio::test]
async fn a_user_without_login_is_refused_before_any_password() {
    let (server, _) = start(server_config()).await;
    let expected = "FATAL 28000 nologin does not have login privilege";
    assert_eq!(refusal(&client_config(&server, "nologin"), None).await, expected);
    assert_eq!(refusal(&client_config(&server, "nologin"), Some("nologin")).await, expected);
}

#[tokio::test]
async fn a_certificate_logs_in_the_user_that_it_names() {
    let (server, _) = start(server_config()).await;
    for (user, certificate) in [("root", "root"), ("bob", "bob"), ("nopassword", "NoPassword")] {
        connect(&client_config(&server, user), Some(certificate)).await.unwrap();
    }
    let mut config = client_config(&server, "bob");
    config.password(PASSWORD);
    connect(&config, Some("root")).await.expect("another's certificate leaves the password");
}

#[tokio::test]
async fn tls_may_begin_without_a_request() {
    let (server, _) = start(server_config()).await;
    let mut config = client_config(&server, "root");
    config.ssl_negotiation(SslNegotiation::Direct);
    connect(&config, Some("root")).await.unwrap();
}

#[tokio::test]
async fn without_tls_nobody_gets_in_unless_it_is_configured() {
    let (server, _) = start(server_config()).await;
    let mut config = client_config(&server, "bob");
    config.password(PASSWORD).ssl_mode(SslMode::Disable);
    assert_eq!(refusal(&config, None).await, "FATAL 28000 this node requires TLS");
    let mut open = server_config();
    open.plaintext = Plaintext::Allowed;
    let (server, _) = start(open).await;
    let mut config = client_config(&server, "bob");
    config.password(PASSWORD).ssl_mode(SslMode::Disable);
    connect(&config, None).await.unwrap();
}

#[tokio::test]
async fn an_unknown_database_is_told_only_to_who_has_proved_who_it_is() {
    let (server, _) = start(server_config()).await;
    let mut config = client_config(&server, "bob");
    config.dbname("nowhere").password("wrong");
    assert!(refusal(&config, None).await.starts_with("FATAL 28P01"));
    config.password(PASSWORD);
    assert_eq!(refusal(&config, None).await, "FATAL 3D000 database \"nowhere\" does not exist");
}

#[tokio::test]
async fn settings_that_cannot_be_honoured_refuse_the_login() {
    let (server, _) = start(server_config()).await;
    let mut config = client_config(&server, "root");
    config.options("-c client_encoding=LATIN1");
    assert_eq!(
        refusal(&config, Some("root")).await,
        "FATAL 0A000 client_encoding \"LATIN1\" is not supported"
    );
    let mut config = client_config(&server, "root");
    config.options("-c server_version=18");
    assert_eq!(refusal(&config, Some("root")).await, "FATAL 55P02 cannot be changed");
}

#[tokio::test]
async fn sessions_are_bounded_except_for_administrators() {
    let mut config = server_config();
    config.limits.sessions_max = 2;
    let (server, _) = start(config).await;
    let bob = client_config(&server, "bob");
    let first = connect(&bob, Some("bob")).await.unwrap();
    let _second = connect(&bob, Some("bob")).await.unwrap();
    assert_eq!(refusal(&bob, Some("bob")).await, "FATAL 53300 sorry, too many clients already");
    let root = connect(&client_config(&server, "root"), Some("root")).await.unwrap();
    assert_eq!(server.sessions().len(), 3);
    drop((first, root));
    while server.sessions().len() > 1 {
        tokio::task::yield_now().await;
    }
    connect(&bob, Some("bob")).await.expect("a place is free again");
}

#[tokio::test]
async fn connections_are_bounded_and_those_beyond_are_closed() {
    let mut config = server_config();
    config.limits.connections_max = 1;
    let (server, _) = start(config).await;
    let root = connect(&client_config(&server, "root"), Some("root")).await.unwrap();
    assert!(answer(&server, SSL_REQUEST).await.is_empty());
    root.execute("grant", &[]).await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_log_in_is_given_up() {
    let mut config = server_config();
    config.limits.login_timeout = Duration::from_millis(50);
    let (server, _) = start(config).await;
    let said = raw::replies(&answer(&server, b"\0\0").await);
    assert_eq!(said, ["FATAL | 08P01 | canceling authentication due to timeout"]);
}

#[tokio::test]
async fn a_node_that_cannot_say_who_exists_lets_nobody_in() {
    let (server, _) = start(server_config()).await;
    let config = client_config(&server, "unsure");
    assert_eq!(refusal(&config, Some("unsure")).await, "FATAL 57P03 no leader answered");
}

#[tokio::test]
async fn the_client_is_told_version_settings_and_key() {
    let (server, _) = start(server_config()).await;
    let settings = [("user", "root"), ("application_name", "t"), ("options", "-c search_path=s,public")];
    let raw = Raw::connect(&server, 3 << 16, &settings).await;
    let expected = [
        "Authentication 0",
        "server_version=13.0.0",
        "server_encoding=UTF8",
        "client_encoding=UTF8",
        "DateStyle=ISO, MDY",
        "IntervalStyle=postgres",
        "TimeZone=UTC",
        "integer_datetimes=on",
        "standard_conforming_strings=on",
        "session_authorization=root",
        "is_superuser=on",
        "application_name=t",
        "search_path=s, public",
        "Key of 4 bytes",
        "Ready I",
    ];
    assert_eq!(raw.greeting, expected);
}

#[tokio::test]
async fn newer_protocols_are_negotiated_down() {
    let (server, _) = start(server_config()).await;
    let newer = Raw::connect(&server, 3 << 16 | 9, &[("user", "root"), ("_pq_.novel", "1")]).await;
    assert_eq!(newer.greeting[0], "Negotiate 0x30002 [\"_pq_.novel\"]");
    assert!(newer.greeting.contains(&"Key of 32 bytes".to_owned()));
    let known = Raw::connect(&server, 3 << 16 | 2, &[("user", "root")]).await;
    assert_eq!(known.greeting[0], "Authentication 0");
}

#[tokio::test]
async fn what_is_not_the_protocol_gets_one_error_and_harms_nobody() {
    let (server, _) = start(server_config()).await;
    let client = connect(&client_config(&server, "root"), Some("root")).await.unwrap();
    let said = raw::replies(&answer(&server, b"GET / HTTP/1.1\r\n\r\n").await);
    assert_eq!(
        said,
        ["FATAL | 08P01 | invalid length of startup packet | This port speaks the PostgreSQL protocol."]
    );
    let stuffed = answer(&server, &[SSL_REQUEST, b"more"].concat()).await;
    assert_eq!(raw::replies(&stuffed), ["FATAL | 08P01 | received unencrypted data after SSL request"]);
    let gss = [0, 0, 0, 8, 4, 210, 22, 48];
    let refused = answer(&server, &[&gss[..], &raw::startup(3 << 16, &[("user", "bob")])].concat()).await;
    assert_eq!(refused[0], b'N');
    assert!(raw::replies(&refused[1..])[0].starts_with("FATAL | 28000 | this node requires TLS"));
    client.execute("grant", &[]).await.expect("others go on");
}

#[tokio::test]
async fn random_bytes_before_login_never_stop_the_server() {
    let mut config = server_config();
    config.plaintext = Plaintext::Allowed;
    let (server, _) = start(config).await;
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..200 {
        let mut bytes: Vec<u8> = (0..round)
            .map(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random.to_le_bytes()[0]
            })
            .collect();
        // Half of them go on after a real startup packet, where a SASL message is expected.
        if round % 2 == 0 {
            bytes.splice(0..0, raw::startup(3 << 16, &[("user", "bob")]));
        }
        let mut tcp = TcpStream::connect(server.address()).await.unwrap();
        tcp.write_all(&bytes).await.unwrap();
        tcp.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = tcp.read_to_end(&mut answer).await;
    }
    connect(&client_config(&server, "root"), Some("root")).await.unwrap();
    assert_eq!(server.drain(Duration::from_secs(5)).await, 0);
}
