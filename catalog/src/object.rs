//! What privileges are held on: the tree cluster → database → schema → relations, types and functions, each with an
//! owner and an ACL.
//!
//! A kind that a later release adds is a new [`Body`] variant and rows in the privilege table; nothing else here
//! knows the list.

use std::fmt;
use std::sync::Arc;

use bincode::{Decode, Encode};

use crate::grant::Acl;
use crate::id::{ObjectId, PrincipalId};
use crate::name::{NAME_BYTES_MAX, Name};
use crate::privilege::ObjectKind;

/// The most columns of a table or view.
pub const COLUMNS_MAX: usize = 500;
/// The most indexes, and the most constraints of each kind, of a table.
pub const CONSTRAINTS_MAX: usize = 500;
/// The most columns of a key.
pub const KEY_COLUMNS_MAX: usize = 100;
/// The most labels of an enum type.
pub const LABELS_MAX: usize = 10_000;
/// The most arguments of a function.
pub const ARGUMENTS_MAX: usize = 100;
/// The most bytes of a comment, of a function's body, of a view's query, of an external connection's URI.
pub const TEXT_BYTES_MAX: usize = 256 * 1024;

/// One object. Its id never changes and is never reused, so rename and move leave grants and rows alone.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Object {
    /// What it is called in `parent`.
    pub name: Name,
    /// The object that contains it: the cluster for a database and for what is outside, a database for a schema, a schema for the rest.
    pub parent: ObjectId,
    /// Holds every privilege and grant option implicitly; no REVOKE takes that away (T-5).
    pub owner: PrincipalId,
    /// What was granted on it.
    pub acl: Acl,
    /// What it is.
    pub body: Body,
    /// COMMENT ON.
    pub comment: Option<String>,
}

/// What an object is, and what only its kind has.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Body {
    /// A database.
    Database,
    /// A schema that a user made, or `public`.
    Schema,
    /// A table. Its rows are in the row store under the name `t<object id>`. Shared: a grant changes an object and not
    /// its columns.
    Table(Arc<Table>),
    /// A view: a query under a name. Nothing of it is in the row store.
    View(View),
    /// A sequence. Its position is in the row store under the name `t<object id>`, as one row.
    Sequence(Sequence),
    /// An enum type.
    Type(EnumType),
    /// A function whose body is SQL.
    Function(Function),
    /// Where cloud storage or a sink is, and how it is reached. Its parent is the cluster.
    ExternalConnection(ExternalConnection),
    /// A table of `pg_catalog`, `information_schema` or `crdb_internal`, which are computed. See [`crate::system`].
    VirtualTable,
    /// A role of a cloud, or a service account, that chains may take on. It is all in its name. Its parent is the cluster.
    IamRole,
}

impl Object {
    /// The kind that decides which privileges are legal.
    pub fn kind(&self) -> ObjectKind {
        match self.body {
            Body::Database => ObjectKind::Database,
            Body::Schema => ObjectKind::Schema,
            Body::Table(_) | Body::View(_) => ObjectKind::Table,
            Body::Sequence(_) => ObjectKind::Sequence,
            Body::Type(_) => ObjectKind::Type,
            Body::Function(_) => ObjectKind::Function,
            Body::ExternalConnection(_) => ObjectKind::ExternalConnection,
            Body::VirtualTable => ObjectKind::VirtualTable,
            Body::IamRole => ObjectKind::IamRole,
        }
    }

    /// The kind of object that contains such.
    pub const fn container(&self) -> ObjectKind {
        match self.body {
            Body::Database | Body::ExternalConnection(_) | Body::IamRole => ObjectKind::Cluster,
            Body::Schema => ObjectKind::Database,
            Body::Table(_)
            | Body::View(_)
            | Body::Sequence(_)
            | Body::Type(_)
            | Body::Function(_)
            | Body::VirtualTable => ObjectKind::Schema,
        }
    }

    /// The objects that this one, whose id is `id`, cannot be without: [`Self::references`] but itself.
    pub fn references_of(&self, id: ObjectId) -> Vec<ObjectId> {
        let mut found = self.references();
        found.retain(|target| *target != id);
        found
    }

