//! `has_…_privilege` and `pg_has_role` (authorization spec H.5): inquiries. They are answered from the catalog alone, so that
//! the row store's functions and `execute::inquiry`, which does without the row store, call the same code.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use grantd_catalog::command::{Actor, FunctionName, NameContext, ObjectName, SchemaName, TypeName};
use grantd_catalog::decide::{holds, holds_grant_option};
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::object::Body;
use grantd_catalog::privilege::{ObjectKind, Privilege, PrivilegeSet};
use grantd_catalog::refusal::state;
use grantd_catalog::view::View;
use grantd_raft::rows::{Function, Value};
use sqlparser::ast::{self, Expr};
use sqlparser::keywords::ALL_KEYWORDS;

use super::catalog;
use super::context::{StatementInfo, info};
use crate::error::SqlError;
use crate::sql::parse::{name_of, parse_expression, parse_signature};
use crate::sql::translate::column_type;
use crate::sql::translate::scalar::raise;

/// What an inquiry is answered from.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The catalog.
    pub view: &'a View,
    /// Who asks.
    pub actor: Actor,
    /// What unqualified names mean.
    pub context: &'a NameContext,
}

impl<'a> Asking<'a> {
    /// What a statement asks from.
    pub fn of(info: &'a StatementInfo) -> Self {
        Self { view: &info.view, actor: info.actor, context: &info.context }
    }
}

/// An argument of an inquiry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Given<'a> {
    /// NULL.
    Null,
    /// An OID, or the number of a column.
    Number(i64),
    /// A name, or words for privileges.
    Text(&'a str),
    /// What no plan gives.
    Other,
}

impl<'a> Given<'a> {
    fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(number) => Self::Number(*number),
            Value::Text(text) => Self::Text(text),
            Value::Real(_) | Value::Blob(_) => Self::Other,
        }
    }
}

type Answer = fn(Asking<'_>, &[Given<'_>]) -> Result<Option<bool>, SqlError>;

/// A function that answers inquiries.
#[derive(Clone, Copy, Debug)]
pub struct Inquirer(Answer);

impl Inquirer {
    /// The row store's function of this name, if it is one.
    pub fn named(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.0 == name).map(|row| Self(row.1))
    }

    /// The answer; none: NULL, as of any argument that is.
    pub fn answer(self, asking: Asking<'_>, given: &[Given<'_>]) -> Result<Option<bool>, SqlError> {
        if given.contains(&Given::Null) { Ok(None) } else { self.0(asking, given) }
    }
}

const TABLE: [(&str, Answer); 14] = [
    ("g_has_table_privilege", |asking, given| on_object(asking, given, ObjectKind::Table)),
    ("g_has_any_column_privilege", on_any_column),
    ("g_has_column_privilege", on_column),
    ("g_has_sequence_privilege", |asking, given| on_object(asking, given, ObjectKind::Sequence)),
    ("g_has_schema_privilege", |asking, given| on_object(asking, given, ObjectKind::Schema)),
    ("g_has_database_privilege", |asking, given| on_object(asking, given, ObjectKind::Database)),
    ("g_has_type_privilege", |asking, given| on_object(asking, given, ObjectKind::Type)),
    ("g_has_function_privilege", |asking, given| on_object(asking, given, ObjectKind::Function)),
    ("g_has_system_privilege", on_system),
    ("g_has_language_privilege", |asking, given| on_nothing(asking, given, "language")),
    ("g_has_server_privilege", |asking, given| on_nothing(asking, given, "server")),
    ("g_has_foreign_data_wrapper_privilege", |asking, given| {
        on_nothing(asking, given, "foreign-data wrapper")
    }),
    ("g_has_tablespace_privilege", on_tablespace),
    ("g_pg_has_role", has_role),
];

