//! grantd itself: a pinned view in this process, asked by id.

use std::hint::black_box;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use grantd_catalog::decide::holds;
use grantd_catalog::id::{ObjectId, PrincipalId, Version};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::view::View;

use crate::load::{Round, Subject, clock_cost, closed_nanoseconds};
use crate::workload::{Question, World};

type Failed = Box<dyn std::error::Error>;

const NAME: &str = "grantd, in process, by id";

/// A view, and questions in ids.
pub struct Grantd {
    view: View,
    questions: Vec<(PrincipalId, ObjectId, Privilege)>,
    next: usize,
    clock: Duration,
}

impl Grantd {
    /// The view of this world.
    pub fn new(world: &World, questions: &[Question]) -> Result<Self, Failed> {
        let view = View::build(Version(1), world.state()?);
        let in_ids = |question: &Question| {
            (world.principal(question.who), world.object(question.table), question.privilege)
        };
        let questions = questions.iter().map(in_ids).collect();
        Ok(Self { view, questions, next: 0, clock: clock_cost() })
    }

    /// The answers to the first `count` questions.
    pub fn answers(&self, count: usize) -> Vec<bool> {
        let first = self.questions.iter().take(count);
        first
            .map(|(principal, object, privilege)| holds(&self.view, *principal, *object, *privilege))
            .collect()
    }
}

impl Subject for Grantd {
    fn name(&self) -> String {
        NAME.to_owned()
    }

    fn round(&mut self, length: Duration) -> LocalBoxFuture<'_, Result<Round, Failed>> {
        let (view, questions, next) = (&self.view, &self.questions, &mut self.next);
        let round = closed_nanoseconds(length, self.clock, || {
            let (principal, object, privilege) = questions[*next];
            *next = if *next + 1 == questions.len() { 0 } else { *next + 1 };
            black_box(holds(view, principal, object, privilege));
        });
        Box::pin(async move { Ok(round) })
    }
}
