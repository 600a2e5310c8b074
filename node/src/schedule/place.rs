//! Where a collection is, as a fingerprint: what two schedules have in common that would mix their layers. Keys, roles and other
//! parameters are no part of it.

use sha2::{Digest, Sha256};

use crate::cloud::connection::Target;
use crate::cloud::uri::Uri;

/// Of the first way to a collection. `node`: what `self` is.
pub fn fingerprint(target: &Target, node: u64) -> [u8; 32] {
    let place = target.ways.first().map(|way| place(way, node)).unwrap_or_default();
    let mut hash = Sha256::new();
    for part in place {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn place(way: &Uri, node: u64) -> Vec<String> {
    let scheme = way.scheme().to_owned();
    let parts = match way {
        Uri::S3(s3) => vec![s3.endpoint.clone().unwrap_or_default(), s3.bucket.clone(), s3.prefix.clone()],
        Uri::Gs(gs) => vec![gs.bucket.clone(), gs.prefix.clone()],
        Uri::Azure(azure) => vec![azure.account.clone(), azure.container.clone(), azure.prefix.clone()],
        Uri::Nodelocal(files) => vec![files.node.unwrap_or(node).to_string(), files.path.clone()],
        Uri::Userfile(files) => vec![files.table.clone().unwrap_or_default(), files.path.clone()],
        // Backups do not go there.
        Uri::Http(_)
        | Uri::External(_)
        | Uri::Kafka(_)
        | Uri::PubSub(_)
        | Uri::Webhook(_)
        | Uri::Null
        | Uri::AwsKms(_)
        | Uri::GcpKms(_) => Vec::new(),
    };
    std::iter::once(scheme).chain(parts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::settings::NodeSettings;
    use crate::cloud::uri::Purpose;

    fn of(text: &str) -> [u8; 32] {
        let settings = NodeSettings { external_io_dir: Some("extern".into()), ..NodeSettings::nowhere() };
        let way = Uri::parse(text, Purpose::Storage, &settings).unwrap();
        fingerprint(&Target { ways: vec![way], connection: None }, 1)
    }

    #[test]
    fn a_place_is_the_same_whoever_goes_there() {
        let keys = "AWS_ACCESS_KEY_ID=a&AWS_SECRET_ACCESS_KEY=s";
        let bucket = of("s3://b/p?AUTH=implicit");
        assert_eq!(bucket, of(&format!("s3://b/p/?{keys}")));
        assert_eq!(of("nodelocal://self/b"), of("nodelocal://1/b"));
        let others =
            ["s3://b/q?AUTH=implicit", "s3://c/p?AUTH=implicit", "gs://b/p?AUTH=implicit", "nodelocal://2/b"];
        for other in others {
            assert_ne!(bucket, of(other), "{other}");
        }
        assert_ne!(bucket, of("s3://b/p?AUTH=implicit&AWS_ENDPOINT=https://minio.example"));
    }
}