/// The functions, for the row store. NULL in, NULL out.
pub fn functions() -> Vec<Function> {
    let value = |answer: Option<bool>| answer.map_or(Value::Null, |is_so| Value::Integer(i64::from(is_so)));
    TABLE
        .iter()
        .map(|&(name, answer)| Function {
            name,
            arguments: -1,
            deterministic: false,
            body: Arc::new(move |context, values| {
                let given: Vec<_> = values.iter().map(Given::of).collect();
                info(context)
                    .and_then(|info| Inquirer(answer).answer(Asking::of(info), &given).map(value))
                    .map_err(|error| raise(&error))
            }),
        })
        .collect()
}

fn wrong() -> SqlError {
    SqlError::internal("an inquiry function was called with a value of another type")
}

/// The words for privileges.
fn text<'v>(given: &Given<'v>) -> Result<&'v str, SqlError> {
    match given {
        Given::Text(text) => Ok(text),
        Given::Number(_) => {
            let code = crate::error::state::DATATYPE_MISMATCH;
            Err(SqlError::new(code, "privileges must be of type string, not of a type of numbers"))
        }
        Given::Null | Given::Other => Err(wrong()),
    }
}

/// A user by name or OID; none: an OID that nobody has.
fn principal(asking: Asking<'_>, given: Given<'_>) -> Result<Option<PrincipalId>, SqlError> {
    match given {
        Given::Number(oid) => {
            let id = u32::try_from(oid).ok().map(PrincipalId);
            Ok(id.filter(|id| asking.view.state().principal(*id).is_some()))
        }
        Given::Text(name) => {
            let name = RoleName::normalize(name);
            if name.as_str() == "public" {
                return Ok(Some(PrincipalId::PUBLIC));
            }
            let missing = || SqlError::new(state::UNDEFINED_OBJECT, format!("role '{name}' does not exist"));
            asking.view.state().principal_id(&name).map(Some).ok_or_else(missing)
        }
        Given::Null | Given::Other => Err(wrong()),
    }
}

/// The items of a privilege text: word, and whether the grant option is asked for. What is in upper case is not copied.
fn items(written: &str) -> impl Iterator<Item = (Cow<'_, str>, bool)> {
    written.split(',').map(|item| {
        let word = folded(item);
        match word.strip_suffix(GRANT_OPTION).map(str::len) {
            Some(length) => (start(word, length), true),
            None => (word, false),
        }
    })
}

const GRANT_OPTION: &str = " WITH GRANT OPTION";

/// An item without the blanks around it, in upper case.
fn folded(item: &str) -> Cow<'_, str> {
    let item = item.trim();
    let is_upper = item.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_lowercase());
    if is_upper { Cow::Borrowed(item) } else { Cow::Owned(item.to_uppercase()) }
}

fn start(word: Cow<'_, str>, length: usize) -> Cow<'_, str> {
    match word {
        Cow::Borrowed(word) => Cow::Borrowed(&word[..length]),
        Cow::Owned(mut word) => {
            word.truncate(length);
            Cow::Owned(word)
        }
    }
}

fn unrecognized(word: &str, option: bool) -> SqlError {
    let suffix = if option { " WITH GRANT OPTION" } else { "" };
    SqlError::new(state::INVALID_PARAMETER_VALUE, format!("unrecognized privilege type: \"{word}{suffix}\""))
}

/// What an item asks about an object of a kind.
fn asked(kind: ObjectKind, word: &str) -> Option<Privilege> {
    use ObjectKind as K;
    match (kind, word) {
        (K::Table, "SELECT" | "REFERENCES") => Some(Privilege::Select),
        (K::Table, "INSERT") => Some(Privilege::Insert),
        (K::Table, "UPDATE") => Some(Privilege::Update),
        (K::Table, "DELETE" | "TRUNCATE") => Some(Privilege::Delete),
        (K::Table, "TRIGGER") => Some(Privilege::Create),
        (K::Table, "RULE") => Some(Privilege::Rule),
        (K::Sequence, "USAGE") => Some(Privilege::Usage),
        (K::Sequence, "SELECT") => Some(Privilege::Select),
        (K::Sequence, "UPDATE") => Some(Privilege::Update),
        (K::Database, "CREATE" | "TEMP" | "TEMPORARY") => Some(Privilege::Create),
        (K::Database, "CONNECT") => Some(Privilege::Connect),
        (K::Schema, "CREATE") => Some(Privilege::Create),
        (K::Schema, "USAGE") => Some(Privilege::Usage),
        (K::Type, "USAGE") => Some(Privilege::Usage),
        (K::Function, "EXECUTE") => Some(Privilege::Execute),
        (K::Cluster, word) => {
            Privilege::from_word(word).filter(|privilege| privilege.is_legal_on(ObjectKind::Cluster))
        }
        _ => None,
    }
}

/// The privileges that a text names: those asked for, and those whose grant option is.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    plain: PrivilegeSet,
    options: PrivilegeSet,
}

