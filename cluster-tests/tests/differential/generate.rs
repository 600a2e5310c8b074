//! Statements from a seed: everything that the tables of `words` allow, in every form that a query has.

use grantd_cluster_tests::dice::Dice;

use super::sql::Sql;
use super::words::{AGGREGATES, FORMS, Form, KINDS, Kind, TABLES, Table, WINDOWS, When, kind_of};

/// How deep expressions go.
const DEPTH: usize = 3;
/// How deep queries go in queries.
const NESTING: usize = 2;
/// The most rows of a result that LIMIT asks for.
const LIMIT_MAX: usize = 9;

/// A statement, and what can be said of its answer.
#[derive(Clone, Debug)]
pub struct Statement {
    /// It.
    pub sql: Sql,
    /// Whether the order of its rows is fixed.
    pub is_ordered: bool,
    /// The tables that it changes.
    pub changes: Vec<&'static str>,
}

/// What an expression may name.
#[derive(Clone, Debug, Default)]
struct Scope {
    /// Columns, or what stands for them in a grouped query.
    leaves: Vec<(String, usize)>,
    /// Whether each row's expressions are computed on both sides, so that they may fail.
    may_fail: bool,
    /// How many queries are around this one.
    nesting: usize,
    /// Whether a subquery may stand here.
    allows_subqueries: bool,
}

/// A query, and the types of its columns.
struct Query {
    sql: Sql,
    kinds: Vec<usize>,
}

/// Makes statements.
pub struct Generator {
    dice: Dice,
    names: usize,
    /// WITH items in sight.
    with: Vec<(String, Vec<usize>)>,
}

