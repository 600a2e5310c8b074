//! information_schema: what there is. Who holds what is in `information_privileges`.

use grantd_catalog::object::{Body, ReferentialAction, Volatility};
use grantd_raft::rows::Value;

use super::item::{self, ColumnFacts, Item, Relation};
use super::pg_constraint::{self, Constraint};
use super::{Computed, Items, Look, Of, count, maybe, oid, pg_class, pg_type, text, types, yes};
use crate::sql::system::name::action_words;
use crate::value::SqlType;
use SqlType::{Int8, Text};

const SCHEMA: &str = "information_schema";

pub(super) const TABLES: &[&dyn Computed] = &[
    &TABLES_TABLE,
    &COLUMNS,
    &SCHEMATA,
    &VIEWS,
    &SEQUENCES,
    &TABLE_CONSTRAINTS,
    &KEY_COLUMN_USAGE,
    &CONSTRAINT_COLUMN_USAGE,
    &CHECK_CONSTRAINTS,
    &REFERENTIAL_CONSTRAINTS,
    &ROUTINES,
    &PARAMETERS,
];

fn database(item: &Item) -> Value {
    text(item::catalog_name(&item.info))
}

fn schema(item: &Item) -> Value {
    text(item.parent_name())
}

static TABLES_TABLE: Of<Item> = Of {
    schema: SCHEMA,
    name: "tables",
    keys: &[],
    items: |look| item::children(&look.info, item::is_readable),
    columns: &[
        ("table_catalog", Text, database),
        ("table_schema", Text, schema),
        ("table_name", Text, |item| text(item.name())),
        ("table_type", Text, |item| {
            text(match item.object().body {
                Body::View(_) => "VIEW",
                Body::VirtualTable => "SYSTEM VIEW",
                _ => "BASE TABLE",
            })
        }),
        ("is_insertable_into", Text, |item| yes(item.table().is_some())),
        ("version", Int8, |_| Value::Integer(1)),
    ],
};

/// A column of a relation.
struct OfRelation {
    item: Item,
    facts: ColumnFacts,
}

impl OfRelation {
    /// Of an identity column, start, increment, least and greatest value of its sequence.
    fn counted(&self) -> Option<(i64, i64, i64, i64)> {
        let sequence = self.facts.identity?.sequence;
        Some(pg_class::bounds(&Item { info: std::sync::Arc::clone(&self.item.info), id: sequence }))
    }

    fn words(&self) -> Option<String> {
        let found = self.facts.sql_type;
        if found.element().is_some() {
            return Some("ARRAY".to_owned());
        }
        match found.built_in() {
            Some(known) => Some(known.words.to_owned()),
            None => Some("USER-DEFINED".to_owned()),
        }
    }

    /// Precision and scale of a bounded DECIMAL.
    fn decimal_bound(&self) -> Option<(i64, i64)> {
        let bound = self.facts.sql_type.modifier - 4;
        (self.facts.sql_type.oid == 1700 && bound >= 0).then_some((bound >> 16, bound & 0xffff))
    }

    /// The base in which the precision counts digits.
    fn radix(&self) -> Option<i64> {
        match self.facts.sql_type.oid {
            1700 => Some(10),
            _ => self.precision().map(|_| 2),
        }
    }

    /// Digits after the point.
    fn scale(&self) -> Option<i64> {
        match self.facts.sql_type.oid {
            1700 => self.decimal_bound().map(|(_, scale)| scale),
            20 | 21 | 23 => Some(0),
            _ => None,
        }
    }

    /// Digits of parts of a second.
    fn time_precision(&self) -> Option<i64> {
        match self.facts.sql_type.oid {
            1083 | 1114 | 1184 | 1186 => Some(6),
            1082 => Some(0),
            _ => None,
        }
    }

    /// Bits of an integer or float, digits of a DECIMAL.
    fn precision(&self) -> Option<i64> {
        match self.facts.sql_type.oid {
            20 => Some(64),
            21 => Some(16),
            23 => Some(32),
            700 => Some(24),
            701 => Some(53),
            1700 => self.decimal_bound().map(|(precision, _)| precision),
            _ => None,
        }
    }

