//! Types: PostgreSQL's own that clients meet here, and what is said of each.

use grantd_catalog::id::ObjectId;
use grantd_catalog::object::{Body, ColumnType, Object};

use super::{item, oid};
use crate::sql::system::context::StatementInfo;
use crate::sql::translate::quote_ident;

/// A type of PostgreSQL's.
pub struct BuiltIn {
    /// Its OID.
    pub oid: u32,
    /// Its name in pg_type.
    pub name: &'static str,
    /// What `format_type` says: the standard's words.
    pub words: &'static str,
    /// Bytes of a value; -1: they vary.
    pub bytes: i16,
    /// `typcategory`.
    pub category: &'static str,
    /// The OID of the type of arrays of it; 0: none here.
    pub array: u32,
}

const fn row(
    oid: u32,
    name: &'static str,
    words: &'static str,
    bytes: i16,
    category: &'static str,
    array: u32,
) -> BuiltIn {
    BuiltIn { oid, name, words, bytes, category, array }
}

/// Every one, sorted by OID. Arrays are made of these.
pub const BUILT_IN: [BuiltIn; 36] = [
    row(16, "bool", "boolean", 1, "B", 1000),
    row(17, "bytea", "bytea", -1, "U", 1001),
    row(18, "char", "\"char\"", 1, "Z", 1002),
    row(19, "name", "name", 64, "S", 1003),
    row(20, "int8", "bigint", 8, "N", 1016),
    row(21, "int2", "smallint", 2, "N", 1005),
    row(22, "int2vector", "int2vector", -1, "A", 1006),
    row(23, "int4", "integer", 4, "N", 1007),
    row(24, "regproc", "regproc", 4, "N", 1008),
    row(25, "text", "text", -1, "S", 1009),
    row(26, "oid", "oid", 4, "N", 1028),
    row(30, "oidvector", "oidvector", -1, "A", 1013),
    row(114, "json", "json", -1, "U", 199),
    row(700, "float4", "real", 4, "N", 1021),
    row(701, "float8", "double precision", 8, "N", 1022),
    row(705, "unknown", "unknown", -2, "X", 0),
    row(1033, "aclitem", "aclitem", 12, "U", 1034),
    row(1042, "bpchar", "character", -1, "S", 1014),
    row(1043, "varchar", "character varying", -1, "S", 1015),
    row(1082, "date", "date", 4, "D", 1182),
    row(1083, "time", "time without time zone", 8, "D", 1183),
    row(1114, "timestamp", "timestamp without time zone", 8, "D", 1115),
    row(1184, "timestamptz", "timestamp with time zone", 8, "D", 1185),
    row(1186, "interval", "interval", 16, "T", 1187),
    row(1700, "numeric", "numeric", -1, "N", 1231),
    row(2205, "regclass", "regclass", 4, "N", 2210),
    row(2206, "regtype", "regtype", 4, "N", 2211),
    row(2249, "record", "record", -1, "P", 2287),
    row(2276, "any", "\"any\"", 4, "P", 0),
    row(2277, "anyarray", "anyarray", -1, "P", 0),
    row(2278, "void", "void", 4, "P", 0),
    row(2283, "anyelement", "anyelement", 4, "P", 0),
    row(2950, "uuid", "uuid", 16, "U", 2951),
    row(3802, "jsonb", "jsonb", -1, "U", 3807),
    row(4089, "regnamespace", "regnamespace", 4, "N", 4090),
    row(4096, "regrole", "regrole", 4, "N", 4097),
];

/// Other words for them.
const SYNONYMS: [(&str, u32); 25] = [
    ("bigint", 20),
    ("bigserial", 20),
    ("boolean", 16),
    ("bytes", 17),
    ("character varying", 1043),
    ("character", 1042),
    ("char", 1042),
    ("dec", 1700),
    ("decimal", 1700),
    ("double precision", 701),
    ("float", 701),
    ("int", 20),
    ("int64", 20),
    ("integer", 20),
    ("real", 700),
    ("serial", 20),
    ("serial4", 23),
    ("serial8", 20),
    ("smallint", 21),
    ("string", 25),
    ("time without time zone", 1083),
    ("timestamp without time zone", 1114),
    ("float4", 700),
    ("timestamp with time zone", 1184),
    ("\"char\"", 18),
];

/// A type with its modifier, as pg_attribute has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TypeRef {
    /// The type's OID.
    pub oid: u32,
    /// `atttypmod`: -1, or for VARCHAR(n) and CHAR(n) n + 4, for DECIMAL(p, s) p × 2^16 + s + 4.
    pub modifier: i64,
}

impl TypeRef {
    /// A type without a modifier.
    pub const fn plain(oid: u32) -> Self {
        Self { oid, modifier: -1 }
    }

