//! The catalog of a layer: made on the backup's own thread, a file ahead of what is on its way.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use grantd_catalog::view::View;
use tokio::sync::mpsc;

use super::Order;
use crate::backup::catalog::Lines;
use crate::backup::collection::Folder;
use crate::backup::manifest::{self, CatalogFile, Targets};
use crate::backup::worker::Worker;
use crate::backup::{BackupError, FILE_BYTES, cipher, names};

/// Writes the catalog as the order wants it.
pub(super) async fn catalog_files(
    folder: &Folder,
    order: &Order,
    worker: &Worker,
) -> Result<Vec<CatalogFile>, BackupError> {
    let (made, mut ready) = mpsc::channel(1);
    let (of, view, targets) = (folder.clone(), Arc::clone(&order.view), order.targets.clone());
    let making = worker.begin(move || catalog_parts(&of, &view, &targets, &made)).await;
    let mut files = Vec::new();
    while let Some((bytes, file)) = ready.recv().await {
        folder.put_prepared(&file.name, bytes).await?;
        files.push(file);
    }
    making.end().await?;
    Ok(files)
}

/// Makes the files of the catalog, as far as somebody takes them: of a million grants that is seconds of work.
fn catalog_parts(
    folder: &Folder,
    view: &View,
    targets: &Targets,
    made: &mpsc::Sender<(Bytes, CatalogFile)>,
) -> Result<(), BackupError> {
    let lines = Lines::new(targets, view.state(), folder.is_encrypted());
    let mut lines = lines.each();
    loop {
        let internal = |error: std::io::Error| {
            BackupError::new(crate::error::state::INTERNAL, format!("the catalog cannot be written: {error}"))
        };
        let mut out = zstd::Encoder::new(Vec::new(), manifest::LEVEL).map_err(internal)?;
        let (mut bytes, mut records) = (0, 0);
        while bytes < FILE_BYTES
            && let Some(line) = lines.next()
        {
            let mut text = serde_json::to_vec(&line?).map_err(|error| internal(error.into()))?;
            text.push(b'\n');
            out.write_all(&text).map_err(internal)?;
            bytes += text.len();
            records += 1;
        }
        if records == 0 {
            return Ok(());
        }
        let name = format!("{}{}.jsonl.zst", names::DATA, cipher::unique()?);
        let (bytes, stored) = folder.prepared(&name, out.finish().map_err(internal)?)?;
        if made.blocking_send((bytes, CatalogFile { name, records, stored })).is_err() {
            return Ok(());
        }
    }
}
