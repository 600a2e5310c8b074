//! Emulators of AWS by others, started by tests: what is true of the double only because we wrote it so is not true there.
//!
//! MiniStack checks signatures, tokens, expiry and trust by itself. moto does not look at expiry and at some of trust; a file
//! of ours, `strict_moto.py`, adds that. Both come from PyPI with exact versions (`cluster-tests/emulators/requirements.txt`,
//! installed by `.ci/run`). Where they are missing, a test says so and is left out; `GRANTD_REQUIRE_EMULATORS`, which
//! `.ci/run` sets, makes that an error.
//!
//! They are set up with requests of our own, signed by `wire`, so that no SDK of AWS but the one under test is needed.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;

use crate::cloud::aws::Keys;
use crate::cloud::iam::account;
use crate::cloud::server::ask;
use crate::cloud::wire::{self, Unsigned};
use crate::cloud::world::{ACCOUNT, Role, User, World, role_arn};

const REQUIRE: &str = "GRANTD_REQUIRE_EMULATORS";
/// Until an emulator answers: they take a second or three, on a machine with nothing else to do.
const START_MAX: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Somebody else may take the free port before the emulator does.
const STARTS_MAX: usize = 3;
/// The secret of whoever owns an account of MiniStack, and good for moto while it does not look.
const OWNER_SECRET: &str = "test";

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// MiniStack, with its checks on.
    MiniStack,
    /// moto, with the checks that it lacks.
    Moto,
}

/// A running emulator. Dropped, it is gone.
pub struct Emulator {
    kind: Kind,
    address: SocketAddr,
    process: Child,
    home: TempDir,
}

impl Kind {
    /// Its program: as the environment says, or where `.ci/run` puts it.
    pub fn program(self) -> PathBuf {
        let (variable, name) = match self {
            Self::MiniStack => ("GRANTD_MINISTACK", "ministack"),
            Self::Moto => ("GRANTD_MOTO", "moto_server"),
        };
        let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/emulators/bin").join(name);
        std::env::var_os(variable).map_or_else(usual, PathBuf::from)
    }

    fn command(self, port: u16, home: &Path) -> Command {
        let program = self.program();
        let mut command = match self {
            Self::MiniStack => Command::new(&program),
            Self::Moto => {
                let strict = Path::new(env!("CARGO_MANIFEST_DIR")).join("emulators/strict_moto.py");
                let mut command = Command::new(program.with_file_name("python"));
                command.arg(strict).args(["-H", "127.0.0.1", "-p", &port.to_string()]);
                command
            }
        };
        // Nothing of the caller's cloud: it gets what is named here.
        command.env_clear().env("HOME", home).env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8");
        command.envs([("AUTH", "true"), ("BIND_HOST", "127.0.0.1"), ("GATEWAY_PORT", &port.to_string())]);
        command.envs([("MOTO_ACCOUNT_ID", ACCOUNT), ("STRICT_MIN_SECS", "1"), ("PYTHONUNBUFFERED", "1")]);
        command
    }

    fn health(self) -> &'static str {
        match self {
            Self::MiniStack => "/_ministack/health",
            Self::Moto => "/moto-api/data.json",
        }
    }
}

impl Emulator {
    /// Starts one, empty. None: it is not installed.
    pub async fn start(kind: Kind) -> Option<Self> {
        let program = kind.program();
        if !program.exists() {
            let text = format!("{kind:?} is not there ({})", program.display());
            assert!(std::env::var_os(REQUIRE).is_none(), "{text}, and {REQUIRE} is set");
            eprintln!("LEFT OUT: {text}");
            return None;
        }
        let mut last = String::new();
        for _ in 0..STARTS_MAX {
            match Self::try_start(kind).await {
                Ok(emulator) => return Some(emulator),
                Err(error) => last = error,
            }
        }
        panic!("{kind:?} did not start: {last}");
    }

