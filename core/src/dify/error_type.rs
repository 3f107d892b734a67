//! One closed list of error types, read from Dify's free error texts.
