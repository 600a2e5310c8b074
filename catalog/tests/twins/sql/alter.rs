//! ALTER, COMMENT, and SET CLUSTER SETTING.

use grantd_catalog::command::{
    Command, Creators, DefaultAct, LabelChange, ObjectName, OwnedName, RoleSpec, VariableChange,
};
use grantd_catalog::defaults::DefaultClass;
use grantd_catalog::name::Name;
use grantd_catalog::object::ConnectionUri;
use grantd_catalog::setting::Setting;

use super::{Parser, Token, access};

impl Parser<'_> {
    pub(super) fn alter(&mut self) -> Command {
        let what = self.word();
        match what.as_str() {
            "DEFAULT" => return self.default_privileges(),
            "ROLE" | "USER" => return self.alter_role(),
            "INDEX" => {
                let if_exists = self.if_exists();
                let index = self.index_name();
                self.expect(&["RENAME", "TO"]);
                return Command::RenameIndex { index, if_exists, to: self.name() };
            }
            "EXTERNAL" => {
                self.expect(&["CONNECTION"]);
                let if_exists = self.if_exists();
                let name = self.name();
                if self.take("AS") {
                    let uri = self.string();
                    let access = vec![access(&uri)];
                    let uri = ConnectionUri::new(uri);
                    return Command::AlterExternalConnection { name, uri, access, if_exists };
                }
                return self.alter_owned(OwnedName::ExternalConnection(name), if_exists);
            }
            "IAM" => {
                self.expect(&["ROLE"]);
                let if_exists = self.if_exists();
                let name = Name::normalize(&self.string());
                return self.alter_owned(OwnedName::IamRole(name), if_exists);
            }
            _ => {}
        }
        let if_exists = self.if_exists();
        let object = self.owned(&what);
        if let OwnedName::Table(name) = &object
            && let Some(command) = self.alter_table(name, if_exists)
        {
            return command;
        }
        match (&object, self.peek("ADD") || self.peek("RENAME")) {
            (OwnedName::Type(name), true) => {
                let name = name.clone();
                if let Some(change) = self.label_change() {
                    return Command::AlterType { name, change };
                }
            }
            (OwnedName::Sequence(name), false) if !self.peek("OWNER") && !self.peek("SET") => {
                let name = name.clone();
                return Command::AlterSequence { name, if_exists, options: self.sequence_options() };
            }
            _ => {}
        }
        self.alter_owned(object, if_exists)
    }

    fn alter_owned(&mut self, object: OwnedName, if_exists: bool) -> Command {
        if self.take("RENAME") {
            self.expect(&["TO"]);
            return Command::Rename { object, if_exists, to: self.name() };
        }
        if self.take("SET") {
            self.expect(&["SCHEMA"]);
            return Command::SetSchema { object, if_exists, schema: self.schema_name() };
        }
        self.expect(&["OWNER", "TO"]);
        Command::AlterOwner { object, if_exists, owner: self.role_spec() }
    }

    fn owned(&mut self, what: &str) -> OwnedName {
        match what {
            "DATABASE" => OwnedName::Database(self.name()),
            "SCHEMA" => OwnedName::Schema(self.schema_name()),
            "TABLE" => OwnedName::Table(self.object_name()),
            "VIEW" => OwnedName::View(self.object_name()),
            "SEQUENCE" => OwnedName::Sequence(self.object_name()),
            "TYPE" => OwnedName::Type(self.object_name()),
            "FUNCTION" => OwnedName::Function(self.function_name()),
            other => panic!("`{}`: {other}?", self.text),
        }
    }

    fn label_change(&mut self) -> Option<LabelChange> {
        if self.take("ADD") {
            self.expect(&["VALUE"]);
            let if_not_exists = self.if_not_exists();
            let label = self.string();
            let beside = if self.take("BEFORE") {
                Some((true, self.string()))
            } else if self.take("AFTER") {
                Some((false, self.string()))
            } else {
                None
            };
            return Some(LabelChange::Add { label, if_not_exists, beside });
        }
        let renames_a_label = self.tokens.get(self.at + 1).is_some_and(|token| super::is(token, "VALUE"));
        renames_a_label.then(|| {
            self.expect(&["RENAME", "VALUE"]);
            let from = self.string();
            self.expect(&["TO"]);
            LabelChange::Rename { from, to: self.string() }
        })
    }

    fn alter_role(&mut self) -> Command {
        let if_exists = self.if_exists();
        let role = if self.take("ALL") { None } else { Some(self.role_spec()) };
        let database = self.take("IN").then(|| {
            self.expect(&["DATABASE"]);
            self.name()
        });
        let change = if self.take("SET") {
            let variable = self.value();
            assert!(self.take("TO") || self.take_sign('='), "`{}`: to what?", self.text);
            VariableChange::Set(variable, self.value())
        } else if self.take("RESET") {
            if self.take("ALL") { VariableChange::ResetAll } else { VariableChange::Reset(self.value()) }
        } else {
            let name = role.expect("ALTER ROLE ALL is about variables");
            return Command::AlterRole { name, if_exists, options: self.role_options() };
        };
        Command::AlterRoleSettings { role, if_exists, database, change }
    }

    /// A word with dots in it, or a text.
    fn value(&mut self) -> String {
        if let Some(Token::Text(_)) = self.tokens.get(self.at) {
            return self.string();
        }
        self.object_name().to_string()
    }

    fn default_privileges(&mut self) -> Command {
        self.expect(&["PRIVILEGES"]);
        let mut creators = Creators::Roles(vec![RoleSpec::CurrentUser]);
        if self.take("FOR") {
            creators = if self.take("ALL") {
                self.expect(&["ROLES"]);
                Creators::All
            } else {
                self.expect(&["ROLE"]);
                Creators::Roles(self.list(Self::role_spec))
            };
        }
        let mut schemas = Vec::new();
        if self.take("IN") {
            self.expect(&["SCHEMA"]);
            schemas = self.list(Self::schema_name);
        }
        let grants = self.take("GRANT");
        let grant_option_only = !grants && {
            self.expect(&["REVOKE"]);
            let written = self.take("GRANT");
            if written {
                self.expect(&["OPTION", "FOR"]);
            }
            written
        };
        let privileges = self.list(Self::privilege);
        self.expect(&["ON"]);
        let word = self.word().to_lowercase();
        let on = DefaultClass::EACH.into_iter().find(|class| class.word() == word).expect("a class");
        self.expect(if grants { &["TO"] } else { &["FROM"] });
        let grantees = self.list(Self::role_spec);
        let act = if grants {
            let grant_option = self.take("WITH");
            if grant_option {
                self.expect(&["GRANT", "OPTION"]);
            }
            DefaultAct::Grant { grant_option }
        } else {
            DefaultAct::Revoke { grant_option_only }
        };
        Command::AlterDefaultPrivileges { creators, schemas, act, privileges, on, grantees }
    }

    pub(super) fn comment(&mut self) -> Command {
        self.expect(&["ON"]);
        let what = self.word();
        if what == "INDEX" {
            let index = self.index_name();
            return Command::CommentOnIndex { index, text: self.comment_text() };
        }
        let (on, column) = if what == "COLUMN" {
            let ObjectName { mut parts } = self.object_name();
            let column = parts.pop();
            (OwnedName::Table(ObjectName { parts }), column)
        } else {
            (self.owned(&what), None)
        };
        Command::Comment { on, column, text: self.comment_text() }
    }

    fn comment_text(&mut self) -> Option<String> {
        self.expect(&["IS"]);
        if self.take("NULL") { None } else { Some(self.string()) }
    }

    /// `SET CLUSTER SETTING s = v` or `RESET CLUSTER SETTING s`.
    pub(super) fn cluster_setting(&mut self, set: bool) -> Command {
        self.expect(&["CLUSTER", "SETTING"]);
        let name = self.object_name().to_string();
        let setting = Setting::from_name(&name).expect("a cluster setting");
        let value = set.then(|| {
            assert!(self.take("TO") || self.take_sign('='), "`{}`: to what?", self.text);
            self.value()
        });
        Command::SetClusterSetting { setting, value }
    }
}
