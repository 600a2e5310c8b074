//! `credential_process`: a program of the operator's that prints credentials.
//!
//! Our own rather than the SDK's, which leaves the program running when it is given up, reads without a bound, and writes the
//! command line to the log at the highest verbosity.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use crate::cloud::aws::document::{Writer, read};
use crate::cloud::aws::failure::Trouble;
use crate::cloud::aws::sts::Given;
use crate::cloud::lease::Class;
use crate::secret::Secret;

/// Runs it and reads what it prints. What it prints is never told, only what it writes to standard error.
pub(super) async fn run(command: &str) -> Result<Given, Trouble> {
    let dead = |text: String| Trouble::new(Class::SourceDead, format!("credential_process: {text}"));
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| dead(format!("it cannot be started: {error}")))?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(dead("its output cannot be read".to_owned()));
    };
    let all = async { tokio::try_join!(all_of(stdout), all_of(stderr), child.wait()) };
    let (printed, said, status) = tokio::time::timeout(PROCESS_TIMEOUT, all)
        .await
        .map_err(|_| dead(format!("it did not end within {} s and was stopped", PROCESS_TIMEOUT.as_secs())))?
        .map_err(|error| dead(format!("its output cannot be read: {error}")))?;
    if !status.success() {
        let said: String = String::from_utf8_lossy(&said).trim().chars().take(STDERR_SHOWN_MAX).collect();
        let said = if said.is_empty() { "it wrote nothing to standard error".to_owned() } else { said };
        return Err(dead(format!("it ended with {status}: {said}")));
    }
    let printed =
        Secret::new(String::from_utf8(printed).map_err(|_| dead("it printed what is not UTF-8".to_owned()))?);
    read(printed.expose(), Writer::Process, None).map_err(|unusable| {
        let text = format!("what it printed cannot be used: {}", unusable.text);
        Trouble { code: unusable.code, ..dead(text) }
    })
}

async fn all_of(stream: impl AsyncRead + Unpin) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(OUTPUT_MAX).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// For the program to end. It may ask services of its own, or a person's card.
const PROCESS_TIMEOUT: Duration = Duration::from_secs(60);

/// The most that is read of what it prints. A session token has a few kilobytes.
const OUTPUT_MAX: u64 = 64 * 1024;

/// The most characters of its standard error that an error tells: the first lines say what is wrong.
const STDERR_SHOWN_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    /// Case 91.
    #[tokio::test]
    async fn a_program_that_fails_is_told_by_its_standard_error_and_not_by_what_it_prints() {
        let trouble = run("echo pr1nted; echo 'no card in the reader' >&2; exit 1").await.unwrap_err();
        assert_eq!(trouble.class, Class::SourceDead);
        assert!(
            trouble.text.contains("exit status: 1") && trouble.text.contains("no card in the reader"),
            "{trouble:?}"
        );
        assert!(!trouble.text.contains("pr1nted"), "{trouble:?}");
    }

    #[tokio::test]
    async fn what_a_program_prints_is_used() {
        let command = r#"echo '{"Version":1,"AccessKeyId":"AKIAEXAMPLE","SecretAccessKey":"s3cr3t"}'"#;
        let given = run(command).await.unwrap();
        assert_eq!(given.session.secret_access_key.expose(), "s3cr3t");
        assert!(given.lifetime.is_none());
    }
}