    async fn try_start(kind: Kind) -> Result<Self, String> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of loopback");
        let address = free.local_addr().expect("a bound socket has an address");
        drop(free);
        let home = TempDir::new().expect("a directory for an emulator");
        let log = File::create(home.path().join("log")).expect("a log file");
        let process = kind
            .command(address.port(), home.path())
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}", kind.program().display()))?;
        let mut emulator = Self { kind, address, process, home };
        let deadline = Instant::now() + START_MAX;
        loop {
            let answer = ask(address, "GET", kind.health(), &[], b"").await;
            if answer.is_ok_and(|(status, _)| status == 200) {
                return Ok(emulator);
            }
            let ended = emulator.process.try_wait().expect("a child of this process");
            if ended.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(emulator.home.path().join("log")).unwrap_or_default();
                return Err(format!("ended: {ended:?}\n{log}"));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Where all its services are, as a URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where all its services are.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes all that is in a world, and looks at every request from then on. Returns the keys of its users, by ARN.
    pub async fn add(&self, world: &World) -> HashMap<String, Keys> {
        let mut owners = HashMap::new();
        let arns = world.roles.iter().map(|role| &role.arn).chain(world.users.iter().map(|user| &user.arn));
        let accounts: BTreeSet<&str> = arns.map(|arn| account(arn)).chain([ACCOUNT]).collect();
        for account in accounts {
            owners.insert(account.to_owned(), self.owner(account).await);
        }
        for bucket in &world.buckets {
            let owner = &owners[ACCOUNT];
            let path = format!("/{bucket}");
            self.send(owner, "s3", "PUT", &path, b"")
                .await
                .unwrap_or_else(|error| panic!("{bucket}: {error}"));
        }
        let mut keys = HashMap::new();
        for user in &world.users {
            keys.insert(user.arn.clone(), self.add_user(&owners[account(&user.arn)], user).await);
        }
        for role in &world.roles {
            self.add_role(&owners[account(&role.arn)], role).await;
        }
        if self.kind == Kind::Moto {
            self.switch_moto("0").await;
        }
        keys
    }

    /// Changes who may assume a role.
    pub async fn set_trust(&self, role: &str, trust: &str) {
        let fields = [("RoleName", name(role)), ("PolicyDocument", trust)];
        self.administer(role, "UpdateAssumeRolePolicy", &fields).await;
    }

    /// Changes what a role may do.
    pub async fn set_policy(&self, role: &str, policy: Option<&str>) {
        let named = [("RoleName", name(role)), ("PolicyName", "own")];
        match policy {
            None => self.administer(role, "DeleteRolePolicy", &named).await,
            Some(policy) => {
                let fields = [named[0], named[1], ("PolicyDocument", policy)];
                self.administer(role, "PutRolePolicy", &fields).await;
            }
        }
    }

    /// Trusts the tokens of this issuer, if they are for this audience.
    pub async fn add_issuer(&self, url: &str, audience: &str) {
        let fields = [
            ("Url", url),
            ("ClientIDList.member.1", audience),
            ("ThumbprintList.member.1", "0000000000000000000000000000000000000000"),
        ];
        self.administer(&role_arn(ACCOUNT, ""), "CreateOpenIDConnectProvider", &fields).await;
    }

    /// Whose requests are not refused in an account.
    async fn owner(&self, account: &str) -> Keys {
        let plain = |key: &str| Keys {
            access_key_id: key.to_owned(),
            secret_access_key: OWNER_SECRET.to_owned(),
            session_token: None,
            expires: None,
        };
        // MiniStack takes the number of an account for the key of its owner; moto takes any key for its own account's.
        if self.kind == Kind::MiniStack || account == ACCOUNT {
            return plain(account);
        }
        let role = role_arn(account, "owner");
        let fields = [
            ("Action", "AssumeRole"),
            ("Version", "2011-06-15"),
            ("RoleArn", &role),
            ("RoleSessionName", "owner"),
        ];
        let body = wire::to_form(&fields);
        let xml = self
            .send(&plain(ACCOUNT), "sts", "POST", "/", body.as_bytes())
            .await
            .expect("moto does not look yet");
        let field = |name: &str| wire::element(&xml, name).expect("a session").to_owned();
        Keys {
            access_key_id: field("AccessKeyId"),
            secret_access_key: field("SecretAccessKey"),
            session_token: Some(field("SessionToken")),
            expires: None,
        }
    }

    async fn add_user(&self, owner: &Keys, user: &User) -> Keys {
        let named = ("UserName", name(&user.arn));
        self.iam(owner, "CreateUser", &[named]).await;
        if let Some(policy) = &user.policy {
            self.iam(owner, "PutUserPolicy", &[named, ("PolicyName", "own"), ("PolicyDocument", policy)])
                .await;
        }
        let xml = self.iam(owner, "CreateAccessKey", &[named]).await;
        let field = |name: &str| wire::element(&xml, name).expect("a key").to_owned();
        Keys {
            access_key_id: field("AccessKeyId"),
            secret_access_key: field("SecretAccessKey"),
            session_token: None,
            expires: None,
        }
    }

    async fn add_role(&self, owner: &Keys, role: &Role) {
        let named = ("RoleName", name(&role.arn));
        let longest = role.max_session.as_secs().to_string();
        let fields = [named, ("AssumeRolePolicyDocument", &role.trust), ("MaxSessionDuration", &longest)];
        self.iam(owner, "CreateRole", &fields).await;
        if let Some(policy) = &role.policy {
            self.iam(owner, "PutRolePolicy", &[named, ("PolicyName", "own"), ("PolicyDocument", policy)])
                .await;
        }
    }

    /// A change while it runs. moto is told not to look meanwhile: requests of that moment are not checked.
    async fn administer(&self, arn: &str, action: &str, fields: &[(&str, &str)]) {
        if self.kind == Kind::Moto {
            self.switch_moto("inf").await;
        }
        let owner = self.owner(account(arn)).await;
        self.iam(&owner, action, fields).await;
        if self.kind == Kind::Moto {
            self.switch_moto("0").await;
        }
    }

    async fn iam(&self, owner: &Keys, action: &str, fields: &[(&str, &str)]) -> String {
        let fields = [&[("Action", action), ("Version", "2010-05-08")], fields].concat();
        let sent = self.send(owner, "iam", "POST", "/", wire::to_form(&fields).as_bytes()).await;
        sent.unwrap_or_else(|error| panic!("{action} {fields:?}: {error}"))
    }

    async fn send(
        &self,
        keys: &Keys,
        service: &str,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Result<String, String> {
        let host = self.address.to_string();
        let at = SystemTime::now();
        let unsigned = Unsigned { method, host: &host, path, query: "", body, service, at };
        let token = keys.session_token.as_deref();
        let mut headers = wire::sign(unsigned, &keys.access_key_id, &keys.secret_access_key, token);
        if method == "POST" {
            headers.push(("content-type", "application/x-www-form-urlencoded".to_owned()));
        }
        match ask(self.address, method, path, &headers, body).await {
            Ok((200, text)) => Ok(text),
            Ok((status, text)) => Err(format!("{status} {text}")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// How many requests moto lets pass before it looks.
    async fn switch_moto(&self, free: &str) {
        let headers = [("content-type", "text/plain".to_owned())];
        let answer = ask(self.address, "POST", "/moto-api/reset-auth", &headers, free.as_bytes()).await;
        assert!(matches!(answer, Ok((200, _))), "{answer:?}");
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The name at the end of an ARN.
fn name(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}
