//! Runs a plan in virtual time: which nodes start when, what they use and how they end.

use super::{
    dice::Dice,
    errors::{self, Failure},
    json::Json,
    model::{Merged, Usage},
    options::Options,
    plan::{Kind, Node, OnError, STOCK, Step},
    profile::Profile,
    shapes::Shaper,
    texts,
    trace::{Attempt, Branch, End, Inside, Shape, Trace},
    value::{MILLISECOND, Micros},
    world::World,
};

/// What a child run, started by a workflow tool, gives back to its parent.
pub(crate) struct ChildResult {
    pub(crate) end: Micros,
    pub(crate) result: Result<(String, i64), String>,
}

/// Starts a child run at a moment; whoever gave the function tells the child's story.
pub(crate) type StartChild<'a> = &'a mut dyn FnMut(&mut Dice, Micros) -> ChildResult;

/// The failure that ends a run: when, and the text.
pub(crate) type Stop = (Micros, String);

/// Where a node stands.
#[derive(Clone, Default)]
struct Place {
    predecessor: Option<String>,
    inside: Option<Inside>,
    branch: Option<Branch>,
}

/// What a node did in its last attempt.
struct Work {
    took: Micros,
    state: End,
    shape: Shape,
    usage: Option<Usage>,
    child_tokens: i64,
}

/// Runs steps and collects what the nodes did.
pub(crate) struct Engine<'a> {
    pub(crate) options: &'a Options,
    pub(crate) profile: &'a Profile,
    pub(crate) world: &'a World,
    pub(crate) dice: &'a mut Dice,
    pub(crate) start_child: StartChild<'a>,
    pub(crate) shaper: Shaper<'a>,
    pub(crate) inputs: &'a Json,
    pub(crate) traces: Vec<Trace>,
    /// What the last node said: goes into the run's outputs and the message's answer.
    pub(crate) text: String,
    /// What the last retrieval found.
    pub(crate) context: Option<String>,
    /// Node id of the last node.
    pub(crate) previous: Option<String>,
}

