//! `cloud_endpoints`: which credentials this node gives to other programs of its host, in whose name, and to which of them.
//!
//! An entry is words of the form `key=value` with blanks between them, so that a flag, a variable and a file say the same. Its
//! URI is not read here; what is behind a `?` is not repeated in errors, as roles may have external ids there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use super::{ConfigError, Written};

/// The most entries: each keeps a chain of roles, and may have a listener.
pub const ENDPOINTS_MAX: usize = 64;
/// The most bytes of a name: it is a part of a path, of a file's name, and of the name of a session in the cloud.
const NAME_BYTES_MAX: usize = 32;
const KEY: &str = "cloud_endpoints";
const WORDS: [&str; 6] = ["name", "principal", "uri", "token_file", "metadata_listen", "os_user"];

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What it is called on this node.
    pub name: String,
    /// In whose name: a role of the catalog, as it was written.
    pub principal: String,
    /// What it leads to, as it was written.
    pub uri: String,
    /// By which contract, and to whom.
    pub to: Recipient,
}

/// Who is given credentials, and how it asks for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// As AWS gives them to containers: to who shows what is in this file.
    Token(PathBuf),
    /// As Google's metadata server gives them, whose contract has no token: to processes of one user of this host.
    User {
        /// Where it is asked.
        listen: SocketAddr,
        /// The user's name, or its number.
        os_user: String,
    },
}

impl Written {
    /// Entries, from one word each, or several in one word with line breaks between them.
    pub(super) fn endpoints(&self, listen: Option<SocketAddr>) -> Result<Vec<Endpoint>, ConfigError> {
        let (words, _) = self.words(KEY);
        let entries = words.iter().flat_map(|word| word.lines()).map(str::trim);
        let entries: Vec<_> = entries.filter(|entry| !entry.is_empty()).collect();
        if entries.len() > ENDPOINTS_MAX {
            return Err(self.wrong_entry("…", format!("at most {ENDPOINTS_MAX} entries")));
        }
        let (mut names, mut ports) = (BTreeSet::new(), BTreeSet::new());
        let mut endpoints = Vec::new();
        for entry in entries {
            let endpoint = self.entry(entry, listen).map_err(|problem| self.wrong_entry(entry, problem))?;
            if !names.insert(endpoint.name.clone()) {
                return Err(self.wrong_entry(entry, "another entry has this name"));
            }
            if let Recipient::User { listen, .. } = endpoint.to
                && !ports.insert(listen)
            {
                return Err(self.wrong_entry(entry, "another entry listens there"));
            }
            endpoints.push(endpoint);
        }
        Ok(endpoints)
    }

    fn entry(&self, entry: &str, listen: Option<SocketAddr>) -> Result<Endpoint, String> {
        let mut said = BTreeMap::new();
        for word in entry.split_whitespace() {
            let known = word.split_once('=').filter(|(key, value)| WORDS.contains(key) && !value.is_empty());
            let Some((key, value)) = known else {
                return Err(format!(
                    "`{}` is none of {}, with `=` and a value",
                    shown(word),
                    WORDS.join(", ")
                ));
            };
            if said.insert(key, value).is_some() {
                return Err(format!("`{key}` is said twice"));
            }
        }
        let needed = |key: &str| {
            said.get(key).map(|value| (*value).to_owned()).ok_or_else(|| format!("`{key}=` is missing"))
        };
        let name = needed("name")?;
        let fits = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-';
        if name.len() > NAME_BYTES_MAX || !name.chars().all(fits) {
            return Err(format!("a name has at most {NAME_BYTES_MAX} characters, of a to z, 0 to 9 and `-`"));
        }
        let to = match (said.get("metadata_listen"), said.get("os_user")) {
            (Some(address), Some(os_user)) => {
                if said.contains_key("token_file") {
                    return Err("the metadata contract has no token: leave `token_file=` out".to_owned());
                }
                Recipient::User { listen: loopback(address)?, os_user: (*os_user).to_owned() }
            }
            (Some(_), None) => {
                return Err(
                    "the metadata contract has no token: say `os_user=`, whose processes alone are given \
                            credentials"
                        .to_owned(),
                );
            }
            (None, Some(_)) => return Err("`os_user=` is for an entry with `metadata_listen=`".to_owned()),
            (None, None) if listen.is_none() => {
                return Err("it is asked for over `cloud_endpoint_listen`, which is not set".to_owned());
            }
            (None, None) => Recipient::Token(match said.get("token_file") {
                Some(path) => PathBuf::from(path),
                None => {
                    let directory = self.data_dir().map_err(|error| error.to_string())?;
                    directory.join("endpoint").join(format!("{name}.token"))
                }
            }),
        };
        Ok(Endpoint { principal: needed("principal")?, uri: needed("uri")?, name, to })
    }

