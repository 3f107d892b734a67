//! The clock, as a value that tests can hold.