    /// The objects that this one names, sorted, each once: the types of its columns and arguments, what its query, body
    /// and defaults name, and the targets of foreign keys, of which one may be itself.
    pub fn references(&self) -> Vec<ObjectId> {
        let mut found: Vec<ObjectId> = match &self.body {
            Body::Table(table) => {
                let types = table.columns.iter().filter_map(|column| column.column_type.enum_type());
                let keys = table.foreign_keys.iter().map(|key| key.target);
                types.chain(keys).chain(table.named()).collect()
            }
            Body::View(view) => {
                let types = view.columns.iter().filter_map(|column| column.column_type.enum_type());
                types.chain(view.references.iter().copied()).collect()
            }
            Body::Function(function) => {
                let arguments = function.arguments.iter().map(|argument| argument.argument_type);
                let types = arguments.chain([function.returns]).filter_map(ColumnType::enum_type);
                types.chain(function.references.iter().copied()).collect()
            }
            Body::Sequence(sequence) => sequence.owned_by.into_iter().collect(),
            Body::Database
            | Body::Schema
            | Body::Type(_)
            | Body::ExternalConnection(_)
            | Body::VirtualTable
            | Body::IamRole => Vec::new(),
        };
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// The shape of a table. Columns keep the order in which they were made, which is that of the row store; a hidden
/// primary key comes after those of CREATE TABLE.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Table {
    /// At least one; at most [`COLUMNS_MAX`]; names unique without regard to case.
    pub columns: Vec<Column>,
    /// Positions in `columns`; never empty: changesets need a key to find a row by.
    pub primary_key: Vec<u16>,
    /// The name of the primary key, hidden or not; unique in the table.
    pub key_name: Name,
    /// UNIQUE constraints beside the primary key.
    pub unique: Vec<Unique>,
    /// CHECK constraints.
    pub checks: Vec<Check>,
    /// Indexes beside the primary key and the UNIQUE constraints.
    pub indexes: Vec<Index>,
    /// FOREIGN KEY constraints.
    pub foreign_keys: Vec<ForeignKey>,
}

impl Table {
    /// Its expressions: of defaults and computed columns, of checks, of indexes.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let columns = self.columns.iter().flat_map(|column| column.default.iter().chain(&column.computed));
        let checks = self.checks.iter().map(|check| &check.expression);
        columns.chain(checks).chain(self.indexes.iter().flat_map(Index::expressions))
    }

    /// The same, to be changed.
    pub fn expressions_mut(&mut self) -> impl Iterator<Item = &mut Expression> {
        let columns =
            self.columns.iter_mut().flat_map(|column| column.default.iter_mut().chain(&mut column.computed));
        let checks = self.checks.iter_mut().map(|check| &mut check.expression);
        columns.chain(checks).chain(self.indexes.iter_mut().flat_map(Index::expressions_mut))
    }

    /// The sequences and functions that its expressions and identity columns name; one may come more than once.
    pub fn named(&self) -> impl Iterator<Item = ObjectId> {
        let identities = self.columns.iter().filter_map(|column| Some(column.identity?.sequence));
        self.expressions().flat_map(|expression| expression.references.iter().copied()).chain(identities)
    }

    /// The names of its constraints and indexes: one namespace in each table.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        std::iter::once(&self.key_name)
            .chain(self.unique.iter().map(|unique| &unique.name))
            .chain(self.checks.iter().map(|check| &check.name))
            .chain(self.foreign_keys.iter().map(|key| &key.name))
            .chain(self.indexes.iter().map(|index| &index.name))
    }

    /// The same, to be changed.
    pub(crate) fn names_mut(&mut self) -> impl Iterator<Item = &mut Name> {
        std::iter::once(&mut self.key_name)
            .chain(self.unique.iter_mut().map(|unique| &mut unique.name))
            .chain(self.checks.iter_mut().map(|check| &mut check.name))
            .chain(self.foreign_keys.iter_mut().map(|key| &mut key.name))
            .chain(self.indexes.iter_mut().map(|index| &mut index.name))
    }

    /// A name for a constraint or index of a table called `table` that no other has: `table_a_b_suffix`, made shorter to
    /// fit, with a number when it is taken. As PostgreSQL and v22.2 make them; the suffix is `key`, `check`, `fkey` or `idx`.
    pub fn free_name<'n>(&self, table: &Name, columns: impl Iterator<Item = &'n Name>, suffix: &str) -> Name {
        let mut begin = table.to_string();
        for column in columns {
            begin.push('_');
            begin.push_str(column.as_str());
        }
        // There are more numbers than names.
        (0..=self.names().count())
            .map(|number| shortened(&begin, suffix, number))
            .find(|wanted| !self.names().any(|name| name == wanted))
            .unwrap_or_else(|| table.clone())
    }

    /// Where the column of this name is.
    pub fn position(&self, column: &Name) -> Option<u16> {
        let at = self.columns.iter().position(|there| there.name == *column)?;
        u16::try_from(at).ok()
    }
}

