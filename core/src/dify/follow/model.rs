//! The follower against a model of a database.