impl Generator {
    /// The statements of this seed.
    pub fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed), names: 0, with: Vec::new() }
    }

    /// The next one.
    pub fn statement(&mut self) -> Statement {
        self.names = 0;
        match self.dice.below(12) {
            0 => {
                let table = self.dice.pick(&TABLES);
                self.insert(table, None)
            }
            1 => {
                let table = self.dice.pick(&TABLES);
                self.update(table, None)
            }
            2 => {
                let table = self.dice.pick(&TABLES);
                self.delete(table, None)
            }
            3 => self.plain(),
            4 => self.changing(),
            _ => self.ordered(),
        }
    }

    /// A value of the type, as a literal. Beside what may fail there is no NULL: PostgreSQL leaves out what cannot
    /// matter then.
    fn literal(&mut self, kind: usize, scope: &Scope) -> Sql {
        let Kind { word, values, .. } = &KINDS[kind];
        if !scope.may_fail && self.dice.one_in(6) {
            return Sql::from(format!("NULL::{word}"));
        }
        let value = *self.dice.pick(values);
        let is_short = value.len() < 3 && matches!(*word, "INT2" | "INT4" | "INT8");
        if is_short && !self.dice.one_in(3) {
            return Sql::from(format!("({value})"));
        }
        Sql::from(format!("'{value}'::{word}"))
    }

    fn leaf(&mut self, kind: usize, scope: &Scope) -> Sql {
        let known: Vec<_> = scope.leaves.iter().filter(|leaf| leaf.1 == kind).cloned().collect();
        if known.is_empty() || self.dice.one_in(4) {
            return self.literal(kind, scope);
        }
        Sql::from(self.dice.pick(&known).0.as_str())
    }

    /// An expression of the type.
    fn expression(&mut self, kind: usize, depth: usize, scope: &Scope) -> Sql {
        if depth == 0 || self.dice.one_in(4) {
            return self.leaf(kind, scope);
        }
        if scope.allows_subqueries && scope.nesting < NESTING && self.dice.one_in(10) {
            return self.subquery(kind, scope);
        }
        let word = KINDS[kind].word;
        let fits: Vec<_> = FORMS
            .iter()
            .filter(|form| form.gives == word || form.gives == "=")
            .filter(|form| form.when != if scope.may_fail { When::Lazy } else { When::MayFail })
            .collect();
        let form: &Form = fits[self.dice.below(fits.len())];
        self.formed(form, kind, depth - 1, scope)
    }

    /// `form` with arguments; simpler are those of its arguments that have its type, and a leaf.
    fn formed(&mut self, form: &Form, kind: usize, depth: usize, scope: &Scope) -> Sql {
        let any = self.dice.below(KINDS.len());
        let mut arguments = Vec::new();
        let mut simpler = vec![self.leaf(kind, scope)];
        for word in form.takes {
            let of = match *word {
                "=" => kind,
                "?" => any,
                word => kind_of(word),
            };
            let argument = self.expression(of, depth, scope);
            if of == kind {
                simpler.push(argument.clone());
            }
            arguments.push(argument);
        }
        Sql::Either(Box::new(Sql::filled(form.template, &arguments)), simpler)
    }

    /// An expression with a query in it, which may name what is around it.
    fn subquery(&mut self, kind: usize, scope: &Scope) -> Sql {
        let simpler = vec![self.leaf(kind, scope)];
        let inner = Scope { nesting: scope.nesting + 1, may_fail: false, ..scope.clone() };
        let sql = if KINDS[kind].word == "BOOL" {
            let of = self.dice.below(KINDS.len());
            let left = self.expression(of, 1, &inner);
            match self.dice.below(8) {
                0 => Sql::filled("EXISTS ({0})", &[self.core(&[of], &inner)]),
                1 => Sql::filled("NOT EXISTS ({0})", &[self.core(&[of], &inner)]),
                2 => Sql::filled("{0} IN ({1})", &[left, self.core(&[of], &inner)]),
                3 => Sql::filled("{0} NOT IN ({1})", &[left, self.core(&[of], &inner)]),
                4 => Sql::filled("{0} < ALL ({1})", &[left, self.core(&[of], &inner)]),
                5 => Sql::filled("{0} >= ANY ({1})", &[left, self.core(&[of], &inner)]),
                6 => {
                    let other = self.expression(of, 1, &inner);
                    Sql::filled("({0}, {1}) IN ({2})", &[left, other, self.core(&[of, of], &inner)])
                }
                _ => Sql::filled("{0} = ANY ({1})", &[left, self.core(&[of], &inner)]),
            }
        } else {
            // One row at most: an aggregate, or the first of an order.
            let core = self.core(&[kind], &inner);
            Sql::filled("({0} ORDER BY 1 NULLS LAST LIMIT 1)", &[core])
        };
        Sql::Either(Box::new(Sql::filled("({0})", &[sql])), simpler)
    }

    /// What stands in FROM under a name of its own: text, and its columns.
    fn relation(&mut self, scope: &Scope) -> (Sql, Vec<(String, usize)>) {
        self.names += 1;
        let name = format!("q{}", self.names);
        if !self.with.is_empty() && self.dice.one_in(2) {
            let (item, kinds) = self.dice.pick(&self.with).clone();
            let columns = numbered(&name, &kinds);
            let list: Vec<_> = (1..=kinds.len()).map(|n| format!("c{n}")).collect();
            return (Sql::from(format!("{item} AS {name} ({})", list.join(", "))), columns);
        }
        if scope.nesting < NESTING && self.dice.one_in(5) {
            let inner =
                Scope { leaves: Vec::new(), nesting: scope.nesting + 1, may_fail: false, ..scope.clone() };
            let query = self.query(&inner);
            let columns = numbered(&name, &query.kinds);
            let list: Vec<_> = (1..=query.kinds.len()).map(|n| format!("c{n}")).collect();
            let sql = Sql::filled(&format!("({{0}}) AS {name} ({})", list.join(", ")), &[query.sql]);
            return (sql, columns);
        }
        if self.dice.one_in(12) {
            let leaves = vec![(format!("{name}.c1"), kind_of("INT8"))];
            return (Sql::from(format!("generate_series('1'::INT8, 4) AS {name} (c1)")), leaves);
        }
        if self.dice.one_in(12) {
            return self.values(&name, scope);
        }
        // A WITH item may have the name of a table, which is then not to be seen.
        let seen: Vec<_> =
            TABLES.iter().filter(|table| self.with.iter().all(|item| item.0 != table.name)).collect();
        let table = *self.dice.pick(&seen);
        let columns = columns(table).into_iter().map(|(column, kind)| (format!("{name}.{column}"), kind));
        (Sql::from(format!("{} AS {name}", table.name)), columns.collect())
    }

    /// `(VALUES …) AS q (c1, …)`.
    fn values(&mut self, name: &str, scope: &Scope) -> (Sql, Vec<(String, usize)>) {
        let kinds = self.kinds();
        let rows: Vec<_> = (0..=self.dice.below(3))
            .map(|_| {
                let row = kinds.iter().map(|kind| self.literal(*kind, scope)).collect();
                Sql::filled("({0})", &[separated(row)])
            })
            .collect();
        let list: Vec<_> = (1..=kinds.len()).map(|n| format!("c{n}")).collect();
        let template = format!("(VALUES {{0}}) AS {name} ({})", list.join(", "));
        (Sql::filled(&template, &[Sql::list(rows, ", ")]), numbered(name, &kinds))
    }

    /// What stands beside `seen` and may name it.
    fn lateral(&mut self, seen: &[(String, usize)], scope: &Scope) -> (Sql, Vec<(String, usize)>) {
        self.names += 1;
        let name = format!("q{}", self.names);
        let leaves = scope.leaves.iter().chain(seen).cloned().collect();
        let inner = Scope { leaves, nesting: scope.nesting + 1, may_fail: false, ..scope.clone() };
        let kinds = self.kinds();
        let core = self.core(&kinds, &inner);
        let list: Vec<_> = (1..=kinds.len()).map(|n| format!("c{n}")).collect();
        let sql = Sql::filled(&format!("LATERAL ({{0}}) AS {name} ({})", list.join(", ")), &[core]);
        (sql, numbered(&name, &kinds))
    }

    /// FROM with its joins.
    fn from(&mut self, scope: &mut Scope) -> Sql {
        let (mut sql, mut leaves) = self.relation(scope);
        // Both compute a subquery for each row around it.
        let joins = [0, 0, 0, 1, 1, 2][self.dice.below(6)].min(NESTING - scope.nesting);
        for _ in 0..joins {
            if scope.nesting < NESTING && self.dice.one_in(8) {
                let (right, more) = self.lateral(&leaves, scope);
                let only = sql.clone();
                let template =
                    *self.dice.pick(&["{0} CROSS JOIN {1}", "{0} LEFT JOIN {1} ON true", "{0}, {1}"]);
                sql = Sql::Either(Box::new(Sql::filled(template, &[sql, right])), vec![only]);
                leaves.extend(more);
                // A comma binds less than a join does, which could not name what is before it.
                break;
            }
            let (right, more) = self.relation(scope);
            let equal = self.equal(&leaves, &more);
            let both: Vec<_> = leaves.iter().chain(&more).cloned().collect();
            let inner = Scope { leaves: both.clone(), may_fail: false, ..scope.clone() };
            let inner = Scope { allows_subqueries: false, ..inner };
            let only = sql.clone();
            let joined = match (self.dice.below(6), equal) {
                (0, _) => Sql::filled("{0} CROSS JOIN {1}", &[sql, right]),
                // PostgreSQL has a full join only where it can merge or hash.
                (1, Some(equal)) => Sql::filled("{0} FULL JOIN {1} ON {2}", &[sql, right, equal]),
                (2, Some(equal)) => Sql::filled("{0} RIGHT JOIN {1} ON {2}", &[sql, right, equal]),
                (3, _) => {
                    let on = self.expression(kind_of("BOOL"), 2, &inner);
                    Sql::filled("{0} LEFT JOIN {1} ON {2}", &[sql, right, on])
                }
                (_, Some(equal)) => {
                    let on = self.expression(kind_of("BOOL"), 1, &inner);
                    let on = Sql::list(vec![equal, on], " AND ");
                    Sql::filled("{0} JOIN {1} ON {2}", &[sql, right, on])
                }
                (_, None) => {
                    let on = self.expression(kind_of("BOOL"), 2, &inner);
                    Sql::filled("{0} RIGHT JOIN {1} ON {2}", &[sql, right, on])
                }
            };
            sql = Sql::Either(Box::new(joined), vec![only]);
            leaves = both;
        }
        scope.leaves.extend(leaves);
        Sql::filled("FROM {0}", &[sql])
    }

    /// `a = b` of two columns of one type.
    fn equal(&mut self, left: &[(String, usize)], right: &[(String, usize)]) -> Option<Sql> {
        let pairs: Vec<_> = left
            .iter()
            .flat_map(|a| right.iter().map(move |b| (a, b)))
            .filter(|(a, b)| a.1 == b.1)
            .map(|(a, b)| format!("{} = {}", a.0, b.0))
            .collect();
        (!pairs.is_empty()).then(|| Sql::from(self.dice.pick(&pairs).as_str()))
    }

    /// SELECT … FROM … WHERE … GROUP BY … HAVING with columns of these types.
    fn core(&mut self, kinds: &[usize], outer: &Scope) -> Sql {
        let mut scope = Scope { allows_subqueries: true, ..outer.clone() };
        let from = self.from(&mut scope);
        let mut is_one_row = false;
        let mut clauses = vec![from];
        if !self.dice.one_in(3) {
            let filter = self.expression(kind_of("BOOL"), DEPTH, &scope);
            clauses.push(Sql::optional(Sql::filled(" WHERE {0}", &[filter])));
        }
        if self.dice.one_in(3) {
            (scope, is_one_row) = self.grouped(&mut clauses, &scope, outer);
        }
        let mut list: Vec<_> = kinds.iter().map(|kind| self.listed(*kind, &scope)).collect();
        if is_one_row {
            // An aggregate may be in no expression that was made.
            list[0] = Sql::filled("CASE WHEN count(*) >= 0 THEN {0} END", &[list[0].clone()]);
        }
        let distinct =
            if self.dice.one_in(5) { Sql::optional(Sql::from("DISTINCT ")) } else { Sql::from("") };
        let list = Sql::Parts(vec![distinct, separated(list)]);
        Sql::filled("SELECT {0} {1}", &[list, Sql::Parts(clauses)])
    }

    /// What stands in a select list: now and then a window function.
    fn listed(&mut self, kind: usize, scope: &Scope) -> Sql {
        let fits: Vec<_> = WINDOWS.iter().filter(|form| kind_of(form.gives) == kind).collect();
        if fits.is_empty() || !self.dice.one_in(4) {
            return self.expression(kind, DEPTH, scope);
        }
        let form = fits[self.dice.below(fits.len())];
        let plain = Scope { allows_subqueries: false, ..scope.clone() };
        let simpler = self.leaf(kind, scope);
        Sql::Either(Box::new(self.formed_of(form, kind, 0, &plain)), vec![simpler])
    }

    /// Adds GROUP BY and perhaps HAVING; gives what may be named after it, and whether all rows are one group.
    fn grouped(&mut self, clauses: &mut Vec<Sql>, scope: &Scope, outer: &Scope) -> (Scope, bool) {
        let plain = Scope { allows_subqueries: false, may_fail: false, ..scope.clone() };
        // What is around a query is constant in it: only its own columns are grouped by.
        let own = Scope { leaves: scope.leaves[outer.leaves.len()..].to_vec(), ..plain.clone() };
        let mut leaves = Vec::new();
        let mut keys = Vec::new();
        for _ in 0..self.dice.below(3) {
            let (key, kind) = if self.dice.one_in(4) {
                let form = self.dice.pick(&FORMS);
                let kind = if form.gives == "=" { self.dice.below(KINDS.len()) } else { kind_of(form.gives) };
                if form.when == When::MayFail {
                    continue;
                }
                (self.formed(form, kind, 0, &own).to_string(), kind)
            } else {
                self.dice.pick(&own.leaves).clone()
            };
            // A key without a column in it is a constant.
            if own.leaves.iter().any(|leaf| key.contains(&leaf.0)) && !keys.contains(&key) {
                keys.push(key.clone());
                leaves.push((key, kind));
            }
        }
        for _ in 0..=self.dice.below(3) {
            let form = self.dice.pick(&AGGREGATES);
            let kind = match form.gives {
                "=" => *self.dice.pick(&extremes()),
                word => kind_of(word),
            };
            // A sum of floats depends on its order, unless they are those of the tables.
            let depth = usize::from(form.gives != "FLOAT8");
            let named = if form.gives == "FLOAT8" { self.column_of(kind, &own) } else { None };
            let sql = match named {
                Some(column) => Sql::filled(form.template, &[Sql::from(column)]),
                None if form.gives == "FLOAT8" => continue,
                None => self.formed_of(form, kind, depth, &own),
            };
            leaves.push((sql.to_string(), kind));
        }
        if leaves.is_empty() {
            leaves.push(("count(*)".to_owned(), kind_of("INT8")));
        }
        if !keys.is_empty() {
            let list = keys.join(", ");
            let plain = Sql::from(format!(" GROUP BY {list}"));
            clauses.push(match self.dice.below(8) {
                0 => Sql::Either(Box::new(Sql::from(format!(" GROUP BY ROLLUP ({list})"))), vec![plain]),
                1 => Sql::Either(Box::new(Sql::from(format!(" GROUP BY CUBE ({list})"))), vec![plain]),
                2 => {
                    let sets = format!(" GROUP BY GROUPING SETS (({list}), ({}), ())", keys[0]);
                    Sql::Either(Box::new(Sql::from(sets)), vec![plain])
                }
                _ => plain,
            });
        }
        leaves.extend(outer.leaves.iter().cloned());
        let after = Scope { leaves, ..plain };
        if self.dice.one_in(3) {
            let having = self.expression(kind_of("BOOL"), 2, &after);
            clauses.push(Sql::optional(Sql::filled(" HAVING {0}", &[having])));
        }
        (after, keys.is_empty())
    }

    fn column_of(&mut self, kind: usize, scope: &Scope) -> Option<String> {
        let known: Vec<_> = scope.leaves.iter().filter(|leaf| leaf.1 == kind).cloned().collect();
        (!known.is_empty()).then(|| self.dice.pick(&known).0.clone())
    }

    /// An aggregate: nothing simpler stands for it.
    fn formed_of(&mut self, form: &Form, kind: usize, depth: usize, scope: &Scope) -> Sql {
        match self.formed(form, kind, depth, scope) {
            Sql::Either(now, _) => *now,
            other => other,
        }
    }

    fn kinds(&mut self) -> Vec<usize> {
        (0..=self.dice.below(3)).map(|_| self.dice.below(KINDS.len())).collect()
    }

    /// A query with set operations.
    fn query(&mut self, scope: &Scope) -> Query {
        let kinds = self.kinds();
        let mut sql = self.core(&kinds, scope);
        while self.dice.one_in(6) {
            let word = *self.dice.pick(&[
                "UNION",
                "UNION ALL",
                "INTERSECT",
                "INTERSECT ALL",
                "EXCEPT",
                "EXCEPT ALL",
            ]);
            let other = if self.dice.one_in(4) {
                let row: Vec<_> = kinds.iter().map(|kind| self.literal(*kind, scope)).collect();
                Sql::filled("VALUES ({0})", &[separated(row)])
            } else {
                self.core(&kinds, scope)
            };
            let simpler = vec![sql.clone(), other.clone()];
            sql = Sql::Either(
                Box::new(Sql::filled(&format!("({{0}}) {word} ({{1}})"), &[sql, other])),
                simpler,
            );
        }
        Query { sql, kinds }
    }

    /// A query with WITH, ORDER BY and LIMIT.
    fn ordered(&mut self) -> Statement {
        let mut items = Vec::new();
        let scope = Scope { allows_subqueries: true, ..Scope::default() };
        if self.dice.one_in(5) {
            for _ in 0..=self.dice.below(2) {
                let inner = Scope { nesting: 1, ..scope.clone() };
                let query = self.query(&inner);
                let name = if self.dice.one_in(3) { "pairs".to_owned() } else { format!("w{}", items.len()) };
                if self.with.iter().any(|known| known.0 == name) {
                    continue;
                }
                items.push(Sql::filled(&format!("{name} AS ({{0}})"), &[query.sql]));
                self.with.push((name, query.kinds));
            }
        }
        let mut word = "WITH";
        if items.is_empty() && self.dice.one_in(12) {
            items.push(self.recursive());
            word = "WITH RECURSIVE";
        }
        let (query, is_first_of_each) = match self.dice.one_in(12) {
            true => (self.first_of_each(&scope), true),
            false => (self.query(&scope), false),
        };
        self.with.clear();
        let mut sql = Vec::new();
        if !items.is_empty() {
            let with = Sql::filled(&format!("{word} {{0}} "), &[separated(items)]);
            sql.push(if is_first_of_each { with } else { Sql::optional(with) });
        }
        sql.push(query.sql);
        let is_ordered = is_first_of_each || self.dice.one_in(2);
        if is_ordered {
            let all: Vec<_> = (1..=query.kinds.len())
                .map(|n| {
                    let direction = *self.dice.pick(&["", " DESC"]);
                    let nulls = *self.dice.pick(&["FIRST", "LAST"]);
                    format!("{n}{direction} NULLS {nulls}")
                })
                .collect();
            sql.push(Sql::from(format!(" ORDER BY {}", all.join(", "))));
            if self.dice.one_in(2) {
                let limit = self.dice.below(LIMIT_MAX);
                sql.push(Sql::optional(Sql::from(format!(" LIMIT {limit}"))));
            }
            if self.dice.one_in(4) {
                sql.push(Sql::optional(Sql::from(format!(" OFFSET {}", self.dice.below(4)))));
            }
        }
        Statement { sql: Sql::Parts(sql), is_ordered, changes: Vec::new() }
    }

    /// DISTINCT ON, for the order that ORDER BY 1, 2, … will give.
    fn first_of_each(&mut self, scope: &Scope) -> Query {
        let mut seen = Scope { allows_subqueries: true, ..scope.clone() };
        let from = self.from(&mut seen);
        let kinds = self.kinds();
        let plain = Scope { allows_subqueries: false, ..seen };
        let list: Vec<_> = kinds.iter().map(|kind| self.expression(*kind, 2, &plain)).collect();
        // A number would be a position.
        let first = Sql::from(format!("coalesce({0}, {0})", list[0]));
        let mut fixed = vec![first.clone()];
        fixed.extend(list.into_iter().skip(1));
        let sql = Sql::filled("SELECT DISTINCT ON ({0}) {1} {2}", &[first, separated(fixed), from]);
        Query { sql, kinds }
    }

    /// A WITH item that names itself, a few times.
    fn recursive(&mut self) -> Sql {
        let kind = self.dice.below(KINDS.len());
        let word = KINDS[kind].word;
        let scope = Scope { leaves: vec![("w0.x".to_owned(), kind)], ..Scope::default() };
        let (first, next) = (self.literal(kind, &scope), self.expression(kind, 2, &scope));
        let union = *self.dice.pick(&["UNION ALL", "UNION"]);
        self.with.push(("w0".to_owned(), vec![kind_of("INT8"), kind]));
        let template = format!(
            "w0 (n, x) AS (SELECT '1'::INT8, ({{0}})::{word} {union} \
             SELECT w0.n + 1, ({{1}})::{word} FROM w0 WHERE w0.n < 4)"
        );
        Sql::filled(&template, &[first, next])
    }

    /// Every row's expressions, which may fail.
    fn plain(&mut self) -> Statement {
        let mut scope = Scope { may_fail: true, ..Scope::default() };
        let table = self.dice.pick(&TABLES);
        if !self.dice.one_in(4) {
            scope.leaves = columns(table);
        }
        let from = if scope.leaves.is_empty() { String::new() } else { format!(" FROM {}", table.name) };
        let kinds = self.kinds();
        let list: Vec<_> = kinds.iter().map(|kind| self.expression(*kind, DEPTH, &scope)).collect();
        let sql = Sql::Parts(vec![Sql::from("SELECT "), separated(list), Sql::from(from)]);
        Statement { sql, is_ordered: false, changes: Vec::new() }
    }

    /// A value for a column: a literal that takes its type, or one that has it, or an expression.
    fn value(&mut self, kind: usize, scope: &Scope) -> Sql {
        match self.dice.below(8) {
            0 => Sql::from("NULL"),
            1 => Sql::from("DEFAULT"),
            2 | 3 => self.expression(kind, 2, scope),
            _ => Sql::from(format!("'{}'", self.dice.pick(KINDS[kind].values))),
        }
    }

    fn insert(&mut self, table: &'static Table, returns: Option<&[usize]>) -> Statement {
        let all = columns(table);
        let mut named: Vec<_> = all.iter().filter(|_| !self.dice.one_in(5)).cloned().collect();
        for key in all.iter().filter(|column| table.key.contains(&column.0.as_str())) {
            if !named.contains(key) {
                named.push(key.clone());
            }
        }
        let names: Vec<_> = named.iter().map(|column| column.0.as_str()).collect();
        let scope = Scope { may_fail: true, ..Scope::default() };
        let is_query = self.dice.one_in(4);
        let source = if is_query {
            let kinds: Vec<_> = named.iter().map(|column| column.1).collect();
            let scope = Scope { nesting: 1, ..Scope::default() };
            self.core(&kinds, &scope)
        } else {
            let rows = (0..=self.dice.below(2)).map(|_| {
                let row = named.iter().map(|column| {
                    if table.key.contains(&column.0.as_str()) && !self.dice.one_in(3) {
                        return Sql::from(format!("'{}'", 200 + self.dice.below(500)));
                    }
                    self.value(column.1, &scope)
                });
                let row: Vec<_> = row.collect();
                let mut parts = vec![Sql::from("(")];
                for (at, value) in row.into_iter().enumerate() {
                    parts.extend([Sql::from(if at == 0 { "" } else { ", " }), value]);
                }
                parts.push(Sql::from(")"));
                Sql::Parts(parts)
            });
            let rows: Vec<_> = rows.collect();
            Sql::filled("VALUES {0}", &[separated(rows)])
        };
        let mut sql = vec![Sql::from(format!("INSERT INTO {} ({}) ", table.name, names.join(", "))), source];
        // Which of two equal rows stays depends on the order of the query.
        if !is_query && self.dice.one_in(3) {
            let target = table.key.join(", ");
            let clause = match self.dice.below(3) {
                0 => format!(" ON CONFLICT ({target}) DO NOTHING"),
                1 => " ON CONFLICT DO NOTHING".to_owned(),
                _ => {
                    let column = self.dice.pick(&all).0.clone();
                    format!(" ON CONFLICT ({target}) DO UPDATE SET {column} = excluded.{column}")
                }
            };
            sql.push(Sql::optional(Sql::from(clause)));
        }
        self.returning(&Scope { leaves: columns(table), ..Scope::default() }, returns, &mut sql);
        Statement { sql: Sql::Parts(sql), is_ordered: false, changes: vec![table.name] }
    }

    /// RETURNING of what is in sight: `kinds`, if another statement reads them.
    fn returning(&mut self, scope: &Scope, kinds: Option<&[usize]>, sql: &mut Vec<Sql>) {
        if kinds.is_none() && self.dice.one_in(2) {
            return;
        }
        let wanted = kinds.map_or_else(|| self.kinds(), <[usize]>::to_vec);
        let list: Vec<_> = wanted.into_iter().map(|kind| self.expression(kind, 2, scope)).collect();
        let clause = Sql::filled(" RETURNING {0}", &[separated(list)]);
        sql.push(if kinds.is_some() { clause } else { Sql::optional(clause) });
    }

    /// The condition of an UPDATE or DELETE, with subqueries.
    fn filter(&mut self, table: &Table, sql: &mut Vec<Sql>) {
        let scope = Scope { leaves: qualified(table), allows_subqueries: true, ..Scope::default() };
        let filter = self.expression(kind_of("BOOL"), DEPTH, &scope);
        let first = self.leaf(kind_of("BOOL"), &scope);
        let filter = Sql::Either(Box::new(filter), vec![first]);
        sql.push(Sql::optional(Sql::filled(" WHERE {0}", &[filter])));
    }

    fn update(&mut self, table: &'static Table, returns: Option<&[usize]>) -> Statement {
        let scope = Scope { leaves: qualified(table), allows_subqueries: true, ..Scope::default() };
        let mut others = others_of(table);
        let mut set = Vec::new();
        for _ in 0..=self.dice.below(2) {
            let at = self.dice.below(others.len());
            let (column, kind) = others.remove(at);
            let value = self.value_of(kind, &scope);
            set.push(Sql::Parts(vec![Sql::from(format!("{column} = ")), value]));
        }
        let mut sql = vec![Sql::from(format!("UPDATE {} SET ", table.name))];
        let whole = columns(table).into_iter().find(|column| column.1 == kind_of("INT8"));
        match whole {
            Some((column, _)) if self.dice.one_in(3) => {
                // At most one row of the other table for each: which of several it is would be open.
                let others: Vec<_> = TABLES.iter().filter(|other| other.key == ["id"]).collect();
                let other = *self.dice.pick(&others);
                let mut beside = scope.clone();
                beside
                    .leaves
                    .extend(columns(other).into_iter().map(|(name, kind)| (format!("o.{name}"), kind)));
                set.truncate(1);
                let (named, kind) = others_of(table)[0].clone();
                let value = self.expression(kind, 2, &beside);
                set[0] = Sql::Parts(vec![Sql::from(format!("{named} = ")), value]);
                let filter = self.expression(kind_of("BOOL"), 2, &beside);
                sql.push(separated(set));
                let from = format!(" FROM {} AS o WHERE o.id = {}.{column}", other.name, table.name);
                sql.push(Sql::from(from));
                sql.push(Sql::optional(Sql::filled(" AND {0}", &[filter])));
                if returns.is_none() && self.dice.one_in(4) {
                    sql.push(Sql::optional(Sql::from(format!(" RETURNING {}.*, o.id", table.name))));
                } else {
                    self.returning(&Scope { allows_subqueries: false, ..beside }, returns, &mut sql);
                }
            }
            _ => {
                sql.push(separated(set));
                self.filter(table, &mut sql);
                self.returning(&Scope { leaves: columns(table), ..Scope::default() }, returns, &mut sql);
            }
        }
        Statement { sql: Sql::Parts(sql), is_ordered: false, changes: vec![table.name] }
    }

    /// WITH whose items change tables, one each, and what reads their rows: a query, or a change of yet another table.
    fn changing(&mut self) -> Statement {
        let mut tables: Vec<&'static Table> = TABLES.iter().collect();
        let mut items = Vec::new();
        let mut changes = Vec::new();
        for at in 0..=self.dice.below(2) {
            let name = format!("w{at}");
            if self.dice.one_in(4) {
                let query = self.query(&Scope { nesting: 1, allows_subqueries: true, ..Scope::default() });
                items.push(Sql::filled(&format!("{name} AS ({{0}})"), &[query.sql]));
                self.with.push((name, query.kinds));
                continue;
            }
            let table = tables.remove(self.dice.below(tables.len()));
            let (kinds, item) = self.change_of(table, true);
            changes.extend(item.changes);
            items.push(Sql::filled(&format!("{name} AS ({{0}})"), &[item.sql]));
            self.with.push((name, kinds));
        }
        let table = tables[self.dice.below(tables.len())];
        let last = if self.dice.one_in(3) {
            let (_, change) = self.change_of(table, false);
            changes.extend(change.changes);
            change.sql
        } else {
            self.query(&Scope { allows_subqueries: true, ..Scope::default() }).sql
        };
        self.with.clear();
        let sql = Sql::filled("WITH {0} {1}", &[separated(items), last]);
        Statement { sql, is_ordered: false, changes }
    }

    /// A change of a table; `returns`: with RETURNING of these types.
    fn change_of(&mut self, table: &'static Table, returns: bool) -> (Vec<usize>, Statement) {
        let kinds = self.kinds();
        let wanted = returns.then_some(kinds.as_slice());
        let statement = match self.dice.below(3) {
            0 => self.insert(table, wanted),
            1 => self.update(table, wanted),
            _ => self.delete(table, wanted),
        };
        (kinds, statement)
    }

    /// What an UPDATE sets.
    fn value_of(&mut self, kind: usize, scope: &Scope) -> Sql {
        if self.dice.one_in(2) { self.value(kind, scope) } else { self.expression(kind, DEPTH, scope) }
    }

    fn delete(&mut self, table: &'static Table, returns: Option<&[usize]>) -> Statement {
        let mut sql = vec![Sql::from(format!("DELETE FROM {}", table.name))];
        let whole = columns(table).into_iter().find(|column| column.1 == kind_of("INT8"));
        if let (Some((column, _)), true) = (whole, self.dice.one_in(4)) {
            // At most one row beside each, so that RETURNING shows the same.
            let others: Vec<_> = TABLES.iter().filter(|other| other.key == ["id"]).collect();
            let other = *self.dice.pick(&others);
            let mut scope = Scope { leaves: qualified(table), ..Scope::default() };
            scope.leaves.extend(columns(other).into_iter().map(|(name, kind)| (format!("o.{name}"), kind)));
            let filter = self.expression(kind_of("BOOL"), 2, &scope);
            sql.push(Sql::from(format!(" USING {} AS o WHERE o.id = {}.{column}", other.name, table.name)));
            sql.push(Sql::optional(Sql::filled(" AND {0}", &[filter])));
            self.returning(&scope, returns, &mut sql);
        } else if returns.is_none() && self.dice.one_in(3) {
            let mut scope = Scope { leaves: qualified(table), ..Scope::default() };
            let (beside, more) = self.relation(&Scope { nesting: 1, ..Scope::default() });
            scope.leaves.extend(more);
            let filter = self.expression(kind_of("BOOL"), 2, &scope);
            sql.push(Sql::filled(" USING {0} WHERE {1}", &[beside, filter]));
        } else {
            self.filter(table, &mut sql);
            // What a row that goes is shown with is what was there before.
            let allows_subqueries = self.dice.one_in(2);
            let scope = Scope { leaves: qualified(table), allows_subqueries, ..Scope::default() };
            self.returning(&scope, returns, &mut sql);
        }
        Statement { sql: Sql::Parts(sql), is_ordered: false, changes: vec![table.name] }
    }
}

