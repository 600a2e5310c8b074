//! Expressions in the row store's SQL: literals, types, casts, operators and functions.
//!
//! An allow-list: what is not named here is refused with 0A000 and its name. Everything is typed before it is
//! rendered, so that SQLite's own conversions never happen.
//!
//! Where SQLite would answer something else than PostgreSQL without saying so (overflow to REAL, division by zero to
//! NULL, LIKE without case, text functions on ASCII only) a function of ours is called: [`scalar`].

use grantd_catalog::id::ObjectId;
use grantd_catalog::object::{Body, ColumnType, DECIMAL_DIGITS_MAX, DecimalBound};
use grantd_catalog::state::State;
use sqlparser::ast;

use crate::error::{SqlError, state};
use crate::value::SqlType;

pub mod pattern;
pub mod scalar;
pub mod enums;
pub mod cast;
pub mod order;
pub mod json;
pub mod moment;
pub mod operator;
pub mod introspect;
pub mod signature;
pub mod form;
pub mod function;

/// The most parameters of a statement.
pub const PARAMETERS_MAX: usize = 30_000;

/// An expression in the row store's SQL, with its type.
#[derive(Clone, Debug, PartialEq)]
pub struct Typed {
    /// The row store's text. Stands for itself in any context: in parentheses where it needs them.
    pub sql: String,
    /// Its type; `Unknown` for a literal that takes the type of where it stands.
    pub sql_type: SqlType,
    /// What a cast may still change.
    pub form: Form,
}

/// What an expression is before it has a type.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// Has a type.
    Computed,
    /// NULL.
    Null,
    /// `'text'`: takes the type of where it stands.
    Text(String),
    /// `1.5`: a decimal, until it stands beside a float.
    Decimal(String),
    /// `$n`, counted from 0, while nothing has given it a type.
    Parameter(usize),
}

/// The types of a statement's parameters, as far as they are known, and the catalog that knows the labels of enums.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    types: Vec<Option<SqlType>>,
    /// A clone shares everything. None: there are no enum types.
    catalog: Option<State>,
}

impl Parameters {
    /// Starts with what the client said.
    pub fn new(hints: &[Option<SqlType>]) -> Self {
        let known = |hint: &Option<SqlType>| hint.filter(|hint| *hint != SqlType::Unknown);
        Self { types: hints.iter().map(known).collect(), catalog: None }
    }

    /// The same, with enum types from `catalog`.
    #[must_use]
    pub fn with_catalog(self, catalog: &State) -> Self {
        Self { catalog: Some(catalog.clone()), ..self }
    }

    /// Whether there is such an enum type: a client may have given its OID.
    fn has_enum(&self, id: ObjectId) -> bool {
        let object = self.catalog.as_ref().and_then(|catalog| catalog.object(id));
        object.is_some_and(|object| matches!(object.body, Body::Type(_)))
    }

    /// What stands in rows for a label of an enum type (22P02 if it has no such).
    pub fn label(&self, id: ObjectId, label: &str) -> Result<i64, SqlError> {
        self.catalog
            .as_ref()
            .ok_or_else(|| SqlError::internal("an enum type at a place without a catalog"))
            .and_then(|catalog| enums::position(catalog, id, label))
    }

    /// The expression of `$n`.
    pub fn parameter(&mut self, text: &str) -> Result<Typed, SqlError> {
        let number = text.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
        let index = match number {
            Some(number) if (1..=PARAMETERS_MAX).contains(&number) => number - 1,
            _ => {
                return Err(SqlError::new(
                    state::UNDEFINED_PARAMETER,
                    format!("there is no parameter {text}"),
                ));
            }
        };
        if self.types.len() <= index {
            self.types.resize(index + 1, None);
        }
        let sql = format!("?{}", index + 1);
        Ok(match self.types[index] {
            Some(SqlType::Enum(id)) if !self.has_enum(id) => return Err(enums::unknown(id)),
            Some(SqlType::Enum(id)) => Typed::computed(enums::input(&sql, id), SqlType::Enum(id)),
            Some(sql_type) => Typed::computed(sql, sql_type),
            None => Typed { sql, sql_type: SqlType::Unknown, form: Form::Parameter(index) },
        })
    }