/// What a text asks. One bad item fails them all.
fn asked_all(kind: ObjectKind, written: &str) -> Result<Wanted, SqlError> {
    let mut wanted = Wanted::default();
    for (word, option) in items(written) {
        let privilege = asked(kind, &word).ok_or_else(|| unrecognized(&word, option))?;
        let set = if option { &mut wanted.options } else { &mut wanted.plain };
        *set = set.with(privilege);
    }
    Ok(wanted)
}

/// The user who is asked about, and the rest of the arguments, of which there are `rest`.
fn with_user<'g, 'v>(
    asking: Asking<'_>,
    given: &'g [Given<'v>],
    rest: usize,
) -> Result<(Option<PrincipalId>, &'g [Given<'v>]), SqlError> {
    match given.len().checked_sub(rest) {
        Some(0) => Ok((Some(asking.actor.current), given)),
        Some(1) => Ok((principal(asking, given[0])?, &given[1..])),
        Some(_) | None => Err(wrong()),
    }
}

/// Whether any of `wanted` holds.
fn any_holds(asking: Asking<'_>, user: PrincipalId, object: ObjectId, wanted: Wanted) -> bool {
    // Nobody can hold RULE, not even an owner.
    let each = |set: PrivilegeSet| set.without(Privilege::Rule).iter();
    each(wanted.plain).any(|privilege| holds(asking.view, user, object, privilege))
        || each(wanted.options).any(|privilege| holds_grant_option(asking.view, user, object, privilege))
}

/// What a call is about.
enum Found {
    /// An OID that no object of this kind has.
    Nothing,
    Object(ObjectId),
    /// A type or function of PostgreSQL's own: everybody may use it, and nobody grant it.
    BuiltIn,
}

fn answer(asking: Asking<'_>, user: Option<PrincipalId>, found: &Found, wanted: Wanted) -> Option<bool> {
    match (user, found) {
        (None, _) | (_, Found::Nothing) => None,
        (Some(_), Found::BuiltIn) => Some(!wanted.plain.is_empty()),
        (Some(user), Found::Object(object)) => Some(any_holds(asking, user, *object, wanted)),
    }
}

/// `([user,] object, privileges)`.
fn on_object(asking: Asking<'_>, given: &[Given<'_>], kind: ObjectKind) -> Result<Option<bool>, SqlError> {
    let (user, rest) = with_user(asking, given, 2)?;
    let wanted = asked_all(kind, text(&rest[1])?)?;
    Ok(answer(asking, user, &find(asking, rest[0], kind)?, wanted))
}

/// `([user,] privileges)`, on the cluster.
fn on_system(asking: Asking<'_>, given: &[Given<'_>]) -> Result<Option<bool>, SqlError> {
    let (user, rest) = with_user(asking, given, 1)?;
    let wanted = asked_all(ObjectKind::Cluster, text(&rest[0])?)?;
    Ok(answer(asking, user, &Found::Object(ObjectId::CLUSTER), wanted))
}

/// `([user,] table, privileges)`, of which only those of columns are known.
fn on_any_column(asking: Asking<'_>, given: &[Given<'_>]) -> Result<Option<bool>, SqlError> {
    let (user, rest) = with_user(asking, given, 2)?;
    let wanted = of_columns(text(&rest[1])?)?;
    Ok(answer(asking, user, &find(asking, rest[0], ObjectKind::Table)?, wanted))
}

