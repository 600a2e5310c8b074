use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;

/// Keeps objects in memory, and fails where it is told to.
#[derive(Default)]
struct Memory {
    objects: Mutex<BTreeMap<String, Bytes>>,
    /// The act that is denied.
    denied: Option<&'static str>,
    /// What is read instead of what was written.
    garbled: bool,
    hidden: bool,
}

impl Memory {
    fn may(&self, act: &'static str) -> Result<(), Trouble> {
        match self.denied == Some(act) {
            true => Err(Trouble { denied: true, message: format!("{act}: AccessDenied") }),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Place for Memory {
    async fn write(&self, name: &str, bytes: Bytes) -> Result<(), Trouble> {
        self.may("put")?;
        self.objects.lock().unwrap().insert(name.to_owned(), bytes);
        Ok(())
    }

    async fn lists(&self, name: &str) -> Result<bool, Trouble> {
        self.may("list")?;
        Ok(!self.hidden && self.objects.lock().unwrap().contains_key(name))
    }

    async fn read(&self, name: &str) -> Result<Bytes, Trouble> {
        self.may("get")?;
        match self.garbled {
            true => Ok(Bytes::from_static(b"sesame")),
            false => Ok(self.objects.lock().unwrap()[name].clone()),
        }
    }

    async fn remove(&self, name: &str) -> Result<(), Trouble> {
        self.may("delete")?;
        self.objects.lock().unwrap().remove(name);
        Ok(())
    }
}

#[tokio::test]
async fn the_sentinel_is_the_originals_and_stays() {
    let place = Memory::default();
    sentinel(&place).await.unwrap();
    sentinel(&place).await.unwrap();
    let objects = place.objects.lock().unwrap();
    assert_eq!(objects.keys().collect::<Vec<_>>(), ["crdb_external_storage_location"]);
    let content = "a CockroachDB cluster has been configured to read and write to this location";
    assert_eq!(objects["crdb_external_storage_location"], content.as_bytes());
}

#[tokio::test]
async fn each_step_of_the_sentinel_fails_in_its_own_words() {
    let rows = [
        (Some("put"), "failed to write a sentinel ExternalStorage file: put: AccessDenied"),
        (Some("list"), "failed to list sentinel ExternalStorage file: list: AccessDenied"),
        (Some("get"), "failed to read sentinel ExternalStorage file: get: AccessDenied"),
    ];
    for (denied, text) in rows {
        let trouble = sentinel(&Memory { denied, ..Memory::default() }).await.unwrap_err();
        assert_eq!(trouble, Trouble { denied: true, message: text.to_owned() });
    }
    let hidden = sentinel(&Memory { hidden: true, ..Memory::default() }).await.unwrap_err();
    assert_eq!(
        hidden.message,
        "failed to find sentinel ExternalStorage file 'crdb_external_storage_location'"
    );
    let garbled = sentinel(&Memory { garbled: true, ..Memory::default() }).await.unwrap_err();
    assert!(garbled.message.starts_with("content mismatch, expected: a CockroachDB cluster has"));
    assert!(!garbled.message.contains("sesame") && !garbled.denied);
}

#[tokio::test]
async fn a_check_transfers_what_it_was_told_and_leaves_nothing() {
    let place = Arc::new(Memory::default());
    let options = Options { concurrently: 3, transfer: 1 << 20, ..Options::default() };
    let report = measure(place.clone(), "check", options).await.unwrap();
    assert!(report.ok && report.can_delete && report.error.is_none(), "{report:?}");
    assert!(report.transferred >= 1 << 20 && report.read_speed > 0 && report.write_speed > 0, "{report:?}");
    assert!(place.objects.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_check_ends_when_its_time_is_over_and_has_done_one_round() {
    let place = Arc::new(Memory::default());
    let options = Options { concurrently: 1, time: Duration::ZERO, transfer: TRANSFER_BYTES_MAX };
    let report = measure(place, "check", options).await.unwrap();
    assert!(report.ok, "{report:?}");
    assert_eq!(report.transferred, PIECE_BYTES_MAX);
}

#[tokio::test]
async fn who_may_not_delete_passes_and_who_may_not_write_does_not() {
    let options = Options { transfer: 10, ..Options::default() };
    let no_delete = Arc::new(Memory { denied: Some("delete"), ..Memory::default() });
    let no_delete = measure(no_delete, "c", options).await.unwrap();
    assert!(no_delete.ok && !no_delete.can_delete, "{no_delete:?}");
    let no_write = Arc::new(Memory { denied: Some("put"), ..Memory::default() });
    let no_write = measure(no_write, "c", options).await.unwrap_err();
    assert_eq!(no_write, Trouble { denied: true, message: "put: AccessDenied".to_owned() });
    let garbled = Arc::new(Memory { garbled: true, ..Memory::default() });
    let garbled = measure(garbled, "c", options).await.unwrap();
    assert!(!garbled.ok && garbled.error.is_some_and(|error| error.contains("other bytes")));
}
