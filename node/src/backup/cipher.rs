//! Encryption of what a backup is made of.
//!
//! A backup has one random key. It is written into ENCRYPTION-INFO, wrapped by a key that is made of a passphrase, or by a key of a
//! KMS, each of several. Each file has a key of its own, derived from that one, a random salt, and what the file is in which layer;
//! so a file that stands under another's name, or in another layer, does not open. Inside a file each chunk is sealed under its
//! number and whether it is the last: so none can be left out, put elsewhere, or cut off.
//!
//! AES-256-GCM, HKDF-SHA-256, PBKDF2-SHA-256 with 64,000 iterations. `docs/backup-format.md` has the bytes.

use std::fmt;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use grantd_catalog::refusal::{Refusal, state};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::BackupError;
use crate::secret::Secret;

/// The key of a backup. Never printed; wiped when it is dropped.
#[derive(Clone)]
pub struct DataKey(Zeroizing<[u8; KEY_BYTES]>);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(crate::secret::REDACTED)
    }
}

/// A key of a KMS that wraps others. The seam to the clouds.
#[async_trait]
pub trait KeyService: Send + Sync {
    /// What the key is called there, with its version: compared, never shown.
    fn id(&self) -> &str;
    /// The wrapped form of a key.
    async fn wrap(&self, key: &[u8]) -> Result<Vec<u8>, Refusal>;
    /// The key of a wrapped form.
    async fn unwrap(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refusal>;
}

/// With what a backup is opened.
#[derive(Default)]
pub enum Keys {
    /// It is not encrypted.
    #[default]
    None,
    /// `encryption_passphrase`.
    Passphrase(Secret),
    /// `kms`: any of them opens it.
    Services(Vec<Box<dyn KeyService>>),
    /// The key itself, and of a backup that is new what ENCRYPTION-INFO is to say of it: what a job was handed by its
    /// statement, so that no passphrase is kept.
    Known(DataKey, Option<Vec<u8>>),
}

/// The file ENCRYPTION-INFO.
#[derive(Debug, Serialize, Deserialize)]
pub struct EncryptionInfo {
    format: u32,
    cipher: String,
    keys: Vec<WrappedKey>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "lowercase")]
enum WrappedKey {
    Passphrase {
        kdf: String,
        iterations: u32,
        salt: String,
        wrapped: String,
    },
    Kms {
        /// SHA-256 of what the key is called, in hexadecimal.
        id: String,
        wrapped: String,
    },
}

impl DataKey {
    /// A new one.
    pub fn random() -> Result<Self, BackupError> {
        Ok(Self(Zeroizing::new(random()?)))
    }

    /// ENCRYPTION-INFO with it, wrapped by all of `keys`; none: there are none.
    pub async fn wrapped(&self, keys: &Keys) -> Result<Option<EncryptionInfo>, BackupError> {
        let wrapped = match keys {
            Keys::None | Keys::Known(..) => return Ok(None),
            Keys::Passphrase(passphrase) => {
                let salt: [u8; SALT_BYTES] = random()?;
                let outer = derived(passphrase.clone(), salt.to_vec(), ITERATIONS).await?;
                let nonce = Nonce::assume_unique_for_key([0; NONCE_BYTES]);
                let wrapped = sealed(&aead(&outer)?, nonce, WRAP, &self.0[..])?;
                vec![WrappedKey::Passphrase {
                    kdf: KDF.to_owned(),
                    iterations: ITERATIONS,
                    salt: BASE64.encode(salt),
                    wrapped: BASE64.encode(wrapped),
                }]
            }
            Keys::Services(services) => {
                let mut wrapped = Vec::new();
                for service in services {
                    wrapped.push(WrappedKey::Kms {
                        id: hex(&Sha256::digest(service.id())),
                        wrapped: BASE64.encode(service.wrap(&self.0[..]).await?),
                    });
                }
                wrapped
            }
        };
        Ok(Some(EncryptionInfo { format: FORMAT, cipher: CIPHER.to_owned(), keys: wrapped }))
    }