/// `begin_suffix`, with a number unless that is 0, in as many bytes as a name may have.
pub(crate) fn shortened(begin: &str, suffix: &str, number: usize) -> Name {
    let end = if number == 0 { format!("_{suffix}") } else { format!("_{suffix}{number}") };
    let mut begin = begin;
    while begin.len() + end.len() > NAME_BYTES_MAX && !begin.is_empty() {
        begin = begin.char_indices().next_back().map_or("", |(at, _)| &begin[..at]);
    }
    Name::normalize(&format!("{begin}{end}"))
}

/// An index of a table.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Index {
    /// Its name, unique in the table.
    pub name: Name,
    /// At least one.
    pub keys: Vec<IndexKey>,
    /// Whether no two rows may have the same keys.
    pub unique: bool,
    /// Which rows are in it; none: all.
    pub predicate: Option<Expression>,
    /// COMMENT ON INDEX.
    pub comment: Option<String>,
}

impl Index {
    /// Its expressions: among its keys, and of its predicate.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.keys.iter().filter_map(IndexKey::expression).chain(&self.predicate)
    }

    /// The same, to be changed.
    pub(crate) fn expressions_mut(&mut self) -> impl Iterator<Item = &mut Expression> {
        let keys = self.keys.iter_mut().filter_map(|key| match &mut key.part {
            KeyPart::Column(_) => None,
            KeyPart::Expression(expression) => Some(expression),
        });
        keys.chain(self.predicate.as_mut())
    }

    /// The positions of its columns, if there is nothing but columns among its keys.
    pub fn columns(&self) -> Option<Vec<u16>> {
        self.keys.iter().map(IndexKey::column).collect()
    }
}

/// One column or expression of an index.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct IndexKey {
    /// What it is of; a column is a position in [`Table::columns`].
    pub part: KeyPart<u16>,
    /// Whether the greatest comes first.
    pub descending: bool,
}

impl IndexKey {
    /// The column, ascending.
    pub const fn ascending(column: u16) -> Self {
        Self { part: KeyPart::Column(column), descending: false }
    }

    /// The position of its column, if it is of one.
    pub const fn column(&self) -> Option<u16> {
        match self.part {
            KeyPart::Column(column) => Some(column),
            KeyPart::Expression(_) => None,
        }
    }

    /// Its expression, if it is of one.
    pub const fn expression(&self) -> Option<&Expression> {
        match &self.part {
            KeyPart::Column(_) => None,
            KeyPart::Expression(expression) => Some(expression),
        }
    }
}

/// What a key of an index is of; `C` says which column.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum KeyPart<C> {
    /// A column.
    Column(C),
    /// What depends on nothing but the row.
    Expression(Expression),
}

/// A FOREIGN KEY constraint.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ForeignKey {
    /// Its name, unique in the table.
    pub name: Name,
    /// Positions in [`Table::columns`].
    pub columns: Vec<u16>,
    /// The table that has the keys; may be the same.
    pub target: ObjectId,
    /// Positions in its columns: its primary key, or a UNIQUE constraint or index of it.
    pub target_columns: Vec<u16>,
    /// What happens to rows whose key is deleted.
    pub on_delete: ReferentialAction,
    /// What happens to rows whose key changes.
    pub on_update: ReferentialAction,
}

/// What happens to rows that refer to a key that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ReferentialAction {
    /// The statement is refused.
    NoAction,
    /// The statement is refused, at once.
    Restrict,
    /// They go or change with it.
    Cascade,
    /// Their columns become NULL.
    SetNull,
    /// Their columns become their DEFAULT.
    SetDefault,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Column {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// The DEFAULT.
    pub default: Option<Expression>,
    /// Left out of `SELECT *` and INSERT without a column list: the `rowid` of a table without a primary key.
    pub hidden: bool,
    /// COMMENT ON COLUMN.
    pub comment: Option<String>,
    /// What it is computed from (GENERATED ALWAYS AS … STORED); it has no DEFAULT then.
    pub computed: Option<Expression>,
    /// Whether it counts its rows (GENERATED … AS IDENTITY); it has no DEFAULT then, and is not computed.
    pub identity: Option<Identity>,
}

/// That a column takes its values from a sequence of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Identity {
    /// GENERATED ALWAYS: a value of the client's is refused unless it insists. Else BY DEFAULT.
    pub always: bool,
    /// The sequence: owned by the table, and dropped with the column.
    pub sequence: ObjectId,
}

