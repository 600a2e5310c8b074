//! Seeded catalogs, and questions to them: the same numbers for everybody who is measured.
//!
//! A world is plain data (who belongs to what, who was granted what), so that a peer can be told the same;
//! [`World::state`] makes grantd's own catalog of it. Users and roles are numbered together, users first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use grantd_catalog::grant::{Acl, AclEntry};
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::object::{Body, Column, ColumnType, Object, Table};
use grantd_catalog::privilege::{Privilege, PrivilegeSet};
use grantd_catalog::record::{Counters, Record, RecordKey};
use grantd_catalog::role::{Principal, RoleOptions};
use grantd_catalog::state::{RestoreError, State};

/// What tables are granted in these worlds.
pub const PRIVILEGES: [Privilege; 4] =
    [Privilege::Select, Privilege::Insert, Privilege::Update, Privilege::Delete];

/// Percent of the roles on each level, lowest first. A role belongs to roles of the next level.
const LEVELS: [usize; 5] = [40, 25, 18, 11, 6];
/// A role belongs to 1 to this many roles of the next level.
const ROLES_OF_A_ROLE_MAX: usize = 2;
/// A user belongs to 1 to this many roles.
const ROLES_OF_A_USER_MAX: usize = 5;
/// Of 100 grants, those to roles; the others are to users.
const TO_ROLES_PERCENT: usize = 90;
/// The exponent of zipfian questions.
const ZIPF_EXPONENT: f64 = 1.1;

/// How large a world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Users.
    pub users: usize,
    /// Roles.
    pub roles: usize,
    /// Tables.
    pub tables: usize,
    /// Grants: pairs of a table and a grantee.
    pub grants: usize,
}

impl Size {
    /// 10,000 users, 1,000 roles, 10,000 tables, 100,000 grants.
    pub const ONE: Self = Self { users: 10_000, roles: 1_000, tables: 10_000, grants: 100_000 };

    /// So many times as large.
    #[must_use]
    pub const fn times(self, factor: usize) -> Self {
        Self {
            users: self.users * factor,
            roles: self.roles * factor,
            tables: self.tables * factor,
            grants: self.grants * factor,
        }
    }
}

/// Who a principal is in a world: users are `0..users`, roles follow.
pub type Who = usize;

/// One grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Which table.
    pub table: usize,
    /// To whom.
    pub grantee: Who,
    /// 1 to 4 of [`PRIVILEGES`].
    pub privileges: PrivilegeSet,
}

/// One question: does `who` hold `privilege` on `table`?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// A user.
    pub who: Who,
    /// A table.
    pub table: usize,
    /// One of [`PRIVILEGES`].
    pub privilege: Privilege,
}

/// How questions are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// Users and tables uniformly; every second one asks for a grant that the user reaches.
    Uniform,
    /// Users and tables by a zipfian distribution.
    Zipf,
}

/// A catalog as plain data.
#[derive(Debug)]
pub struct World {
    /// How large it is.
    pub size: Size,
    /// For each user and role the roles that it belongs to directly, sorted.
    pub member_of: Vec<Vec<Who>>,
    /// For each table the role that owns it.
    pub owners: Vec<Who>,
    /// All grants, sorted by table and grantee.
    pub grants: Vec<Grant>,
}

impl World {
    /// The world of this size and seed: the same whenever and wherever it is made.
    pub fn generate(size: Size, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let levels = levels(size.roles);
        let mut member_of = Vec::with_capacity(size.users + size.roles);
        for _ in 0..size.users {
            let count = 1 + dice.below(ROLES_OF_A_USER_MAX);
            member_of.push(dice.some(count, size.users, size.roles));
        }
        for (level, (begin, end)) in levels.iter().enumerate() {
            for _ in *begin..*end {
                let above = levels.get(level + 1).copied().unwrap_or_default();
                let count = if above.0 == above.1 { 0 } else { 1 + dice.below(ROLES_OF_A_ROLE_MAX) };
                member_of.push(dice.some(count, size.users + above.0, above.1 - above.0));
            }
        }
        let owners = (0..size.tables).map(|_| size.users + dice.below(size.roles)).collect();
        let mut grants = BTreeMap::new();
        while grants.len() < size.grants {
            let table = dice.below(size.tables);
            let grantee = if dice.below(100) < TO_ROLES_PERCENT {
                size.users + dice.below(size.roles)
            } else {
                dice.below(size.users)
            };
            let count = 1 + dice.below(PRIVILEGES.len());
            let privileges = dice.some(count, 0, PRIVILEGES.len()).into_iter().map(|at| PRIVILEGES[at]);
            grants.insert((table, grantee), privileges.collect());
        }
        let grants =
            grants.into_iter().map(|((table, grantee), privileges)| Grant { table, grantee, privileges });
        Self { size, member_of, owners, grants: grants.collect() }
    }

