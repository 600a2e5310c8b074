//! Names, contents and the four guarantees, on a directory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;
use std::path::Path;

use async_trait::async_trait;
use grantd_catalog::object::ColumnType;
use grantd_raft::rows::Value;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::audit::Audit;
use crate::cloud::broker::Broker;
use crate::cloud::chain::Chain;
use crate::cloud::lease::{Class as LeaseClass, Fetch, FetchError, Fetched, Lease};
use crate::cloud::settings::NodeSettings;
use crate::cloud::storage::{Patience, StorageSettings, Storages};
use crate::cloud::uri::{Purpose, Uri};
use crate::feed::encode::tests::table;
use crate::feed::encode::{Encoder, Row, shown};
use crate::feed::options::Options;
use crate::feed::shape::Types;

struct Nobody;

#[async_trait]
impl Fetch for Nobody {
    async fn fetch(&self, _: &Chain, _: Option<&Lease>) -> Result<Fetched, FetchError> {
        let message = "there is no cloud".to_owned();
        Err(FetchError { class: LeaseClass::Config, message, code: None, retry_after: None })
    }
}

async fn sink(root: &Path, query: &str, codec: Option<Codec>) -> Files {
    sink_of(root, query, codec, &[]).await
}

/// With options of messages.
async fn sink_of(root: &Path, query: &str, codec: Option<Codec>, given: &[&str]) -> Files {
    let given = given.iter().map(|option| match option.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => ((*option).to_owned(), None),
    });
    let form = Options::parse(&given.collect::<Vec<_>>(), time(0)).unwrap().message;
    let settings = NodeSettings { external_io_dir: Some(root.to_path_buf()), ..NodeSettings::nowhere() };
    let uri = format!("nodelocal://self/feed{query}");
    let uri = Uri::parse(&uri, Purpose::Sink { unordered: false }, &settings).unwrap();
    let Uri::Nodelocal(local) = &uri else { unreachable!("it is a directory") };
    let broker = Broker::start(Arc::new(Nobody), 7, Audit::default());
    let storages = Storages::new(7, settings, broker, StorageSettings::default);
    let storage = storages.open(&uri, None, "a test", Patience::Job).await.unwrap();
    Files::new(storage, local.files.clone(), form, codec, 7)
}

fn time(nanos: u64) -> Timestamp {
    Timestamp { nanos: 1_585_866_298_072_107_140 + nanos, logical: 0 }
}

fn message(topic: &str, key: u64, nanos: u64, schema: u32) -> Message {
    let value = format!("{{\"key\": [{key}], \"at\": {nanos}}}").into_bytes();
    let key = format!("[{key}]").into_bytes();
    let shape = Arc::new(Shape { id: schema, ..Shape::default() });
    Message { topic: topic.into(), key, value: Some(value), updated: time(nanos), shape }
}

/// All files below, in the order of their names, with what is in them.
fn all(root: &Path) -> Vec<(String, Vec<u8>)> {
    fn walk(root: &Path, at: &Path, found: &mut Vec<(String, Vec<u8>)>) {
        for entry in std::fs::read_dir(at).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(root, &path, found),
                false => {
                    let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                    found.push((name, std::fs::read(&path).unwrap()));
                }
            }
        }
    }
    let (root, mut found) = (root.join("feed"), Vec::new());
    walk(&root, &root, &mut found);
    found.sort();
    found
}

/// Case 134, and the partitions.
#[tokio::test]
async fn files_are_called_as_in_the_original() {
    for (query, folder) in
        [("", "2020-04-02/"), ("?partition_format=hourly", "2020-04-02/22/"), ("?partition_format=flat", "")]
    {
        let directory = TempDir::new().unwrap();
        let mut sink = sink(directory.path(), query, None).await;
        sink.begin(time(0)).await.unwrap();
        sink.emit(vec![message("t", 1, 5, 0xab), message("t", 2, 6, 0xab)]).await.unwrap();
        assert_eq!(all(directory.path()), [], "nothing is there before it is flushed");
        sink.flush(time(6)).await.unwrap();
        sink.resolved(time(6), b"{\"resolved\":\"x\"}").await.unwrap();
        sink.emit(vec![message("t", 1, 7, 0xab)]).await.unwrap();
        sink.flush(time(9)).await.unwrap();
        let found = all(directory.path());
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        let pattern = format!(
            "^{folder}(\\d{{33}}-[0-9a-f]{{16}}-7-1-0000000[01]-t-ab\\.ndjson|\\d{{33}}\\.RESOLVED)$"
        );
        let pattern = regex::Regex::new(&pattern).unwrap();
        assert!(names.iter().all(|name| pattern.is_match(name)), "{names:?}");
        // After the time of the last flush, and before the file of what is resolved.
        assert!(names[0].starts_with(&format!("{folder}202004022224580721071400000000001-")), "{names:?}");
        assert_eq!(names[1], format!("{folder}202004022224580721071460000000000.RESOLVED"));
        assert!(names[2].starts_with(&format!("{folder}202004022224580721071460000000001-")), "{names:?}");
        assert_eq!(found[0].1, b"{\"key\": [1], \"at\": 5}\n{\"key\": [2], \"at\": 6}\n");
        assert_eq!(found[1].1, b"{\"resolved\":\"x\"}");
    }
}

