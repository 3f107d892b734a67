//! Which state of a record a document shows. The rule stands here and nowhere else.
//!
//! The upper half is the second in which the record was last closed (of messages and feedback: written), the lower half the version of the row in
//! the database (`xmin`), which grows with every write: so a later state has a larger revision, whoever computes it, and a state that is
//! read twice has the same. A run's document sums up its nodes: its revision is made of the latest of all of them. What is made of a part
//! of a record (tool calls, retrievals) has the revision of the record.

use dify_observe_core::dify::records::{Feedback, Message, Node, Run};
use dify_observe_core::dify::time::Micros;

/// 2020-01-01: counted from here, the seconds fit 31 bits until 2088, and a revision the signed 64 bits of engines.
const EPOCH_SECONDS: i64 = 1_577_836_800;

pub(super) fn of_run(run: &Run, nodes: &[Node]) -> u64 {
    let time = nodes.iter().map(node_time).fold(run.finished_at.unwrap_or(run.created_at), Ord::max);
    let version = nodes.iter().map(|node| node.row_version).fold(run.row_version, Ord::max);
    revision(time, version)
}

pub(super) fn of_node(node: &Node) -> u64 {
    revision(node_time(node), node.row_version)
}

pub(super) fn of_message(message: &Message) -> u64 {
    revision(message.updated_at, message.row_version)
}

pub(super) fn of_feedback(feedback: &Feedback) -> u64 {
    revision(feedback.updated_at, feedback.row_version())
}

/// A feedback's row is gone: later than its last state, and earlier than any other could have been.
pub(super) fn of_withdrawn(feedback: &Feedback) -> u64 {
    of_feedback(feedback) + 1
}

fn node_time(node: &Node) -> Micros {
    node.finished_at.unwrap_or(node.created_at)
}

fn revision(time: Micros, version: u32) -> u64 {
    let seconds = time.0.div_euclid(1_000_000).saturating_sub(EPOCH_SECONDS).clamp(0, i64::from(i32::MAX));
    seconds.unsigned_abs() << 32 | u64::from(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_second_or_a_later_write_is_a_later_state() {
        let at = |seconds: i64, version| revision(Micros::from_secs(1_790_000_000 + seconds), version);
        assert!(at(0, 5) < at(0, 6));
        assert!(at(0, u32::MAX) < at(1, 0));
        assert_eq!(at(0, 5), at(0, 5));
    }

    #[test]
    fn no_time_makes_a_version_that_engines_refuse() {
        for time in [Micros::MIN, Micros(0), Micros(i64::MAX)] {
            assert!(i64::try_from(revision(time, u32::MAX)).is_ok());
        }
    }
}
