//! Policies that would take nearly everything, which is how a mistyped age looks.

use dify_observe_core::exit::Exit;
use dify_observe_core::finding::Finding;

use crate::plan::Plan;

/// The first days of a small Dify are all old or all new; no mistake can cost much there.
const FEW: u64 = 100;

/// The first policy that would take more than `max_share` of all bundles. A plan from samples is good enough.
pub fn shares(plan: &Plan, max_share: f64) -> Option<Finding> {
    plan.policies.iter().find_map(|policy| share(&policy.name, policy.go_bundles, plan.total.bundles, max_share))
}

fn share(policy: &str, going: u64, all: u64, max_share: f64) -> Option<Finding> {
    if all < FEW || going as f64 <= all as f64 * max_share {
        return None;
    }
    let percent = going as f64 / all as f64 * 100.0;
    let message = format!(
        "policy \"{policy}\" would take about {going} of {all} runs and conversations ({percent:.1} %), more than janitor.max_share = \
         {max_share}: look at `plan`, and if that is meant, set janitor.max_share = 1 for this run"
    );
    Some(Finding::refusal(Exit::Configuration, "policies", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_takes_nearly_everything_refuses() {
        let refused = |going, all, max| share("default", going, all, max).is_some();
        assert!(refused(960, 1000, 0.95) && refused(1000, 1000, 0.999));
        assert!(!refused(950, 1000, 0.95) && !refused(99, 99, 0.5));
    }
}