fn separated(parts: Vec<Sql>) -> Sql {
    let mut all = Vec::new();
    for (at, part) in parts.into_iter().enumerate() {
        all.extend([Sql::from(if at == 0 { "" } else { ", " }), part]);
    }
    Sql::Parts(all)
}

fn numbered(name: &str, kinds: &[usize]) -> Vec<(String, usize)> {
    kinds.iter().enumerate().map(|(at, kind)| (format!("{name}.c{}", at + 1), *kind)).collect()
}

/// The types that `min` and `max` take.
fn extremes() -> Vec<usize> {
    (0..KINDS.len()).filter(|kind| KINDS[*kind].has_extremes).collect()
}

fn qualified(table: &Table) -> Vec<(String, usize)> {
    let name = table.name;
    columns(table).into_iter().map(|(column, kind)| (format!("{name}.{column}"), kind)).collect()
}

/// The columns that are of no key.
fn others_of(table: &Table) -> Vec<(String, usize)> {
    let mut others = columns(table);
    others.retain(|column| !table.key.contains(&column.0.as_str()));
    others
}

/// The columns of a table with their types.
pub fn columns(table: &Table) -> Vec<(String, usize)> {
    let mut all: Vec<_> =
        table.columns.iter().map(|(column, word, _)| ((*column).to_owned(), kind_of(word))).collect();
    if table.name == TABLES[0].name {
        all.extend(KINDS.iter().enumerate().map(|(at, kind)| (kind.column.to_owned(), at)));
    }
    all
}