    /// The key of a backup that has these ENCRYPTION-INFOs.
    pub async fn open(infos: &[EncryptionInfo], keys: &Keys) -> Result<Self, BackupError> {
        let wrapped = infos.iter().flat_map(|info| &info.keys);
        match keys {
            Keys::None => Err(encrypted()),
            Keys::Known(key, _) => Ok(key.clone()),
            Keys::Passphrase(passphrase) => {
                let mut found = wrapped.filter_map(|key| match key {
                    WrappedKey::Passphrase { iterations, salt, wrapped, .. } => {
                        Some((*iterations, salt, wrapped))
                    }
                    WrappedKey::Kms { .. } => None,
                });
                let (iterations, salt, wrapped) = found.next().ok_or_else(|| {
                    BackupError::new(
                        state::INVALID_PARAMETER_VALUE,
                        "the backup is encrypted by KMS, not by a passphrase",
                    )
                    .hint("Name one of its keys with the option kms.")
                })?;
                let broken = || BackupError::damaged(super::names::ENCRYPTION_INFO, "it is no base64");
                let salt = BASE64.decode(salt).map_err(|_| broken())?;
                let wrapped = BASE64.decode(wrapped).map_err(|_| broken())?;
                // Written by whoever may write the bucket: what it costs us is bounded.
                let outer = derived(passphrase.clone(), salt, iterations.min(ITERATIONS_MAX)).await?;
                let nonce = Nonce::assume_unique_for_key([0; NONCE_BYTES]);
                let key = opened(&aead(&outer)?, nonce, WRAP, &wrapped).ok_or_else(wrong_key)?;
                Self::of(&key)
            }
            Keys::Services(services) => Self::open_by_services(&wrapped.collect::<Vec<_>>(), services).await,
        }
    }

    /// Each service must be one that the backup was written with; any of them is enough.
    async fn open_by_services(
        wrapped: &[&WrappedKey],
        services: &[Box<dyn KeyService>],
    ) -> Result<Self, BackupError> {
        let mut ours = Vec::new();
        for service in services {
            let id = hex(&Sha256::digest(service.id()));
            let found = wrapped.iter().find_map(|key| match key {
                WrappedKey::Kms { id: of, wrapped } if *of == id => Some(wrapped),
                WrappedKey::Kms { .. } | WrappedKey::Passphrase { .. } => None,
            });
            let message = "one of the provided URIs was not used when encrypting the base BACKUP";
            let found = found.ok_or_else(|| BackupError::new(state::INVALID_PARAMETER_VALUE, message))?;
            let broken = || BackupError::damaged(super::names::ENCRYPTION_INFO, "it is no base64");
            ours.push((service, BASE64.decode(found).map_err(|_| broken())?));
        }
        let mut failed = encrypted();
        for (service, wrapped) in ours {
            match service.unwrap(&wrapped).await {
                Ok(key) => return Self::of(&key),
                Err(refusal) => failed = refusal.into(),
            }
        }
        Err(failed)
    }

