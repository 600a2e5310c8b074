//! Who asks: somebody who shows a token, or a process of a user of this host.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tracing::warn;

use super::answer::{Kind, No};
use super::peer;
use crate::failure::Failure;
use crate::secret::Secret;

/// How much chance a token has: 256 bits.
const TOKEN_BYTES: usize = 32;
/// The least characters of a token that an operator brings: 128 bits, if they are hexadecimal digits.
const TOKEN_CHARS_MIN: usize = 32;
/// The most: it has to fit into the head of a request.
const TOKEN_CHARS_MAX: usize = 1_024;
/// Rights of everybody, which the file must not give.
const OTHERS: u32 = 0o007;

/// Whether a request for this host, as `host` or `host:port`, is for loopback.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(name, _)| name),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A file with a token. It is read at every request: who replaces or removes it has taken the old one away.
pub(super) struct TokenFile {
    path: PathBuf,
}

impl TokenFile {
    /// Makes the file if it is not there, for its owner only, and reads it.
    pub(super) fn prepare(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        if !path.exists() {
            make(path).map_err(|error| {
                Failure::new(format!("cannot make the token's file `{shown}`"))
                    .because(&error)
                    .help("name a place that this user may write in `token_file=`, or put a token there")
            })?;
        }
        read(path).map_err(|problem| {
            Failure::new(format!("the token's file `{shown}` cannot be used"))
                .caused_by(problem)
                .help("remove it, and a new one is made at the next start; or `chmod o=` it")
        })?;
        Ok(Self { path: path.to_owned() })
    }

    /// Whether what somebody shows is the token, compared in constant time.
    pub(super) async fn admits(&self, shown: &[u8]) -> Result<bool, No> {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || read(&path)).await;
        let token =
            read.unwrap_or_else(|_panic| Err("it could not be read".to_owned())).map_err(|problem| {
                warn!(file = %self.path.display(), problem, "the token's file cannot be used");
                No::new(
                    Kind::Unauthenticated,
                    "the token of this entry cannot be read; the node's log says why",
                )
            })?;
        let digest = |bytes: &[u8]| Sha256::digest(bytes);
        Ok(digest(token.expose().as_bytes()).ct_eq(&digest(shown)).into())
    }
}

/// Without a line end: some libraries refuse a token with one, others send it along.
fn make(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !directory.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut random = [0; TOKEN_BYTES];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let token = Secret::new(random.iter().map(|byte| format!("{byte:02x}")).collect());
    // For its owner only from the beginning, and whole or not there.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(token.expose().as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    Ok(())
}

fn read(path: &Path) -> Result<Secret, String> {
    let io = |error: io::Error| error.to_string();
    let file = File::open(path).map_err(io)?;
    let found = file.metadata().map_err(io)?;
    if !found.is_file() {
        return Err("it is no file".to_owned());
    }
    if found.permissions().mode() & OTHERS != 0 {
        return Err("everybody may read or write it".to_owned());
    }
    let mut text = String::new();
    // Read as a secret, whatever is in it.
    let bound = TOKEN_CHARS_MAX as u64 + 2;
    let read = file.take(bound).read_to_string(&mut text);
    let text = Secret::new(text);
    read.map_err(io)?;
    let token = text.expose().trim_end_matches(['\r', '\n']);
    let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_plain || !(TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX).contains(&token.len()) {
        return Err(format!(
            "a token has {TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX} characters of ASCII, and no blanks"
        ));
    }
    Ok(Secret::new(token.to_owned()))
}

/// A user of the operating system.
pub(super) struct OsUser {
    uid: u32,
}

