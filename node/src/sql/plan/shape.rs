//! The parts of a table that a statement writes: columns with their types and defaults, and what is said of rows in
//! CHECK, in computed columns and in indexes of some rows.

use grantd_catalog::command::{
    NewConstraint, NewForeignKey, NewIdentity, NewIndexKey, Rule, SequenceOptions,
};
use grantd_catalog::name::Name;
use grantd_catalog::object::{
    COLUMNS_MAX, Column, ColumnType, Expression, IndexKey, KeyPart, ReferentialAction,
};
use grantd_catalog::refusal::SqlState;
use sqlparser::ast;

use crate::error::{SqlError, state};
use crate::sql::parse::sequence::sequence_of;
use crate::sql::parse::table::IndexPart;
use crate::sql::parse::{name_of, parse_expression};
use crate::sql::translate::{Typed, cast, function, order, quote};
use crate::value::SqlType;

use super::scope::{Relation, Scope, ScopeColumn};
use super::{Origin, Planner, distinct, empty, no_column, none};

const INVALID_OBJECT_DEFINITION: SqlState = SqlState::new("42P17");

/// The columns of a table, as they are after what was read of the statement so far.
pub(super) struct Shape<'a> {
    planner: Planner<'a>,
    name: Name,
    pub(super) columns: Vec<Column>,
    /// Those of them that are to count rows.
    pub(super) identities: Vec<NewIdentity>,
}

impl<'a> Shape<'a> {
    pub(super) fn new(origin: Origin<'a>, name: Name, columns: Vec<Column>) -> Self {
        let mut planner = Planner::new(origin, &[]);
        planner.allows_subquery = false;
        Self { planner, name, columns, identities: Vec::new() }
    }

    pub(super) const fn name(&self) -> &Name {
        &self.name
    }

    /// Adds a column, without what it is computed from and without its constraints.
    pub(super) fn define(&mut self, column: &ast::ColumnDef) -> Result<(), SqlError> {
        if self.columns.len() == COLUMNS_MAX {
            return Err(SqlError::too_large(format!("a table has at most {COLUMNS_MAX} columns")));
        }
        let name = name_of(&column.name);
        let is_serial = is_serial(&column.data_type);
        let counts = identity(column)?;
        let column_type = match is_serial {
            true => ColumnType::Int8,
            false => self.column_type(&column.data_type)?,
        };
        let mut nullable = (is_serial || counts.is_some()).then_some(false);
        let mut default = is_serial.then(unique_rowid);
        let mut hidden = false;
        for option in &column.options {
            match &option.option {
                ast::ColumnOption::Null if nullable != Some(false) => nullable = Some(true),
                ast::ColumnOption::NotNull if nullable != Some(true) => nullable = Some(false),
                ast::ColumnOption::Null | ast::ColumnOption::NotNull => {
                    return Err(SqlError::syntax(format!(
                        "conflicting NULL/NOT NULL declarations for column \"{name}\""
                    )));
                }
                ast::ColumnOption::Default(expression) if default.is_none() => {
                    default = Some(self.default(expression, &name, column_type)?);
                }
                ast::ColumnOption::Default(_) => {
                    return Err(SqlError::syntax(format!(
                        "multiple default values specified for column \"{name}\""
                    )));
                }
                ast::ColumnOption::Generated { .. }
                | ast::ColumnOption::PrimaryKey(_)
                | ast::ColumnOption::Unique(_)
                | ast::ColumnOption::Check(_)
                | ast::ColumnOption::ForeignKey(_) => {}
                ast::ColumnOption::Invisible => hidden = true,
                other => {
                    return Err(SqlError::unsupported(format!("the column option {}", first_word(other))));
                }
            }
        }
        let is_computed = generation(column)?.is_some();
        if is_computed && default.is_some() {
            return Err(SqlError::syntax(format!(
                "both default and generation expression specified for column \"{name}\""
            )));
        }
        if let Some((always, options)) = counts {
            if default.is_some() || is_computed {
                let other = if is_computed { "generation expression" } else { "default" };
                return Err(SqlError::syntax(format!(
                    "both {other} and identity specified for column \"{name}\""
                )));
            }
            self.count(name.clone(), column_type, always, &options);
        }
        self.columns.push(Column {
            name,
            column_type,
            nullable: nullable.unwrap_or(true),
            default,
            hidden,
            comment: None,
            computed: None,
            identity: None,
        });
        Ok(())
    }

