//! ALTER TABLE, and statements about indexes. What is in parentheses after CHECK, DEFAULT and AS is an expression: the words
//! in it that are columns by now, or become some, are what it reads.

use grantd_catalog::command::{
    Command, IndexName, NewConstraint, NewForeignKey, NewIndexKey, ObjectName, Rule, TableAction,
};
use grantd_catalog::name::Name;
use grantd_catalog::object::{Body, Column, Expression, KeyPart, ReferentialAction};
use grantd_catalog::spec::generate::{column, expression};

use super::Parser;

impl Parser<'_> {
    /// The actions of an ALTER TABLE, if it has any.
    pub(super) fn alter_table(&mut self, name: &ObjectName, if_exists: bool) -> Option<Command> {
        let begin = self.at;
        let mut actions = Vec::new();
        while let Some(action) = self.table_action(name) {
            actions.push(action);
            self.take_sign(',');
        }
        if actions.is_empty() {
            self.at = begin;
            return None;
        }
        Some(Command::AlterTable { name: name.clone(), if_exists, actions })
    }

    fn table_action(&mut self, table: &ObjectName) -> Option<TableAction> {
        if self.take("ADD") {
            if self.take("COLUMN") {
                return Some(self.add_column());
            }
            let constraint = self.new_constraint(None);
            return Some(TableAction::AddConstraint { constraint, if_not_exists: false });
        }
        if self.take("DROP") {
            let is_column = self.take("COLUMN");
            if !is_column {
                self.expect(&["CONSTRAINT"]);
            }
            let if_exists = self.if_exists();
            let (name, behavior) = (self.name(), self.behavior());
            return Some(match is_column {
                true => TableAction::DropColumn { column: name, if_exists, behavior },
                false => TableAction::DropConstraint { constraint: name, if_exists, behavior },
            });
        }
        if self.take("ALTER") {
            return Some(self.alter_column());
        }
        if self.peek("RENAME") {
            let begin = self.at;
            self.expect(&["RENAME"]);
            let is_column = self.take("COLUMN");
            if is_column || self.take("CONSTRAINT") {
                let name = self.name();
                self.expect(&["TO"]);
                let to = self.name();
                if !is_column {
                    return Some(TableAction::RenameConstraint { constraint: name, to });
                }
                let expressions = self.rewritten(table, &name, &to);
                return Some(TableAction::RenameColumn { column: name, to, expressions });
            }
            self.at = begin;
        }
        None
    }

    /// The expressions of the table, with another name for a column.
    fn rewritten(&self, table: &ObjectName, from: &Name, to: &Name) -> Vec<(Expression, Expression)> {
        let id = self.state.resolve_relation(self.context, table).ok();
        let Some(Body::Table(table)) = id.and_then(|id| self.state.object(id)).map(|object| &object.body)
        else {
            return Vec::new();
        };
        let renamed = |was: &Expression| Expression {
            stored: was.stored.replace(&format!("\"{from}\""), &format!("\"{to}\"")),
            ..was.clone()
        };
        table.expressions().map(|was| (was.clone(), renamed(was))).collect()
    }

    fn add_column(&mut self) -> TableAction {
        let if_not_exists = self.if_not_exists();
        let name = self.name();
        let column_type = self.column_type();
        let mut added = Column { nullable: true, ..column(name.as_str(), column_type) };
        let mut constraints = Vec::new();
        while !self.done() && !self.peek_sign(',') {
            if self.take("NOT") {
                self.expect(&["NULL"]);
                added.nullable = false;
            } else if self.take("DEFAULT") {
                added.default = Some(self.expression());
            } else if self.take("AS") {
                added.computed = Some(self.expression());
            } else {
                constraints.push(self.new_constraint(Some(&added.name)));
            }
        }
        TableAction::AddColumn { column: added, if_not_exists, fill: None, constraints }
    }

    fn alter_column(&mut self) -> TableAction {
        self.expect(&["COLUMN"]);
        let column = self.name();
        if self.take("TYPE") {
            return TableAction::SetType {
                column,
                column_type: self.column_type(),
                using: None,
                expressions: Vec::new(),
            };
        }
        let sets = self.take("SET");
        if !sets {
            self.expect(&["DROP"]);
        }
        if self.take("DEFAULT") {
            return TableAction::SetDefault { column, default: sets.then(|| self.expression()) };
        }
        self.expect(&["NOT", "NULL"]);
        TableAction::SetNullable { column, nullable: !sets }
    }

    /// `[CONSTRAINT name] rule`; of a column, without a list of columns.
    pub(super) fn new_constraint(&mut self, of: Option<&Name>) -> NewConstraint {
        let name = self.take("CONSTRAINT").then(|| self.name());
        let columns = |parser: &mut Self| match of {
            Some(column) => vec![column.clone()],
            None => parser.column_list(),
        };
        let rule = if self.take("PRIMARY") {
            self.expect(&["KEY"]);
            Rule::PrimaryKey(columns(self))
        } else if self.take("UNIQUE") {
            Rule::Unique(columns(self))
        } else if self.take("CHECK") {
            Rule::Check(self.expression())
        } else {
            if of.is_none() {
                self.expect(&["FOREIGN", "KEY"]);
            }
            let columns = columns(self);
            self.expect(&["REFERENCES"]);
            let target = self.object_name();
            let target_columns = if self.peek_sign('(') { self.column_list() } else { Vec::new() };
            let (mut on_delete, mut on_update) = (ReferentialAction::NoAction, ReferentialAction::NoAction);
            while self.take("ON") {
                let deletes = self.take("DELETE");
                if !deletes {
                    self.expect(&["UPDATE"]);
                }
                let action = self.action();
                if deletes {
                    on_delete = action;
                } else {
                    on_update = action;
                }
            }
            Rule::ForeignKey(NewForeignKey { columns, target, target_columns, on_delete, on_update })
        };
        NewConstraint { name, rule }
    }

    fn action(&mut self) -> ReferentialAction {
        if self.take("CASCADE") {
            return ReferentialAction::Cascade;
        }
        self.expect(&["SET", "NULL"]);
        ReferentialAction::SetNull
    }

    fn column_list(&mut self) -> Vec<Name> {
        self.sign('(');
        let columns = self.list(Self::name);
        self.sign(')');
        columns
    }

    /// The words in parentheses.
    fn expression(&mut self) -> Expression {
        let columns = self.column_list();
        let columns: Vec<_> = columns.iter().map(Name::as_str).collect();
        expression(&columns, Vec::new())
    }

    /// `CREATE [UNIQUE] INDEX …`, from the word INDEX on.
    pub(super) fn create_index(&mut self, unique: bool) -> Command {
        if unique {
            self.expect(&["INDEX"]);
        }
        let if_not_exists = self.if_not_exists();
        let name = (!self.peek("ON")).then(|| self.name());
        self.expect(&["ON"]);
        let table = self.object_name();
        self.sign('(');
        let keys = self.list(|parser| {
            let part = KeyPart::Column(parser.name());
            NewIndexKey { part, descending: parser.take("DESC") }
        });
        self.sign(')');
        let predicate = self.take("WHERE").then(|| self.expression());
        Command::CreateIndex { name, if_not_exists, table, keys, unique, predicate }
    }

    /// `table@index` or `index`.
    pub(super) fn index_name(&mut self) -> IndexName {
        let first = self.object_name();
        if self.take_sign('@') {
            return IndexName { table: Some(first), index: ObjectName { parts: vec![self.name()] } };
        }
        IndexName { table: None, index: first }
    }
}
