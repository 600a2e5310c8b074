//! CREATE.

use grantd_catalog::command::{Command, NewConstraint, ObjectName, SequenceOptions};
use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::object::{Column, ConnectionUri, Table};
use grantd_catalog::spec::generate::{column, function, sequence, table, view};

use super::{Parser, Token, access};

impl Parser<'_> {
    pub(super) fn create(&mut self) -> Command {
        let or_replace = self.take("OR");
        if or_replace {
            self.expect(&["REPLACE"]);
        }
        let what = self.word();
        match what.as_str() {
            "ROLE" | "USER" => {
                let if_not_exists = self.if_not_exists();
                let name = self.role_spec();
                let options = self.role_options();
                Command::CreateRole { name, is_role: what == "ROLE", if_not_exists, options }
            }
            "DATABASE" => {
                let if_not_exists = self.if_not_exists();
                let name = self.name();
                let owner = self.take("WITH").then(|| {
                    self.expect(&["OWNER"]);
                    self.sign('=');
                    self.role_spec()
                });
                Command::CreateDatabase { name, if_not_exists, owner }
            }
            "SCHEMA" => {
                let if_not_exists = self.if_not_exists();
                let (mut database, mut name) = (None, None);
                if !self.peek("AUTHORIZATION") {
                    let written = self.schema_name();
                    (database, name) = (written.database, Some(written.schema));
                }
                let owner = self.take("AUTHORIZATION").then(|| self.role_spec());
                Command::CreateSchema { database, name, if_not_exists, owner }
            }
            "TABLE" => {
                let if_not_exists = self.if_not_exists();
                let name = self.object_name();
                let (table, foreign_keys) = self.columns();
                Command::CreateTable { name, table, foreign_keys, identities: Vec::new(), if_not_exists }
            }
            "INDEX" | "UNIQUE" => self.create_index(what == "UNIQUE"),
            "VIEW" => {
                let if_not_exists = self.if_not_exists();
                let name = self.object_name();
                self.expect(&["AS"]);
                let view = view(self.query());
                Command::CreateView { name, view, if_not_exists, or_replace }
            }
            "SEQUENCE" => self.create_sequence(),
            "TYPE" => {
                let if_not_exists = self.if_not_exists();
                let name = self.object_name();
                self.expect(&["AS", "ENUM"]);
                Command::CreateType { name, labels: self.labels(), if_not_exists }
            }
            "FUNCTION" => self.create_function(or_replace),
            "EXTERNAL" => self.create_connection(),
            "IAM" => {
                self.expect(&["ROLE"]);
                let if_not_exists = self.if_not_exists();
                Command::CreateIamRole { name: Name::normalize(&self.string()), if_not_exists }
            }
            other => panic!("`{}`: CREATE {other}?", self.text),
        }
    }

    fn create_connection(&mut self) -> Command {
        self.expect(&["CONNECTION"]);
        let if_not_exists = self.if_not_exists();
        let name = self.name();
        self.expect(&["AS"]);
        let uri = self.string();
        let access = vec![access(&uri)];
        Command::CreateExternalConnection { name, uri: ConnectionUri::new(uri), access, if_not_exists }
    }

    /// `(k INT8 PRIMARY KEY, v mood, FOREIGN KEY …)`; without, one column, which is the key. `rowid` is hidden, and the key.
    fn columns(&mut self) -> (Table, Vec<NewConstraint>) {
        let (mut made, mut foreign_keys) = (table(), Vec::new());
        if !self.take_sign('(') {
            return (made, foreign_keys);
        }
        made.columns.clear();
        while !self.take_sign(')') {
            if self.peek("FOREIGN") || self.peek("CONSTRAINT") {
                foreign_keys.push(self.new_constraint(None));
                self.take_sign(',');
                continue;
            }
            let name = self.name();
            let column_type = self.column_type();
            if self.take("PRIMARY") {
                self.expect(&["KEY"]);
            }
            let hidden = name.as_str() == "rowid";
            if hidden {
                made.primary_key = vec![u16::try_from(made.columns.len()).expect("few columns")];
            }
            let nullable = !made.columns.is_empty() && !hidden;
            made.columns.push(Column { nullable, hidden, ..column(name.as_str(), column_type) });
            self.take_sign(',');
        }
        (made, foreign_keys)
    }

    /// The rest of the line is a query; what stands after FROM and JOIN, and what is called, is what it names.
    fn query(&mut self) -> Vec<ObjectId> {
        let mut found = Vec::new();
        while !self.done() {
            if self.take("FROM") || self.take("JOIN") {
                for name in self.list(Self::object_name) {
                    match self.state.resolve_relation(self.context, &name) {
                        Ok(id) => found.push(id),
                        Err(refusal) => drop(self.refused.get_or_insert(refusal)),
                    }
                }
            } else {
                self.at += 1;
            }
        }
        found.sort();
        found.dedup();
        found
    }

    fn create_sequence(&mut self) -> Command {
        let if_not_exists = self.if_not_exists();
        let name = self.object_name();
        let options = self.sequence_options();
        let mut made = sequence();
        made.increment = options.increment.unwrap_or(1);
        if made.increment < 0 {
            (made.min, made.max) = (i64::MIN, -1);
        }
        made.min = options.min.flatten().unwrap_or(made.min);
        made.max = options.max.flatten().unwrap_or(made.max);
        made.start = options.start.unwrap_or(if made.increment < 0 { made.max } else { made.min });
        let owned_by = options.owned_by.flatten();
        Command::CreateSequence { name, sequence: made, owned_by, if_not_exists }
    }

    pub(super) fn sequence_options(&mut self) -> SequenceOptions {
        let mut options = SequenceOptions::default();
        while !self.done() {
            match self.word().as_str() {
                "INCREMENT" => {
                    self.take("BY");
                    options.increment = Some(self.number());
                }
                "START" => {
                    self.take("WITH");
                    options.start = Some(self.number());
                }
                "MINVALUE" => options.min = Some(Some(self.number())),
                "MAXVALUE" => options.max = Some(Some(self.number())),
                "NO" if self.take("MINVALUE") => options.min = Some(None),
                "NO" if self.take("MAXVALUE") => options.max = Some(None),
                "OWNED" => {
                    self.expect(&["BY"]);
                    options.owned_by =
                        Some(if self.take("NONE") { None } else { Some(self.table_of_column()) });
                }
                other => panic!("`{}`: {other}?", self.text),
            }
        }
        options
    }

    /// `t.c`: the table.
    fn table_of_column(&mut self) -> ObjectName {
        let mut name = self.object_name();
        name.parts.pop();
        name
    }

    fn number(&mut self) -> i64 {
        match self.next() {
            Token::Word(word) => word.parse().expect("a number"),
            other => panic!("`{}`: {other:?} is no number", self.text),
        }
    }

    fn labels(&mut self) -> Vec<String> {
        self.sign('(');
        let mut labels = Vec::new();
        while !self.take_sign(')') {
            labels.push(self.string());
            self.take_sign(',');
        }
        labels
    }

    /// `f(INT8, mood) RETURNS INT8 LANGUAGE SQL AS 'SELECT …'`.
    fn create_function(&mut self, or_replace: bool) -> Command {
        let name = self.object_name();
        self.sign('(');
        let mut arguments = Vec::new();
        while !self.take_sign(')') {
            arguments.push(self.column_type());
            self.take_sign(',');
        }
        self.expect(&["RETURNS"]);
        let returns = self.column_type();
        self.expect(&["LANGUAGE", "SQL", "AS"]);
        let body = self.string();
        let mut inner = Parser { tokens: super::tokens(&body), at: 0, text: &body, refused: None, ..*self };
        let references = inner.query();
        let refused = inner.refused;
        self.refused = self.refused.take().or(refused);
        let mut made = function(arguments, references);
        (made.returns, made.body) = (returns, body);
        Command::CreateFunction { name, function: made, or_replace }
    }
}