/// A UNIQUE constraint.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Unique {
    /// Its name, unique in the table.
    pub name: Name,
    /// Positions in [`Table::columns`].
    pub columns: Vec<u16>,
}

/// A CHECK constraint.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Check {
    /// Its name, unique in the table.
    pub name: Name,
    /// What must not be false.
    pub expression: Expression,
}

/// An expression that is stored with a table: as it was written, and as the row store runs it.
///
/// The catalog does not read either; `node::sql` made them and checked that nothing but the row's own columns
/// and functions occurs in them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Expression {
    /// PostgreSQL text, for SHOW CREATE.
    pub sql: String,
    /// The row store's text. Each column in it is a name in double quotes.
    pub stored: String,
    /// The sequences and functions that it names.
    pub references: Vec<ObjectId>,
}

impl Expression {
    /// Whether it reads the column of this name.
    pub fn mentions(&self, column: &Name) -> bool {
        quoted_names(&self.stored).any(|name| name == column.as_str())
    }
}

/// What stands in double quotes in a text of the row store, strings left out.
fn quoted_names(text: &str) -> impl Iterator<Item = String> {
    let mut rest = text.chars();
    std::iter::from_fn(move || {
        loop {
            let quote = rest.find(|c| matches!(c, '"' | '\''))?;
            let mut inside = String::new();
            // A quote that is doubled is one of the text.
            while let Some(next) = rest.next() {
                if next == quote {
                    if !rest.as_str().starts_with(quote) {
                        break;
                    }
                    rest.next();
                }
                inside.push(next);
            }
            if quote == '"' {
                return Some(inside);
            }
        }
    })
}

/// The type of a column. Appended to, never reordered: the position is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[allow(missing_docs, reason = "the SQL type of the same name")]
pub enum ColumnType {
    Bool,
    Int2,
    Int4,
    Int8,
    Float8,
    /// STRING, TEXT, or VARCHAR(n): at most `n` characters.
    Text {
        /// The most characters, if bounded.
        chars_max: Option<u32>,
    },
    Bytes,
    Uuid,
    /// Microseconds since the Unix epoch.
    TimestampTz,
    /// An enum type: a [`Body::Type`].
    Enum(ObjectId),
    Float4,
    /// Microseconds since the Unix epoch, of no time zone.
    Timestamp,
    /// Days since the Unix epoch.
    Date,
    /// Microseconds since midnight.
    Time,
    /// Months, days and microseconds, as PostgreSQL writes them.
    Interval,
    /// An exact number of any length, or of at most `precision` digits, `scale` of them after the point.
    Decimal {
        /// Both, if it is bounded.
        bound: Option<DecimalBound>,
    },
    Jsonb,
    /// CHAR(n): exactly `chars` characters, blanks at the end not counted.
    Char {
        /// How many.
        chars: u32,
    },
}

/// The bound of a DECIMAL(precision, scale).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct DecimalBound {
    /// Digits in all; at least 1, at most [`DECIMAL_DIGITS_MAX`].
    pub precision: u16,
    /// Those after the point; at most `precision`.
    pub scale: u16,
}

/// The most digits of a DECIMAL, on either side of the point.
pub const DECIMAL_DIGITS_MAX: u16 = 1_000;

impl ColumnType {
    /// The enum type that it is, if it is one.
    pub const fn enum_type(self) -> Option<ObjectId> {
        match self {
            Self::Enum(id) => Some(id),
            _ => None,
        }
    }
}

impl fmt::Display for ColumnType {
    /// The SQL word, as v22.2 prints it in signatures; an enum type as its id, which who knows the catalog replaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Int2 => f.write_str("int2"),
            Self::Int4 => f.write_str("int4"),
            Self::Int8 => f.write_str("int8"),
            Self::Float8 => f.write_str("float8"),
            Self::Text { chars_max: None } => f.write_str("string"),
            Self::Text { chars_max: Some(chars) } => write!(f, "varchar({chars})"),
            Self::Bytes => f.write_str("bytes"),
            Self::Uuid => f.write_str("uuid"),
            Self::TimestampTz => f.write_str("timestamptz"),
            Self::Enum(id) => write!(f, "[{id}]"),
            Self::Float4 => f.write_str("float4"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Date => f.write_str("date"),
            Self::Time => f.write_str("time"),
            Self::Interval => f.write_str("interval"),
            Self::Decimal { bound: None } => f.write_str("decimal"),
            Self::Decimal { bound: Some(DecimalBound { precision, scale }) } => {
                write!(f, "decimal({precision},{scale})")
            }
            Self::Jsonb => f.write_str("jsonb"),
            Self::Char { chars } => write!(f, "char({chars})"),
        }
    }
}

