//! Deleting and putting back, at the level of transactions: what is deleted is what was read, and what is put back is what was deleted.

mod crashes;
mod deleting;
mod manners;
mod pressure;
pub(crate) mod reading;
mod restoring;
pub(crate) mod speed;
