//! What dify-janitor reads, deletes and puts back: the rows that hang on a workflow run or on a conversation, found through an index in
//! every Dify version. Every statement of the janitor that touches a Dify table is below this module.

pub mod bundle;
pub mod rows;

pub use bundle::{Bundle, Root, RunKey};
pub use rows::{Cell, Column, Key, Piece, Row, Rows, Shape, Wire};