    /// The most characters of a VARCHAR or CHAR.
    fn characters(&self) -> Option<i64> {
        let modifier = self.facts.sql_type.modifier;
        (matches!(self.facts.sql_type.oid, 1042 | 1043) && modifier > 4).then_some(modifier - 4)
    }
}

fn integer(value: Option<i64>) -> Value {
    value.map_or(Value::Null, Value::Integer)
}

fn udt_schema(column: &OfRelation) -> Value {
    match types::enum_type(&column.item.info, column.facts.sql_type.oid) {
        Some((id, _)) => text(Item { info: column.item.info.clone(), id }.parent_name()),
        None => text("pg_catalog"),
    }
}

static COLUMNS: Of<OfRelation> = Of {
    schema: SCHEMA,
    name: "columns",
    keys: &[],
    items: |look| {
        Box::new(item::children(&look.info, item::is_readable).flat_map(|item| {
            let facts = Relation { item: item.clone(), index: None }.columns();
            facts.into_iter().map(move |facts| OfRelation { item: item.clone(), facts })
        }))
    },
    columns: &[
        ("table_catalog", Text, |column| database(&column.item)),
        ("table_schema", Text, |column| schema(&column.item)),
        ("table_name", Text, |column| text(column.item.name())),
        ("column_name", Text, |column| text(column.facts.name.as_str())),
        ("column_comment", Text, |column| maybe(column.facts.comment.clone())),
        ("ordinal_position", Int8, |column| Value::Integer(column.facts.number)),
        ("column_default", Text, |column| maybe(column.facts.default.clone())),
        ("is_nullable", Text, |column| yes(column.facts.nullable)),
        ("data_type", Text, |column| maybe(column.words())),
        ("character_maximum_length", Int8, |column| integer(column.characters())),
        ("character_octet_length", Int8, |column| {
            integer(column.characters().map(|characters| characters.saturating_mul(4)))
        }),
        ("numeric_precision", Int8, |column| integer(column.precision())),
        ("numeric_precision_radix", Int8, |column| integer(column.radix())),
        ("numeric_scale", Int8, |column| integer(column.scale())),
        ("datetime_precision", Int8, |column| integer(column.time_precision())),
        ("interval_type", Text, |_| Value::Null),
        ("interval_precision", Int8, |_| Value::Null),
        ("character_set_catalog", Text, |_| Value::Null),
        ("character_set_schema", Text, |_| Value::Null),
        ("character_set_name", Text, |_| Value::Null),
        ("collation_catalog", Text, |_| Value::Null),
        ("collation_schema", Text, |_| Value::Null),
        ("collation_name", Text, |_| Value::Null),
        ("domain_catalog", Text, |_| Value::Null),
        ("domain_schema", Text, |_| Value::Null),
        ("domain_name", Text, |_| Value::Null),
        ("udt_catalog", Text, |column| database(&column.item)),
        ("udt_schema", Text, udt_schema),
        ("udt_name", Text, |column| text(column.facts.sql_type.name(&column.item.info))),
        ("scope_catalog", Text, |_| Value::Null),
        ("scope_schema", Text, |_| Value::Null),
        ("scope_name", Text, |_| Value::Null),
        ("maximum_cardinality", Int8, |_| Value::Null),
        ("dtd_identifier", Text, |column| text(column.facts.number.to_string())),
        ("is_self_referencing", Text, |_| yes(false)),
        ("is_identity", Text, |column| yes(column.facts.identity.is_some())),
        ("identity_generation", Text, |column| {
            maybe(
                column
                    .facts
                    .identity
                    .map(|identity| if identity.always { "ALWAYS" } else { "BY DEFAULT" }.to_owned()),
            )
        }),
        ("identity_start", Text, |column| maybe(column.counted().map(|counted| counted.0.to_string()))),
        ("identity_increment", Text, |column| maybe(column.counted().map(|counted| counted.1.to_string()))),
        ("identity_maximum", Text, |column| maybe(column.counted().map(|counted| counted.3.to_string()))),
        ("identity_minimum", Text, |column| maybe(column.counted().map(|counted| counted.2.to_string()))),
        ("identity_cycle", Text, |column| maybe(column.counted().map(|_| "NO".to_owned()))),
        ("is_generated", Text, |column| {
            text(if column.facts.computed.is_some() { "ALWAYS" } else { "NEVER" })
        }),
        ("generation_expression", Text, |column| text(column.facts.computed.clone().unwrap_or_default())),
        ("is_updatable", Text, |column| yes(column.item.table().is_some())),
        ("is_hidden", Text, |column| yes(column.facts.hidden)),
        ("crdb_sql_type", Text, |column| maybe(types::formatted(&column.item.info, column.facts.sql_type))),
    ],
};