    /// For the record of a job, which is not printed.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0[..]
    }

    pub(crate) fn of(bytes: &[u8]) -> Result<Self, BackupError> {
        let key: [u8; KEY_BYTES] = bytes.try_into().map_err(|_| wrong_key())?;
        Ok(Self(Zeroizing::new(key)))
    }

    /// The bytes of a file. `identity`: what it is, in which layer.
    pub fn seal(&self, identity: &str, plain: &[u8]) -> Result<Vec<u8>, BackupError> {
        let salt: [u8; SALT_BYTES] = random()?;
        let key = self.of_file(&salt, identity)?;
        let mut out = Vec::with_capacity(plain.len() + plain.len() / CHUNK_BYTES * TAG_BYTES + 64);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&salt);
        let mut chunks = plain.chunks(CHUNK_BYTES).peekable();
        let mut number = 0;
        loop {
            let chunk = chunks.next().unwrap_or_default();
            let is_last = chunks.peek().is_none();
            out.extend(sealed(&key, nonce(number, is_last), identity.as_bytes(), chunk)?);
            if is_last {
                return Ok(out);
            }
            number += 1;
        }
    }

    /// What was sealed.
    pub fn unseal(&self, identity: &str, bytes: &[u8]) -> Result<Vec<u8>, BackupError> {
        let damaged = |what: &str| BackupError::damaged(identity, what);
        let body =
            bytes.strip_prefix(MAGIC).ok_or_else(|| damaged("it is not encrypted, and the backup is"))?;
        let (salt, body) = body.split_at_checked(SALT_BYTES).ok_or_else(|| damaged("it ends in its head"))?;
        let key = self.of_file(salt, identity)?;
        let mut out = Vec::with_capacity(body.len());
        let mut chunks = body.chunks(CHUNK_BYTES + TAG_BYTES).peekable();
        let mut number = 0;
        loop {
            let chunk = chunks.next().unwrap_or_default();
            let is_last = chunks.peek().is_none();
            let plain = opened(&key, nonce(number, is_last), identity.as_bytes(), chunk);
            out.extend_from_slice(&plain.ok_or_else(|| {
                damaged("it was cut off, changed, or put in the place of another, or the key is another one")
            })?);
            if is_last {
                return Ok(out);
            }
            number += 1;
        }
    }

    fn of_file(&self, salt: &[u8], identity: &str) -> Result<LessSafeKey, BackupError> {
        struct Length;
        impl KeyType for Length {
            fn len(&self) -> usize {
                KEY_BYTES
            }
        }
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        let prk = Salt::new(HKDF_SHA256, salt).extract(&self.0[..]);
        let info = [INFO, identity.as_bytes()];
        let made = prk.expand(&info, Length).and_then(|made| made.fill(&mut key[..]));
        made.map_err(|_| broken_cipher())?;
        aead(&key)
    }
}

impl EncryptionInfo {
    /// Its file.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BackupError> {
        serde_json::to_vec_pretty(self).map_err(|_| broken_cipher())
    }

    /// What a file says.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, BackupError> {
        let info: Self = serde_json::from_slice(bytes).map_err(|error| BackupError::damaged(file, error))?;
        let is_known = |key: &WrappedKey| match key {
            WrappedKey::Passphrase { kdf, .. } => kdf == KDF,
            WrappedKey::Kms { .. } => true,
        };
        if info.format == FORMAT && info.cipher == CIPHER && info.keys.iter().all(is_known) {
            return Ok(info);
        }
        Err(BackupError::new(
            state::FEATURE_NOT_SUPPORTED,
            format!("{file}: format {} with {} is not known to this release", info.format, info.cipher),
        ))
    }
}

/// Whether a file is encrypted.
pub fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Of who names no key, and needs one. CockroachDB's words.
pub fn encrypted() -> BackupError {
    BackupError::new(
        state::INVALID_PARAMETER_VALUE,
        r#"file appears encrypted -- try specifying one of "encryption_passphrase" or "kms""#,
    )
}

fn wrong_key() -> BackupError {
    BackupError::new(state::INVALID_PARAMETER_VALUE, "failed to decrypt -- maybe incorrect key")
        .hint("Give the passphrase, or a KMS key, that the full backup was written with.")
}

fn broken_cipher() -> BackupError {
    BackupError::new(crate::error::state::INTERNAL, "the cipher of a backup cannot be used")
}

/// PBKDF2 takes tens of milliseconds: not on a thread that runs tasks.
async fn derived(
    passphrase: Secret,
    salt: Vec<u8>,
    iterations: u32,
) -> Result<Zeroizing<[u8; KEY_BYTES]>, BackupError> {
    let derive = move || {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        pbkdf2::pbkdf2_hmac::<Sha256>(passphrase.expose().as_bytes(), &salt, iterations, &mut key[..]);
        key
    };
    tokio::task::spawn_blocking(derive).await.map_err(|_| broken_cipher())
}

