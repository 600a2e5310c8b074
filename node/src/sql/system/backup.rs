//! The columns of BACKUP, RESTORE, SHOW BACKUPS and SHOW BACKUP.

use crate::backup::show;
use crate::sql::parse::backup::{Backup, BackupStatement, Restore};
use crate::sql::system::external::infos;
use crate::value::{ColumnInfo, SqlType};

/// What a BACKUP, and a RESTORE, tells that is waited for. Source: cloud-jobs spec, C.1.
pub const WAITED: &[(&str, SqlType)] = &[
    ("job_id", SqlType::Int8),
    ("status", SqlType::Text),
    ("fraction_completed", SqlType::Float8),
    ("rows", SqlType::Int8),
    ("index_entries", SqlType::Int8),
    ("bytes", SqlType::Int8),
];

/// And one that is not.
pub const DETACHED: &[(&str, SqlType)] = &[("job_id", SqlType::Int8)];

/// The columns.
pub fn columns(statement: &BackupStatement) -> Vec<ColumnInfo> {
    match statement {
        BackupStatement::Backup(Backup { detached: true, .. }) => infos(DETACHED),
        BackupStatement::Backup(Backup { detached: false, .. }) => infos(WAITED),
        BackupStatement::Restore(asked) => {
            let Restore { detached, .. } = asked.as_ref();
            if *detached { infos(DETACHED) } else { infos(WAITED) }
        }
        BackupStatement::List { .. } => show::backups_columns(),
        BackupStatement::Show { shown, .. } => show::backup_columns(*shown, false),
    }
}
