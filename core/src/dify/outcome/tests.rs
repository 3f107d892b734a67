use uuid::Uuid;

use super::*;
use crate::dify::records::{Cuts, RunKey};
use crate::dify::time::Micros;

const RATE: &str = "[models] Rate Limit Error, Error code: 429 - {'error': {'code': 'rate_limit_exceeded'}}";

fn run(status: &str, error: Option<&str>, finished: i64) -> Run {
    let nil = Uuid::nil();
    Run {
        key: RunKey { id: nil, tenant_id: nil, app_id: nil, workflow_id: nil },
        run_type: "workflow".into(),
        triggered_from: "app-run".into(),
        version: "1".into(),
        status: status.into(),
        error: error.map(Into::into),
        elapsed_seconds: 1.0,
        total_tokens: 0,
        total_steps: None,
        exceptions_count: None,
        created_by_role: "end_user".into(),
        created_by: nil,
        created_at: Micros(0),
        finished_at: (finished > 0).then_some(Micros(finished)),
        inputs: None,
        outputs: None,
        cuts: Cuts::default(),
        row_version: 0,
    }
}

fn node(node_id: &str, node_type: &str, status: &str, error: Option<&str>, finished: i64) -> Node {
    Node {
        id: Uuid::nil(),
        index: 1,
        node_id: node_id.into(),
        node_type: node_type.into(),
        title: String::new(),
        predecessor_node_id: None,
        status: status.into(),
        error: error.map(Into::into),
        elapsed_seconds: 0.1,
        created_at: Micros(0),
        finished_at: (finished > 0).then_some(Micros(finished)),
        execution_metadata: None,
        process_data: None,
        outputs: None,
        inputs: None,
        cuts: Cuts::default(),
        row_version: 0,
    }
}

fn words(outcome: &RunOutcome) -> Vec<&str> {
    outcome.nodes.iter().map(|status| &**status).collect()
}

/// Run 6854fbbb of the real 1.8.1 rows: two branches, one fails, the other is closed with the run.
#[test]
fn a_branch_closed_with_the_run_is_aborted() {
    let nodes = [
        node("start", "start", "succeeded", None, 3_386),
        node("la", "llm", "failed", Some(RATE), 277_536),
        node("lb", "llm", "failed", Some(RATE), 267_676),
    ];
    let outcome = settle(&run("failed", Some(RATE), 277_536), &nodes, Closed::Ended);
    assert_eq!(words(&outcome), ["succeeded", "aborted", "failed"]);
    assert_eq!(outcome.first_cause, Some(FirstCause { node: Some(2), error_type: ErrorType::RateLimit }));
    assert!(!outcome.limit_exceeded);
}

/// Newer versions close the rest some microseconds after the run.
#[test]
fn a_branch_closed_after_the_run_is_aborted_whatever_it_was_doing() {
    let nodes = [
        node("a", "http-request", "failed", Some("[Errno 111] Connection refused"), 100),
        node("b", "llm", "failed", Some("[Errno 111] Connection refused"), 130),
    ];
    let outcome = settle(&run("failed", Some("[Errno 111] Connection refused"), 120), &nodes, Closed::Ended);
    assert_eq!(words(&outcome), ["failed", "aborted"]);
    assert_eq!(outcome.first_cause, Some(FirstCause { node: Some(0), error_type: ErrorType::Connection }));
}

/// Run 9fe17fee: three items of an iteration fail and the run goes on.
#[test]
fn failures_of_a_run_that_succeeds_are_failures() {
    let nodes = [
        node("it", "iteration", "succeeded", None, 607),
        node("il", "llm", "failed", Some(RATE), 517),
        node("il", "llm", "failed", Some(RATE), 479),
    ];
    let outcome = settle(&run("succeeded", None, 684), &nodes, Closed::Ended);
    assert_eq!(words(&outcome), ["succeeded", "failed", "failed"]);
    assert_eq!(outcome.first_cause, None);
}

/// Run 1e2ad3f5: the container failed by itself, just after its child.
#[test]
fn the_cause_is_the_child_and_not_its_container() {
    let nodes = [node("it", "iteration", "failed", Some(RATE), 449), node("il", "llm", "failed", Some(RATE), 435)];
    let outcome = settle(&run("failed", Some(RATE), 456), &nodes, Closed::Ended);
    assert_eq!(words(&outcome), ["failed", "failed"]);
    assert_eq!(outcome.first_cause.and_then(|cause| cause.node), Some(1));
    assert!(repeats_child(&nodes, &outcome.nodes, 0));
    assert!(!repeats_child(&nodes, &outcome.nodes, 1));
}

/// Run d56f277f: the loop was closed with the run.
#[test]
fn a_container_closed_with_the_run_is_aborted() {
    let nodes = [node("lp", "loop", "failed", Some(RATE), 956_709), node("li", "llm", "failed", Some(RATE), 953_941)];
    let outcome = settle(&run("failed", Some(RATE), 956_709), &nodes, Closed::Ended);
    assert_eq!(words(&outcome), ["aborted", "failed"]);
    assert_eq!(outcome.first_cause.and_then(|cause| cause.node), Some(1));
}

