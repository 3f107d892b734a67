//! Everything that knows a Dify table: every statement, row type, JSON reading, schema probing, and the follower.

pub mod catalog;
pub mod console;
pub mod ddl;
pub mod error_type;
pub mod facts;
pub mod follow;
pub mod json;
pub mod leader;
pub mod lookups;
pub mod outcome;
pub mod records;
pub mod retention;
pub mod schema;
pub mod session;
pub mod statistics;
pub mod time;
