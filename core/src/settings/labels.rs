//! `[labels]`: the operator's own labels.

use serde::{Deserialize, Serialize};

/// The operator's own labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelsSettings {}