    /// Gives the parameter a type, or checks that it has one of the same family.
    fn settle(&mut self, index: usize, sql_type: SqlType) -> Result<(), SqlError> {
        match self.types[index] {
            Some(known) if known.family() != sql_type.family() => Err(SqlError::new(
                state::AMBIGUOUS_PARAMETER,
                format!(
                    "placeholder ${} already has type {}, cannot assign {}",
                    index + 1,
                    known.word(),
                    sql_type.word()
                ),
            )),
            Some(_) => Ok(()),
            None => {
                self.types[index] = Some(sql_type.any_length());
                Ok(())
            }
        }
    }

    /// The types; what nothing pinned down is text.
    pub fn types(&self) -> Vec<SqlType> {
        self.types.iter().map(|known| known.unwrap_or(SqlType::Text)).collect()
    }
}

impl Typed {
    /// An expression that has a type.
    pub fn computed(sql: String, sql_type: SqlType) -> Self {
        Self { sql, sql_type, form: Form::Computed }
    }

    /// NULL.
    pub fn null() -> Self {
        Self { sql: "NULL".to_owned(), sql_type: SqlType::Unknown, form: Form::Null }
    }

    /// A text literal without a type.
    pub fn text(text: &str) -> Result<Self, SqlError> {
        if text.contains('\0') {
            return Err(crate::value::nul_in_text());
        }
        let sql = string(text);
        Ok(Self { sql, sql_type: SqlType::Unknown, form: Form::Text(text.to_owned()) })
    }
}