fn of_columns(written: &str) -> Result<Wanted, SqlError> {
    let known = |word: &str| matches!(word, "SELECT" | "INSERT" | "UPDATE" | "REFERENCES");
    if let Some((word, option)) = items(written).find(|(word, _)| !known(word.as_ref())) {
        return Err(unrecognized(&word, option));
    }
    asked_all(ObjectKind::Table, written)
}

/// `([user,] table, column, privileges)`: a column has the privileges of its table.
fn on_column(asking: Asking<'_>, given: &[Given<'_>]) -> Result<Option<bool>, SqlError> {
    let (user, rest) = with_user(asking, given, 3)?;
    let wanted = of_columns(text(&rest[2])?)?;
    let found = find(asking, rest[0], ObjectKind::Table)?;
    if let Found::Object(id) = found {
        let columns = catalog::item::columns(asking.view.state(), id);
        let code = crate::error::state::UNDEFINED_COLUMN;
        let missing = match &rest[1] {
            Given::Text(name) => {
                let name = Name::normalize(name);
                let known = columns.iter().any(|column| column.is_called(&name));
                (!known).then(|| format!("column \"{name}\" does not exist"))
            }
            Given::Number(at) => {
                let known = usize::try_from(*at).is_ok_and(|at| (1..=columns.len()).contains(&at));
                let table = asking.view.state().object(id).map(|object| object.name.to_string());
                (!known)
                    .then(|| format!("column {at} of relation {} does not exist", table.unwrap_or_default()))
            }
            Given::Null | Given::Other => return Err(wrong()),
        };
        if let Some(message) = missing {
            return Err(SqlError::new(code, message));
        }
    }
    Ok(answer(asking, user, &found, wanted))
}

/// Languages, servers and foreign-data wrappers: there are none to have a privilege on.
fn on_nothing(asking: Asking<'_>, given: &[Given<'_>], kind: &str) -> Result<Option<bool>, SqlError> {
    let (_, rest) = with_user(asking, given, 2)?;
    if let Some((word, option)) = items(text(&rest[1])?).find(|(word, _)| word != "USAGE") {
        return Err(unrecognized(&word, option));
    }
    match &rest[0] {
        Given::Text(name) => {
            Err(SqlError::new(state::UNDEFINED_OBJECT, format!("{kind} '{name}' does not exist")))
        }
        _ => Ok(None),
    }
}

/// The one tablespace is everybody's.
fn on_tablespace(asking: Asking<'_>, given: &[Given<'_>]) -> Result<Option<bool>, SqlError> {
    let (user, rest) = with_user(asking, given, 2)?;
    if let Some((word, option)) = items(text(&rest[1])?).find(|(word, _)| word != "CREATE") {
        return Err(unrecognized(&word, option));
    }
    match &rest[0] {
        Given::Text(name) if *name != "pg_default" => {
            Err(SqlError::new(state::UNDEFINED_OBJECT, format!("tablespace '{name}' does not exist")))
        }
        Given::Text(_) | Given::Number(1663) => Ok(user.map(|_| true)),
        _ => Ok(None),
    }
}

/// An object by name or OID.
fn find(asking: Asking<'_>, given: Given<'_>, kind: ObjectKind) -> Result<Found, SqlError> {
    match given {
        Given::Number(oid) => {
            Ok(u32::try_from(oid).map_or(Found::Nothing, |oid| with_oid(asking, oid, kind)))
        }
        Given::Text(written) => named(asking, written, kind),
        Given::Null | Given::Other => Err(wrong()),
    }
}

