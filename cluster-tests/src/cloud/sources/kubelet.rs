//! The token of a service account in a file, as the kubelet writes it: renewed when four fifths of its life are over, and
//! exchanged by one rename of a link, so that nobody reads half of it. Who holds the file open reads the old one for ever.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::Environment;
use crate::cloud::token::Issuer;

/// What AWS wants a token to be for.
pub const AUDIENCE: &str = "sts.amazonaws.com";

/// A kubelet that looks after one token.
pub struct Kubelet {
    writer: Arc<Writer>,
    role: String,
    task: JoinHandle<()>,
}

struct Writer {
    issuer: Arc<Issuer>,
    subject: String,
    lasting: Duration,
    directory: TempDir,
    written: Mutex<u64>,
}

impl Kubelet {
    /// Writes the first token, and keeps it young. `subject` is as `system:serviceaccount:NAMESPACE:NAME`.
    pub fn start(issuer: Arc<Issuer>, subject: &str, role: &str, lasting: Duration) -> Self {
        let directory = TempDir::new().expect("a directory for tokens");
        symlink("..data/token", directory.path().join("token")).expect("a link");
        let subject = subject.to_owned();
        let writer = Arc::new(Writer { issuer, subject, lasting, directory, written: Mutex::new(0) });
        writer.write();
        let renewing = writer.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(lasting * 4 / 5).await;
                renewing.write();
            }
        });
        Self { writer, role: role.to_owned(), task }
    }

    /// With what a process finds its token, and asks `sts`, a URL.
    pub fn environment(&self, sts: &str) -> Environment {
        vec![
            ("AWS_WEB_IDENTITY_TOKEN_FILE", self.token_file().display().to_string()),
            ("AWS_ROLE_ARN", self.role.clone()),
            ("AWS_ENDPOINT_URL_STS", sts.to_owned()),
        ]
    }

    /// The file with the token.
    pub fn token_file(&self) -> PathBuf {
        self.writer.directory.path().join("token")
    }

    /// A new token, at once.
    pub fn rotate(&self) {
        self.writer.write();
    }

    /// It does nothing more: the token that is there grows old.
    pub fn stop(&self) {
        self.task.abort();
    }

    /// How many tokens it has written.
    pub fn written(&self) -> u64 {
        *self.writer.written.lock().expect("no test panics while it holds it")
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Writer {
    fn write(&self) {
        let mut written = self.written.lock().expect("no test panics while it holds it");
        *written += 1;
        let name = format!("..{written}");
        let folder = self.directory.path().join(&name);
        std::fs::create_dir(&folder).expect("a directory for a token");
        let token = self.issuer.token(&self.subject, AUDIENCE, self.lasting);
        std::fs::write(folder.join("token"), token).expect("a token in a file");
        let link = self.directory.path().join("..data_tmp");
        symlink(&name, &link).expect("a link");
        std::fs::rename(&link, self.directory.path().join("..data")).expect("a link in its place");
        if *written > 1 {
            let old = self.directory.path().join(format!("..{}", *written - 1));
            std::fs::remove_dir_all(old).expect("the old one was there");
        }
    }
}
