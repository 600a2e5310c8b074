//! SET and RESET; SHOW of what the catalog and the session say.

use grantd_catalog::view::View;
use grantd_raft::rows::Share;

use super::{Engine, Response, Rows};
use crate::error::SqlError;
use crate::session::Session;
use crate::sql::parse::session::SetStatement;
use crate::sql::parse::show::ShowStatement;
use crate::sql::system::{show, variable};

impl Engine {
    pub(super) async fn set(
        &self,
        session: &mut Session,
        statement: &SetStatement,
    ) -> Result<Response, SqlError> {
        let view = self.view_if(session, variable::set_reads_catalog(statement)).await?;
        variable::set(session, &view, statement)?;
        Ok(Response { tag: statement.tag().to_owned(), rows: None, copy: None })
    }

    pub(super) async fn show(
        &self,
        session: &Session,
        statement: &ShowStatement,
    ) -> Result<Response, SqlError> {
        if matches!(statement, ShowStatement::ExplainPrivilege { .. }) && session.block.open().is_none() {
            return self.explain_privilege(session, statement).await;
        }
        let view = self.view_if(session, show::reads_catalog(statement)).await?;
        self.shown(session, statement, &view)
    }

    pub(super) fn shown(
        &self,
        session: &Session,
        statement: &ShowStatement,
        view: &View,
    ) -> Result<Response, SqlError> {
        let needed = show::requirement(statement, view, session)?;
        self.gate.permit(view, session.actor, &needed)?;
        let (rows, tag) = show::rows(statement, view, session)?;
        if let ShowStatement::CreateConnection { name, secrets: true } = statement {
            let what = match name {
                Some(name) => format!("SHOW CREATE EXTERNAL CONNECTION {name} WITH SECRETS"),
                None => "SHOW CREATE ALL EXTERNAL CONNECTIONS WITH SECRETS".to_owned(),
            };
            self.record_disclosure(session, view.version(), &what);
        }
        let tag = if tag == "SHOW" { tag.to_owned() } else { format!("{tag} {}", rows.len()) };
        Ok(Response {
            tag,
            rows: Some(Rows { columns: show::columns(statement), rows, held: Share::default() }),
            copy: None,
        })
    }
}
