//! Commands about views, sequences, types, functions and external connections.
#![allow(dead_code, reason = "each test file uses its part")]

use grantd_catalog::command::{Command, DropBehavior, FunctionName, OwnedName, Targets, TypeName};
use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::object::{
    Argument, Column, ColumnType, ConnectionUri, Function, Sequence, Table, View, ViewColumn, Volatility,
};

use super::{object_name, role, schema_name, table};

pub fn view_of(references: Vec<ObjectId>) -> View {
    let column = ViewColumn { name: Name::from("k"), column_type: ColumnType::Int8 };
    View { columns: vec![column], query: "SELECT 1".to_owned(), references }
}

pub fn create_view(name: &str, references: Vec<ObjectId>) -> Command {
    Command::CreateView {
        name: object_name(name),
        view: view_of(references),
        if_not_exists: false,
        or_replace: false,
    }
}

pub fn drop_view(names: &str, behavior: DropBehavior) -> Command {
    let names = names.split(' ').map(object_name).collect();
    Command::DropViews { names, if_exists: false, behavior }
}

pub fn drop_tables(names: &str, behavior: DropBehavior) -> Command {
    let names = names.split(' ').map(object_name).collect();
    Command::DropTables { names, if_exists: false, behavior }
}

pub fn sequence() -> Sequence {
    Sequence { start: 1, increment: 1, min: 1, max: i64::MAX, owned_by: None }
}

pub fn create_sequence(name: &str, owned_by: Option<&str>) -> Command {
    Command::CreateSequence {
        name: object_name(name),
        sequence: sequence(),
        owned_by: owned_by.map(object_name),
        if_not_exists: false,
    }
}

pub fn drop_sequence(name: &str, behavior: DropBehavior) -> Command {
    Command::DropSequences { names: vec![object_name(name)], if_exists: false, behavior }
}

pub fn create_type(name: &str, labels: &str) -> Command {
    let labels = labels.split_whitespace().map(str::to_owned).collect();
    Command::CreateType { name: object_name(name), labels, if_not_exists: false }
}

pub fn drop_type(name: &str, behavior: DropBehavior) -> Command {
    Command::DropTypes { names: vec![object_name(name)], if_exists: false, behavior }
}

pub fn function(arguments: &[ColumnType], references: Vec<ObjectId>) -> Function {
    let argument = |argument_type: &ColumnType| Argument { name: None, argument_type: *argument_type };
    Function {
        arguments: arguments.iter().map(argument).collect(),
        returns: ColumnType::Int8,
        body: "SELECT 1".to_owned(),
        volatility: Volatility::Volatile,
        is_strict: false,
        references,
    }
}

pub fn create_function(name: &str, arguments: &[ColumnType], references: Vec<ObjectId>) -> Command {
    let function = function(arguments, references);
    Command::CreateFunction { name: object_name(name), function, or_replace: false }
}

pub fn function_name(name: &str, arguments: Option<&[ColumnType]>) -> FunctionName {
    let arguments = arguments.map(|types| types.iter().copied().map(TypeName::Known).collect());
    FunctionName { name: object_name(name), arguments }
}

pub fn drop_function(name: FunctionName, behavior: DropBehavior) -> Command {
    Command::DropFunctions { names: vec![name], if_exists: false, behavior }
}

pub fn create_connection(name: &str) -> Command {
    let uri = ConnectionUri::new("nodelocal://1/backup?key=secret".to_owned());
    Command::CreateExternalConnection {
        name: Name::from(name),
        uri,
        access: Vec::new(),
        if_not_exists: false,
    }
}

pub fn table_of(columns: &[(&str, ColumnType)], references: Vec<ObjectId>) -> Table {
    let column = |(name, column_type): &(&str, ColumnType)| Column {
        name: Name::from(*name),
        column_type: *column_type,
        nullable: true,
        default: None,
        hidden: false,
        comment: None,
        computed: None,
        identity: None,
    };
    let mut columns: Vec<_> = columns.iter().map(column).collect();
    if let (false, Some(last)) = (references.is_empty(), columns.last_mut()) {
        last.default = Some(grantd_catalog::object::Expression {
            sql: "f()".to_owned(),
            stored: "f()".to_owned(),
            references,
        });
    }
    Table { columns, ..table() }
}

pub fn create_table_of(name: &str, column_type: ColumnType, references: Vec<ObjectId>) -> Command {
    let table = table_of(&[("k", ColumnType::Int8), ("v", column_type)], references);
    Command::CreateTable {
        name: object_name(name),
        table,
        foreign_keys: Vec::new(),
        identities: Vec::new(),
        if_not_exists: false,
    }
}

pub fn rename(object: OwnedName, to: &str) -> Command {
    Command::Rename { object, if_exists: false, to: Name::from(to) }
}

pub fn set_schema(object: OwnedName, to: &str) -> Command {
    Command::SetSchema { object, if_exists: false, schema: schema_name(to) }
}

pub fn owner_to(object: OwnedName, owner: &str) -> Command {
    Command::AlterOwner { object, if_exists: false, owner: role(owner) }
}

pub fn comment(on: OwnedName, column: Option<&str>, text: Option<&str>) -> Command {
    Command::Comment { on, column: column.map(Name::from), text: text.map(str::to_owned) }
}

pub fn a_table(name: &str) -> OwnedName {
    OwnedName::Table(object_name(name))
}

pub fn a_type(name: &str) -> OwnedName {
    OwnedName::Type(object_name(name))
}

pub fn a_function(name: &str) -> OwnedName {
    OwnedName::Function(function_name(name, None))
}

pub fn schemas(names: &str) -> Targets {
    Targets::Schemas(names.split(' ').map(schema_name).collect())
}

pub fn types(name: &str) -> Targets {
    Targets::Types(vec![object_name(name)])
}
