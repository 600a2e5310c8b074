//! CREATE and ALTER TYPE … AS ENUM. Source: authorization spec, A.5.3; texts as v22.2's type_desc.go and alter_type.go
//! have them.

use std::collections::BTreeSet;

use crate::command::{LabelChange, ObjectName};
use crate::object::{Body, EnumLabel, EnumType, LABEL_GAP, LABELS_MAX, Object, TEXT_BYTES_MAX};
use crate::privilege::ObjectKind;
use crate::refusal::{self, Refusal};
use crate::state::Work;
use crate::state::objects::{Wanted, check_name};

impl Work<'_> {
    pub(super) fn create_type(
        &mut self,
        name: &ObjectName,
        labels: &[String],
        if_not_exists: bool,
    ) -> Result<(), Refusal> {
        let (schema, name) = self.new_place(name)?;
        if !self.is_free(schema, &name, Wanted::Type, if_not_exists)? {
            return Ok(());
        }
        check_name(&name, ObjectKind::Type)?;
        let positions = (1..).map(|nth: i64| nth.saturating_mul(LABEL_GAP));
        let labels = labels.iter().cloned().zip(positions);
        let enum_type =
            EnumType { labels: labels.map(|(label, position)| EnumLabel { position, label }).collect() };
        check(&enum_type)?;
        self.put_new(schema, name, Body::Type(enum_type))?;
        Ok(())
    }

    /// Needs ownership.
    pub(super) fn alter_type(&mut self, name: &ObjectName, change: &LabelChange) -> Result<(), Refusal> {
        let id = self.state.resolve_type(self.context, name)?;
        self.require_usage(id)?;
        self.require_ownership(id)?;
        let Some(object) = self.state.object(id) else { return Err(refusal::object_gone(id)) };
        let Body::Type(EnumType { labels }) = &object.body else {
            return Err(refusal::wrong_object_kind(&object.name, "type"));
        };
        let mut labels = labels.clone();
        match change {
            LabelChange::Add { label, if_not_exists, beside } => {
                if labels.iter().any(|there| there.label == *label) {
                    return self.taken(refusal::label_exists(label), *if_not_exists);
                }
                add(&mut labels, label, beside.as_ref())?;
            }
            LabelChange::Rename { from, to } => rename(&mut labels, from, to)?,
        }
        let enum_type = EnumType { labels };
        check(&enum_type)?;
        self.put_object(id, Object { body: Body::Type(enum_type), ..object.clone() });
        Ok(())
    }
}

/// Puts `label` at the end, or before (`true`) or after another one: half-way between its neighbours' positions, which
/// rows hold and which therefore stay.
fn add(labels: &mut Vec<EnumLabel>, label: &str, beside: Option<&(bool, String)>) -> Result<(), Refusal> {
    let at = match beside {
        None => labels.len(),
        Some((before, other)) => {
            let found = labels.iter().position(|there| there.label == *other);
            let found = found.ok_or_else(|| refusal::no_such_neighbour(other))?;
            if *before { found } else { found + 1 }
        }
    };
    let position = |at: usize| labels.get(at).map(|there| there.position);
    let below = at.checked_sub(1).and_then(position);
    let above = position(at);
    let position = match (below, above) {
        (Some(below), Some(above)) => {
            let middle = i64::midpoint(below, above);
            Some(middle).filter(|middle| below < *middle && *middle < above)
        }
        (Some(below), None) => below.checked_add(LABEL_GAP),
        (None, Some(above)) => above.checked_sub(LABEL_GAP),
        (None, None) => Some(LABEL_GAP),
    };
    let position = position.ok_or_else(|| refusal::no_position_left(label))?;
    labels.insert(at, EnumLabel { position, label: label.to_owned() });
    Ok(())
}

fn rename(labels: &mut [EnumLabel], from: &str, to: &str) -> Result<(), Refusal> {
    if from != to && labels.iter().any(|there| there.label == to) {
        return Err(refusal::renamed_label_exists(to));
    }
    let found = labels.iter_mut().find(|there| there.label == from);
    let found = found.ok_or_else(|| refusal::no_such_label(from))?;
    to.clone_into(&mut found.label);
    Ok(())
}

/// That `enum_type` keeps what [`EnumType`] promises, and is within bounds.
pub(super) fn check(enum_type: &EnumType) -> Result<(), Refusal> {
    let labels = &enum_type.labels;
    if labels.len() > LABELS_MAX {
        return Err(refusal::too_many("labels", labels.len(), LABELS_MAX));
    }
    let bytes = labels.iter().map(|label| label.label.len()).sum();
    if bytes > TEXT_BYTES_MAX {
        return Err(refusal::text_too_long("list of labels", bytes, TEXT_BYTES_MAX));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = labels.iter().find(|label| !seen.insert(&label.label)) {
        return Err(refusal::duplicate_label(&twice.label));
    }
    match labels.is_sorted_by(|a, b| a.position < b.position) {
        true => Ok(()),
        false => Err(refusal::labels_unsorted()),
    }
}