    /// `who` and every role that it reaches, sorted.
    pub fn closure(&self, who: Who) -> BTreeSet<Who> {
        let mut seen = BTreeSet::new();
        let mut open = vec![who];
        while let Some(at) = open.pop() {
            if seen.insert(at) {
                open.extend(&self.member_of[at]);
            }
        }
        seen
    }

    /// What is true, found slowly: to compare answers with.
    pub fn holds(&self, question: Question) -> bool {
        let closure = self.closure(question.who);
        closure.contains(&self.owners[question.table])
            || self.grants_on(question.table).iter().any(|grant| {
                grant.privileges.contains(question.privilege) && closure.contains(&grant.grantee)
            })
    }

    /// The grants on one table, sorted by grantee.
    pub fn grants_on(&self, table: usize) -> &[Grant] {
        let begin = self.grants.partition_point(|grant| grant.table < table);
        let count = self.grants[begin..].partition_point(|grant| grant.table == table);
        &self.grants[begin..begin + count]
    }

    /// So many questions, the same for the same seed.
    pub fn questions(&self, count: usize, draw: Draw, seed: u64) -> Vec<Question> {
        let mut dice = Dice::new(seed);
        match draw {
            Draw::Uniform => {
                let by_grantee = self.grants_by_grantee();
                (0..count).map(|number| self.uniform(&mut dice, &by_grantee, number % 2 == 0)).collect()
            }
            Draw::Zipf => {
                let (users, tables) = (Zipf::new(self.size.users), Zipf::new(self.size.tables));
                let question = |_| Question {
                    who: users.draw(&mut dice),
                    table: tables.draw(&mut dice),
                    privilege: PRIVILEGES[dice.below(PRIVILEGES.len())],
                };
                (0..count).map(question).collect()
            }
        }
    }

    /// The name of a user or role.
    pub fn name(&self, who: Who) -> String {
        match who.checked_sub(self.size.users) {
            None => format!("user{who}"),
            Some(role) => format!("role{role}"),
        }
    }

    /// The name of a table, which is in `defaultdb.public`.
    pub fn table_name(table: usize) -> String {
        format!("table{table}")
    }

    /// What grantd calls a user or role.
    pub fn principal(&self, who: Who) -> PrincipalId {
        PrincipalId(PrincipalId::FIRST_ORDINARY.0 + number(who))
    }

    /// What grantd calls a table.
    pub fn object(&self, table: usize) -> ObjectId {
        ObjectId(ObjectId::FIRST_ORDINARY.0 + number(table))
    }

    /// grantd's catalog of this world.
    pub fn state(&self) -> Result<State, RestoreError> {
        let counters = Counters {
            next_principal: self.principal(self.size.users + self.size.roles),
            next_object: self.object(self.size.tables),
        };
        // All tables share one shape: what is measured is rights.
        let shape = Arc::new(shape());
        let built_in = State::bootstrap();
        let fixed = built_in.records().filter(|(key, _)| *key != RecordKey::Counters);
        let principals = (0..self.size.users + self.size.roles).map(|who| {
            let principal = Principal {
                name: RoleName::from(self.name(who).as_str()),
                is_role: who >= self.size.users,
                options: RoleOptions::EMPTY,
                password: None,
                valid_until: None,
            };
            (RecordKey::Principal(self.principal(who)), Record::Principal(principal))
        });
        let members = self.member_of.iter().enumerate().flat_map(|(who, roles)| {
            let member = self.principal(who);
            let key = move |role: &Who| RecordKey::Membership { role: self.principal(*role), member };
            roles.iter().map(move |role| (key(role), Record::Membership { admin_option: false }))
        });
        let tables = (0..self.size.tables).map(|table| {
            let object = Object {
                name: Name::from(Self::table_name(table).as_str()),
                parent: ObjectId::DEFAULT_PUBLIC_SCHEMA,
                owner: self.principal(self.owners[table]),
                acl: self.acl(table),
                body: Body::Table(Arc::clone(&shape)),
                comment: None,
            };
            (RecordKey::Object(self.object(table)), Record::Object(Arc::new(object)))
        });
        let counters = std::iter::once((RecordKey::Counters, Record::Counters(counters)));
        State::restore(counters.chain(fixed).chain(principals).chain(members).chain(tables))
    }

    fn acl(&self, table: usize) -> Acl {
        let superusers = [PrincipalId::ROOT, PrincipalId::ADMIN].map(AclEntry::superuser);
        let granted = self.grants_on(table).iter().map(|grant| AclEntry {
            privileges: grant.privileges,
            ..AclEntry::none(self.principal(grant.grantee))
        });
        superusers.into_iter().chain(granted).collect()
    }

    /// For each user and role the numbers of its grants.
    fn grants_by_grantee(&self) -> Vec<Vec<usize>> {
        let mut by_grantee = vec![Vec::new(); self.member_of.len()];
        for (at, grant) in self.grants.iter().enumerate() {
            by_grantee[grant.grantee].push(at);
        }
        by_grantee
    }