#[test]
fn two_failures_of_their_own_are_two() {
    let nodes = [node("a", "llm", "failed", Some("one"), 100), node("b", "code", "failed", Some("two"), 110)];
    let outcome = settle(&run("failed", Some("two"), 120), &nodes, Closed::Ended);
    assert_eq!(words(&outcome), ["failed", "failed"]);
    assert_eq!(outcome.first_cause, Some(FirstCause { node: Some(1), error_type: ErrorType::Code }));
}

#[test]
fn somebody_must_have_begun() {
    let mut nodes = [
        node("a", "loop", "failed", Some(RATE), 120),
        node("b", "llm", "failed", Some(RATE), 120),
        node("c", "llm", "failed", Some(RATE), 120),
    ];
    nodes[1].execution_metadata = Some("{\"loop_id\": null}".into());
    let outcome = settle(&run("failed", Some(RATE), 120), &nodes, Closed::Ended);
    assert_eq!(words(&outcome), ["aborted", "aborted", "failed"]);
}

#[test]
fn a_stop_is_nobodys_failure() {
    let nodes = [node("a", "llm", "failed", Some("Stopped by user."), 100), node("b", "code", "failed", Some("real"), 90)];
    let outcome = settle(&run("stopped", Some("Stopped by user."), 120), &nodes, Closed::Ended);
    assert_eq!(words(&outcome), ["aborted", "failed"]);
    assert_eq!(outcome.first_cause, Some(FirstCause { node: None, error_type: ErrorType::Stopped }));
    assert!(!outcome.limit_exceeded);
}

#[test]
fn limits_are_failures_in_both_ways_of_storing_them() {
    let text = "Maximum execution time exceeded: 1201.0 > 1200";
    let stopped = settle(&run("stopped", Some(text), 120), &[node("a", "llm", "failed", Some(text), 121)], Closed::Ended);
    assert_eq!((words(&stopped), stopped.limit_exceeded), (vec!["aborted"], true));
    let failed = settle(&run("failed", Some("Max steps 500 reached."), 120), &[], Closed::Ended);
    assert!(failed.limit_exceeded);
    assert_eq!(failed.first_cause, Some(FirstCause { node: None, error_type: ErrorType::LimitExceeded }));
}

#[test]
fn what_never_ended_in_a_run_that_did_is_interrupted() {
    let nodes = [node("a", "llm", "running", None, 0), node("b", "x", "pending", None, 0), node("c", "new", "brand-new", None, 0)];
    let outcome = settle(&run("succeeded", None, 120), &nodes, Closed::Ended);
    assert_eq!(words(&outcome), ["interrupted", "interrupted", "brand-new"]);
}

#[test]
fn an_abandoned_run_has_a_status_of_its_own() {
    let nodes = [node("s", "start", "succeeded", None, 5), node("a", "llm", "running", None, 0)];
    let outcome = settle(&run("running", None, 0), &nodes, Closed::Abandoned);
    assert_eq!((&*outcome.status, words(&outcome)), ("abandoned", vec!["succeeded", "interrupted"]));
    assert_eq!(outcome.first_cause, None);
}

#[test]
fn a_run_that_ended_at_the_last_moment_is_not_abandoned() {
    assert_eq!(&*settle(&run("succeeded", None, 9), &[], Closed::Abandoned).status, "succeeded");
}

#[test]
fn retries_stand_beside_their_node_or_died_in_its_place() {
    let beside = [node("llm", "llm", "retry", Some(RATE), 10), node("llm", "llm", "succeeded", None, 30)];
    assert_eq!(words(&settle(&run("succeeded", None, 40), &beside, Closed::Ended)), ["retry", "succeeded"]);
    let alone = [node("llm", "llm", "retry", Some(RATE), 10)];
    assert_eq!(words(&settle(&run("failed", Some("killed"), 40), &alone, Closed::Ended)), ["interrupted"]);
}

#[test]
fn a_handled_failure_is_the_cause_of_a_partial_success() {
    let mut handled = node("llm", "llm", "exception", Some("slow down"), 20);
    handled.outputs = Some(r#"{"error_message": "slow down", "error_type": "InvokeRateLimitError"}"#.into());
    let outcome = settle(&run("partial-succeeded", None, 40), &[handled], Closed::Ended);
    assert_eq!(outcome.first_cause, Some(FirstCause { node: Some(0), error_type: ErrorType::RateLimit }));
}

#[test]
fn an_error_without_any_node_is_read_from_the_run() {
    let outcome = settle(&run("failed", Some("Dataset not found"), 40), &[], Closed::Ended);
    assert_eq!(outcome.first_cause, Some(FirstCause { node: None, error_type: ErrorType::Retrieval }));
    assert_eq!(settle(&run("failed", None, 40), &[], Closed::Ended).first_cause.map(|cause| cause.error_type), Some(ErrorType::Other));
}

#[test]
fn nodes_of_a_paused_run_keep_their_status() {
    let nodes = [node("a", "llm", "failed", Some(RATE), 10), node("h", "human-input", "paused", None, 0)];
    assert_eq!(settle_apart(&run("paused", None, 0), &nodes).iter().map(|s| &**s).collect::<Vec<_>>(), ["failed", "paused"]);
}

#[test]
fn a_node_found_long_after_its_run_may_have_been_aborted() {
    let nodes = [node("b", "llm", "failed", Some(RATE), 130)];
    assert_eq!(&*settle_apart(&run("failed", Some(RATE), 120), &nodes)[0], "aborted");
}