    fn wrong_entry(&self, entry: &str, problem: impl Into<String>) -> ConfigError {
        let (_, origin) = self.words(KEY);
        let value = entry.split_whitespace().map(shown).collect::<Vec<_>>().join(" ");
        ConfigError::Value { key: KEY, value, origin, problem: problem.into() }
    }
}

/// What of a word may be repeated.
fn shown(word: &str) -> String {
    match word.split_once('?') {
        Some((before, _)) => format!("{before}?…"),
        None => word.to_owned(),
    }
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
    address.ok_or_else(|| {
        "credentials are given out on loopback only: expected `metadata_listen=127.0.0.1:PORT` or `[::1]:PORT`".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use crate::config::Settings;
    use crate::failure::Failure;

    use super::*;

    fn told(entries: &[&str]) -> Result<Settings, String> {
        let listen = [("cloud_endpoint_listen", "127.0.0.1:1338".to_owned())];
        let entries = entries.iter().map(|entry| (KEY, (*entry).to_owned()));
        let written = Written::collect(None, [], listen.into_iter().chain(entries)).unwrap();
        written.resolve().map_err(|error| Failure::from(error).to_string())
    }

    #[test]
    fn an_entry_says_in_whose_name_what_and_to_whom() {
        let entries = [
            "name=walg principal=archive uri=external://wal/pg",
            "uri=external://photos  principal=sync name=photos metadata_listen=[::1]:9000 os_user=rclone",
            "name=lite principal=app uri=s3://b/p?AUTH=implicit&ASSUME_ROLE=arn:x token_file=/run/lite/token",
        ];
        let settings = told(&entries).unwrap();
        let [walg, photos, lite] = &*settings.cloud.endpoints else { panic!("three entries") };
        assert_eq!((&*walg.principal, &*walg.uri), ("archive", "external://wal/pg"));
        assert_eq!(walg.to, Recipient::Token("grantd-data/endpoint/walg.token".into()));
        let listen = "[::1]:9000".parse().unwrap();
        assert_eq!(photos.to, Recipient::User { listen, os_user: "rclone".to_owned() });
        assert_eq!(lite.to, Recipient::Token("/run/lite/token".into()));
        let in_one = told(&[&entries.join("\n")]).unwrap();
        assert_eq!(in_one.cloud.endpoints, settings.cloud.endpoints, "as a variable has them");
    }

    #[test]
    fn what_is_wrong_with_an_entry_is_said_and_nothing_behind_a_question_mark() {
        let good = "name=a principal=p uri=external://c";
        for (entries, problem) in [
            (vec!["name=a principal=p"], "`uri=` is missing"),
            (vec!["name=A principal=p uri=external://c"], "a name has at most 32 characters"),
            (vec!["name=../a principal=p uri=external://c"], "a name has at most 32 characters"),
            (vec![good, good], "another entry has this name"),
            (vec!["name=a name=b principal=p uri=external://c"], "`name` is said twice"),
            (vec!["name=a who=p uri=external://c?sesame"], "`who=p` is none of name, principal"),
            (vec!["name=a principal=p uri=external://c metadata_listen=127.0.0.1:1"], "say `os_user=`"),
            (
                vec!["name=a principal=p uri=external://c metadata_listen=10.0.0.1:1 os_user=u"],
                "on loopback only",
            ),
            (vec!["name=a principal=p uri=external://c os_user=u"], "for an entry with `metadata_listen=`"),
            (
                vec!["name=a principal=p uri=s3://b?AUTH=implicit&ASSUME_ROLE=r;external_id=sesame token=x"],
                "`token=x` is none of",
            ),
        ] {
            let text = told(&entries).unwrap_err();
            assert!(text.contains(problem), "{text}");
            assert!(!text.contains("sesame"), "{text}");
        }
        let nowhere = Written::collect(None, [], [(KEY, good.to_owned())]).unwrap().resolve().unwrap_err();
        assert!(Failure::from(nowhere).to_string().contains("`cloud_endpoint_listen`, which is not set"));
    }
}
