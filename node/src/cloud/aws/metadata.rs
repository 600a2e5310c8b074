//! Services on the machine that give credentials: the endpoint of a container (ECS, EKS Pod Identity), and the metadata service
//! of EC2, version 2.
//!
//! Neither through a proxy nor along a redirect: who follows one hands its token to a stranger.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use reqwest::header::{ACCEPT, AUTHORIZATION, DATE, HOST, HeaderValue};
use reqwest::{Client, RequestBuilder, Url, redirect};
use tokio::sync::OnceCell;

use crate::cloud::aws::document::{Unusable, Writer, read};
use crate::cloud::aws::failure::Trouble;
use crate::cloud::aws::sts::{Given, causes, http_date};
use crate::cloud::lease::Class;
use crate::secret::Secret;

/// What asks them.
#[derive(Default)]
pub(super) struct Local {
    /// Built when first used: it reads the system's certificates.
    http: OnceCell<Client>,
}

/// What one answered.
struct Answer {
    status: u16,
    date: Option<SystemTime>,
    body: Secret,
}

impl Local {
    /// Credentials from a container's endpoint.
    pub(super) async fn container(
        &self,
        url: &str,
        authorization: Option<&Secret>,
    ) -> Result<Given, Trouble> {
        let who = format!("the container credentials endpoint {url}");
        let mut request = self.get(permitted(url).await?).await?;
        if let Some(token) = authorization {
            let mut value = HeaderValue::from_str(token.expose()).map_err(|_| {
                Trouble::new(
                    Class::SourceDead,
                    "the container authorization token has characters that HTTP does not carry",
                )
            })?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let answer = ask(request, &who).await?;
        match answer.status {
            200 => credentials(&answer, &who),
            401 | 403 => {
                let how = if authorization.is_some() {
                    "it refuses the authorization token"
                } else {
                    "it asks for a token: neither AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE nor \
                     AWS_CONTAINER_AUTHORIZATION_TOKEN is set"
                };
                Err(told(&answer, Class::SourceDead, &format!("{who}: {how}")))
            }
            404 => Err(told(
                &answer,
                Class::SourceDead,
                &format!("{who} has no credentials for this task or pod"),
            )),
            status => Err(other(&answer, status, &who)),
        }
    }

    /// Credentials of the instance's role. None: nobody answers there, so that this is no machine of EC2.
    pub(super) async fn imds(&self, base: &str) -> Result<Option<Given>, Trouble> {
        let who = format!("the metadata service of EC2 at {base}");
        let url = |path: &str| {
            Url::parse(&format!("{}{path}", base.trim_end_matches('/'))).map_err(|error| {
                Trouble::new(Class::Config, format!("AWS_EC2_METADATA_SERVICE_ENDPOINT `{base}`: {error}"))
            })
        };
        let request = self.client().await?.put(url("/latest/api/token")?).header(TOKEN_TTL, IMDS_TOKEN_TTL_S);
        let Ok(sent) = tokio::time::timeout(IMDS_TIMEOUT, request.send()).await else { return Ok(None) };
        let answer = match sent {
            Err(error) if error.is_connect() || error.is_timeout() => return Ok(None),
            sent => answered(sent, &who).await?,
        };
        let token = match answer.status {
            200 if !answer.body.expose().trim().is_empty() => {
                HeaderValue::from_str(answer.body.expose().trim()).map_err(|_| {
                    Trouble::new(Class::Network, format!("{who} gave a token that HTTP does not carry"))
                })?
            }
            403 => {
                let how = "it is switched off, or this process may not ask it (hop limit, firewall)";
                return Err(told(&answer, Class::SourceDead, &format!("{who}: {how}")));
            }
            status => return Err(other(&answer, status, &format!("{who}, asked for a session token"))),
        };
        let path = "/latest/meta-data/iam/security-credentials/";
        let names = ask(self.get((url(path)?, None)).await?.header(TOKEN, token.clone()), &who).await?;
        let role = names.body.expose().lines().next().unwrap_or_default().trim();
        if names.status == 404 || (names.status == 200 && role.is_empty()) {
            return Err(told(
                &names,
                Class::SourceDead,
                &format!("{who}: this instance has no role; attach an instance profile"),
            ));
        }
        if names.status != 200 {
            return Err(other(&names, names.status, &who));
        }
        let of_role = url(&format!("{path}{role}"))?;
        let answer = ask(self.get((of_role, None)).await?.header(TOKEN, token), &who).await?;
        match answer.status {
            200 => credentials(&answer, &format!("{who}, role {role}")).map(Some),
            404 => {
                Err(told(&answer, Class::SourceDead, &format!("{who} has no credentials of the role {role}")))
            }
            status => Err(other(&answer, status, &who)),
        }
    }

    async fn get(&self, (url, host): (Url, Option<String>)) -> Result<RequestBuilder, Trouble> {
        let request = self.client().await?.get(url).header(ACCEPT, "application/json");
        Ok(match host {
            Some(host) => request.header(HOST, host),
            None => request,
        })
    }

    async fn client(&self) -> Result<&Client, Trouble> {
        let build = async || {
            // An error says that the process has one already.
            let _there = rustls::crypto::ring::default_provider().install_default();
            Client::builder()
                .no_proxy()
                .redirect(redirect::Policy::none())
                // Fetches are hours apart: what would be kept is a connection that is cut by then.
                .pool_max_idle_per_host(0)
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(ANSWER_TIMEOUT)
                .build()
                .map_err(|error| {
                    Trouble::new(Class::Config, format!("HTTP cannot be used: {}", causes(&error)))
                })
        };
        self.http.get_or_try_init(build).await
    }
}

/// The URL, if credentials may be asked for there: over TLS anywhere, else on this machine and at the addresses of ECS and EKS.
/// A name is replaced by the address that was checked, so that it cannot mean another one a moment later.
async fn permitted(text: &str) -> Result<(Url, Option<String>), Trouble> {
    let config = |text: String| Trouble::new(Class::Config, text);
    let mut url = Url::parse(text)
        .map_err(|error| config(format!("AWS_CONTAINER_CREDENTIALS_FULL_URI `{text}`: {error}")))?;
    if url.scheme() == "https" {
        return Ok((url, None));
    }
    let Some(host) = url.host_str().map(str::to_owned) else {
        return Err(config(format!("AWS_CONTAINER_CREDENTIALS_FULL_URI `{text}` has no host")));
    };
    let elsewhere = || {
        config(format!(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI `{text}`: credentials are asked for without TLS only on loopback and at \
             169.254.170.2, 169.254.170.23 and fd00:ec2::23"
        ))
    };
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return if is_local(address) { Ok((url, None)) } else { Err(elsewhere()) };
    }
    let port = url.port_or_known_default().unwrap_or(80);
    let addresses: Vec<_> = tokio::net::lookup_host((host.as_str(), port))
        .await
        .map_err(|error| {
            Trouble::new(Class::Network, format!("the container credentials endpoint {text}: {error}"))
        })?
        .collect();
    let Some(first) = addresses.first().filter(|_| addresses.iter().all(|address| is_local(address.ip())))
    else {
        return Err(elsewhere());
    };
    url.set_ip_host(first.ip()).map_err(|()| elsewhere())?;
    Ok((url, Some(format!("{host}:{port}"))))
}

