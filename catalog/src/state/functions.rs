//! CREATE FUNCTION. Source: authorization spec, A.5.3.

use std::collections::BTreeSet;

use crate::command::ObjectName;
use crate::id::ObjectId;
use crate::name::Name;
use crate::object::{ARGUMENTS_MAX, Body, Function, Object};
use crate::privilege::ObjectKind;
use crate::refusal::{self, Refusal};
use crate::state::objects::check_name;
use crate::state::store::signature;
use crate::state::views::check_query;
use crate::state::{Namespace, State, Work};

impl Work<'_> {
    /// What the body needs is checked before the name, as in the original, which plans the body first.
    pub(super) fn create_function(
        &mut self,
        name: &ObjectName,
        function: &Function,
        or_replace: bool,
    ) -> Result<(), Refusal> {
        let (schema, name) = self.new_place(name)?;
        check(function)?;
        let body = Body::Function(function.clone());
        self.require_references(&body)?;
        let key = signature(&name, function.argument_types());
        match self.state.child(schema, Namespace::Functions, &key) {
            Some(id) if or_replace => self.replace_function(id, function),
            Some(_) => Err(refusal::function_exists(&name)),
            None => {
                check_name(&name, ObjectKind::Function)?;
                self.put_new(schema, name, body)?;
                Ok(())
            }
        }
    }

    /// Needs ownership of the function that there is. The type of its result stays: others may use it.
    fn replace_function(&mut self, id: ObjectId, function: &Function) -> Result<(), Refusal> {
        self.require_ownership(id)?;
        let Some(object) = self.state.object(id) else { return Err(refusal::object_gone(id)) };
        if matches!(&object.body, Body::Function(before) if before.returns != function.returns) {
            return Err(refusal::function_returns_other(&object.name));
        }
        if self.state.reaches(&function.references, id) {
            return Err(refusal::circular("function", &self.state.full_name(object)));
        }
        self.put_object(id, Object { body: Body::Function(function.clone()), ..object.clone() });
        Ok(())
    }
}

/// That `function` is within bounds, and its arguments have different names.
pub(super) fn check(function: &Function) -> Result<(), Refusal> {
    let count = function.arguments.len();
    if count > ARGUMENTS_MAX {
        return Err(refusal::too_many("arguments", count, ARGUMENTS_MAX));
    }
    let mut seen = BTreeSet::new();
    let mut names = function.arguments.iter().filter_map(|argument| argument.name.as_ref());
    if let Some(twice) = names.find(|name| !seen.insert(*name)) {
        return Err(refusal::duplicate_argument(twice));
    }
    check_query(&function.body, &function.references)
}

impl State {
    /// A function with the types of its arguments, as SHOW GRANTS ON FUNCTION prints it: `f(int8, public.mood)`.
    pub fn signature_text(&self, name: &Name, function: &Function) -> String {
        let types: Vec<_> = function.argument_types().map(|argument| self.type_text(argument)).collect();
        format!("{name}({})", types.join(", "))
    }
}
