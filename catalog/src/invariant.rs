//! What is true of every catalog, one function for each property. Tests check all of them after every command; a replica
//! checks them when it starts and when it installs a snapshot. A violation is a defect of this crate or of the disk,
//! never an answer to a client: a node that finds one must not answer.

use std::collections::BTreeSet;
use std::fmt;

use crate::defaults::{DefaultClass, DefaultPrivileges, DefaultsFor};
use crate::grant::Acl;
use crate::id::{ObjectId, PrincipalId};
use crate::job::{JobId, JobKind, JobStatus};
use crate::object::Object;
use crate::privilege::{ObjectKind, PrivilegeSet};
use crate::schedule::{Paused, Schedule};
use crate::shelf::Shelved;
use crate::state::{State, protection_of};
use crate::system;

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's label in ARCHITECTURE.md.
    pub label: &'static str,
    /// What does not hold, and of what.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.label, self.message)
    }
}

/// Every violation, in the order of labels. Cost: linear in the catalog, and as much as building a view.
pub fn check_all(state: &State) -> Vec<Violation> {
    let mut found = Vec::new();
    for (label, check) in CHECKS {
        let mut messages = Vec::new();
        check(state, &mut messages);
        found.extend(messages.into_iter().map(|message| Violation { label, message }));
    }
    found
}

type Check = fn(&State, &mut Vec<String>);

const CHECKS: [(&str, Check); 17] = [
    ("C1", closures_are_what_memberships_say),
    ("C2", targets_are_what_objects_say),
    ("C3", memberships_have_no_cycle_and_join_principals),
    ("C4", superusers_hold_exactly_all),
    ("C5", owners_exist),
    ("C6", acls_are_sorted_and_legal),
    ("C7", parents_exist_and_contain_such_kinds),
    ("C8", names_are_unique_in_their_parent),
    ("C9", ids_were_handed_out),
    ("C10", root_administers_admin),
    ("C11", defaults_are_of_what_exists),
    ("C12", variables_are_of_what_exists),
    ("C13", references_are_whole_both_ways),
    ("C14", shapes_are_whole),
    ("C15", jobs_are_whole),
    ("C16", shelves_are_apart),
    ("C17", schedules_are_whole),
];

/// C1: for each principal the index holds exactly itself and what it reaches through memberships, sorted.
pub fn closures_are_what_memberships_say(state: &State, found: &mut Vec<String>) {
    let fresh = state.clone().with_new_index();
    if !fresh.index().closures().eq(state.index().closures()) {
        found.push("the closures differ from those of the memberships".to_owned());
    }
}

/// C2: for each object, and the cluster, the index holds its kind, owner and ACL.
pub fn targets_are_what_objects_say(state: &State, found: &mut Vec<String>) {
    let fresh = state.clone().with_new_index();
    if !fresh.index().targets().eq(state.index().targets()) {
        found.push("the index differs from the objects".to_owned());
    }
}

/// C3: memberships join principals that exist, and lead nowhere back.
pub fn memberships_have_no_cycle_and_join_principals(state: &State, found: &mut Vec<String>) {
    for edge in state.memberships() {
        for end in [edge.role, edge.member] {
            if state.principal(end).is_none() {
                found.push(format!("principal {end} of a membership does not exist"));
            }
        }
        if state.reachable(edge.role).contains(&edge.member) {
            found.push(format!("role {} belongs to its member {}", edge.role, edge.member));
        }
    }
    let above: Vec<_> = state.memberships().map(|edge| (edge.role, edge.member, edge.admin_option)).collect();
    let mut below: Vec<_> = state
        .principals()
        .flat_map(|(member, _)| state.roles_of(member).map(move |(role, option)| (role, member, option)))
        .collect();
    below.sort_unstable();
    if above != below {
        found.push("memberships differ by role and by member".to_owned());
    }
}