static SCHEMATA: Of<Item> = Of {
    schema: SCHEMA,
    name: "schemata",
    keys: &[],
    items: item::schemas,
    columns: &[
        ("catalog_name", Text, database),
        ("schema_name", Text, |item| text(item.name())),
        ("schema_owner", Text, |item| text(item.owner_name())),
        ("default_character_set_catalog", Text, |_| Value::Null),
        ("default_character_set_schema", Text, |_| Value::Null),
        ("default_character_set_name", Text, |_| Value::Null),
        ("sql_path", Text, |_| Value::Null),
        ("crdb_is_user_defined", Text, |item| {
            yes(!item.id.is_virtual() && item.object().name.as_str() != "public")
        }),
    ],
};

static VIEWS: Of<Item> = Of {
    schema: SCHEMA,
    name: "views",
    keys: &[],
    items: |look| item::children(&look.info, item::is_view),
    columns: &[
        ("table_catalog", Text, database),
        ("table_schema", Text, schema),
        ("table_name", Text, |item| text(item.name())),
        ("view_definition", Text, |item| maybe(pg_class::definition(item))),
        ("check_option", Text, |_| text("NONE")),
        ("is_updatable", Text, |_| yes(false)),
        ("is_insertable_into", Text, |_| yes(false)),
        ("is_trigger_updatable", Text, |_| yes(false)),
        ("is_trigger_deletable", Text, |_| yes(false)),
        ("is_trigger_insertable_into", Text, |_| yes(false)),
    ],
};

static SEQUENCES: Of<Item> = Of {
    schema: SCHEMA,
    name: "sequences",
    keys: &[],
    items: |look| item::children(&look.info, item::is_sequence),
    columns: &[
        ("sequence_catalog", Text, database),
        ("sequence_schema", Text, schema),
        ("sequence_name", Text, |item| text(item.name())),
        ("data_type", Text, |_| text("bigint")),
        ("numeric_precision", Int8, |_| Value::Integer(64)),
        ("numeric_precision_radix", Int8, |_| Value::Integer(2)),
        ("numeric_scale", Int8, |_| Value::Integer(0)),
        ("start_value", Text, |item| text(pg_class::bounds(item).0.to_string())),
        ("minimum_value", Text, |item| text(pg_class::bounds(item).2.to_string())),
        ("maximum_value", Text, |item| text(pg_class::bounds(item).3.to_string())),
        ("increment", Text, |item| text(pg_class::bounds(item).1.to_string())),
        ("cycle_option", Text, |_| yes(false)),
    ],
};

fn constraints(look: &Look) -> Items<Constraint> {
    let tables = item::children(&look.info, item::is_table);
    Box::new(tables.flat_map(|item| pg_constraint::of_table(&item)))
}

static TABLE_CONSTRAINTS: Of<Constraint> = Of {
    schema: SCHEMA,
    name: "table_constraints",
    keys: &[],
    items: constraints,
    columns: &[
        ("constraint_catalog", Text, |constraint| database(&constraint.item)),
        ("constraint_schema", Text, |constraint| schema(&constraint.item)),
        ("constraint_name", Text, |constraint| text(constraint.name())),
        ("table_catalog", Text, |constraint| database(&constraint.item)),
        ("table_schema", Text, |constraint| schema(&constraint.item)),
        ("table_name", Text, |constraint| text(constraint.item.name())),
        ("constraint_type", Text, |constraint| {
            text(match constraint.kind() {
                "p" => "PRIMARY KEY",
                "u" => "UNIQUE",
                "f" => "FOREIGN KEY",
                _ => "CHECK",
            })
        }),
        ("is_deferrable", Text, |_| yes(false)),
        ("initially_deferred", Text, |_| yes(false)),
    ],
};

