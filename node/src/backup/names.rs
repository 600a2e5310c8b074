//! Where things are in a collection. As CockroachDB has it; source: cloud-jobs specification, C.3.

use grantd_catalog::id::Timestamp;
use time::OffsetDateTime;

/// The manifest: a layer that has one is finished.
pub const MANIFEST: &str = "BACKUP_MANIFEST";
/// Beside it: the first bytes of its SHA-256.
pub const MANIFEST_CHECKSUM: &str = "BACKUP_MANIFEST-CHECKSUM";
/// How a layer is encrypted. Others follow it, with a number, when keys are added.
pub const ENCRYPTION_INFO: &str = "ENCRYPTION-INFO";
/// Names of locks begin so; then the job.
pub const LOCK: &str = "BACKUP-LOCK-";
/// Names of checkpoints begin so; newer ones sort first.
pub const CHECKPOINT: &str = "progress/BACKUP-CHECKPOINT-";
/// Names of data begin so.
pub const DATA: &str = "data/";
/// Which full is the newest: names begin so; newer ones sort first.
pub const LATEST: &str = "metadata/latest/LATEST-";
/// Where incremental layers are, unless elsewhere.
pub const INCREMENTALS: &str = "incrementals";

/// The folder of a full backup of this time: `2026/11/22-181239.05`.
pub fn full(time: Timestamp) -> String {
    let (date, clock) = moment(time);
    format!("{:04}/{:02}/{:02}-{clock}", date.year(), u8::from(date.month()), date.day())
}

/// That of an incremental one below that of its full: `20261122/181239.05`.
pub fn incremental(time: Timestamp) -> String {
    let (date, clock) = moment(time);
    format!("{:04}{:02}{:02}/{clock}", date.year(), u8::from(date.month()), date.day())
}

/// The whole path of an incremental layer.
pub fn incremental_in(full: &str, time: Timestamp) -> String {
    format!("{INCREMENTALS}/{full}/{}", incremental(time))
}

/// A pointer to the newest full, or a checkpoint, that was written at this time.
pub fn newest_first(prefix: &str, nanos: u64) -> String {
    let text = format!("{nanos:020}");
    let complement: String = text.bytes().map(|byte| format!("{:02x}", !byte)).collect();
    format!("{prefix}{complement}")
}

/// Whether this, below the folder of a layer, may be a file of data: none of another folder.
pub fn is_data(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name.strip_prefix(DATA)
        .is_some_and(|file| !file.is_empty() && !file.contains("..") && file.bytes().all(plain))
}

/// A folder as users write it, with or without slashes around; none: it is none of a full's.
pub fn parse_full(text: &str) -> Option<String> {
    let text = text.trim_matches('/');
    let mut parts = text.split('/');
    let (year, month, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let (day, clock) = rest.split_once('-')?;
    let (seconds, hundredths) = clock.split_once('.')?;
    let fits = digits(year, 4)
        && digits(month, 2)
        && digits(day, 2)
        && digits(seconds, 6)
        && digits(hundredths, 2)
        && parts.next().is_none();
    fits.then(|| text.to_owned())
}

/// Whether this, below the folder of its full, is the folder of an incremental.
pub fn is_incremental(text: &str) -> bool {
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('/').is_some_and(|(day, clock)| {
        digits(day, 8)
            && clock.split_once('.').is_some_and(|(clock, rest)| digits(clock, 6) && digits(rest, 2))
    })
}

/// The date, and the time of day to the hundredth of a second.
fn moment(time: Timestamp) -> (OffsetDateTime, String) {
    let date = OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.nanos))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let hundredths = date.nanosecond() / 10_000_000;
    let clock = format!("{:02}{:02}{:02}.{hundredths:02}", date.hour(), date.minute(), date.second());
    (date, clock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_original() {
        let time = Timestamp { nanos: 1_795_371_159_056_000_000, logical: 3 };
        assert_eq!(full(time), "2026/11/22-181239.05");
        assert_eq!(
            incremental_in("2026/11/01-000000.00", time),
            "incrementals/2026/11/01-000000.00/20261122/181239.05"
        );
        assert_eq!(parse_full("/2026/11/22-181239.05"), Some(full(time)));
        assert!(is_incremental(&incremental(time)));
        for wrong in [
            "",
            "LATEST",
            "2026/11/22",
            "2026/11/22-181239.05/data",
            "../11/22-181239.05",
            "2026/11/22-18123x.05",
        ] {
            assert_eq!(parse_full(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_was_written_later_sorts_first() {
        let mut times: Vec<u64> = vec![0, 1, 9, 10, 1_795_370_359_056_000_000, 1_795_370_359_056_000_001];
        times.reverse();
        let names: Vec<_> = times.iter().map(|nanos| newest_first(LATEST, *nanos)).collect();
        assert!(names.is_sorted(), "{names:?}");
        assert!(newest_first(LATEST, 0).starts_with("metadata/latest/LATEST-cfcfcf"));
    }
}