fn with_oid(asking: Asking<'_>, oid: u32, kind: ObjectKind) -> Found {
    let id = match kind {
        ObjectKind::Type if catalog::types::is_built_in(oid) => return Found::BuiltIn,
        ObjectKind::Type | ObjectKind::Function => catalog::oid::below(oid),
        _ => Some(ObjectId(oid)),
    };
    let is_such = |id: &ObjectId| match asking.view.state().kind(*id) {
        // Whatever has rows or shows them.
        Some(ObjectKind::Sequence | ObjectKind::VirtualTable) if kind == ObjectKind::Table => true,
        found => *id != ObjectId::CLUSTER && found == Some(kind),
    };
    id.filter(is_such).map_or(Found::Nothing, Found::Object)
}

fn named(asking: Asking<'_>, written: &str, kind: ObjectKind) -> Result<Found, SqlError> {
    let state = asking.view.state();
    let found = match kind {
        ObjectKind::Database => state.resolve_database(&Name::normalize(written))?,
        ObjectKind::Schema => {
            let name = SchemaName { database: None, schema: Name::normalize(written) };
            return state.resolve_schema(asking.context, &name).map(Found::Object).map_err(|_| {
                SqlError::new(
                    grantd_catalog::refusal::state::UNDEFINED_SCHEMA,
                    format!("unknown schema \"{written}\""),
                )
            });
        }
        ObjectKind::Type => {
            let oid = catalog::functions::type_oid(asking, written)?;
            return Ok(with_oid(asking, oid, kind));
        }
        ObjectKind::Function => return function(asking, written),
        ObjectKind::Sequence => {
            let name = ObjectName { parts: parts(written)? };
            state.resolve_relation_that(asking.context, &name, "sequence", |body| {
                matches!(body, Body::Sequence(_))
            })?
        }
        _ => state.resolve_relation(asking.context, &ObjectName { parts: parts(written)? })?,
    };
    Ok(Found::Object(found))
}

/// A function by its signature, `f(int)`. One of PostgreSQL's own is everybody's.
fn function(asking: Asking<'_>, written: &str) -> Result<Found, SqlError> {
    let bare = written.split('(').next().unwrap_or_default().trim();
    let unknown =
        || SqlError::new(crate::error::state::UNDEFINED_FUNCTION, format!("unknown function: {bare}()"));
    if !written.contains('(') {
        return Err(unknown());
    }
    if let Some(name) = signature(written)
        && let Ok(id) = asking.view.state().resolve_function(asking.context, &name)
    {
        return Ok(Found::Object(id));
    }
    let lower = bare.to_lowercase();
    let name = lower.strip_prefix("pg_catalog.").unwrap_or(&lower);
    if crate::sql::translate::function::is_built_in(name) { Ok(Found::BuiltIn) } else { Err(unknown()) }
}

/// A function's name with the types of its arguments. None: the text is none such.
pub fn signature(written: &str) -> Option<FunctionName> {
    let (name, types) = parse_signature(written).ok()?;
    let parts = |name: &ast::ObjectName| {
        let parts = name.0.iter().map(|part| part.as_ident().map(name_of));
        Some(ObjectName { parts: parts.collect::<Option<Vec<_>>>()? })
    };
    let argument = |data_type: &ast::DataType| match (column_type(data_type), data_type) {
        (Ok(known), _) => Some(TypeName::Known(known)),
        (Err(_), ast::DataType::Custom(name, _)) => parts(name).map(TypeName::Named),
        (Err(_), _) => None,
    };
    let arguments = types.iter().map(argument).collect::<Option<Vec<_>>>()?;
    Some(FunctionName { name: parts(&name)?, arguments: Some(arguments) })
}

/// The parts of a name in a text, folded as in a statement.
pub fn parts(written: &str) -> Result<Vec<Name>, SqlError> {
    if is_plain(written) {
        return Ok(written.split('.').map(|part| Name::normalize(&part.to_ascii_lowercase())).collect());
    }
    parsed_parts(written)
}

fn parsed_parts(written: &str) -> Result<Vec<Name>, SqlError> {
    let idents = match parse_expression(written)? {
        Expr::Identifier(ident) => vec![ident],
        Expr::CompoundIdentifier(idents) if idents.len() <= 3 => idents,
        _ => return Err(SqlError::new(state::INVALID_NAME, "invalid name syntax")),
    };
    Ok(idents.iter().map(name_of).collect())
}