/// A column of a constraint: of its own table, or of the one that a foreign key refers to.
struct KeyColumn {
    item: Item,
    table: Item,
    constraint: String,
    column: String,
    position: usize,
    /// The position of the column that a foreign key's refers to in its key.
    in_target: Option<usize>,
}

fn key_column(constraint: &Constraint, table: &Item, column: String, position: usize) -> KeyColumn {
    KeyColumn {
        item: constraint.item.clone(),
        table: table.clone(),
        constraint: constraint.name(),
        column,
        position,
        in_target: constraint.foreign_key().is_some().then_some(position),
    }
}

/// The columns of keys.
fn key_columns(look: &Look) -> Items<KeyColumn> {
    Box::new(constraints(look).filter(|constraint| constraint.kind() != "c").flat_map(|constraint| {
        let columns = constraint.column_names().into_iter().zip(1..);
        columns
            .map(|(column, position)| key_column(&constraint, &constraint.item, column, position))
            .collect::<Vec<_>>()
    }))
}

/// The columns that constraints use; of a foreign key those that it refers to.
fn used_columns(look: &Look) -> Items<KeyColumn> {
    Box::new(constraints(look).flat_map(|constraint| {
        let (table, columns) = match constraint.target() {
            Some(target) => (target, constraint.target_column_names()),
            None => (constraint.item.clone(), constraint.column_names()),
        };
        let columns = columns.into_iter().zip(1..);
        columns
            .map(|(column, position)| key_column(&constraint, &table, column, position))
            .collect::<Vec<_>>()
    }))
}

static KEY_COLUMN_USAGE: Of<KeyColumn> = Of {
    schema: SCHEMA,
    name: "key_column_usage",
    keys: &[],
    items: key_columns,
    columns: &[
        ("constraint_catalog", Text, |key| database(&key.item)),
        ("constraint_schema", Text, |key| schema(&key.item)),
        ("constraint_name", Text, |key| text(key.constraint.as_str())),
        ("table_catalog", Text, |key| database(&key.table)),
        ("table_schema", Text, |key| schema(&key.table)),
        ("table_name", Text, |key| text(key.table.name())),
        ("column_name", Text, |key| text(key.column.as_str())),
        ("ordinal_position", Int8, |key| count(key.position)),
        ("position_in_unique_constraint", Int8, |key| key.in_target.map_or(Value::Null, count)),
    ],
};

static CONSTRAINT_COLUMN_USAGE: Of<KeyColumn> = Of {
    schema: SCHEMA,
    name: "constraint_column_usage",
    keys: &[],
    items: used_columns,
    columns: &[
        ("table_catalog", Text, |key| database(&key.table)),
        ("table_schema", Text, |key| schema(&key.table)),
        ("table_name", Text, |key| text(key.table.name())),
        ("column_name", Text, |key| text(key.column.as_str())),
        ("constraint_catalog", Text, |key| database(&key.item)),
        ("constraint_schema", Text, |key| schema(&key.item)),
        ("constraint_name", Text, |key| text(key.constraint.as_str())),
    ],
};

static CHECK_CONSTRAINTS: Of<Constraint> = Of {
    schema: SCHEMA,
    name: "check_constraints",
    keys: &[],
    items: |look| Box::new(constraints(look).filter(|constraint| constraint.kind() == "c")),
    columns: &[
        ("constraint_catalog", Text, |constraint| database(&constraint.item)),
        ("constraint_schema", Text, |constraint| schema(&constraint.item)),
        ("constraint_name", Text, |constraint| text(constraint.name())),
        ("check_clause", Text, |constraint| maybe(constraint.check_clause())),
    ],
};

/// The name of the unique constraint or index that a foreign key refers to.
fn unique_name(constraint: &Constraint) -> Option<String> {
    let (target, number) = (constraint.target()?, constraint.target_index()?);
    Some(Relation { item: target, index: Some(number) }.name())
}

fn rule(action: Option<ReferentialAction>) -> Value {
    maybe(action.map(action_words))
}

