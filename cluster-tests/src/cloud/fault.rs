//! What can be wrong with a cloud, switched on by a test.

use std::time::{Duration, Instant};

use crate::dice::Dice;

/// Which of the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// The one that gives credentials.
    Sts,
    /// The one that keeps objects.
    S3,
    /// The one that keeps keys.
    Kms,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// `Throttling` of STS, `SlowDown` of S3, `ThrottlingException` of KMS; with `Retry-After` in seconds, if there is one.
    Throttle(Option<u32>),
    /// `AccessDenied`, whoever asks.
    Deny,
    /// `ExpiredToken`, before its time.
    Expired,
    /// `InternalFailure` of STS, `InternalError` of S3, with this status.
    Broken(u16),
    /// The request is answered, but this much later.
    Slow(Duration),
    /// The connection is cut, and nothing is done. For a time: the service is down.
    Cut,
    /// What was asked for is done, and the connection is cut before the answer.
    CutAnswer,
    /// Nothing is done, and nothing is answered as long as who asked is there: time to kill it.
    Hang,
    /// What was asked for is done, and nothing is answered as long as who asked is there.
    HangAnswer,
}

/// One trouble: of which requests, how often, and until when.
#[derive(Clone, Debug)]
pub struct Fault {
    service: Service,
    trouble: Trouble,
    operation: Option<String>,
    percent: usize,
    dice: Dice,
    skip: usize,
    left: Option<usize>,
    lasting: Option<Duration>,
    until: Option<Instant>,
}

impl Fault {
    /// All requests to STS, until it is healed.
    pub fn sts(trouble: Trouble) -> Self {
        Self::new(Service::Sts, trouble)
    }

    /// All requests to S3, until it is healed.
    pub fn s3(trouble: Trouble) -> Self {
        Self::new(Service::S3, trouble)
    }

    /// All requests to KMS, until it is healed.
    pub fn kms(trouble: Trouble) -> Self {
        Self::new(Service::Kms, trouble)
    }

    fn new(service: Service, trouble: Trouble) -> Self {
        let dice = Dice::new(0);
        Self {
            service,
            trouble,
            operation: None,
            percent: 100,
            dice,
            skip: 0,
            left: None,
            lasting: None,
            until: None,
        }
    }

    /// Only this operation, as `UploadPart`, `AssumeRole`.
    pub fn of(mut self, operation: &str) -> Self {
        self.operation = Some(operation.to_owned());
        self
    }

    /// Only so many of a hundred requests, drawn from this seed.
    pub fn percent(mut self, percent: usize, seed: u64) -> Self {
        self.percent = percent;
        self.dice = Dice::new(seed);
        self
    }

    /// Not the next so many requests: those after them.
    pub fn after(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }

    /// Only the next so many requests.
    pub fn times(mut self, times: usize) -> Self {
        self.left = Some(times);
        self
    }

    /// For so long, from when it is injected.
    pub fn lasting(mut self, time: Duration) -> Self {
        self.lasting = Some(time);
        self
    }
}

/// All that is wrong now.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// One more.
    pub fn inject(&mut self, mut fault: Fault) {
        fault.until = fault.lasting.map(|time| Instant::now() + time);
        self.0.push(fault);
    }

    /// A service is well again.
    pub fn heal(&mut self, service: Service) {
        self.0.retain(|fault| fault.service != service);
    }

    /// What is wrong with this request: the first that hits it.
    pub fn hit(&mut self, service: Service, operation: &str) -> Option<Trouble> {
        let now = Instant::now();
        self.0.retain(|fault| fault.until.is_none_or(|until| now < until) && fault.left != Some(0));
        for fault in &mut self.0 {
            let meant =
                fault.service == service && fault.operation.as_deref().is_none_or(|one| one == operation);
            if meant && fault.skip > 0 {
                fault.skip -= 1;
            } else if meant && fault.dice.below(100) < fault.percent {
                if let Some(left) = &mut fault.left {
                    *left -= 1;
                }
                return Some(fault.trouble.clone());
            }
        }
        None
    }
}