    /// A column is to count its rows, within what its type holds.
    pub(super) fn count(
        &mut self,
        column: Name,
        column_type: ColumnType,
        always: bool,
        options: &SequenceOptions,
    ) {
        let (least, greatest) = match column_type {
            ColumnType::Int2 => (i16::MIN.into(), i16::MAX.into()),
            ColumnType::Int4 => (i32::MIN.into(), i32::MAX.into()),
            _ => (i64::MIN, i64::MAX),
        };
        let sequence = sequence_of(options, least, greatest);
        self.identities.push(NewIdentity { column, always, sequence });
    }

    pub(super) fn column_type(&mut self, data_type: &ast::DataType) -> Result<ColumnType, SqlError> {
        self.planner.column_type(data_type)
    }

    /// What the columns that were defined by `written` are computed from, now that all of them are known.
    pub(super) fn compute(&mut self, written: &[ast::ColumnDef]) -> Result<(), SqlError> {
        let mut computed = Vec::new();
        for column in written {
            if let Some(expression) = generation(column)? {
                computed.push((self.position(&name_of(&column.name))?, expression.to_string()));
            }
        }
        for (at, text) in &computed {
            let others = computed.iter().map(|(at, _)| *at);
            let expression = self.computed(text, *at, others)?;
            self.columns[usize::from(*at)].computed = Some(expression);
        }
        Ok(())
    }

    /// What a column is computed from; `others` are computed too, and may not be in it.
    pub(super) fn computed(
        &mut self,
        text: &str,
        at: u16,
        others: impl Iterator<Item = u16>,
    ) -> Result<Expression, SqlError> {
        let Column { name, column_type, .. } = self.columns[usize::from(at)].clone();
        let scope = self.row("generated columns")?;
        let expression = self.stored(text, "a generated column", |planner, expression| {
            let typed = planner.expression(expression, &scope)?;
            Ok(cast::assign(typed, name.as_str(), column_type, &mut planner.parameters)?.sql)
        })?;
        stable(&expression.stored, "a generated column")?;
        let before =
            self.columns.iter().filter(|column| column.computed.is_some()).map(|column| &column.name);
        let others = others.map(|at| &self.columns[usize::from(at)].name);
        match before.chain(others).find(|other| expression.mentions(other)) {
            None => Ok(expression),
            Some(other) => Err(SqlError::new(
                INVALID_OBJECT_DEFINITION,
                format!("cannot use generated column \"{other}\" in column generation expression"),
            )),
        }
    }

    pub(super) fn default(
        &mut self,
        expression: &ast::Expr,
        column: &Name,
        column_type: ColumnType,
    ) -> Result<Expression, SqlError> {
        self.default_of(&expression.to_string(), column, column_type)
    }

    pub(super) fn default_of(
        &mut self,
        text: &str,
        column: &Name,
        column_type: ColumnType,
    ) -> Result<Expression, SqlError> {
        let scope = Scope::root().without_aggregates("DEFAULT expressions");
        let default = self.stored(text, "DEFAULT", |planner, expression| {
            let typed = planner.expression(expression, &scope)?;
            Ok(cast::assign(typed, column.as_str(), column_type, &mut planner.parameters)?.sql)
        })?;
        if self.planner.sequences.values().any(|motion| motion.set) || default.stored.contains("g_currval") {
            return Err(SqlError::unsupported("setval() or currval() in DEFAULT"));
        }
        Ok(default)
    }

