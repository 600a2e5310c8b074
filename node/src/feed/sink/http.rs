//! Requests of sinks: clients, what answers mean, and waits between tries.

use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, Identity, Response};

use super::{Class, SinkError};
use crate::cloud::redact;
use crate::cloud::uri::Tls;
use crate::feed::options::Retry;

/// A client that follows no redirects: what is sent is for who was asked.
pub(super) fn client(tls: Option<&Tls>, more_ca: &str, timeout: Duration) -> Result<Client, SinkError> {
    // reqwest takes the process's own; whoever was first to say which said the same. One backend: ring.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .connect_timeout(timeout.min(CONNECT_TIME_MAX))
        .timeout(timeout)
        .pool_idle_timeout(IDLE_TIME_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("grantd/", env!("CARGO_PKG_VERSION")));
    builder = trust(builder, more_ca)?;
    if let Some(tls) = tls {
        if let Some(ca) = &tls.ca_cert {
            builder = trust(builder, ca.expose())?;
        }
        if let Some(client) = &tls.client {
            let pem = zeroize::Zeroizing::new(format!("{}\n{}", client.cert.expose(), client.key.expose()));
            let identity = Identity::from_pem(pem.as_bytes())
                .map_err(|_| unusable("client_cert and client_key are no certificate and key in PEM"))?;
            builder = builder.identity(identity);
        }
        builder = builder.tls_danger_accept_invalid_certs(tls.skip_verify);
    }
    builder.build().map_err(|error| unusable(&format!("no client of HTTP: {}", causes(&error))))
}

fn trust(builder: ClientBuilder, pem: &str) -> Result<ClientBuilder, SinkError> {
    if pem.trim().is_empty() {
        return Ok(builder);
    }
    match Certificate::from_pem_bundle(pem.as_bytes()) {
        Ok(certificates) if !certificates.is_empty() => Ok(builder.tls_certs_merge(certificates)),
        Ok(_) | Err(_) => Err(unusable("ca_cert holds no certificate in PEM")),
    }
}

fn unusable(message: &str) -> SinkError {
    SinkError::new(Class::Terminal, message)
}

/// What an answer says, so much of it as one reads.
pub(super) async fn said(mut response: Response) -> String {
    let mut body = Vec::new();
    while body.len() < SAID_BYTES_MAX {
        match response.chunk().await {
            Ok(Some(bytes)) => body.extend_from_slice(&bytes[..bytes.len().min(SAID_BYTES_MAX - body.len())]),
            Ok(None) | Err(_) => break,
        }
    }
    let text = String::from_utf8_lossy(&body);
    redact::text(&text).chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// What broke, without the address: its path may let somebody in.
pub(super) fn broken(error: reqwest::Error) -> String {
    causes(&error.without_url())
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    redact::text(&text)
}

/// How long to wait before the next try, after so many. None: there is none.
pub(super) fn pause(retry: &Retry, tries: u32) -> Option<Duration> {
    if retry.max.is_some_and(|max| tries > max) {
        return None;
    }
    let doubled = 2_u32.saturating_pow(tries.saturating_sub(1));
    Some(share(retry.backoff.saturating_mul(doubled).min(PAUSE_MAX)))
}

/// Between half of it and all, so that those who failed together do not come back together.
pub(in crate::feed) fn share(of: Duration) -> Duration {
    let mut dice = [0; 4];
    // Without random bytes everybody waits the whole.
    if getrandom::fill(&mut dice).is_err() {
        return of;
    }
    of.mul_f64(0.5 + f64::from(u32::from_le_bytes(dice)) / f64::from(u32::MAX) / 2.0)
}

/// Who is there answers sooner.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Front ends close idle connections after minutes.
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);
/// As the original.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// What an operator reads of an answer.
const SAID_BYTES_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_twice_as_long_up_to_a_bound() {
        let retry = Retry::default();
        for (tries, millis) in [(1, 500), (2, 1_000), (3, 2_000)] {
            let pause = pause(&retry, tries).unwrap().as_millis();
            assert!((millis / 2..=millis).contains(&pause), "{pause} ms after {tries}");
        }
        assert_eq!(pause(&retry, 4), None);
        let for_ever = Retry { max: None, ..retry };
        assert!(pause(&for_ever, 1_000).unwrap() <= PAUSE_MAX);
    }
}