    fn uniform(&self, dice: &mut Dice, by_grantee: &[Vec<usize>], reachable: bool) -> Question {
        let who = dice.below(self.size.users);
        let closure: Vec<_> = self.closure(who).into_iter().collect();
        let reached = &by_grantee[closure[dice.below(closure.len())]];
        if !reachable || reached.is_empty() {
            let (table, privilege) = (dice.below(self.size.tables), PRIVILEGES[dice.below(PRIVILEGES.len())]);
            return Question { who, table, privilege };
        }
        let grant = self.grants[reached[dice.below(reached.len())]];
        let held: Vec<_> = grant.privileges.iter().collect();
        Question { who, table: grant.table, privilege: held[dice.below(held.len())] }
    }
}

/// The first role of each level, and that after its last.
fn levels(roles: usize) -> [(usize, usize); 5] {
    let mut begin = 0;
    let mut percent = 0;
    LEVELS.map(|share| {
        percent += share;
        let level = (begin, roles * percent / 100);
        begin = level.1;
        level
    })
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("worlds have fewer than 2^32 of anything")
}

/// One column and the hidden key that CREATE TABLE gives it.
fn shape() -> Table {
    let column = |name: &str, hidden: bool| Column {
        name: Name::from(name),
        column_type: ColumnType::Int8,
        nullable: !hidden,
        default: None,
        hidden,
        comment: None,
        computed: None,
        identity: None,
    };
    Table {
        columns: vec![column("a", false), column("rowid", true)],
        primary_key: vec![1],
        key_name: Name::from("pkey"),
        unique: Vec::new(),
        checks: Vec::new(),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
    }
}

/// Numbers that are the same for the same seed. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators" (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        let wide = u128::from(self.roll()) * end as u128;
        usize::try_from(wide >> 64).unwrap_or_default()
    }

    /// A number from 0 to 1, without 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are kept")]
    pub fn share(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// At most `count` numbers of the `width` that begin at `begin`, sorted, each once.
    fn some(&mut self, count: usize, begin: usize, width: usize) -> Vec<usize> {
        let drawn: BTreeSet<_> = (0..count).map(|_| begin + self.below(width)).collect();
        drawn.into_iter().collect()
    }
}

/// Ranks by a zipfian distribution, and which member has which rank.
struct Zipf {
    /// The share of draws that are of a rank up to this one.
    up_to: Vec<f64>,
    /// Who has a rank: neighbours in rank are not neighbours in number.
    members: Vec<usize>,
}

impl Zipf {
    #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^52 members")]
    fn new(count: usize) -> Self {
        let mut sum = 0.0;
        let mut up_to: Vec<f64> = (1..=count)
            .map(|rank| {
                sum += (rank as f64).powf(-ZIPF_EXPONENT);
                sum
            })
            .collect();
        up_to.iter_mut().for_each(|share| *share /= sum);
        let mut members: Vec<_> = (0..count).collect();
        let mut dice = Dice::new(number(count).into());
        for at in (1..count).rev() {
            members.swap(at, dice.below(at + 1));
        }
        Self { up_to, members }
    }

    fn draw(&self, dice: &mut Dice) -> usize {
        let share = dice.share();
        let rank = self.up_to.partition_point(|up_to| *up_to <= share);
        self.members[rank.min(self.members.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use grantd_catalog::invariant;

    use super::*;

    const TINY: Size = Size { users: 100, roles: 200, tables: 200, grants: 1_000 };

    #[test]
    fn the_catalog_of_a_world_is_whole_and_answers_as_the_world_does() {
        let world = World::generate(TINY, 1);
        let state = world.state().unwrap();
        assert_eq!(invariant::check_all(&state), []);
        for draw in [Draw::Uniform, Draw::Zipf] {
            let questions = world.questions(2_000, draw, 2);
            let mut allowed = 0;
            for question in &questions {
                let (who, object) = (world.principal(question.who), world.object(question.table));
                let answer = state.index().holds(who, object, question.privilege);
                assert_eq!(answer, world.holds(*question), "{question:?}");
                allowed += usize::from(answer);
            }
            assert!((200..1_800).contains(&allowed), "{allowed} of 2,000 are allowed: that tests little");
        }
    }

    #[test]
    fn a_world_is_the_same_for_the_same_seed() {
        let (one, two) = (World::generate(TINY, 7), World::generate(TINY, 7));
        assert_eq!((&one.member_of, &one.owners, &one.grants), (&two.member_of, &two.owners, &two.grants));
        assert_eq!(one.questions(100, Draw::Zipf, 3), two.questions(100, Draw::Zipf, 3));
        assert_ne!(one.grants, World::generate(TINY, 8).grants);
    }
}