    /// The value of `column`, or of what is written instead, as one of another type.
    pub(super) fn converted(
        &mut self,
        column: &Column,
        using: Option<&ast::Expr>,
        to: ColumnType,
    ) -> Result<Option<String>, SqlError> {
        let name = column.name.as_str();
        let Some(using) = using else {
            let typed = Typed::computed(quote(name), SqlType::of_column(column.column_type));
            let made = cast::assign(typed, name, to, &mut self.planner.parameters).map_err(|error| {
                let words = to.to_string();
                SqlError::new(
                    state::DATATYPE_MISMATCH,
                    format!("column \"{name}\" cannot be cast automatically to type {words}"),
                )
                .with_hint(
                    error
                        .body
                        .hint
                        .unwrap_or_else(|| format!("You might need to specify \"USING {name}::{words}\".")),
                )
            })?;
            return Ok(Some(made.sql).filter(|sql| *sql != quote(name)));
        };
        let scope = self.row("transform expressions")?;
        let made = self.stored(&using.to_string(), "USING", |planner, expression| {
            let typed = planner.expression(expression, &scope)?;
            Ok(cast::assign(typed, name, to, &mut planner.parameters)?.sql)
        })?;
        stable(&made.stored, "USING")?;
        Ok(Some(made.stored))
    }

    /// A CHECK may call what depends on nothing but the row, so that it means the same at every time and node.
    pub(super) fn check(&mut self, text: &str) -> Result<Expression, SqlError> {
        self.condition(text, "argument of CHECK", "CHECK expressions", "a CHECK")
    }

    /// The keys of an index: columns, and what depends on nothing but the row.
    pub(super) fn keys(&mut self, written: &[(IndexPart, bool)]) -> Result<Vec<NewIndexKey>, SqlError> {
        let mut keys = Vec::with_capacity(written.len());
        for (part, descending) in written {
            let part = match part {
                IndexPart::Column(name) => KeyPart::Column(name.clone()),
                IndexPart::Expression(expression) => match unwrapped(expression) {
                    ast::Expr::Identifier(name) => KeyPart::Column(name_of(name)),
                    inner => KeyPart::Expression(self.key(&inner.to_string())?),
                },
            };
            keys.push(NewIndexKey { part, descending: *descending });
        }
        Ok(keys)
    }

    /// An expression of an index, compared as its type is.
    pub(super) fn key(&mut self, text: &str) -> Result<Expression, SqlError> {
        let scope = self.row("index expressions")?;
        let key = self.stored(text, "an expression of an index", |planner, expression| {
            let typed = planner.expression(expression, &scope)?;
            let typed = cast::settled(typed, &mut planner.parameters)?;
            Ok(order::listed(&typed))
        })?;
        stable(&key.stored, "an expression of an index")?;
        Ok(key)
    }

    /// Which rows are in an index: the same holds.
    pub(super) fn predicate(&mut self, written: Option<&ast::Expr>) -> Result<Option<Expression>, SqlError> {
        written.map(|written| self.predicate_of(&written.to_string())).transpose()
    }

    pub(super) fn predicate_of(&mut self, text: &str) -> Result<Expression, SqlError> {
        self.condition(text, "argument of WHERE", "index predicates", "the WHERE of an index")
    }

    fn condition(
        &mut self,
        text: &str,
        argument: &str,
        place: &'static str,
        whose: &str,
    ) -> Result<Expression, SqlError> {
        let scope = self.row(place)?;
        let condition = self.stored(text, whose, |planner, expression| {
            planner.typed(expression, SqlType::Bool, argument, &scope)
        })?;
        stable(&condition.stored, whose)?;
        Ok(condition)
    }

    /// An expression with a column under another name, as text.
    pub(super) fn renamed(&mut self, text: &str, column: &Name, to: &Name) -> Result<String, SqlError> {
        let scope = self.row("this place")?;
        let renamed = (column.clone(), to.clone());
        let (sql, _, _) = self.planner.plan_stored(text, parse_expression, |planner, expression| {
            if let Some(written) = &mut planner.written {
                written.renamed = Some(renamed);
            }
            planner.expression(expression, &scope)
        })?;
        Ok(sql)
    }