impl OsUser {
    /// By its name, or its number.
    pub(super) async fn find(text: &str) -> Result<Self, Failure> {
        if let Ok(uid) = text.parse() {
            return Ok(Self { uid });
        }
        let name = text.to_owned();
        // It may ask a directory on the network.
        let found = tokio::task::spawn_blocking(move || User::from_name(&name)).await;
        match found {
            Ok(Ok(Some(user))) => Ok(Self { uid: user.uid.as_raw() }),
            Ok(Ok(None)) => Err(Failure::new(format!("the operating system has no user `{text}`"))
                .help("name the user that the program runs as in `os_user=`, or its number")),
            Ok(Err(error)) => {
                Err(Failure::new(format!("the user `{text}` cannot be looked up")).because(&error))
            }
            Err(error) => Err(Failure::new(format!("the user `{text}` cannot be looked up")).because(&error)),
        }
    }

    /// Lets in whom the kernel calls so.
    pub(super) async fn admits(&self, client: SocketAddr, server: SocketAddr) -> Result<(), No> {
        let unknown = |why: &str| {
            No::new(Kind::Unauthenticated, format!("the operating system does not say who asks: {why}"))
        };
        let found = tokio::task::spawn_blocking(move || peer::user(client, server)).await;
        match found {
            Ok(Ok(Some(uid))) if uid == self.uid => Ok(()),
            Ok(Ok(Some(uid))) => {
                let meant = Uid::from_raw(self.uid);
                let message = format!(
                    "user {uid} of this host is not given these credentials: they are for user {meant}"
                );
                Err(No::new(Kind::Unauthenticated, message))
            }
            Ok(Ok(None)) => Err(unknown("the connection is not listed as anybody's")),
            Ok(Err(error)) => Err(unknown(&error.to_string())),
            Err(error) => Err(unknown(&error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_loopback_are_answered() {
        for host in
            ["127.0.0.1", "127.0.0.1:80", "127.9.9.9:1", "[::1]", "[::1]:80", "localhost", "LocalHost:80"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:80",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "[fe80::1]:80",
            "::1",
            "0.0.0.0",
            "169.254.169.254",
            "metadata.google.internal",
            "[127.0.0.1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[tokio::test]
    async fn a_token_is_made_once_for_its_owner_and_what_is_in_the_file_counts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("endpoint/a.token");
        let file = TokenFile::prepare(&path).unwrap();
        let token = std::fs::read_to_string(&path).unwrap();
        assert_eq!(token.len(), 2 * TOKEN_BYTES);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let made = std::fs::metadata(path.parent().unwrap()).unwrap();
        assert_eq!(made.permissions().mode() & 0o777, 0o700);
        TokenFile::prepare(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), token, "it is kept");
        assert_eq!(file.admits(token.as_bytes()).await, Ok(true));
        for wrong in
            ["", &token[1..], &format!("{token}\n"), &format!("Bearer {token}"), &token.to_uppercase()]
        {
            assert_eq!(file.admits(wrong.as_bytes()).await, Ok(false));
        }
        let other = "0123456789abcdef0123456789abcdef";
        std::fs::write(&path, format!("{other}\n")).unwrap();
        assert_eq!(file.admits(token.as_bytes()).await, Ok(false));
        assert_eq!(file.admits(other.as_bytes()).await, Ok(true));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file.admits(other.as_bytes()).await.unwrap_err().kind, Kind::Unauthenticated);
    }

    #[test]
    fn a_file_that_everybody_may_read_or_that_has_no_token_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t");
        std::fs::write(&path, "x".repeat(TOKEN_CHARS_MIN)).unwrap();
        for (bits, fits) in [(0o600, true), (0o640, true), (0o644, false), (0o602, false)] {
            mode(&path, bits);
            assert_eq!(TokenFile::prepare(&path).is_ok(), fits, "{bits:o}");
        }
        mode(&path, 0o600);
        for text in ["", "short", &"x".repeat(TOKEN_CHARS_MAX + 1), &format!("{} y", "x".repeat(40))] {
            std::fs::write(&path, text).unwrap();
            let failure = TokenFile::prepare(&path).err().unwrap().to_string();
            assert!(failure.contains("a token has 32 to 1024 characters"), "{failure}");
            assert!(text.is_empty() || !failure.contains(&format!("`{text}`")), "{failure}");
        }
        assert!(TokenFile::prepare(directory.path()).is_err());
    }
}
