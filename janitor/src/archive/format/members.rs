//! The bundles of a batch by their position, as rows name them, and by their id, as objects name them.

use std::collections::HashMap;

use dify_observe_core::dify::retention::{Bundle, Root};
use uuid::Uuid;

use super::FormatError;

/// Translates between position and id.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    root: Root,
    ids: Vec<Uuid>,
    positions: HashMap<Uuid, u32>,
}

impl Members {
    /// The bundles of one batch, all of one kind.
    pub(crate) fn new(root: Root, bundles: &[Bundle]) -> Members {
        let ids: Vec<Uuid> = bundles.iter().map(|bundle| bundle.id).collect();
        let positions = ids.iter().copied().zip(0..).collect();
        Members { root, ids, positions }
    }

    /// What the bundles are built around, as a word.
    pub(crate) fn root(&self) -> &'static str {
        match self.root {
            Root::Run => "run",
            Root::Conversation => "conversation",
        }
    }

    /// The id of the bundle at `position`.
    pub(crate) fn id(&self, position: u32) -> Result<Uuid, FormatError> {
        let id = self.ids.get(position as usize).copied();
        id.ok_or_else(|| FormatError::content(format!("a row of bundle {position} in a batch of {}", self.ids.len())))
    }

    /// The position of the bundle `id`.
    pub(crate) fn position(&self, id: Uuid) -> Result<u32, FormatError> {
        let position = self.positions.get(&id).copied();
        position.ok_or_else(|| FormatError::content(format!("a row of the bundle {id}, which the manifest does not name")))
    }
}
