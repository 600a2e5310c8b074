//! What can be wrong with a service, switched on by a test.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap};

use crate::cloud::google::storage::xml_error;
use crate::cloud::google::{Answer, json_error};

/// Which of the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// IAM Credentials: `generateAccessToken`.
    Iam,
    /// The token endpoint of service account keys.
    Token,
    /// The metadata server.
    Metadata,
    /// The exchange for confined tokens.
    Exchange,
    /// Cloud Storage.
    Storage,
    /// Pub/Sub.
    PubSub,
    /// Cloud KMS.
    Kms,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// 429, with `Retry-After` in seconds, if there is one.
    Throttle(Option<u32>),
    /// 403, whoever asks.
    Deny,
    /// This status, a 5xx.
    Broken(u16),
    /// The request is answered, but so much later.
    Slow(Duration),
    /// The connection is cut, and nothing is done: the service is down.
    Cut,
    /// 400, and the message repeats the `Authorization` that came.
    Echo,
}

impl Trouble {
    /// What is answered in place of what was asked for. None: it is done after all.
    pub(super) fn answer(&self, service: Service, headers: &HeaderMap) -> Option<Answer> {
        let (status, name) = match self {
            Self::Throttle(_) => (StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED"),
            Self::Deny => (StatusCode::FORBIDDEN, "PERMISSION_DENIED"),
            Self::Broken(status) => (StatusCode::from_u16(*status).expect("a status"), "INTERNAL"),
            Self::Echo => (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT"),
            Self::Slow(_) | Self::Cut => return None,
        };
        let sent = headers.get(AUTHORIZATION).and_then(|sent| sent.to_str().ok());
        let message = sent.filter(|_| *self == Self::Echo).unwrap_or("switched on by a test");
        let answer = match service {
            Service::Storage => xml_error(status, name, message),
            Service::Iam
            | Service::Token
            | Service::Metadata
            | Service::Exchange
            | Service::PubSub
            | Service::Kms => json_error(status, name, message),
        };
        match self {
            Self::Throttle(Some(seconds)) => Some(answer.with("retry-after", seconds)),
            _ => Some(answer),
        }
    }
}

/// All that is wrong now.
#[derive(Default)]
pub(super) struct Faults(Vec<Fault>);

struct Fault {
    service: Service,
    trouble: Trouble,
    percent: u32,
    /// Adds up with each request; a hundred is a hit. So hits are evenly spread, and the same in each run.
    due: u32,
}

impl Faults {
    pub(super) fn inject(&mut self, service: Service, trouble: Trouble, percent: u32) {
        self.0.push(Fault { service, trouble, percent, due: 0 });
    }

    pub(super) fn heal(&mut self, service: Service) {
        self.0.retain(|fault| fault.service != service);
    }

    /// What is wrong with this request: the first that hits it.
    pub(super) fn hit(&mut self, service: Service) -> Option<Trouble> {
        self.0.iter_mut().filter(|fault| fault.service == service).find_map(|fault| {
            fault.due += fault.percent;
            (fault.due >= 100).then(|| {
                fault.due -= 100;
                fault.trouble.clone()
            })
        })
    }
}