fn aead(key: &[u8; KEY_BYTES]) -> Result<LessSafeKey, BackupError> {
    UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new).map_err(|_| broken_cipher())
}

fn sealed(key: &LessSafeKey, nonce: Nonce, said: &[u8], plain: &[u8]) -> Result<Vec<u8>, BackupError> {
    let mut bytes = plain.to_vec();
    key.seal_in_place_append_tag(nonce, Aad::from(said), &mut bytes).map_err(|_| broken_cipher())?;
    Ok(bytes)
}

fn opened(key: &LessSafeKey, nonce: Nonce, said: &[u8], bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(bytes.to_vec());
    let length = key.open_in_place(nonce, Aad::from(said), &mut bytes[..]).ok()?.len();
    bytes.truncate(length);
    Some(bytes)
}

/// A key is of one file, so the number of the chunk is unique for it.
fn nonce(number: u64, is_last: bool) -> Nonce {
    let mut nonce = [0; NONCE_BYTES];
    nonce[0] = u8::from(is_last);
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

fn random<const N: usize>() -> Result<[u8; N], BackupError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| broken_cipher())?;
    Ok(bytes)
}

/// A part of a name that nobody else gives.
pub fn unique() -> Result<String, BackupError> {
    random::<12>().map(|bytes| hex(&bytes))
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const FORMAT: u32 = 1;
const CIPHER: &str = "AES-256-GCM";
const KDF: &str = "PBKDF2-SHA256";
/// A file begins so. The last byte is the format.
const MAGIC: &[u8] = b"grantd-encrypted\x01";
/// What keys of files are derived for, beside what the file is.
const INFO: &[u8] = b"grantd backup file\0";
/// What a wrapped key is said to be.
const WRAP: &[u8] = b"grantd backup key";
/// Source: cloud-jobs specification, C.4.
const ITERATIONS: u32 = 64_000;
/// The most that a file may ask for: some seconds.
const ITERATIONS_MAX: u32 = 10_000_000;
const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// What is sealed at once.
const CHUNK_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> DataKey {
        DataKey(Zeroizing::new([7; KEY_BYTES]))
    }

    /// Whatever of a file is changed, left out or put elsewhere: it does not open.
    #[test]
    fn nothing_but_the_whole_file_under_its_own_name_opens() {
        let plain: Vec<u8> = (0..CHUNK_BYTES * 2 + 10).map(|at| u8::try_from(at % 251).unwrap()).collect();
        for length in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, plain.len()] {
            let sealed = key().seal("a", &plain[..length]).unwrap();
            assert_eq!(key().unseal("a", &sealed).unwrap(), plain[..length]);
            assert!(key().unseal("b", &sealed).is_err(), "under another name");
            let other = DataKey(Zeroizing::new([8; KEY_BYTES]));
            assert!(other.unseal("a", &sealed).is_err(), "with another key");
        }
        let sealed = key().seal("a", &plain).unwrap();
        let head = MAGIC.len() + SALT_BYTES;
        let chunk = CHUNK_BYTES + TAG_BYTES;
        for cut in [0, 5, head, head + chunk, head + 2 * chunk, sealed.len() - 1] {
            let error = key().unseal("a", &sealed[..cut]).unwrap_err();
            assert!(error.to_string().starts_with("backup file a is damaged"), "{cut}: {error}");
        }
        let mut swapped = sealed[..head].to_vec();
        swapped.extend_from_slice(&sealed[head + chunk..head + 2 * chunk]);
        swapped.extend_from_slice(&sealed[head..head + chunk]);
        swapped.extend_from_slice(&sealed[head + 2 * chunk..]);
        assert!(key().unseal("a", &swapped).is_err(), "chunks in another order");
        for at in [0, 17, head, head + 100, sealed.len() - 1] {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(key().unseal("a", &flipped).is_err(), "byte {at}");
        }
    }

    #[tokio::test]
    async fn a_passphrase_opens_what_it_closed_and_another_does_not() {
        let keys = |text: &str| Keys::Passphrase(Secret::new(text.to_owned()));
        let key = DataKey::random().unwrap();
        let info = key.wrapped(&keys("correct horse")).await.unwrap().unwrap();
        let bytes = info.to_bytes().unwrap();
        assert!(!String::from_utf8(bytes.clone()).unwrap().contains("correct"));
        let infos = [EncryptionInfo::parse("ENCRYPTION-INFO", &bytes).unwrap()];
        let sealed = key.seal("f", b"rows").unwrap();
        let again = DataKey::open(&infos, &keys("correct horse")).await.unwrap();
        assert_eq!(again.unseal("f", &sealed).unwrap(), b"rows");
        let error = DataKey::open(&infos, &keys("wrong")).await.unwrap_err();
        assert_eq!(error.to_string(), "failed to decrypt -- maybe incorrect key");
        let error = DataKey::open(&infos, &Keys::None).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"file appears encrypted -- try specifying one of "encryption_passphrase" or "kms""#
        );
    }

    /// A service that exclusive-ors.
    struct Toy(&'static str, u8);

    #[async_trait]
    impl KeyService for Toy {
        fn id(&self) -> &str {
            self.0
        }

        async fn wrap(&self, key: &[u8]) -> Result<Vec<u8>, Refusal> {
            Ok(key.iter().map(|byte| byte ^ self.1).collect())
        }

        async fn unwrap(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refusal> {
            self.wrap(wrapped).await.map(Zeroizing::new)
        }
    }

    /// Any key of a KMS that it was written with opens it; one that it was not is named as such.
    #[tokio::test]
    async fn any_of_several_keys_of_a_kms_opens() {
        let keys = |of: &[(&'static str, u8)]| {
            let services = of.iter().map(|(id, mask)| Box::new(Toy(id, *mask)) as Box<dyn KeyService>);
            Keys::Services(services.collect())
        };
        let key = DataKey::random().unwrap();
        let first = key.wrapped(&keys(&[("a", 1), ("b", 2)])).await.unwrap().unwrap();
        let added = key.wrapped(&keys(&[("c", 3)])).await.unwrap().unwrap();
        let sealed = key.seal("f", b"rows").unwrap();
        let infos = [first, added];
        for of in [("a", 1), ("b", 2), ("c", 3)] {
            let again = DataKey::open(&infos, &keys(&[of])).await.unwrap();
            assert_eq!(again.unseal("f", &sealed).unwrap(), b"rows");
        }
        let error = DataKey::open(&infos, &keys(&[("a", 1), ("d", 1)])).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "one of the provided URIs was not used when encrypting the base BACKUP"
        );
    }

    /// What was written once is read for ever.
    #[test]
    fn the_bytes_are_those_of_the_format() {
        let key = key();
        let salt = [9; SALT_BYTES];
        let of_file = key.of_file(&salt, "2026/11/22-181239.05|data/1.parquet").unwrap();
        let mut bytes = [MAGIC, &salt].concat();
        let identity = b"2026/11/22-181239.05|data/1.parquet";
        bytes.extend(super::sealed(&of_file, nonce(0, true), identity, b"golden").unwrap());
        assert_eq!(hex(&bytes), GOLDEN);
        assert_eq!(key.unseal("2026/11/22-181239.05|data/1.parquet", &bytes).unwrap(), b"golden");
    }

    /// Made by another program (Python, `cryptography`) after docs/backup-format.md.
    const GOLDEN: &str = concat!(
        "6772616e74642d656e6372797074656401",
        "09090909090909090909090909090909",
        "04279346992b2068244ec0880fe6e3125c565399ddc9",
    );
}