/// What makes the tables, on both.
pub fn create() -> Vec<String> {
    let labels: Vec<_> = KINDS[kind_of("mood")].values.iter().map(|label| format!("'{label}'")).collect();
    let mut all = vec![format!("CREATE TYPE mood AS ENUM ({})", labels.join(", "))];
    for table in &TABLES {
        let mut list: Vec<_> =
            table.columns.iter().map(|(name, word, rest)| format!("{name} {word} {rest}")).collect();
        let more = columns(table).into_iter().skip(table.columns.len());
        list.extend(more.map(|(name, kind)| format!("{name} {}", KINDS[kind].word)));
        all.push(format!("CREATE TABLE {} ({}{})", table.name, list.join(", "), table.constraints));
    }
    all
}

/// What gives the tables their first rows, on both: nothing, duplicates, extremes.
pub fn fill(seed: u64) -> Vec<String> {
    let mut dice = Dice::new(seed);
    let mut all = Vec::new();
    for table in &TABLES {
        all.push(format!("DELETE FROM {}", table.name));
        let mut rows = Vec::new();
        for row in 0..table.rows {
            let cells = columns(table).into_iter().map(|(name, kind)| match (table.name, name.as_str()) {
                ("wide" | "items", "id") => row.to_string(),
                ("pairs", "k") => (row / 3).to_string(),
                ("pairs", "s") => format!("'{}'", ["a", "b", "ä"][row % 3]),
                ("items", "code") => format!("'c{row}'"),
                ("items", "n") => dice.below(50).to_string(),
                ("items", "price") => format!("{}", dice.below(40)),
                _ if dice.one_in(5) => "NULL".to_owned(),
                _ => format!("'{}'", dice.pick(KINDS[kind].values)),
            });
            rows.push(format!("({})", cells.collect::<Vec<_>>().join(", ")));
        }
        all.push(format!("INSERT INTO {} VALUES {}", table.name, rows.join(", ")));
    }
    all
}