/// C4: `admin` and `root` hold exactly ALL on every object that is not the system's, but for what they hold by rank.
pub fn superusers_hold_exactly_all(state: &State, found: &mut Vec<String>) {
    let stored =
        |(id, object): &(ObjectId, &Object)| !state.is_system(*id) && !object.kind().is_held_by_rank();
    for (id, object) in state.objects().filter(stored) {
        for superuser in [PrincipalId::ADMIN, PrincipalId::ROOT] {
            let held = object.acl.entry(superuser).map(|entry| entry.privileges);
            if held != Some(PrivilegeSet::ALL) {
                found.push(format!("principal {superuser} holds {held:?} on object {id}"));
            }
        }
    }
}

/// C5: every owner exists; `node` owns what is the system's, and nothing else.
pub fn owners_exist(state: &State, found: &mut Vec<String>) {
    for (id, object) in state.objects() {
        let fits = match object.owner {
            PrincipalId::NODE => state.is_system(id),
            owner => state.principal(owner).is_some() && !state.is_system(id),
        };
        if !fits {
            found.push(format!("principal {} owns object {id}", object.owner));
        }
    }
}

/// C6: entries are sorted, of principals that exist, not empty, and of legal privileges; `public` has no grant option.
pub fn acls_are_sorted_and_legal(state: &State, found: &mut Vec<String>) {
    let system = state.acl(ObjectId::CLUSTER).map(|acl| (ObjectId::CLUSTER, ObjectKind::Cluster, acl));
    let objects = state.objects().map(|(id, object)| (id, object.kind(), &object.acl));
    for (id, kind, acl) in system.into_iter().chain(objects) {
        if !is_legal(state, kind, acl) {
            found.push(format!("the access list of object {id} is not legal: {acl:?}"));
        }
    }
}

fn is_legal(state: &State, kind: ObjectKind, acl: &Acl) -> bool {
    acl.is_well_formed()
        && acl.entries().iter().all(|entry| {
            let known = entry.grantee == PrincipalId::PUBLIC || state.principal(entry.grantee).is_some();
            let legal = entry.privileges.union(entry.grant_options).minus(kind.legal()).is_empty();
            let private = entry.grantee != PrincipalId::PUBLIC || entry.grant_options.is_empty();
            known && legal && private
        })
}

/// C7: databases, external connections and roles of clouds are in the cluster, a schema is in a database, everything else in a schema;
/// every database has schema `public`. What is computed is where every cluster has it.
pub fn parents_exist_and_contain_such_kinds(state: &State, found: &mut Vec<String>) {
    for (id, object) in state.objects() {
        let fits = match system::object(id) {
            Some(built_in) => built_in.parent == object.parent && built_in.body == object.body,
            None => !id.is_virtual() && state.kind(object.parent) == Some(object.container()),
        };
        if !fits {
            found.push(format!("object {id} is in object {}, which cannot contain it", object.parent));
        }
        let is_public =
            |child: &Object| child.kind() == ObjectKind::Schema && child.name.as_str() == "public";
        let has_public = state.children(id).any(|(_, child)| is_public(child));
        if object.kind() == ObjectKind::Database && !has_public {
            found.push(format!("database {id} has no schema public"));
        }
    }
}

/// C8: in each parent a name means one object, a name and types of arguments one function, and each object is found by
/// its name; so are principals. Relations and types share one namespace.
pub fn names_are_unique_in_their_parent(state: &State, found: &mut Vec<String>) {
    let parents: Vec<_> =
        std::iter::once(ObjectId::CLUSTER).chain(state.objects().map(|(id, _)| id)).collect();
    let mut listed = BTreeSet::new();
    for parent in parents {
        for (id, child) in state.children(parent) {
            if child.parent != parent || !listed.insert(id) {
                found.push(format!("object {id} is listed in object {parent} and should not be"));
            }
        }
    }
    for (id, object) in state.objects() {
        if !listed.contains(&id) || state.found_by_name(object) != Some(id) {
            found.push(format!("object {id} is not found by its name"));
        }
    }
    let (principals, objects) = state.names_found();
    if (principals as usize, objects as usize) != (state.principals().count(), listed.len()) {
        found.push("names are found that are not listed".to_owned());
    }
    for (id, principal) in state.principals() {
        if state.principal_id(&principal.name) != Some(id) {
            found.push(format!("principal {id} is not the one of its name"));
        }
    }
}

