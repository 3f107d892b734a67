//! Answers in all formats, read back.