fn is_local(address: IpAddr) -> bool {
    address.is_loopback() || [IpAddr::V4(ECS), IpAddr::V4(EKS), IpAddr::V6(EKS_V6)].contains(&address)
}

async fn ask(request: RequestBuilder, who: &str) -> Result<Answer, Trouble> {
    answered(request.send().await, who).await
}

async fn answered(sent: reqwest::Result<reqwest::Response>, who: &str) -> Result<Answer, Trouble> {
    let lost = |error: reqwest::Error| {
        let how = if error.is_timeout() { "did not answer in time" } else { "was not reached" };
        Trouble::new(Class::Network, format!("{who} {how}: {}", causes(&error)))
    };
    let mut response = sent.map_err(lost)?;
    let date = response.headers().get(DATE).and_then(|date| http_date(date.to_str().ok()?));
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(lost)? {
        if body.len() + chunk.len() > BODY_MAX {
            return Err(Trouble::new(
                Class::SourceDead,
                format!("{who} answered with more than {BODY_MAX} bytes"),
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, date, body: Secret::new(String::from_utf8_lossy(&body).into_owned()) })
}

fn credentials(answer: &Answer, who: &str) -> Result<Given, Trouble> {
    read(answer.body.expose(), Writer::Service, answer.date).map_err(|Unusable { code, text }| {
        let text = match &code {
            Some(code) => format!("{who} says {code}: {text}"),
            None => format!("the answer of {who} cannot be used: {text}"),
        };
        Trouble { class: Class::SourceDead, code, text, retry_after: None }
    })
}

/// A failure with what the service itself said about it, where it said that in its JSON.
fn told(answer: &Answer, class: Class, text: &str) -> Trouble {
    match read(answer.body.expose(), Writer::Service, None) {
        Err(Unusable { code: Some(code), text: said }) => Trouble {
            class,
            text: format!("{text}; it says {code}: {said}"),
            code: Some(code),
            retry_after: None,
        },
        Ok(_) | Err(_) => Trouble::new(class, text),
    }
}

fn other(answer: &Answer, status: u16, who: &str) -> Trouble {
    let class = match status {
        429 => Class::Throttled,
        500.. => Class::Network,
        _ => Class::SourceDead,
    };
    told(answer, class, &format!("{who} answered with HTTP {status}"))
}

const ECS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
const EKS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 23);
const EKS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x23);

const TOKEN_TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aws-ec2-metadata-token";

/// For how long a session token of IMDS is asked for: each fetch, every few hours, takes a new one for its two questions.
const IMDS_TOKEN_TTL_S: &str = "60";

/// For a connection to a service on the same machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// For its whole answer. The agent of EKS and the metadata service call other services themselves.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// For the first answer of IMDS: where there is none, packets to its address may get no answer at all.
const IMDS_TIMEOUT: Duration = Duration::from_secs(2);

/// The most that is read of an answer. A session token has a few kilobytes.
const BODY_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn credentials_are_asked_for_without_tls_only_on_this_machine() {
        for url in [
            "http://127.0.0.1:1/c",
            "http://169.254.170.2/c",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/c",
            "https://example.com/c",
        ] {
            assert!(permitted(url).await.is_ok(), "{url}");
        }
        for url in ["http://10.0.0.1/c", "http://169.254.169.254/c", "http://[2001:db8::1]/c", "nonsense"] {
            assert_eq!(permitted(url).await.unwrap_err().class, Class::Config, "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_is_replaced_by_the_address_that_was_checked() {
        let (url, host) = permitted("http://localhost:81/c").await.unwrap();
        assert!(url.host_str().unwrap().trim_matches(['[', ']']).parse::<IpAddr>().unwrap().is_loopback());
        assert_eq!(host.as_deref(), Some("localhost:81"));
    }
}
