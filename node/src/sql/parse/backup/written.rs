//! A BACKUP as a statement again: whole, for a schedule that runs it later, or as others may see it.

use grantd_catalog::object::ConnectionUri;

use super::{Backup, Named};
use crate::cloud::redact;

/// What of secrets is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// All: for what is read again and printed nowhere.
    Whole,
    /// None.
    Hidden,
}

impl Backup {
    /// The statement. With [`Secrets::Whole`] it reads as it was.
    pub fn written(&self, secrets: Secrets) -> String {
        let uri = |uri: &ConnectionUri| match secrets {
            Secrets::Whole => quoted(uri.expose()),
            Secrets::Hidden => quoted(&redact::uri(uri.expose())),
        };
        let uris = |uris: &[ConnectionUri]| match uris {
            [one] => uri(one),
            many => format!("({})", many.iter().map(uri).collect::<Vec<_>>().join(", ")),
        };
        let upon = match &self.upon {
            None => String::new(),
            Some(Named::Latest) => "LATEST IN ".to_owned(),
            Some(Named::Folder(folder)) => format!("{} IN ", uri(folder)),
        };
        let as_of = match (&self.as_of, secrets) {
            (None, _) => String::new(),
            (Some(time), Secrets::Whole) => format!(" AS OF SYSTEM TIME {}", quoted(time)),
            (Some(time), Secrets::Hidden) => format!(" AS OF SYSTEM TIME {}", quoted(&redact::text(time))),
        };
        let mut options = Vec::new();
        if self.revision_history {
            options.push("revision_history".to_owned());
        }
        if let Some(passphrase) = &self.opened.passphrase {
            let passphrase = match secrets {
                Secrets::Whole => quoted(passphrase.expose()),
                Secrets::Hidden => "'*****'".to_owned(),
            };
            options.push(format!("encryption_passphrase = {passphrase}"));
        }
        if self.detached {
            options.push("detached".to_owned());
        }
        if !self.opened.kms.is_empty() {
            options.push(format!("kms = {}", uris(&self.opened.kms)));
        }
        if !self.opened.incremental_location.is_empty() {
            options.push(format!("incremental_location = {}", uris(&self.opened.incremental_location)));
        }
        let with = if options.is_empty() { String::new() } else { format!(" WITH {}", options.join(", ")) };
        format!("BACKUP {}INTO {upon}{}{as_of}{with}", self.of, uris(&self.collection))
    }
}

/// As a constant of SQL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
