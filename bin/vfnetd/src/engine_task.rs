//! The one owner of the state: a thread that takes letters one by one, has the engine decide,
//! commits the decision's records, and only then lets its effects be carried out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::{mpsc, oneshot};
use vfnet_engine::plan::Plan;
use vfnet_engine::{
    Answer, Decision, Effect, Engine, Input, Moment, Record, Refusal, RefusalKind, Reply, Request,
    State, Ticket, Urgency,
};
use vfnet_model::report::{PlanReport, PlanStep};
use vfnet_store::Store;

use crate::steps::{Step, Steps};

/// Letters that may wait before senders do.
const MAILBOX: usize = 1024;

type Question = Box<dyn FnOnce(&State) + Send>;

enum Letter {
    Tell(Input),
    Ask(Request, oneshot::Sender<Reply>),
    Read(Question),
}

/// The way to the engine, for everybody.
#[derive(Clone)]
pub struct EngineHandle {
    letters: mpsc::Sender<Letter>,
    moments: Arc<AtomicU64>,
    /// Where plans go, for who only plans.
    planned: Option<Planned>,
}

/// The plan that was made of a call, once there is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Planned(Arc<Mutex<Option<PlanReport>>>);

impl Planned {
    fn note(&self, plan: PlanReport) {
        *self.lock() = Some(plan);
    }

    fn add(&self, step: PlanStep) {
        let mut plan = self.lock();
        plan.get_or_insert(PlanReport { steps: Vec::new(), waits: false }).steps.push(step);
    }

    pub(crate) fn take(&self) -> Option<PlanReport> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<PlanReport>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for EngineHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineHandle").finish_non_exhaustive()
    }
}

fn only_planned() -> Refusal {
    Refusal::new(RefusalKind::OperationFailed, "this is only planned")
}

fn report(plan: Plan) -> PlanReport {
    let steps = plan.steps.into_iter().map(|step| PlanStep {
        does: step.does.word().to_owned(),
        vf: step.vf,
        says: step.says,
    });
    PlanReport { steps: steps.collect(), waits: plan.answer.is_none() }
}

/// The daemon is on its way out, and nobody decides any more.
fn leaving() -> Refusal {
    Refusal::new(RefusalKind::OperationFailed, "vfnetd is being stopped")
}

impl EngineHandle {
    /// Reports what happened. Nobody hears of it once the daemon is on its way out, and then
    /// the next one finds out by looking.
    pub async fn tell(&self, input: Input) {
        if self.letters.send(Letter::Tell(input)).await.is_err() {
            tracing::debug!("an input came after the end");
        }
    }

    /// The same way, by which nothing is asked for: what would come of it is noted instead, and
    /// whoever asks is refused, so that nothing that would follow is done either.
    pub(crate) fn planning(&self) -> (Self, Planned) {
        let planned = Planned::default();
        (Self { planned: Some(planned.clone()), ..self.clone() }, planned)
    }

    /// Whether nothing is to be done by whoever has this.
    pub(crate) const fn only_plans(&self) -> bool {
        self.planned.is_some()
    }

    /// Whether something was planned, and not refused.
    pub(crate) fn has_planned(&self) -> bool {
        self.planned.as_ref().is_some_and(|planned| planned.lock().is_some())
    }

    /// Notes, where it is only planned, what would be done without the engine.
    pub(crate) fn would(&self, does: &str, says: String) {
        if let Some(planned) = &self.planned {
            planned.add(PlanStep { does: does.to_owned(), vf: None, says });
        }
    }

    /// Asks, and waits until it is granted or refused, however long that takes.
    pub async fn ask(&self, request: Request) -> Result<Answer, Refusal> {
        if let Some(planned) = &self.planned {
            let plan = self.read(move |state| state.plan(request).map(report)).await??;
            planned.note(plan);
            return Err(only_planned());
        }
        let (reply, answer) = oneshot::channel();
        self.letters.send(Letter::Ask(request, reply)).await.map_err(|_| leaving())?;
        answer.await.map_err(|_| leaving())?
    }

    /// Reads the state between two decisions.
    pub async fn read<T, F>(&self, question: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&State) -> T + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |state| {
            // Whoever asked may have gone away meanwhile.
            let _gone = reply.send(question(state));
        });
        self.letters.send(Letter::Read(question)).await.map_err(|_| leaving())?;
        answer.await.map_err(|_| leaving())
    }

    /// The next point in the order of looks at the host.
    pub fn moment(&self) -> Moment {
        Moment(self.moments.fetch_add(1, Ordering::SeqCst) + 1)
    }
}

/// Carries out effects. Called on the engine's thread: it starts the work and returns.
pub trait CarryOut: Send + 'static {
    /// Starts one effect; `state` is as the decision left it.
    fn carry_out(&self, effect: Effect, state: &State);
}