    /// The type of a stored column.
    pub fn of(column_type: ColumnType) -> Self {
        let oid = match column_type {
            ColumnType::Bool => 16,
            ColumnType::Int2 => 21,
            ColumnType::Int4 => 23,
            ColumnType::Int8 => 20,
            ColumnType::Float8 => 701,
            ColumnType::Text { chars_max: None } => 25,
            ColumnType::Text { chars_max: Some(chars) } => {
                return Self { oid: 1043, modifier: i64::from(chars) + 4 };
            }
            ColumnType::Bytes => 17,
            ColumnType::Uuid => 2950,
            ColumnType::TimestampTz => 1184,
            ColumnType::Float4 => 700,
            ColumnType::Timestamp => 1114,
            ColumnType::Date => 1082,
            ColumnType::Time => 1083,
            ColumnType::Interval => 1186,
            ColumnType::Decimal { bound: None } => 1700,
            ColumnType::Decimal { bound: Some(bound) } => {
                let modifier = (i64::from(bound.precision) << 16 | i64::from(bound.scale)) + 4;
                return Self { oid: 1700, modifier };
            }
            ColumnType::Jsonb => 3802,
            ColumnType::Char { chars } => return Self { oid: 1042, modifier: i64::from(chars) + 4 },
            ColumnType::Enum(id) => oid::above(id),
        };
        Self::plain(oid)
    }

    /// The built-in type.
    pub fn built_in(self) -> Option<&'static BuiltIn> {
        BUILT_IN.iter().find(|known| known.oid == self.oid)
    }

    /// The built-in type of whose values it is an array.
    pub fn element(self) -> Option<&'static BuiltIn> {
        BUILT_IN.iter().find(|known| known.array != 0 && known.array == self.oid)
    }

    /// Bytes of a value; -1: they vary.
    pub fn bytes(self) -> i64 {
        match (self.built_in(), self.is_enum()) {
            (Some(known), _) => i64::from(known.bytes),
            (None, true) => 4,
            (None, false) => -1,
        }
    }

    /// What `pg_type` calls it.
    pub fn name(self, info: &StatementInfo) -> String {
        match (self.built_in(), self.element()) {
            (Some(known), _) => known.name.to_owned(),
            (None, Some(element)) => format!("_{}", element.name),
            (None, None) => enum_type(info, self.oid).map(|(_, o)| o.name.to_string()).unwrap_or_default(),
        }
    }

    fn is_enum(self) -> bool {
        self.built_in().is_none() && self.element().is_none()
    }
}

/// Whether this is the OID of a built-in type or of arrays of one.
pub fn is_built_in(oid: u32) -> bool {
    let known = TypeRef::plain(oid);
    known.built_in().is_some() || known.element().is_some()
}

/// The enum type of this OID.
pub fn enum_type(info: &StatementInfo, oid: u32) -> Option<(ObjectId, &Object)> {
    let id = oid::below(oid)?;
    let object = info.view.state().object(id)?;
    matches!(object.body, Body::Type(_)).then_some((id, object))
}

/// What `format_type` says of a type: the standard's words, with the schema where the name alone means another.
/// None: no such type.
pub fn formatted(info: &StatementInfo, sql_type: TypeRef) -> Option<String> {
    if let Some(known) = sql_type.built_in() {
        return Some(match (known.oid, sql_type.modifier) {
            (1042 | 1043, 5..) => format!("{}({})", known.words, sql_type.modifier - 4),
            (1700, 4..) => {
                let bound = sql_type.modifier - 4;
                format!("{}({},{})", known.words, bound >> 16, bound & 0xffff)
            }
            _ => known.words.to_owned(),
        });
    }
    if let Some(element) = sql_type.element() {
        return Some(format!("{}[]", element.words));
    }
    let (id, object) = enum_type(info, sql_type.oid)?;
    let name = quote_ident(object.name.as_str());
    if item::is_visible(info, id) {
        return Some(name);
    }
    let schema = info.view.state().object(object.parent)?;
    Some(format!("{}.{name}", quote_ident(schema.name.as_str())))
}

/// The OID of the built-in type that a text names, arrays included.
pub fn built_in_named(written: &str) -> Option<u32> {
    let name = written.strip_prefix("pg_catalog.").unwrap_or(written);
    if let Some(element) = name.strip_suffix("[]") {
        let oid = built_in_named(element)?;
        return BUILT_IN.iter().find(|known| known.oid == oid && known.array != 0).map(|known| known.array);
    }
    if let Some(element) = name.strip_prefix('_') {
        return BUILT_IN
            .iter()
            .find(|known| known.name == element && known.array != 0)
            .map(|known| known.array);
    }
    let synonym = SYNONYMS.iter().find(|(word, oid)| *word == name && *oid != 0).map(|(_, oid)| *oid);
    synonym.or_else(|| BUILT_IN.iter().find(|known| known.name == name).map(|known| known.oid))
}