/// A string in SQLite's quotes. The text must not hold the zero character.
pub fn string(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// An identifier in SQLite's quotes.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// An identifier as a statement would have to write it: in quotes unless it is plain.
pub fn quote_ident(name: &str) -> String {
    let mut chars = name.chars();
    let plain = chars.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let reserved = crate::sql::parse::is_reserved_word(name);
    if plain && !reserved { name.to_owned() } else { quote(name) }
}

/// A literal.
pub fn literal(value: &ast::Value, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    match value {
        ast::Value::Number(digits, false) => number(digits),
        ast::Value::SingleQuotedString(text) | ast::Value::EscapedStringLiteral(text) => Typed::text(text),
        ast::Value::DollarQuotedString(text) => Typed::text(&text.value),
        ast::Value::Boolean(value) => Ok(Typed::computed(i64::from(*value).to_string(), SqlType::Bool)),
        ast::Value::Null => Ok(Typed::null()),
        ast::Value::Placeholder(text) => parameters.parameter(text),
        _ => Err(SqlError::unsupported("this kind of literal")),
    }
}

fn number(digits: &str) -> Result<Typed, SqlError> {
    // What does not fit 64 bits is a decimal.
    if digits.bytes().all(|b| b.is_ascii_digit())
        && let Ok(value) = digits.parse::<i64>()
    {
        return Ok(Typed::computed(value.to_string(), SqlType::Int8));
    }
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    if !plain {
        return Err(SqlError::unsupported(format!("the number {digits}")));
    }
    Ok(Typed { sql: digits.to_owned(), sql_type: SqlType::Unknown, form: Form::Decimal(digits.to_owned()) })
}

/// The column type that a statement names.
pub fn column_type(data_type: &ast::DataType) -> Result<ColumnType, SqlError> {
    use ast::DataType as D;
    Ok(match data_type {
        D::Bool | D::Boolean => ColumnType::Bool,
        D::Int2(None) | D::SmallInt(None) => ColumnType::Int2,
        D::Int4(None) => ColumnType::Int4,
        // INT is INT8 in CockroachDB.
        D::Int(None) | D::Integer(None) | D::Int8(None) | D::BigInt(None) | D::Int64 => ColumnType::Int8,
        D::Float(ast::ExactNumberInfo::None) | D::Float8 | D::Double(ast::ExactNumberInfo::None) => {
            ColumnType::Float8
        }
        D::DoublePrecision => ColumnType::Float8,
        D::Text | D::String(None) => ColumnType::Text { chars_max: None },
        D::String(Some(chars)) => ColumnType::Text { chars_max: Some(chars_max(*chars)?) },
        D::Varchar(length) | D::CharacterVarying(length) | D::CharVarying(length) => match length {
            None => ColumnType::Text { chars_max: None },
            Some(ast::CharacterLength::IntegerLength { length, unit: None }) => {
                ColumnType::Text { chars_max: Some(chars_max(*length)?) }
            }
            Some(_) => return Err(SqlError::unsupported(format!("the type {data_type}"))),
        },
        D::Bytea | D::Bytes(None) => ColumnType::Bytes,
        D::Uuid => ColumnType::Uuid,
        D::Float4 | D::Real => ColumnType::Float4,
        D::Float(ast::ExactNumberInfo::Precision(bits)) => match bits {
            1..=24 => ColumnType::Float4,
            25..=53 => ColumnType::Float8,
            _ => return Err(invalid("precision for type float must be between 1 and 53 bits")),
        },
        // Microseconds are what there is: 6 digits say nothing.
        D::Timestamp(None | Some(6), ast::TimezoneInfo::Tz | ast::TimezoneInfo::WithTimeZone) => {
            ColumnType::TimestampTz
        }
        D::Timestamp(None | Some(6), _) => ColumnType::Timestamp,
        D::Date => ColumnType::Date,
        D::Time(None | Some(6), ast::TimezoneInfo::None | ast::TimezoneInfo::WithoutTimeZone) => {
            ColumnType::Time
        }
        D::Interval { fields: None, precision: None } => ColumnType::Interval,
        D::Decimal(info) | D::Numeric(info) | D::Dec(info) => {
            ColumnType::Decimal { bound: decimal_bound(info)? }
        }
        D::JSONB | D::JSON => ColumnType::Jsonb,
        D::Char(length) | D::Character(length) => match length {
            None => ColumnType::Char { chars: 1 },
            Some(ast::CharacterLength::IntegerLength { length, unit: None }) => {
                ColumnType::Char { chars: chars_max(*length)? }
            }
            Some(_) => return Err(SqlError::unsupported(format!("the type {data_type}"))),
        },
        D::Custom(name, modifiers) => return custom_type(name, modifiers),
        other => return Err(SqlError::unsupported(format!("the type {other}"))),
    })
}

/// Types that `sqlparser` does not know by name.
fn custom_type(name: &ast::ObjectName, modifiers: &[String]) -> Result<ColumnType, SqlError> {
    let written = name.to_string().to_lowercase();
    match (written.strip_prefix("pg_catalog.").unwrap_or(&written), modifiers) {
        ("string", []) => Ok(ColumnType::Text { chars_max: None }),
        ("string", [chars]) => match chars.parse() {
            Ok(chars) => Ok(ColumnType::Text { chars_max: Some(chars_max(chars)?) }),
            Err(_) => Err(SqlError::unsupported(format!("the type {name}"))),
        },
        ("bytes", []) => Ok(ColumnType::Bytes),
        ("bpchar", [chars]) => match chars.parse() {
            Ok(chars) => Ok(ColumnType::Char { chars: chars_max(chars)? }),
            Err(_) => Err(SqlError::unsupported(format!("the type {name}"))),
        },
        ("text", []) => Ok(ColumnType::Text { chars_max: None }),
        _ => Err(SqlError::unsupported(format!("the type {name}"))),
    }
}

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(grantd_catalog::refusal::state::INVALID_PARAMETER_VALUE, message)
}

fn decimal_bound(info: &ast::ExactNumberInfo) -> Result<Option<DecimalBound>, SqlError> {
    let (precision, scale) = match info {
        ast::ExactNumberInfo::None => return Ok(None),
        ast::ExactNumberInfo::Precision(precision) => (*precision, 0),
        ast::ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let most = DECIMAL_DIGITS_MAX;
    let known = u16::try_from(precision).ok().filter(|precision| (1..=most).contains(precision));
    let Some(known) = known else {
        return Err(invalid(format!("NUMERIC precision {precision} must be between 1 and {most}")));
    };
    match u16::try_from(scale).ok().filter(|scale| *scale <= known) {
        Some(scale) => Ok(Some(DecimalBound { precision: known, scale })),
        None => Err(invalid(format!("NUMERIC scale {scale} must be between 0 and precision {precision}"))),
    }
}

fn chars_max(length: u64) -> Result<u32, SqlError> {
    match u32::try_from(length) {
        Ok(chars) if chars > 0 => Ok(chars),
        _ => Err(SqlError::syntax("length for type varchar must be at least 1 and fit 32 bits")),
    }
}