/// The mailbox, before there is anybody to read it.
#[derive(Debug)]
pub struct Mailbox {
    letters: mpsc::Receiver<Letter>,
}

impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Letter")
    }
}

/// A mailbox and the way to it.
pub fn mailbox() -> (EngineHandle, Mailbox) {
    let (sender, letters) = mpsc::channel(MAILBOX);
    let handle = EngineHandle { letters: sender, moments: Arc::default(), planned: None };
    (handle, Mailbox { letters })
}

/// Starts the engine's thread with what recovery decided first. It ends when every handle is
/// gone.
pub fn start(
    engine: Engine,
    first: Decision,
    store: Store,
    mailbox: Mailbox,
    hands: impl CarryOut,
    steps: Steps,
) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("engine".to_owned()).spawn(move || {
        let mut desk = Desk {
            engine,
            store,
            hands,
            steps,
            waiting: BTreeMap::new(),
            last_ticket: 0,
            unsaved: Vec::new(),
        };
        desk.settle(first);
        let mut letters = mailbox.letters;
        while let Some(letter) = letters.blocking_recv() {
            desk.open(letter);
        }
    })
}

struct Desk<H> {
    engine: Engine,
    store: Store,
    hands: H,
    steps: Steps,
    waiting: BTreeMap<Ticket, oneshot::Sender<Reply>>,
    last_ticket: u64,
    /// Records of decisions that had to go on though they could not be committed, and what takes
    /// back those that had not to, as one of the two files may have them; they go first in the next
    /// commit.
    unsaved: Vec<Record>,
}

impl<H: CarryOut> Desk<H> {
    fn open(&mut self, letter: Letter) {
        match letter {
            Letter::Read(question) => question(self.engine.state()),
            Letter::Tell(input) => {
                if let Some(step) = Step::ended_by(&input) {
                    self.steps.end(step);
                }
                let decision = self.engine.decide(input);
                self.settle(decision);
            }
            Letter::Ask(request, reply) => {
                self.last_ticket += 1;
                let ticket = Ticket(self.last_ticket);
                self.waiting.insert(ticket, reply);
                let decision = self.engine.decide(Input::Ask(ticket, request));
                self.settle(decision);
            }
        }
    }

    /// Commits, then acts.
    fn settle(&mut self, mut decision: Decision) {
        let records = std::mem::take(&mut decision.records);
        if let Err(fault) = self.commit(&records) {
            let why = vfnet_model::explain(&fault);
            tracing::error!("cannot record a decision: {why}");
            if decision.urgency == Urgency::MayBeRefused {
                let asker = decision.asker;
                let undone = self.engine.revert(decision);
                self.keep(undone);
                if let Some(ticket) = asker {
                    self.answer(ticket, Err(Decision::unrecorded(&why)));
                }
                return;
            }
            self.keep(records);
        }
        for effect in decision.effects {
            let step = Step::of(&effect);
            self.steps.begin(step);
            match effect {
                Effect::Answer(ticket, reply) => self.answer(ticket, reply),
                Effect::AskAgain(ticket, request) => {
                    let decision = self.engine.decide(Input::Ask(ticket, *request));
                    self.settle(decision);
                }
                effect => self.hands.carry_out(effect, self.engine.state()),
            }
            if step.is_over_at_once() {
                self.steps.end(step);
            }
        }
    }

    fn commit(&mut self, records: &[Record]) -> Result<(), vfnet_store::StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        self.steps.begin(Step::Record);
        if self.unsaved.is_empty() {
            self.store.commit(records)?;
        } else {
            let all: Vec<_> = self.unsaved.iter().chain(records).cloned().collect();
            self.store.commit(&all)?;
            self.unsaved.clear();
        }
        self.steps.end(Step::Record);
        Ok(())
    }

    fn keep(&mut self, records: Vec<Record>) {
        for record in records {
            self.unsaved.retain(|older| older.key() != record.key());
            self.unsaved.push(record);
        }
    }

    fn answer(&mut self, ticket: Ticket, reply: Reply) {
        if let Some(waiting) = self.waiting.remove(&ticket) {
            // A client that has gone away does not hear the answer; what it asked for stands.
            let _gone = waiting.send(reply);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_writes_to_a_full_mailbox_waits() {
        let (handle, mut mailbox) = mailbox();
        for _letter in 0..MAILBOX {
            handle.tell(Input::TimeHasPassed).await;
        }
        let mut one_more = Box::pin(handle.tell(Input::TimeHasPassed));
        tokio::select! {
            biased;
            () = &mut one_more => panic!("there is room for more than {MAILBOX}"),
            () = tokio::task::yield_now() => {}
        }
        mailbox.letters.recv().await;
        one_more.await;
    }
}