    /// The columns of one row, under the names that the row store has.
    fn row(&self, place: &'static str) -> Result<Scope<'static>, SqlError> {
        let columns = self
            .columns
            .iter()
            .map(|column| ScopeColumn {
                name: column.name.clone(),
                sql: quote(column.name.as_str()),
                sql_type: SqlType::of_column(column.column_type),
                hidden: column.hidden,
            })
            .collect();
        let mut scope = Scope::root().without_aggregates(place);
        scope.add(Relation { name: self.name.clone(), schema: None, columns, key: Vec::new() })?;
        Ok(scope)
    }

    fn stored(
        &mut self,
        text: &str,
        place: &str,
        plan: impl FnOnce(&mut Planner<'a>, &ast::Expr) -> Result<String, SqlError>,
    ) -> Result<Expression, SqlError> {
        let (sql, written, stored) = self.planner.plan_stored(text, parse_expression, plan)?;
        self.planner.without_parameters(place)?;
        Ok(Expression { sql, stored, references: written.references.into_iter().collect() })
    }

    /// The constraints that stand with a column.
    pub(super) fn constraints_of(&mut self, column: &ast::ColumnDef) -> Result<Vec<NewConstraint>, SqlError> {
        let only = || vec![name_of(&column.name)];
        let mut found = Vec::new();
        for ast::ColumnOptionDef { name, option } in &column.options {
            let rule = match option {
                ast::ColumnOption::PrimaryKey(key) => {
                    immediate(key.characteristics.as_ref())?;
                    Rule::PrimaryKey(only())
                }
                ast::ColumnOption::Unique(unique) => {
                    immediate(unique.characteristics.as_ref())?;
                    Rule::Unique(only())
                }
                ast::ColumnOption::Check(check) => self.check_rule(check)?,
                ast::ColumnOption::ForeignKey(key) => foreign_key(key, only())?,
                _ => continue,
            };
            found.push(NewConstraint { name: name.as_ref().map(name_of), rule });
        }
        Ok(found)
    }

    /// A constraint of the table.
    pub(super) fn constraint(
        &mut self,
        constraint: &ast::TableConstraint,
    ) -> Result<NewConstraint, SqlError> {
        let (name, rule) = match constraint {
            ast::TableConstraint::PrimaryKey(key) => {
                immediate(key.characteristics.as_ref())?;
                none(&key.index_name, "a name behind PRIMARY KEY")?;
                none(&key.index_type, "an index type")?;
                empty(&key.include, "INCLUDE")?;
                empty(&key.index_options, "an index option")?;
                (&key.name, Rule::PrimaryKey(key_columns(&key.columns)?))
            }
            ast::TableConstraint::Unique(unique) => {
                immediate(unique.characteristics.as_ref())?;
                none(&unique.index_name, "a name behind UNIQUE")?;
                none(&unique.index_type, "an index type")?;
                empty(&unique.include, "INCLUDE")?;
                empty(&unique.index_options, "an index option")?;
                if matches!(unique.nulls_distinct, ast::NullsDistinctOption::NotDistinct) {
                    return Err(SqlError::unsupported("NULLS NOT DISTINCT"));
                }
                (&unique.name, Rule::Unique(key_columns(&unique.columns)?))
            }
            ast::TableConstraint::Check(check) => (&check.name, self.check_rule(check)?),
            ast::TableConstraint::ForeignKey(key) => {
                none(&key.index_name, "a name behind FOREIGN KEY")?;
                (&key.name, foreign_key(key, key.columns.iter().map(name_of).collect())?)
            }
            ast::TableConstraint::PrimaryKeyUsingIndex(_) | ast::TableConstraint::UniqueUsingIndex(_) => {
                return Err(SqlError::unsupported("a constraint USING INDEX"));
            }
            _ => return Err(SqlError::unsupported("this kind of constraint")),
        };
        Ok(NewConstraint { name: name.as_ref().map(name_of), rule })
    }

    fn check_rule(&mut self, check: &ast::CheckConstraint) -> Result<Rule, SqlError> {
        if check.no_inherit || check.enforced.is_some() {
            return Err(SqlError::unsupported("an option of CHECK"));
        }
        self.check(&check.expr.to_string()).map(Rule::Check)
    }

    pub(super) fn position(&self, name: &Name) -> Result<u16, SqlError> {
        let at = self.columns.iter().position(|column| column.name == *name);
        at.and_then(|at| u16::try_from(at).ok()).ok_or_else(|| no_column(name.as_str()))
    }

    /// The columns of a key, each once.
    pub(super) fn positions(&self, names: &[Name]) -> Result<Vec<u16>, SqlError> {
        distinct(names.iter().map(Name::as_str))?;
        names.iter().map(|name| self.position(name)).collect()
    }

    /// A name that is made of columns: `t_a_b_key`.
    pub(super) fn joined(&self, keys: &[IndexKey], ending: &str) -> String {
        let words = keys.iter().map(|key| match &key.part {
            KeyPart::Column(at) => self.columns[usize::from(*at)].name.as_str(),
            KeyPart::Expression(_) => "expr",
        });
        format!("{}_{}_{ending}", self.name, words.collect::<Vec<_>>().join("_"))
    }
}

/// The columns of a PRIMARY KEY or UNIQUE, which are in ascending order.
fn key_columns(columns: &[ast::IndexColumn]) -> Result<Vec<Name>, SqlError> {
    let mut names = Vec::with_capacity(columns.len());
    for column in columns {
        none(&column.operator_class, "an operator class")?;
        let options = &column.column.options;
        let plain = matches!(options.sort, None | Some(ast::OrderBySort::Asc))
            && options.nulls_first.is_none()
            && column.column.with_fill.is_none();
        match &column.column.expr {
            ast::Expr::Identifier(ident) if plain => names.push(name_of(ident)),
            _ => return Err(SqlError::unsupported("anything but plain columns in a key")),
        }
    }
    Ok(names)
}

fn foreign_key(key: &ast::ForeignKeyConstraint, columns: Vec<Name>) -> Result<Rule, SqlError> {
    immediate(key.characteristics.as_ref())?;
    // NULL in a key of one column means the same to each.
    let full = matches!(key.match_kind, Some(ast::ConstraintReferenceMatchKind::Full)) && columns.len() > 1;
    if full || matches!(key.match_kind, Some(ast::ConstraintReferenceMatchKind::Partial)) {
        return Err(SqlError::unsupported("MATCH FULL or MATCH PARTIAL"));
    }
    if !key.referred_columns.is_empty() && key.referred_columns.len() != columns.len() {
        return Err(SqlError::new(
            SqlState::new("42830"),
            "number of referencing and referenced columns for foreign key disagree",
        ));
    }
    Ok(Rule::ForeignKey(NewForeignKey {
        columns,
        target: super::object_name(&key.foreign_table)?,
        target_columns: key.referred_columns.iter().map(name_of).collect(),
        on_delete: referential(key.on_delete),
        on_update: referential(key.on_update),
    }))
}

fn referential(action: Option<ast::ReferentialAction>) -> ReferentialAction {
    match action {
        None | Some(ast::ReferentialAction::NoAction) => ReferentialAction::NoAction,
        Some(ast::ReferentialAction::Restrict) => ReferentialAction::Restrict,
        Some(ast::ReferentialAction::Cascade) => ReferentialAction::Cascade,
        Some(ast::ReferentialAction::SetNull) => ReferentialAction::SetNull,
        Some(ast::ReferentialAction::SetDefault) => ReferentialAction::SetDefault,
    }
}

/// Refuses a constraint that waits for COMMIT, or is none.
fn immediate(characteristics: Option<&ast::ConstraintCharacteristics>) -> Result<(), SqlError> {
    let Some(ast::ConstraintCharacteristics { deferrable, initially, enforced }) = characteristics else {
        return Ok(());
    };
    if *deferrable == Some(true) || matches!(initially, Some(ast::DeferrableInitial::Deferred)) {
        return Err(SqlError::unsupported("a DEFERRABLE constraint"));
    }
    if *enforced == Some(false) {
        return Err(SqlError::unsupported("a constraint that is NOT ENFORCED"));
    }
    Ok(())
}

/// What a column is computed from, if it is.
fn generation(column: &ast::ColumnDef) -> Result<Option<&ast::Expr>, SqlError> {
    let mut found = None;
    for option in &column.options {
        let ast::ColumnOption::Generated { generation_expr: Some(expression), generation_expr_mode, .. } =
            &option.option
        else {
            continue;
        };
        if !matches!(generation_expr_mode, Some(ast::GeneratedExpressionMode::Stored)) {
            return Err(SqlError::unsupported("a generated column that is not STORED"));
        }
        if found.replace(expression).is_some() {
            return Err(SqlError::syntax(format!(
                "multiple generation clauses specified for column \"{}\"",
                name_of(&column.name)
            )));
        }
    }
    Ok(found)
}

/// Whether a column is to count its rows: ALWAYS, and what its sequence is told.
fn identity(column: &ast::ColumnDef) -> Result<Option<(bool, SequenceOptions)>, SqlError> {
    let mut found = None;
    for option in &column.options {
        let (always, written) = match &option.option {
            ast::ColumnOption::Generated {
                generated_as, generation_expr: None, sequence_options, ..
            } => (matches!(generated_as, ast::GeneratedAs::Always), sequence_options),
            ast::ColumnOption::Identity(_) => return Err(SqlError::unsupported("IDENTITY(…)")),
            _ => continue,
        };
        let mut options = SequenceOptions::default();
        for option in written.iter().flatten() {
            match option {
                ast::SequenceOptions::IncrementBy(value, _) => options.increment = Some(whole(value)?),
                ast::SequenceOptions::MinValue(value) => {
                    options.min = Some(value.as_ref().map(whole).transpose()?);
                }
                ast::SequenceOptions::MaxValue(value) => {
                    options.max = Some(value.as_ref().map(whole).transpose()?);
                }
                ast::SequenceOptions::StartWith(value, _) => options.start = Some(whole(value)?),
                // `sqlparser` has it the other way round.
                ast::SequenceOptions::Cache(_) | ast::SequenceOptions::Cycle(true) => {}
                ast::SequenceOptions::Cycle(false) => {
                    return Err(SqlError::unsupported("the option CYCLE of a sequence"));
                }
            }
        }
        if found.replace((always, options)).is_some() {
            return Err(SqlError::syntax(format!(
                "multiple identity specifications for column \"{}\"",
                name_of(&column.name)
            )));
        }
    }
    Ok(found)
}

fn whole(value: &ast::Expr) -> Result<i64, SqlError> {
    let text = value.to_string();
    text.parse().map_err(|_| SqlError::syntax(format!("invalid option of a sequence: {text}")))
}

/// Without the parentheses around it.
fn unwrapped(expression: &ast::Expr) -> &ast::Expr {
    match expression {
        ast::Expr::Nested(inner) => unwrapped(inner),
        other => other,
    }
}

/// Refuses what means one thing today and another tomorrow, or on another node.
fn stable(stored: &str, whose: &str) -> Result<(), SqlError> {
    match function::unstable(stored) {
        None => Ok(()),
        Some(unstable) => {
            Err(SqlError::unsupported(format!("{whose} that depends on more than the row ({unstable})")))
        }
    }
}

/// SERIAL and its kin: INT8 NOT NULL DEFAULT unique_rowid(), as CockroachDB has them unless it is told otherwise.
fn is_serial(data_type: &ast::DataType) -> bool {
    let ast::DataType::Custom(name, modifiers) = data_type else { return false };
    const WORDS: [&str; 6] = ["serial", "serial2", "serial4", "serial8", "smallserial", "bigserial"];
    modifiers.is_empty() && WORDS.contains(&name.to_string().to_lowercase().as_str())
}

pub(super) fn unique_rowid() -> Expression {
    Expression {
        sql: "unique_rowid()".to_owned(),
        stored: "g_unique_rowid()".to_owned(),
        references: Vec::new(),
    }
}

fn first_word(option: &ast::ColumnOption) -> String {
    option.to_string().split_whitespace().next().unwrap_or_default().to_owned()
}
