//! The little SQL of the scripts: enough words to write every command, and none of the dialect's freedom.
//!
//! It panics on what it does not know: a script with a slip must not pass.

mod alter;
mod create;
mod shapes;

use grantd_catalog::command::{
    Command, Creators, DropBehavior, FunctionName, NameContext, ObjectName, RoleOptionClause, RoleSpec,
    SchemaName, TablePattern, Targets, TypeName,
};
use grantd_catalog::list::DefaultsShown;
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::object::ColumnType;
use grantd_catalog::privilege::Privilege;
use grantd_catalog::refusal::Refusal;
use grantd_catalog::require::UriAccess;
use grantd_catalog::role::{PasswordVerifier, RoleOption, ValidUntil};
use grantd_catalog::state::State;

/// One line of a script.
#[derive(Debug)]
pub enum Statement {
    Command(Command),
    ShowRoles,
    ShowGrants {
        on: Option<Targets>,
        grantees: Vec<RoleSpec>,
    },
    ShowRoleGrants {
        roles: Vec<RoleSpec>,
        members: Vec<RoleSpec>,
    },
    ShowDefaults {
        shown: DefaultsShown,
        schema: Option<SchemaName>,
    },
    /// What planning refuses: a name in it means nothing.
    Refused(Refusal),
    /// `NEED k, … ON t`: USAGE on the schema, then each privilege on the table; or each on a database or schema.
    Need {
        privileges: Vec<Privilege>,
        on: Targets,
    },
    /// `NEED LOGIN`: to open an SQL session.
    NeedLogin,
    /// `NEED OPTION o`.
    NeedOption(RoleOption),
    /// `NEED SYSTEM k`: the system privilege or the option of that name.
    NeedSystemOrOption(Privilege),
    /// `NEED URI 'uri'`: what using it takes.
    NeedUri(UriAccess),
}

/// What a URI takes: its scheme, AUTH, AWS_ENDPOINT and ASSUME_ROLE, none of them encoded, and nothing else.
fn access(uri: &str) -> UriAccess {
    let (scheme, rest) = uri.split_once("://").unwrap_or_default();
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let external = (scheme == "external").then(|| Name::normalize(path));
    UriAccess {
        provider: scheme.to_owned(),
        implicit: value("AUTH") == Some("implicit"),
        only_nodes: scheme == "nodelocal" || value("AWS_ENDPOINT").is_some(),
        roles: value("ASSUME_ROLE")
            .into_iter()
            .flat_map(|roles| roles.split(','))
            .map(Name::normalize)
            .collect(),
        connection: external,
    }
}

/// Reads one statement in which no type, view or function names what there is.
pub fn parse(text: &str) -> Statement {
    let context = NameContext { database: None, search_path: Vec::new() };
    parse_in(text, &State::bootstrap(), &context)
}

/// Reads one statement. What a table, view or function is made of is looked up in `state`, as a planner would.
pub fn parse_in(text: &str, state: &State, context: &NameContext) -> Statement {
    let mut parser = Parser { tokens: tokens(text), at: 0, text, state, context, refused: None };
    let statement = parser.statement();
    assert!(parser.at == parser.tokens.len(), "`{text}` goes on after its end");
    parser.refused.map_or(statement, Statement::Refused)
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Text(String),
    Sign(char),
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.trim();
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            ' ' => 1,
            ',' | '.' | '*' | '=' | '(' | ')' | '@' => {
                tokens.push(Token::Sign(first));
                1
            }
            '"' | '\'' => {
                let end = rest[1..].find(first).expect("a quote is closed");
                let inside = rest[1..=end].to_owned();
                tokens.push(if first == '"' { Token::Quoted(inside) } else { Token::Text(inside) });
                end + 2
            }
            _ => {
                let end =
                    rest.find([' ', ',', '.', '*', '=', '"', '(', ')', '@', '\'']).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..end].to_owned()));
                end
            }
        };
        rest = &rest[taken..];
    }
    tokens
}

struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    text: &'a str,
    state: &'a State,
    context: &'a NameContext,
    refused: Option<Refusal>,
}

impl Parser<'_> {
    fn statement(&mut self) -> Statement {
        if self.take("NEED") {
            return self.need();
        }
        if self.take("SHOW") {
            return self.show();
        }
        Statement::Command(match self.word().as_str() {
            "CREATE" => self.create(),
            "ALTER" => self.alter(),
            "DROP" => self.drop(),
            "GRANT" => self.grant(),
            "REVOKE" => self.revoke(),
            "COMMENT" => self.comment(),
            "SET" => self.cluster_setting(true),
            "RESET" => self.cluster_setting(false),
            "REASSIGN" => {
                self.expect(&["OWNED", "BY"]);
                let from = self.list(Self::role_spec);
                self.expect(&["TO"]);
                Command::ReassignOwned { from, to: self.role_spec() }
            }
            other => panic!("`{}`: what is {other}?", self.text),
        })
    }

    fn need(&mut self) -> Statement {
        if self.take("LOGIN") {
            return Statement::NeedLogin;
        }
        if self.take("OPTION") {
            let word = self.word();
            return Statement::NeedOption(RoleOption::from_word(&word).expect("an option").0);
        }
        if self.take("SYSTEM") {
            return Statement::NeedSystemOrOption(self.privilege());
        }
        if self.take("URI") {
            return Statement::NeedUri(access(&self.string()));
        }
        let privileges = self.list(Self::privilege);
        self.expect(&["ON"]);
        Statement::Need { privileges, on: self.targets() }
    }

    fn show(&mut self) -> Statement {
        if self.take("ROLES") || self.take("USERS") {
            return Statement::ShowRoles;
        }
        if self.take("DEFAULT") {
            self.expect(&["PRIVILEGES"]);
            return self.show_defaults();
        }
        let system = self.take("SYSTEM");
        self.expect(&["GRANTS"]);
        if self.take("ON") {
            if self.take("ROLE") {
                let roles =
                    if self.done() || self.peek("FOR") { Vec::new() } else { self.list(Self::role_spec) };
                return Statement::ShowRoleGrants { roles, members: self.for_roles() };
            }
            let on = Some(self.targets());
            return Statement::ShowGrants { on, grantees: self.for_roles() };
        }
        let on = system.then_some(Targets::System);
        Statement::ShowGrants { on, grantees: self.for_roles() }
    }

    fn for_roles(&mut self) -> Vec<RoleSpec> {
        if self.take("FOR") { self.list(Self::role_spec) } else { Vec::new() }
    }

    fn show_defaults(&mut self) -> Statement {
        let mut shown = DefaultsShown::Of(Creators::Roles(vec![RoleSpec::CurrentUser]));
        if self.take("FOR") {
            shown = if self.take("ALL") {
                self.expect(&["ROLES"]);
                DefaultsShown::Of(Creators::All)
            } else if self.take("GRANTEE") {
                DefaultsShown::ForGrantees(self.list(Self::role_spec))
            } else {
                self.expect(&["ROLE"]);
                DefaultsShown::Of(Creators::Roles(self.list(Self::role_spec)))
            };
        }
        let schema = self.take("IN").then(|| {
            self.expect(&["SCHEMA"]);
            self.schema_name()
        });
        Statement::ShowDefaults { shown, schema }
    }

    fn drop(&mut self) -> Command {
        let what = self.word();
        if what == "OWNED" {
            self.expect(&["BY"]);
            return Command::DropOwned { by: self.list(Self::role_spec), behavior: self.behavior() };
        }
        if what == "EXTERNAL" {
            self.expect(&["CONNECTION"]);
            let if_exists = self.if_exists();
            return Command::DropExternalConnections { names: self.list(Self::name), if_exists };
        }
        if what == "IAM" {
            self.expect(&["ROLE"]);
            let if_exists = self.if_exists();
            return Command::DropIamRoles { names: self.list(Self::iam_role), if_exists };
        }
        let if_exists = self.if_exists();
        match what.as_str() {
            "INDEX" => Command::DropIndexes {
                names: self.list(Self::index_name),
                if_exists,
                behavior: self.behavior(),
            },
            "ROLE" | "USER" => Command::DropRoles { names: self.list(Self::role_spec), if_exists },
            "DATABASE" => Command::DropDatabase { name: self.name(), if_exists, behavior: self.behavior() },
            "SCHEMA" => Command::DropSchemas {
                names: self.list(Self::schema_name),
                if_exists,
                behavior: self.behavior(),
            },
            "FUNCTION" => Command::DropFunctions {
                names: self.list(Self::function_name),
                if_exists,
                behavior: self.behavior(),
            },
            "TABLE" | "VIEW" | "SEQUENCE" | "TYPE" => {
                let names = self.list(Self::object_name);
                let behavior = self.behavior();
                match what.as_str() {
                    "TABLE" => Command::DropTables { names, if_exists, behavior },
                    "VIEW" => Command::DropViews { names, if_exists, behavior },
                    "SEQUENCE" => Command::DropSequences { names, if_exists, behavior },
                    _ => Command::DropTypes { names, if_exists, behavior },
                }
            }
            other => panic!("`{}`: DROP {other}?", self.text),
        }
    }

    fn if_exists(&mut self) -> bool {
        let written = self.take("IF");
        if written {
            self.expect(&["EXISTS"]);
        }
        written
    }

    fn if_not_exists(&mut self) -> bool {
        let written = self.take("IF");
        if written {
            self.expect(&["NOT", "EXISTS"]);
        }
        written
    }

    fn behavior(&mut self) -> DropBehavior {
        if self.take("CASCADE") {
            DropBehavior::Cascade
        } else if self.take("RESTRICT") {
            DropBehavior::Restrict
        } else {
            DropBehavior::Default
        }
    }

    fn grant(&mut self) -> Command {
        if let Some((privileges, on)) = self.privileges_on() {
            self.expect(&["TO"]);
            let to = self.list(Self::role_spec);
            let grant_option = self.take("WITH");
            if grant_option {
                self.expect(&["GRANT", "OPTION"]);
            }
            return Command::Grant { privileges, on, to, grant_option };
        }
        let roles = self.list(Self::role_name);
        self.expect(&["TO"]);
        let members = self.list(Self::role_spec);
        let admin_option = self.take("WITH");
        if admin_option {
            self.expect(&["ADMIN", "OPTION"]);
        }
        Command::GrantRoles { roles, members, admin_option }
    }

    fn revoke(&mut self) -> Command {
        // A role may be called admin: only the word after it tells.
        let option = self.tokens.get(self.at + 1).is_some_and(|token| is(token, "OPTION"));
        let grant_option_only = option && self.take("GRANT");
        let admin_option_only = option && self.take("ADMIN");
        if option {
            self.expect(&["OPTION", "FOR"]);
        }
        if let Some((privileges, on)) = self.privileges_on() {
            self.expect(&["FROM"]);
            return Command::Revoke { privileges, on, from: self.list(Self::role_spec), grant_option_only };
        }
        let roles = self.list(Self::role_name);
        self.expect(&["FROM"]);
        Command::RevokeRoles { roles, members: self.list(Self::role_spec), admin_option_only }
    }

    /// `SYSTEM k, …` or `k, … ON …`; nothing, and nothing read, when it is a list of roles.
    fn privileges_on(&mut self) -> Option<(Vec<Privilege>, Targets)> {
        if self.take("SYSTEM") {
            return Some((self.list(Self::privilege), Targets::System));
        }
        let has_on = self.tokens[self.at..].iter().any(|token| is(token, "ON"));
        has_on.then(|| {
            let privileges = self.list(Self::privilege);
            self.expect(&["ON"]);
            (privileges, self.targets())
        })
    }

    fn targets(&mut self) -> Targets {
        if self.take("DATABASE") {
            return Targets::Databases(self.list(Self::name));
        }
        if self.take("SCHEMA") {
            return Targets::Schemas(self.list(Self::schema_name));
        }
        if self.take("ALL") {
            let what = self.word();
            self.expect(&["IN", "SCHEMA"]);
            let schemas = self.list(Self::schema_name);
            return match what.as_str() {
                "TABLES" => Targets::AllTablesInSchemas(schemas),
                "SEQUENCES" => Targets::AllSequencesInSchemas(schemas),
                "FUNCTIONS" => Targets::AllFunctionsInSchemas(schemas),
                other => panic!("`{}`: ALL {other}?", self.text),
            };
        }
        if self.take("SEQUENCE") {
            return Targets::Sequences(self.list(Self::table_pattern));
        }
        if self.take("TYPE") {
            return Targets::Types(self.list(Self::object_name));
        }
        if self.take("FUNCTION") {
            return Targets::Functions(self.list(Self::function_name));
        }
        if self.take("EXTERNAL") {
            self.expect(&["CONNECTION"]);
            return Targets::ExternalConnections(self.list(Self::name));
        }
        if self.take("IAM") {
            self.expect(&["ROLE"]);
            return Targets::IamRoles(self.list(Self::iam_role));
        }
        self.take("TABLE");
        Targets::Tables(self.list(Self::table_pattern))
    }

    /// The name of a role of a cloud.
    fn iam_role(&mut self) -> Name {
        Name::normalize(&self.string())
    }

    /// A name, with the types of arguments in parentheses, if any are written.
    fn function_name(&mut self) -> FunctionName {
        let name = self.object_name();
        let arguments = self.take_sign('(').then(|| {
            let mut types = Vec::new();
            while !self.take_sign(')') {
                types.push(self.type_name());
                self.take_sign(',');
            }
            types
        });
        FunctionName { name, arguments }
    }

    fn type_name(&mut self) -> TypeName {
        let known = [
            ("BOOL", ColumnType::Bool),
            ("INT", ColumnType::Int8),
            ("INT8", ColumnType::Int8),
            ("STRING", ColumnType::Text { chars_max: None }),
            ("TEXT", ColumnType::Text { chars_max: None }),
        ];
        for (word, column_type) in known {
            if self.take(word) {
                return TypeName::Known(column_type);
            }
        }
        TypeName::Named(self.object_name())
    }

    /// A type that a table, view or function is made of.
    fn column_type(&mut self) -> ColumnType {
        match self.type_name() {
            TypeName::Known(known) => known,
            TypeName::Named(name) => match self.state.resolve_type(self.context, &name) {
                Ok(id) => ColumnType::Enum(id),
                Err(refusal) => {
                    self.refused.get_or_insert(refusal);
                    ColumnType::Int8
                }
            },
        }
    }

    fn table_pattern(&mut self) -> TablePattern {
        let mut parts = Vec::new();
        loop {
            if self.take_sign('*') {
                return TablePattern::All(parts);
            }
            parts.push(self.name());
            if !self.take_sign('.') {
                return TablePattern::Table(ObjectName { parts });
            }
        }
    }

    fn object_name(&mut self) -> ObjectName {
        let mut parts = vec![self.name()];
        while self.take_sign('.') {
            parts.push(self.name());
        }
        ObjectName { parts }
    }

    fn schema_name(&mut self) -> SchemaName {
        let first = self.name();
        if self.take_sign('.') {
            return SchemaName { database: Some(first), schema: self.name() };
        }
        SchemaName { database: None, schema: first }
    }

    fn role_options(&mut self) -> Vec<RoleOptionClause> {
        self.take("WITH");
        let mut options = Vec::new();
        while !self.done() {
            let word = self.word();
            if word == "PASSWORD" {
                options.push(RoleOptionClause::Password(self.password()));
                continue;
            }
            if word == "VALID" {
                self.expect(&["UNTIL"]);
                options.push(RoleOptionClause::ValidUntil(self.valid_until()));
                continue;
            }
            let (option, set) = RoleOption::from_word(&word).expect("a role option");
            options.push(RoleOptionClause::Flag(option, set));
        }
        options
    }

    fn password(&mut self) -> Option<PasswordVerifier> {
        if self.take("NULL") {
            return None;
        }
        match self.next() {
            Token::Text(text) => Some(PasswordVerifier::new(format!("SCRAM-SHA-256$1:{text}$a:b"))),
            other => panic!("`{}`: {other:?} is no password", self.text),
        }
    }

    /// A day, `2030-01-31`, or NULL.
    fn valid_until(&mut self) -> ValidUntil {
        if self.take("NULL") {
            return ValidUntil::Never;
        }
        let text = self.string();
        let parts: Vec<i64> = text.split('-').map(|part| part.parse().expect("a number")).collect();
        let [year, month, day] = parts[..] else { panic!("`{}`: {text} is no day", self.text) };
        // Days since 1970 of the proleptic Gregorian calendar; years begin in March.
        let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
        let days =
            365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
        ValidUntil::At(days * 86_400_000_000)
    }

    /// What stands between single quotes.
    fn string(&mut self) -> String {
        match self.next() {
            Token::Text(text) => text,
            other => panic!("`{}`: {other:?} is no text", self.text),
        }
    }

    fn privilege(&mut self) -> Privilege {
        let word = self.word();
        Privilege::from_word(&word).unwrap_or_else(|| panic!("`{}`: {word} is no privilege", self.text))
    }

    fn role_name(&mut self) -> RoleName {
        match self.next() {
            Token::Word(text) | Token::Quoted(text) => RoleName::normalize(&text),
            other => panic!("`{}`: {other:?} is no name", self.text),
        }
    }

    fn role_spec(&mut self) -> RoleSpec {
        if self.take("CURRENT_USER") {
            return RoleSpec::CurrentUser;
        }
        if self.take("SESSION_USER") {
            return RoleSpec::SessionUser;
        }
        RoleSpec::Name(self.role_name())
    }

    fn name(&mut self) -> Name {
        match self.next() {
            Token::Word(text) => Name::normalize(&text.to_lowercase()),
            Token::Quoted(text) => Name::normalize(&text),
            other => panic!("`{}`: {other:?} is no name", self.text),
        }
    }

    fn list<T>(&mut self, item: fn(&mut Self) -> T) -> Vec<T> {
        let mut items = vec![item(self)];
        while self.take_sign(',') {
            items.push(item(self));
        }
        items
    }

    fn word(&mut self) -> String {
        match self.next() {
            Token::Word(word) => word.to_uppercase(),
            other => panic!("`{}`: {other:?} is no keyword", self.text),
        }
    }

    fn next(&mut self) -> Token {
        let token = self.tokens.get(self.at).unwrap_or_else(|| panic!("`{}` ends early", self.text));
        self.at += 1;
        token.clone()
    }

    fn done(&self) -> bool {
        self.at == self.tokens.len()
    }

    fn peek(&self, word: &str) -> bool {
        self.tokens.get(self.at).is_some_and(|token| is(token, word))
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.peek(word);
        self.at += usize::from(found);
        found
    }

    fn peek_sign(&self, sign: char) -> bool {
        self.tokens.get(self.at) == Some(&Token::Sign(sign))
    }

    fn take_sign(&mut self, sign: char) -> bool {
        let found = self.tokens.get(self.at) == Some(&Token::Sign(sign));
        self.at += usize::from(found);
        found
    }

    fn sign(&mut self, sign: char) {
        assert!(self.take_sign(sign), "`{}`: `{sign}` is missing", self.text);
    }

    fn expect(&mut self, words: &[&str]) {
        for word in words {
            assert!(self.take(word), "`{}`: {word} is missing", self.text);
        }
    }
}

fn is(token: &Token, word: &str) -> bool {
    match token {
        Token::Word(text) => text.eq_ignore_ascii_case(word),
        Token::Quoted(_) | Token::Text(_) | Token::Sign(_) => false,
    }
}