static REFERENTIAL_CONSTRAINTS: Of<Constraint> = Of {
    schema: SCHEMA,
    name: "referential_constraints",
    keys: &[],
    items: |look| Box::new(constraints(look).filter(|constraint| constraint.foreign_key().is_some())),
    columns: &[
        ("constraint_catalog", Text, |constraint| database(&constraint.item)),
        ("constraint_schema", Text, |constraint| schema(&constraint.item)),
        ("constraint_name", Text, |constraint| text(constraint.name())),
        ("unique_constraint_catalog", Text, |constraint| database(&constraint.item)),
        ("unique_constraint_schema", Text, |constraint| {
            maybe(constraint.target().map(|target| target.parent_name()))
        }),
        ("unique_constraint_name", Text, |constraint| maybe(unique_name(constraint))),
        ("match_option", Text, |_| text("NONE")),
        ("update_rule", Text, |constraint| rule(constraint.foreign_key().map(|key| key.on_update))),
        ("delete_rule", Text, |constraint| rule(constraint.foreign_key().map(|key| key.on_delete))),
        ("table_name", Text, |constraint| text(constraint.item.name())),
        ("referenced_table_name", Text, |constraint| maybe(constraint.target().map(|target| target.name()))),
    ],
};

/// `name_oid`, which tells overloads apart.
pub(super) fn specific_name(item: &Item) -> String {
    format!("{}_{}", item.name(), oid::above(item.id))
}

static ROUTINES: Of<Item> = Of {
    schema: SCHEMA,
    name: "routines",
    keys: &[],
    items: |look| item::children(&look.info, item::is_function),
    columns: &[
        ("specific_catalog", Text, database),
        ("specific_schema", Text, schema),
        ("specific_name", Text, |item| text(specific_name(item))),
        ("routine_catalog", Text, database),
        ("routine_schema", Text, schema),
        ("routine_name", Text, |item| text(item.name())),
        ("routine_type", Text, |_| text("FUNCTION")),
        ("data_type", Text, |item| text(pg_type::result(&item.info, pg_type::function(item)))),
        ("routine_body", Text, |_| text("SQL")),
        ("routine_definition", Text, |item| text(pg_type::function(item).body.as_str())),
        ("external_language", Text, |_| text("SQL")),
        ("is_deterministic", Text, |item| yes(pg_type::function(item).volatility == Volatility::Immutable)),
        ("sql_data_access", Text, |_| text("MODIFIES")),
        ("is_null_call", Text, |item| yes(pg_type::function(item).is_strict)),
        ("security_type", Text, |_| text("INVOKER")),
    ],
};

/// An argument, from 1.
struct Parameter {
    item: Item,
    number: usize,
}

impl Parameter {
    fn argument(&self) -> &grantd_catalog::object::Argument {
        &pg_type::function(&self.item).arguments[self.number - 1]
    }
}

static PARAMETERS: Of<Parameter> = Of {
    schema: SCHEMA,
    name: "parameters",
    keys: &[],
    items: |look| {
        Box::new(item::children(&look.info, item::is_function).flat_map(|item| {
            let numbers = 1..=pg_type::function(&item).arguments.len();
            numbers.map(move |number| Parameter { item: item.clone(), number })
        }))
    },
    columns: &[
        ("specific_catalog", Text, |parameter| database(&parameter.item)),
        ("specific_schema", Text, |parameter| schema(&parameter.item)),
        ("specific_name", Text, |parameter| text(specific_name(&parameter.item))),
        ("ordinal_position", Int8, |parameter| count(parameter.number)),
        ("parameter_mode", Text, |_| text("IN")),
        ("is_result", Text, |_| yes(false)),
        ("as_locator", Text, |_| yes(false)),
        ("parameter_name", Text, |parameter| {
            maybe(parameter.argument().name.as_ref().map(ToString::to_string))
        }),
        ("data_type", Text, |parameter| {
            let of = types::TypeRef::of(parameter.argument().argument_type);
            maybe(types::formatted(&parameter.item.info, of))
        }),
        ("parameter_default", Text, |_| Value::Null),
    ],
};