/// C9: every id is fixed, or below the counter that hands ids out.
pub fn ids_were_handed_out(state: &State, found: &mut Vec<String>) {
    let counters = state.counters();
    for (id, _) in state.principals().filter(|(id, _)| *id >= counters.next_principal) {
        found.push(format!("principal {id} was never handed out"));
    }
    for (id, _) in state.objects().filter(|(id, _)| *id >= counters.next_object && !id.is_virtual()) {
        found.push(format!("object {id} was never handed out"));
    }
}

/// C10: `root` and `admin` exist, and `root` belongs to `admin` with ADMIN OPTION.
pub fn root_administers_admin(state: &State, found: &mut Vec<String>) {
    let edge = state.members_of(PrincipalId::ADMIN).find(|(member, _)| *member == PrincipalId::ROOT);
    if edge != Some((PrincipalId::ROOT, true)) || state.principal(PrincipalId::ADMIN).is_none() {
        found.push("root does not administer admin".to_owned());
    }
}

/// C11: default privileges are held by databases and schemas, for principals that exist or for all; they are legal for
/// their class, and not as built in.
pub fn defaults_are_of_what_exists(state: &State, found: &mut Vec<String>) {
    for (id, creator, defaults) in state.all_default_privileges() {
        let holder = match state.kind(id) {
            Some(kind @ (ObjectKind::Database | ObjectKind::Schema)) if !state.is_system(id) => kind,
            _ => {
                found.push(format!("object {id} holds default privileges"));
                continue;
            }
        };
        let of = DefaultsFor { holder, creator };
        if creator != PrincipalId::EVERYBODY && state.principal(creator).is_none() {
            found.push(format!("object {id} has default privileges of principal {creator}"));
        }
        if DefaultClass::EACH.iter().any(|class| !is_legal(state, class.kind(), defaults.acl(*class))) {
            found.push(format!("the default privileges of {creator} in object {id} are not legal"));
        }
        if *defaults == DefaultPrivileges::built_in(of) {
            found.push(format!("the default privileges of {creator} in object {id} are built in"));
        }
    }
}

/// C12: variables are of principals that exist, or of all, in databases that exist, or in any; sorted, each once.
pub fn variables_are_of_what_exists(state: &State, found: &mut Vec<String>) {
    for (database, role, settings) in state.all_role_settings() {
        let place = matches!(state.kind(database), Some(ObjectKind::Cluster | ObjectKind::Database));
        let owner = role == PrincipalId::EVERYBODY || state.principal(role).is_some();
        let sorted = settings.variables.is_sorted_by(|a, b| a.0 < b.0) && !settings.variables.is_empty();
        if !place || !owner || !sorted {
            found.push(format!("principal {role} has variables {settings:?} in object {database}"));
        }
    }
}

/// C13: what an object refers to is there and is of a kind that may stand there, and the referrers of an object are
/// exactly the objects that refer to it.
pub fn references_are_whole_both_ways(state: &State, found: &mut Vec<String>) {
    let mut expected = BTreeSet::new();
    for (id, object) in state.objects() {
        if let Err(refusal) = state.check_references(&object.body) {
            found.push(format!("object {id} refers to what it cannot: {}", refusal.message));
        }
        expected.extend(object.references_of(id).into_iter().map(|target| (target, id)));
    }
    if !state.referrer_pairs().eq(expected) {
        found.push("the referrers differ from the references".to_owned());
    }
}

/// C14: in a table every position is that of a column, and every name of a constraint or index is one's alone; a foreign
/// key refers to columns of its target that are a key there, of types that fit.
pub fn shapes_are_whole(state: &State, found: &mut Vec<String>) {
    for (id, object) in state.objects() {
        if let Err(refusal) = state.check_shape(object) {
            found.push(format!("table {id} is not whole: {}", refusal.message));
        }
    }
}