#[tokio::test]
async fn files_are_packed_as_asked() {
    for (codec, extension) in [(Codec::Gzip, ".ndjson.gz"), (Codec::Zstd, ".ndjson.zst")] {
        let directory = TempDir::new().unwrap();
        let mut sink = sink(directory.path(), "", Some(codec)).await;
        sink.begin(time(0)).await.unwrap();
        let messages: Vec<_> = (1..500).map(|at| message("t", at % 7, at, 1)).collect();
        let plain: Vec<u8> =
            messages.iter().flat_map(|m| [m.value.clone().unwrap(), b"\n".to_vec()].concat()).collect();
        sink.emit(messages).await.unwrap();
        sink.flush(time(500)).await.unwrap();
        let found = all(directory.path());
        let [(name, packed)] = found.as_slice() else { panic!("{} files", found.len()) };
        assert!(name.ends_with(extension) && packed.len() < plain.len() / 4, "{name}");
        let mut unpacked = Vec::new();
        match codec {
            Codec::Gzip => flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap(),
            Codec::Zstd => zstd::Decoder::new(&packed[..]).unwrap().read_to_end(&mut unpacked).unwrap(),
        };
        assert_eq!(unpacked, plain);
    }
}

/// Each value in the type that a reader expects, and of a row that is gone the key; packed within the file, under one name.
#[tokio::test]
async fn files_of_parquet_have_columns() {
    let object = table(
        &[
            ("n", ColumnType::Decimal { bound: None }),
            ("id", ColumnType::Int8),
            ("at", ColumnType::TimestampTz),
        ],
        &[1],
    );
    let shape = Arc::new(Shape::of("t", &object, &Types::new()).unwrap());
    let options = ["format=parquet", "updated", "diff"];
    for codec in [None, Some(Codec::Gzip), Some(Codec::Zstd)] {
        let directory = TempDir::new().unwrap();
        let mut sink = sink_of(directory.path(), "?partition_format=flat", codec, &options).await;
        let encoder = Encoder::new(sink.form);
        let row = |number: &str| {
            vec![Value::Text(number.to_owned()), Value::Integer(7), Value::Integer(1_585_866_298_072_107)]
        };
        let (old, new) = (row("1.50"), row("2"));
        let of = |before: bool, after: bool, nanos: u64| {
            let (before, after) = (before.then_some((&*shape, &*old)), after.then_some((&*shape, &*new)));
            let row = Row { before, after, updated: time(nanos), topic: "t" };
            let (key, value) = (encoder.key(&row).unwrap(), encoder.value(&row).unwrap());
            Message { topic: "t".into(), key, value, updated: time(nanos), shape: Arc::clone(&shape) }
        };
        sink.begin(time(0)).await.unwrap();
        sink.emit(vec![of(false, true, 1), of(true, true, 2), of(true, false, 3)]).await.unwrap();
        sink.flush(time(3)).await.unwrap();
        let found = all(directory.path());
        let [(name, bytes)] = found.as_slice() else { panic!("{} files", found.len()) };
        assert!(name.ends_with(".parquet"), "{name}");
        let reader = SerializedFileReader::new(Bytes::copy_from_slice(bytes)).unwrap();
        let rows: Vec<String> =
            reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
        let about = |event: &str, nanos, before: &str| {
            let updated = shown(time(nanos));
            format!(
                r#"__crdb__event_type: "{event}", __crdb__updated: "{updated}", __crdb__before: {before}"#
            )
        };
        let whole = r#"n: "2", id: 7, at: 2020-04-02 22:24:58.072107 +00:00"#;
        let before = r#""{"at": "2020-04-02T22:24:58.072107Z", "id": 7, "n": 1.50}""#;
        let expected = [
            format!("{{{whole}, {}}}", about("c", 1, "null")),
            format!("{{{whole}, {}}}", about("u", 2, before)),
            format!("{{n: null, id: 7, at: null, {}}}", about("d", 3, before)),
        ];
        assert_eq!(rows, expected);
    }
}

