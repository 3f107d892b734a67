//! What a run's document says about its nodes, so that "runs where A failed and B timed out" is one query.

use std::collections::{BTreeMap, BTreeSet};

use dify_observe_core::dify::error_type::ErrorType;
use dify_observe_core::dify::facts::{self, ModelUse, ToolCall, UNKNOWN};
use dify_observe_core::dify::outcome::{self, RunOutcome};
use dify_observe_core::dify::records::{Run, Word};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use super::node::Step;
use super::parts::{RunPart, SlowestPart, finite, some};
use super::tool;

#[derive(Default)]
struct Summary {
    nodes: u64,
    retries: u64,
    node_types: BTreeSet<Word>,
    failed_nodes: BTreeSet<Word>,
    failed_node_types: BTreeSet<Word>,
    error_types: BTreeSet<Word>,
    models: BTreeSet<Word>,
    providers: BTreeSet<Word>,
    model_calls: u64,
    input_tokens: u64,
    output_tokens: u64,
    costs: BTreeMap<Word, Decimal>,
    tools: BTreeSet<Word>,
    failed_tools: BTreeSet<Word>,
    timed_out_tools: BTreeSet<Word>,
    tool_errors: BTreeSet<Word>,
    retrievals: u64,
    retrieval_misses: u64,
}

/// Sums up a run, all but what it has titles in.
pub(super) fn of(run: &Run, outcome: &RunOutcome, steps: &[Step<'_>]) -> RunPart {
    let mut summary = Summary::default();
    for step in steps {
        summary.add(step);
    }
    let by_itself = |error_type: ErrorType| matches!(&*run.status, "failed" | "stopped") && error_type != ErrorType::Stopped;
    if let Some(cause) = outcome.first_cause.filter(|cause| by_itself(cause.error_type)) {
        summary.error_types.insert(cause.error_type.as_str().into());
    }
    summary.into_part(run, outcome)
}

/// The node that took longest. Iterations and loops last as long as their children; a failed attempt is no execution.
pub(super) fn slowest<'a>(steps: &'a [Step<'a>]) -> Option<&'a Step<'a>> {
    let ran = |step: &&Step<'_>| !outcome::is_container(step.node) && !step.is_attempt() && step.ran();
    steps.iter().filter(ran).max_by(|a, b| a.node.elapsed_seconds.total_cmp(&b.node.elapsed_seconds))
}

/// What is said about it.
pub(super) fn slowest_part(step: &Step<'_>, title: Option<String>) -> SlowestPart {
    SlowestPart {
        id: Some(step.node.node_id.clone()),
        node_type: Some(step.node.node_type.clone()),
        title,
        seconds: finite(step.node.elapsed_seconds),
    }
}

impl Summary {
    fn add(&mut self, step: &Step<'_>) {
        self.add_node(step);
        if let Some(usage) = step.model_use() {
            self.add_use(&usage);
        }
        for call in step.tool_call().into_iter().chain(facts::agent_tool_calls(step.node)) {
            self.add_call(&call);
        }
        let found = facts::node_retrievals(step.node, step.graph);
        if !found.is_empty() {
            self.retrievals += 1;
            self.retrieval_misses += u64::from(!found.iter().any(facts::Retrieval::is_hit));
        }
    }

    fn add_node(&mut self, step: &Step<'_>) {
        self.retries += step.retries();
        if step.is_attempt() {
            return;
        }
        self.nodes += 1;
        self.node_types.insert(step.node.node_type.clone());
        if let Some(error_type) = step.failure().or_else(|| facts::soft_failure(step.node)) {
            self.error_types.insert(error_type.as_str().into());
        }
        if step.failure().is_some() {
            self.failed_nodes.insert(step.node.node_id.clone());
            self.failed_node_types.insert(step.node.node_type.clone());
        }
    }

    fn add_use(&mut self, usage: &ModelUse) {
        self.model_calls += usage.calls.len() as u64;
        self.input_tokens += usage.prompt_tokens;
        self.output_tokens += usage.completion_tokens;
        if let Some(price) = usage.price.filter(|price| !price.is_zero()) {
            *self.costs.entry(usage.currency.clone()).or_default() += price;
        }
        if !usage.calls.is_empty() {
            self.models.extend(known(&usage.model));
            self.providers.extend(known(&usage.provider));
        }
    }

    fn add_call(&mut self, call: &ToolCall) {
        self.tools.insert(call.tool.clone());
        let Some(error_type) = tool::failure(call) else { return };
        self.error_types.insert(error_type.as_str().into());
        self.failed_tools.insert(call.tool.clone());
        self.tool_errors.insert(format!("{}:{error_type}", call.tool).into());
        if error_type == ErrorType::Timeout {
            self.timed_out_tools.insert(call.tool.clone());
        }
    }

    fn into_part(self, run: &Run, outcome: &RunOutcome) -> RunPart {
        RunPart {
            run_type: Some(run.run_type.clone()),
            total_tokens: Some(run.total_tokens),
            total_steps: run.total_steps,
            exceptions_count: run.exceptions_count,
            input_tokens: Some(self.input_tokens),
            output_tokens: Some(self.output_tokens),
            cost: some(self.costs.values().filter_map(Decimal::to_f64).collect()),
            currency: some(self.costs.keys().cloned().collect()),
            model_calls: Some(self.model_calls),
            nodes: Some(self.nodes),
            retries: Some(self.retries),
            node_types: list(self.node_types),
            failed_nodes: list(self.failed_nodes),
            failed_node_types: list(self.failed_node_types),
            error_types: list(self.error_types),
            models: list(self.models),
            providers: list(self.providers),
            tools: list(self.tools),
            failed_tool_count: Some(self.failed_tools.len() as u64),
            failed_tools: list(self.failed_tools),
            timed_out_tools: list(self.timed_out_tools),
            tool_errors: list(self.tool_errors),
            retrievals: Some(self.retrievals),
            retrieval_misses: Some(self.retrieval_misses),
            limit_exceeded: Some(outcome.limit_exceeded),
            first_cause: None,
            slowest_node: None,
        }
    }
}

fn known(name: &Word) -> Option<Word> {
    (&**name != UNKNOWN).then(|| name.clone())
}

fn list(words: BTreeSet<Word>) -> Option<Vec<Word>> {
    some(words.into_iter().collect())
}