impl Engine<'_> {
    /// Runs the steps from `at` on. Gives the end, or the failure that ended the run.
    pub(crate) fn run(&mut self, steps: &[Step], mut at: Micros) -> Result<Micros, Stop> {
        for step in steps {
            at = match step {
                Step::Node(node) => {
                    let place = Place { predecessor: self.previous.clone(), ..Place::default() };
                    self.node(node, at, place)?
                }
                Step::Parallel(branches) => self.parallel(branches, at)?,
                Step::Iteration { node, children, parallel, continue_on_error } => {
                    self.iteration(node, children, at, *parallel, *continue_on_error)?
                }
                Step::Loop { node, children } => self.looped(node, children, at)?,
            };
            self.previous = step.nodes().last().map(|node| node.id.clone());
            if matches!(step, Step::Iteration { .. } | Step::Loop { .. }) {
                self.previous = step.nodes().first().map(|node| node.id.clone());
            }
            at += self.pause(4);
        }
        Ok(at)
    }

    fn pause(&mut self, median_ms: i64) -> Micros {
        (self.dice.duration(median_ms) as f64 * self.options.time_scale) as Micros + 100
    }

    /// One node with its retries.
    fn node(&mut self, node: &Node, start: Micros, place: Place) -> Result<Micros, Stop> {
        let mut attempts = Vec::new();
        let mut at = start;
        let work = loop {
            let chance = if node.retries > 0 { self.options.faults.attempt_failure } else { self.options.faults.node_failure };
            let work = self.attempt(node, at, chance);
            let failure = match &work.state {
                End::Failed(text) => Failure { text: text.clone(), class: "" },
                End::Handled(failure) => failure.clone(),
                _ => break work,
            };
            if attempts.len() as i64 >= node.retries {
                break work;
            }
            attempts.push(Attempt { start: at, end: at + work.took, failure });
            at += work.took + self.pause(100);
        };
        let end = at + work.took;
        let failed = match &work.state {
            End::Failed(text) => Some(text.clone()),
            _ => None,
        };
        self.record(node, start, end, place, attempts, work);
        failed.map_or(Ok(end), |text| Err((end, text)))
    }

    /// One attempt of a node.
    fn attempt(&mut self, node: &Node, at: Micros, failure_chance: f64) -> Work {
        if matches!(node.kind, Kind::Workflow) {
            return self.child(at);
        }
        let took = self.pause(node.kind.median_ms());
        if node.kind.can_fail() && self.dice.chance(failure_chance) {
            return self.failure(node, took);
        }
        let (shape, usage, state) = self.success(node, took);
        Work { took, state, shape, usage, child_tokens: 0 }
    }

    fn failure(&mut self, node: &Node, took: Micros) -> Work {
        let failure = match node.kind {
            Kind::Llm(model) | Kind::Classifier(model) | Kind::Extractor(model) => errors::model(self.dice, model),
            Kind::Agent(_) => Failure { text: "Unknown error".to_owned(), class: "AgentNodeError" },
            Kind::Tool(tool) => errors::tool(self.dice, tool.provider, tool.name),
            Kind::Http => errors::http(self.dice),
            Kind::Code => errors::code(self.dice),
            Kind::Retrieval => errors::retrieval(self.dice),
            _ => errors::other(),
        };
        let shape = self.shaper.failed(&node.kind, &failure);
        match node.on_error {
            OnError::Abort => Work { took, state: End::Failed(failure.text), shape, usage: None, child_tokens: 0 },
            strategy => {
                let shape = self.shaper.handled(shape, &failure, strategy.word().unwrap_or_default());
                Work { took, state: End::Handled(failure), shape, usage: None, child_tokens: 0 }
            }
        }
    }

    fn success(&mut self, node: &Node, took: Micros) -> (Shape, Option<Usage>, End) {
        let mut used = None;
        let shape = match node.kind {
            Kind::Start => self.shaper.start(self.inputs),
            Kind::Webhook => self.shaper.webhook(self.inputs),
            Kind::Schedule => self.shaper.start(self.inputs),
            Kind::Llm(model) => {
                let usage = Usage::sample(self.dice, model, took);
                self.text = texts::answer(self.dice, usage.completion_tokens);
                let shape = self.shaper.llm(&usage, &self.text, self.context.take().as_deref());
                used = Some(usage);
                shape
            }
            Kind::Classifier(model) => {
                let usage = Usage::sample(self.dice, model, took);
                let shape = self.shaper.classifier(&usage);
                used = Some(usage);
                shape
            }
            Kind::Extractor(model) => {
                let usage = Usage { first_token: None, ..Usage::sample(self.dice, model, took) };
                let soft = self.dice.chance(self.options.faults.soft_failure);
                let shape = self.shaper.extractor(&usage, soft);
                used = Some(usage);
                shape
            }
            Kind::Agent(model) => {
                let usage = Usage { first_token: None, ..Usage::sample(self.dice, model, took) };
                let shape = self.shaper.agent(self.dice, &usage, STOCK);
                used = Some(usage);
                shape
            }
            Kind::Tool(tool) => self.shaper.tool(self.dice, tool),
            Kind::Http => self.shaper.http(self.dice).0,
            Kind::IfElse => self.shaper.if_else(),
            Kind::Code => self.shaper.pass("arg1", "result", "7"),
            Kind::Template => self.shaper.pass("arg1", "output", &self.text),
            Kind::Aggregator => self.shaper.pass("text", "output", &self.text),
            Kind::End => self.shaper.pass("text", "text", &self.text),
            Kind::Answer => self.shaper.answer(&self.text),
            Kind::Assigner => self.shaper.assigner(),
            Kind::Human => self.shaper.human(),
            Kind::Retrieval => {
                let (shape, context) = self.shaper.retrieval(self.dice, &self.world.datasets[0]);
                self.context = context;
                shape
            }
            Kind::Workflow | Kind::Iteration | Kind::Loop => Shape::default(),
        };
        let state = if self.dice.chance(self.options.faults.unknown_word * 0.2) { End::Odd("skipped") } else { End::Succeeded };
        (shape, used, state)
    }

    fn child(&mut self, at: Micros) -> Work {
        let child = (self.start_child)(self.dice, at);
        let provider = self.world.child_provider;
        let took = child.end - at + 8 * MILLISECOND;
        match child.result {
            Ok((text, tokens)) => {
                let shape = self.shaper.workflow_tool(provider, Some((&text, tokens)));
                self.text = text;
                let child_tokens = if self.profile.old_engine { 0 } else { tokens };
                Work { took, state: End::Succeeded, shape, usage: None, child_tokens }
            }
            Err(text) => {
                let shape = self.shaper.workflow_tool(provider, None);
                let text = format!("Failed to invoke tool {provider}: {text}");
                Work { took, state: End::Failed(text), shape, usage: None, child_tokens: 0 }
            }
        }
    }

    fn record(&mut self, node: &Node, start: Micros, end: Micros, place: Place, attempts: Vec<Attempt>, work: Work) {
        let id = self.dice.uuid();
        let row_id = if self.profile.node_id_is_execution_id { id } else { self.dice.uuid7(start) };
        let odd_type = self.dice.chance(self.options.faults.unknown_word) && node.kind.word() == "template-transform";
        self.traces.push(Trace {
            id: row_id,
            execution_id: id,
            node_id: node.id.clone(),
            node_type: if odd_type { "quantum-transform" } else { node.kind.word() },
            title: node.title.clone(),
            predecessor: place.predecessor,
            inside: place.inside,
            branch: place.branch,
            start,
            end,
            attempts,
            state: work.state,
            shape: work.shape,
            usage: work.usage,
            child_tokens: work.child_tokens,
            large: node.kind == Kind::Http && self.dice.chance(self.options.faults.large_value),
            aborted: false,
        });
    }

    /// Branches run at once. The first failure ends the run; what still runs elsewhere is told so.
    fn parallel(&mut self, branches: &[Vec<Node>], start: Micros) -> Result<Micros, Stop> {
        let group = self.dice.uuid().to_string();
        let before = self.traces.len();
        let mut end = start;
        let mut stop: Option<Stop> = None;
        for branch in branches {
            let mut at = start + self.pause(2);
            let first = branch.first().map(|node| node.id.clone()).unwrap_or_default();
            let mut predecessor = self.previous.clone();
            for node in branch {
                let place = Place {
                    predecessor: predecessor.replace(node.id.clone()),
                    branch: self.profile.old_engine.then(|| Branch { id: group.clone(), start_node: first.clone() }),
                    inside: None,
                };
                match self.node(node, at, place) {
                    Ok(done) => at = done + self.pause(3),
                    Err(failure) => {
                        if stop.as_ref().is_none_or(|(earliest, _)| failure.0 < *earliest) {
                            stop = Some(failure);
                        }
                        break;
                    }
                }
            }
            end = end.max(at);
        }
        match stop {
            None => Ok(end),
            Some((at, text)) => {
                let mut inner = self.traces.split_off(before);
                cut(&mut inner, at, |_| End::Failed(text.clone()));
                self.traces.append(&mut inner);
                Err((at, text))
            }
        }
    }

    fn iteration(
        &mut self,
        node: &Node,
        children: &[Node],
        start: Micros,
        parallel: bool,
        continue_on_error: bool,
    ) -> Result<Micros, Stop> {
        let items = self.dice.between(1, 4);
        let before = self.traces.len();
        let mut outputs = Vec::new();
        let mut durations = Vec::new();
        let mut at = start + self.pause(3);
        let mut end = at;
        let mut stop = None;
        for item in 0..items {
            let began = if parallel { start + self.pause(3) } else { at };
            let mut inside = Inside { word: "iteration", id: node.id.clone(), index: item, parallel_run: None };
            if parallel && self.profile.old_engine {
                inside.parallel_run = Some(self.dice.hex(32));
            }
            match self.children(children, began, &inside, node) {
                Ok(done) => {
                    durations.push(done - began);
                    outputs.push(Json::from(self.text.as_str()));
                    at = done;
                }
                Err((done, text)) => {
                    at = done;
                    outputs.push(Json::Null);
                    if !continue_on_error {
                        stop = Some((done, text));
                    }
                }
            }
            end = end.max(at);
            if stop.is_some() {
                break;
            }
        }
        let inner = merged(&self.traces[before..]);
        self.container(node, start, end, stop, |engine| engine.shaper.iteration(outputs, &durations, &inner, &merged(&engine.traces)))
    }

    fn looped(&mut self, node: &Node, children: &[Node], start: Micros) -> Result<Micros, Stop> {
        let rounds = self.dice.between(1, 4);
        let before = self.traces.len();
        let mut at = start + self.pause(3);
        let mut durations = Vec::new();
        let mut stop = None;
        for round in 0..rounds {
            let inside = Inside { word: "loop", id: node.id.clone(), index: round, parallel_run: None };
            match self.children(children, at, &inside, node) {
                Ok(done) => {
                    durations.push(done - at);
                    at = done;
                }
                Err(failure) => {
                    at = failure.0;
                    stop = Some(failure);
                    break;
                }
            }
        }
        let inner = merged(&self.traces[before..]);
        self.container(node, start, at, stop, |engine| engine.shaper.looped(&durations, &inner, &merged(&engine.traces)))
    }

    fn children(&mut self, children: &[Node], start: Micros, inside: &Inside, container: &Node) -> Result<Micros, Stop> {
        let mut at = start;
        let mut predecessor = Some(format!("{}start", container.id));
        for child in children {
            let place = Place { predecessor: predecessor.replace(child.id.clone()), inside: Some(inside.clone()), branch: None };
            at = self.node(child, at, place)? + self.pause(3);
        }
        Ok(at)
    }

    /// The container's own row: with a failed child it fails with the child's error, one cause and two failed rows.
    fn container(
        &mut self,
        node: &Node,
        start: Micros,
        end: Micros,
        stop: Option<Stop>,
        shape: impl FnOnce(&Self) -> Shape,
    ) -> Result<Micros, Stop> {
        let (state, shape) = match &stop {
            None => (End::Succeeded, shape(self)),
            Some((_, text)) => (End::Failed(text.clone()), Shape::default()),
        };
        let end = end + self.pause(3);
        let work = Work { took: end - start, state, shape, usage: None, child_tokens: 0 };
        let place = Place { predecessor: self.previous.clone(), ..Place::default() };
        self.record(node, start, end, place, Vec::new(), work);
        match stop {
            None => Ok(end),
            Some((_, text)) => Err((end, text)),
        }
    }
}

/// Ends everything at `at`: what had not begun never was, what ran gets the given state.
pub(crate) fn cut(traces: &mut Vec<Trace>, at: Micros, mut state: impl FnMut(&Trace) -> End) {
    traces.retain(|trace| trace.start <= at);
    for trace in traces.iter_mut().filter(|trace| trace.end > at) {
        let state = state(trace);
        trace.cut(at + 2 * MILLISECOND, state);
    }
}

/// What the traces used together, in order of their ends.
pub(crate) fn merged(traces: &[Trace]) -> Merged {
    let mut order: Vec<&Trace> = traces.iter().filter(|trace| trace.usage.is_some()).collect();
    order.sort_by_key(|trace| trace.end);
    let mut sum = Merged::default();
    for usage in order.into_iter().filter_map(|trace| trace.usage.as_ref()) {
        sum.add(usage);
    }
    sum
}