/// A query under a name.
///
/// Who reads a view needs SELECT on the view, not on what the query reads: that its creator needed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct View {
    /// What the query returns; at least one column.
    pub columns: Vec<ViewColumn>,
    /// The query, every name in it written in full.
    pub query: String,
    /// The tables, views, sequences and functions that it names.
    pub references: Vec<ObjectId>,
}

/// One column of a view.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ViewColumn {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub column_type: ColumnType,
}

/// What a sequence counts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Sequence {
    /// The first value.
    pub start: i64,
    /// From one value to the next; never 0.
    pub increment: i64,
    /// The least value.
    pub min: i64,
    /// The greatest value.
    pub max: i64,
    /// The table with whose column it is dropped (OWNED BY, SERIAL).
    pub owned_by: Option<ObjectId>,
}

/// An enum type. Rows hold positions, not labels, so a label can be renamed and one be put between two.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EnumType {
    /// Sorted by position; labels unique.
    pub labels: Vec<EnumLabel>,
}

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EnumLabel {
    /// What stands for it in rows; orders the labels; never changes.
    pub position: i64,
    /// What is written.
    pub label: String,
}

/// How far apart the positions of a new type's labels are, so that later ones fit between.
pub const LABEL_GAP: i64 = 1 << 32;

/// A function of the client's, in SQL.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Function {
    /// At most [`ARGUMENTS_MAX`].
    pub arguments: Vec<Argument>,
    /// The type of its result.
    pub returns: ColumnType,
    /// One SELECT, every name in it written in full, arguments by name or `$n`.
    pub body: String,
    /// What a planner may assume.
    pub volatility: Volatility,
    /// Whether it is NULL when an argument is (STRICT, RETURNS NULL ON NULL INPUT).
    pub is_strict: bool,
    /// The tables, views, sequences and functions that it names.
    pub references: Vec<ObjectId>,
}

impl Function {
    /// The types of the arguments.
    pub fn argument_types(&self) -> impl Iterator<Item = ColumnType> {
        self.arguments.iter().map(|argument| argument.argument_type)
    }
}

/// One argument of a function.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Argument {
    /// Its name, if it has one.
    pub name: Option<Name>,
    /// Its type.
    pub argument_type: ColumnType,
}

/// What a planner may assume of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Volatility {
    /// Nothing.
    Volatile,
    /// The same result for the same arguments in one statement.
    Stable,
    /// The same result for the same arguments, always.
    Immutable,
}

/// The most bytes of the name of a role of a cloud. AWS allows paths of 512 characters and names of 64, after some 40.
pub const IAM_ROLE_BYTES_MAX: usize = 640;

/// Whether `text` has the shape of a role's name: the ARN of a role of AWS, or the e-mail address of a service account of
/// Google. No `;`, which ends a role where a URI names several.
pub fn is_iam_role(text: &str) -> bool {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
    is_plain && (is_role_arn(text) || is_address(text))
}

/// `arn:aws[-…]:iam::<12 digits>:role/…`.
fn is_role_arn(text: &str) -> bool {
    let mut parts = text.splitn(6, ':');
    let mut part = || parts.next().unwrap_or_default();
    let (arn, partition, service, region, account, role) = (part(), part(), part(), part(), part(), part());
    let is_partition = match partition.strip_prefix("aws") {
        Some("") => true,
        Some(more) => {
            more.starts_with('-')
                && more.len() > 1
                && more.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        }
        None => false,
    };
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let is_named = role.strip_prefix("role/").is_some_and(|name| !name.is_empty());
    arn == "arn" && is_partition && service == "iam" && region.is_empty() && is_account && is_named
}

/// `name@domain.tld`.
fn is_address(text: &str) -> bool {
    let Some((name, domain)) = text.split_once('@') else { return false };
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+%".contains(&byte);
    let is_domain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let labels = domain.split('.').count();
    !name.is_empty()
        && name.bytes().all(is_word)
        && domain.bytes().all(is_domain)
        && labels > 1
        && domain.split('.').all(|label| !label.is_empty())
}

/// Where something outside is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ExternalConnection {
    /// The URI, which may hold secrets.
    pub uri: ConnectionUri,
}

/// The URI of an external connection. Never printed.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct ConnectionUri(String);

impl ConnectionUri {
    /// Wraps a URI. The form is the caller's to check.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text. For using the connection, and for encodings; for nothing that prints.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ConnectionUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionUri(…)")
    }
}