/// C15: every job's id was handed out; one that has ended is claimed by nobody, says why if it had no success, and protects
/// nothing; a claim is of a node that has a lease of claims, and was counted.
pub fn jobs_are_whole(state: &State, found: &mut Vec<String>) {
    for (id, job) in state.jobs() {
        if id >= state.next_job() || id < JobId::FIRST {
            found.push(format!("job {id} was never handed out"));
        }
        let ended = job.status.is_terminal();
        if ended != job.finished.is_some() || ended && (job.claim.is_some() || job.next_run.is_some()) {
            found.push(format!("job {id} with status {} is claimed, or has no end", job.status));
        }
        if ended && state.protection(protection_of(job.asked.token)).is_some() {
            found.push(format!("job {id} has ended and protects history"));
        }
        let has_error = job.error.is_some();
        let fits = match job.status {
            JobStatus::Reverting | JobStatus::Canceled | JobStatus::Failed | JobStatus::RevertFailed => {
                has_error
            }
            JobStatus::Pending | JobStatus::Running | JobStatus::CancelRequested | JobStatus::Succeeded => {
                !has_error
            }
            JobStatus::PauseRequested | JobStatus::Paused => true,
        };
        if !fits {
            found.push(format!("job {id} with status {} has the error {:?}", job.status, job.error));
        }
        if job.claim.is_some_and(|claim| job.epoch == 0 || state.claim_lease(claim.node).is_none()) {
            found.push(format!("job {id} is claimed by a node that has no claims"));
        }
    }
}

/// C17: every schedule's id was handed out, and is no job's; its owner exists; what is paused is not due; an incremental one has a
/// full one, of the same token, owner and place, which has no other.
pub fn schedules_are_whole(state: &State, found: &mut Vec<String>) {
    for (id, schedule) in state.schedules() {
        let number = JobId(id.0);
        if number >= state.next_job() || number < JobId::FIRST || state.job(number).is_some() {
            found.push(format!("schedule {id} was never handed out, or is a job"));
        }
        if schedule.owner != PrincipalId::NODE && state.principal(schedule.owner).is_none() {
            found.push(format!("principal {} owns schedule {id}", schedule.owner));
        }
        if schedule.paused.is_some() && schedule.next_run.is_some() {
            found.push(format!("schedule {id} is paused and due"));
        }
        let waits = schedule.paused == Some(Paused::WaitsForFull);
        let Some(full) = schedule.full else {
            if waits || state.schedule_of(schedule.token).map(|(first, _)| first) != Some(id) {
                found.push(format!("schedule {id} waits for a full layer, or has another's token"));
            }
            continue;
        };
        let of = |schedule: &Schedule| (schedule.token, schedule.owner, schedule.asked.place);
        let fits = |full: &Schedule| full.full.is_none() && of(full) == of(schedule);
        let only = state.incremental_of(full).map(|(first, _)| first) == Some(id);
        if !only || !state.schedule(full).is_some_and(|full| fits(full)) {
            found.push(format!("schedule {id} is upon schedule {full}, which is not its own"));
        }
    }
}

/// C16: a shelf is of a RESTORE that has not ended, or whose work could not be taken back; what is on it has a place below its
/// count, and objects of its own ids, none of which is an object yet, or of what is computed.
pub fn shelves_are_apart(state: &State, found: &mut Vec<String>) {
    for (job, _) in state.shelves() {
        let may = |job: &crate::job::Job| {
            let lives = !job.status.is_terminal() || job.status == JobStatus::RevertFailed;
            job.asked.kind == JobKind::Restore && lives
        };
        if !state.job(job).is_some_and(|job| may(job)) {
            found.push(format!("job {job} has a shelf, and is no RESTORE that goes on"));
        }
    }
    let counters = state.counters();
    for (job, number, item) in state.all_shelved() {
        let Some(shelf) = state.shelf(job).filter(|shelf| number < shelf.items) else {
            found.push(format!("thing {number} is on no shelf of job {job}"));
            continue;
        };
        let Shelved::Object { id, .. } = item else { continue };
        let is_apart =
            shelf.objects.contains(id.0) && state.object(*id).is_none() && *id < counters.next_object;
        if !is_apart && !id.is_virtual() {
            found.push(format!("object {id} on the shelf of job {job} is not of its ids, or is there"));
        }
        if !id.is_virtual() && state.shelved_object(*id).is_none() {
            found.push(format!("object {id} on the shelf of job {job} is not found"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_cluster_keeps_every_invariant() {
        assert_eq!(check_all(&State::bootstrap()), []);
    }
}