/// Whether a text is so plain a name that the parser, which costs microseconds, would find nothing in it but its parts.
fn is_plain(written: &str) -> bool {
    let word = |part: &str| {
        let mut bytes = part.bytes();
        bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && SPECIAL.binary_search_by(|special| folded_order(special, part)).is_err()
    };
    let mut count = 0;
    written.split('.').all(|part| {
        count += 1;
        count <= 3 && word(part)
    })
}

/// A keyword beside a word of any case.
fn folded_order(keyword: &str, word: &str) -> std::cmp::Ordering {
    keyword.bytes().cmp(word.bytes().map(|byte| byte.to_ascii_uppercase()))
}

/// The keywords that are more than a name to the parser, somewhere in a name. It is asked itself, so that it cannot be
/// otherwise in its next version.
static SPECIAL: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let is_name = |keyword: &str| {
        let forms =
            [keyword.to_owned(), format!("{keyword}.x"), format!("x.{keyword}"), format!("x.{keyword}.x")];
        forms.iter().all(|form| {
            let split = form.split('.').map(|part| Name::normalize(&part.to_ascii_lowercase()));
            parsed_parts(form).is_ok_and(|parts| parts.into_iter().eq(split))
        })
    };
    ALL_KEYWORDS.iter().copied().filter(|keyword| !is_name(keyword)).collect()
});

/// `([user,] role, privileges)`: USAGE and MEMBER ask for membership, with an option for its ADMIN OPTION.
fn has_role(asking: Asking<'_>, given: &[Given<'_>]) -> Result<Option<bool>, SqlError> {
    let (user, role, privileges) = match given {
        [role, privileges] => (Some(asking.actor.current), role, privileges),
        [user, role, privileges] => (principal(asking, *user)?, role, privileges),
        _ => return Err(wrong()),
    };
    let role = principal(asking, *role)?;
    let mut any = false;
    for item in text(privileges)?.split(',') {
        let item = folded(item);
        let plain =
            item.strip_suffix(" WITH GRANT OPTION").or_else(|| item.strip_suffix(" WITH ADMIN OPTION"));
        let word = plain.unwrap_or(&item);
        if !matches!(word, "USAGE" | "MEMBER") {
            return Err(unrecognized(&item, false));
        }
        if let (Some(user), Some(role)) = (user, role) {
            any |= match (plain.is_some(), user == role) {
                (false, _) => asking.view.is_admin(user) || asking.view.acts_as(user, role),
                (true, true) => asking.actor.session == role,
                (true, false) => asking.view.is_admin(user) || asking.view.admin_option(user, role),
            };
        }
    }
    Ok((user.is_some() && role.is_some()).then_some(any))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_keyword_is_a_plain_name_only_where_the_parser_takes_it_for_one() {
        for word in ["public", "users", "Orders", "t", "_1", "public.t", "db.public.t"] {
            assert!(is_plain(word), "{word}");
        }
        for word in ["", "1", "t.", ".t", "a.b.c.d", "null", "Null", "\"t\"", "t ", "é", "a$b"] {
            assert!(!is_plain(word), "{word}");
        }
    }

    proptest! {
        #[test]
        fn a_plain_name_is_what_the_parser_says(
            words in prop::collection::vec((prop::sample::select(ALL_KEYWORDS), "[A-Za-z_][a-z0-9_]{0,3}", any::<bool>()), 1..4)
        ) {
            let word = |(keyword, other, is_keyword): (&str, String, bool)| {
                if is_keyword { keyword.to_lowercase() } else { other }
            };
            let written = words.into_iter().map(word).collect::<Vec<_>>().join(".");
            if is_plain(&written) {
                prop_assert_eq!(parts(&written).unwrap(), parsed_parts(&written).unwrap());
            }
        }
    }
}
