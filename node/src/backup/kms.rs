//! Keys of clouds as what wraps the key of a backup.

use async_trait::async_trait;
use grantd_catalog::refusal::Refusal;
use zeroize::Zeroizing;

use super::cipher::KeyService;
use crate::cloud::kms::MasterKey;

#[async_trait]
impl KeyService for MasterKey {
    fn id(&self) -> &str {
        Self::id(self)
    }

    async fn wrap(&self, key: &[u8]) -> Result<Vec<u8>, Refusal> {
        Self::wrap(self, key).await
    }

    async fn unwrap(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        Self::unwrap(self, wrapped).await
    }
}