/// Guarantees 3 and 5, and the size.
#[tokio::test]
async fn a_file_has_one_topic_and_one_shape_and_is_not_much_larger_than_asked() {
    let directory = TempDir::new().unwrap();
    let mut sink = sink(directory.path(), "?file_size=200B", None).await;
    sink.begin(time(0)).await.unwrap();
    for at in 1..40 {
        let topic = if at % 3 == 0 { "u" } else { "t" };
        sink.emit(vec![message(topic, at % 5, at, 1 + u32::try_from(at / 20).unwrap())]).await.unwrap();
    }
    sink.flush(time(40)).await.unwrap();
    let found = all(directory.path());
    let kinds: HashSet<_> = found.iter().map(|(name, _)| name.split_once("-t-").is_some()).collect();
    assert_eq!(kinds.len(), 2);
    assert!(found.len() > 4 && found.iter().all(|(_, bytes)| bytes.len() < 230), "{}", found.len());
    for (name, bytes) in &found {
        let ats: Vec<u64> = ats(bytes).into_iter().map(|(_, at)| at).collect();
        let one = |of: fn(u64) -> bool| ats.iter().all(|at| of(*at)) || !ats.iter().any(|at| of(*at));
        assert!(one(|at| at % 3 == 0) && one(|at| at < 20), "{name}: {ats:?}");
    }
}

/// Key and time of each line.
fn ats(bytes: &[u8]) -> Vec<(u64, u64)> {
    let lines = std::str::from_utf8(bytes).unwrap().lines();
    lines
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            (line["key"][0].as_u64().unwrap(), line["at"].as_u64().unwrap())
        })
        .collect()
}

/// A feed of so many changes that begins again and again; what is kept is flushed, and what is resolved is kept.
async fn runs(root: &Path, keys: &[u64], dice: &mut impl FnMut(u64) -> u64) -> u64 {
    let mut kept = 0;
    let end = keys.len() as u64;
    for _ in 0..60 {
        if kept == end {
            break;
        }
        let mut sink = sink(root, "?file_size=60B&partition_format=flat", None).await;
        sink.begin(time(kept)).await.unwrap();
        let mut sent = kept;
        while kept < end {
            if dice(6) == 0 {
                break;
            }
            let upto = (sent + 1 + dice(4)).min(end);
            let messages: Vec<_> = (sent + 1..=upto)
                .map(|at| message("t", keys[usize::try_from(at).unwrap() - 1], at, 1))
                .collect();
            sink.emit(messages).await.unwrap();
            sent = upto;
            if dice(3) == 0 {
                sink.flush(time(sent)).await.unwrap();
                if dice(3) > 0 {
                    kept = sent;
                    if dice(2) == 0 {
                        sink.resolved(time(kept), format!("{kept}").as_bytes()).await.unwrap();
                    }
                }
            }
        }
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Guarantees 1, 2 and 4: read in the order of names, whatever runs wrote them.
    #[test]
    fn names_in_their_order_give_keys_in_theirs(keys in prop::collection::vec(0..4_u64, 1..40), seed in any::<u64>()) {
        let mut state = seed | 1;
        let mut dice = |sides: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) % sides
        };
        let directory = TempDir::new().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let kept = runtime.block_on(runs(directory.path(), &keys, &mut dice));
        let mut newest: HashMap<u64, u64> = HashMap::new();
        let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
        let mut resolved = 0;
        for (name, bytes) in all(directory.path()) {
            if name.ends_with(".RESOLVED") {
                resolved = std::str::from_utf8(&bytes).unwrap().parse().unwrap();
                let missing: Vec<u64> = (1..=resolved).filter(|at| !seen.contains_key(at)).collect();
                prop_assert!(missing.is_empty(), "{missing:?} are not before {name}");
                continue;
            }
            for (key, at) in ats(&bytes) {
                if seen.insert(at, key).is_none() {
                    prop_assert!(at > resolved, "{at} comes after resolved {resolved}");
                    let newest = newest.entry(key).or_insert(at);
                    prop_assert!(*newest <= at, "of {key}, {at} comes after {newest}");
                    *newest = at;
                }
            }
        }
        for at in 1..=kept {
            prop_assert_eq!(seen.get(&at), Some(&keys[usize::try_from(at).unwrap() - 1]));
        }
    }
}
